"""Smaller encoders: layers and positions kept, the distillation loss, a run with a larger encoder, and bad requests."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import codesage
from codesage import CodesageError
from codesage.artifacts import open_artifact
from codesage.contrast import distillation, stage
from codesage.contrast.batches import Batches
from codesage.contrast.distillation import distillation_loss
from codesage.contrast.tiled import tiled_loss
from codesage.contrast.vectors import embed, stacked, taken
from codesage.encoder.average import average
from codesage.encoder.config import Config
from codesage.encoder.dequantise import state_of
from codesage.encoder.export import export
from codesage.encoder.lengthen import lengthen
from codesage.encoder.model import Encoder, Layout
from codesage.encoder.shrink import shrink
from codesage.encoder.weights import load_encoder
from command_line import run
from test_contrast import documents, phase, prepared, tiny  # noqa: F401 (fixture)

LAYERS, WIDTH, POSITIONS = 4, 32, 64


def larger_of(tokenizer, **changes):
    torch.manual_seed(1)
    options = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": POSITIONS, "initializer_range": 0.3}
    return Encoder(Config(WIDTH, LAYERS, 4, **{**options, **changes}).without_dropout()).eval()


@pytest.fixture(scope="module")
def folder(prepared, tmp_path_factory):  # noqa: F811
    """The folder of a larger encoder."""
    out, tokenizer = tmp_path_factory.mktemp("larger") / "larger", prepared[0]
    facts = {"stages": ["contrast"], "max_tokens": POSITIONS, "teacher": {"name": "of an earlier training"}}
    export(larger_of(tokenizer), tokenizer, out, settings={}, facts=facts, precisions=())
    return out


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("layers", [[0, 3], [2], [0, 1, 2, 3]])
def test_the_layers_and_positions_kept_are_those_of_the_larger_encoder(prepared, layers, norm_first):  # noqa: F811
    larger = larger_of(prepared[0], norm_first=norm_first)
    small = shrink(larger, layers=layers, positions=20)
    assert (small.config.num_hidden_layers, small.config.max_position_embeddings) == (len(layers), 20)
    ids_T, layout = torch.arange(30), Layout.of([20, 10])
    x_TD = larger.wte(ids_T) + larger.wpe(layout.positions_T)
    for layer in layers:
        x_TD = larger.h[layer](x_TD, layout)
    torch.testing.assert_close(small(ids_T, layout), larger.ln_f(x_TD))
    with torch.no_grad():
        small.wte.weight.zero_()
    assert larger.wte.weight.any()  # the weights are copies


def test_nothing_to_leave_out_gives_the_same_encoder(prepared):  # noqa: F811
    larger = larger_of(prepared[0])
    torch.testing.assert_close(shrink(larger, positions=10_000).state_dict(), larger.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(("layers", "shown"), [([], "none"), ([1, 0], "2,1"), ([1, 1], "2,2"), ([4], "5"), ([-1], "0")])
def test_layers_that_are_not_there_are_refused(prepared, layers, shown):  # noqa: F811
    with pytest.raises(CodesageError, match=f"layers to keep are {shown}, expected some of 1 to 4 in ascending order"):
        shrink(larger_of(prepared[0]), layers=layers)


@pytest.mark.parametrize("norm_first", [True, False])
def test_neurons_without_effect_leave_without_a_trace(prepared, norm_first):  # noqa: F811
    larger = larger_of(prepared[0], norm_first=norm_first)
    with torch.no_grad():
        for block in larger.h:
            block.mlp.c_proj.weight[:, ::2] = 0
            block.mlp.c_fc.weight[-1] = 0  # a neuron that is always on, and adds to the bias only
    neurons = larger.config.intermediate_size // 2 - 1
    documents = [torch.randint(prepared[0].vocab_size, (length,)).tolist() for length in (64, 1, 63, 200)]
    small = shrink(larger, neurons=neurons, documents=documents)
    assert small.config.intermediate_size == neurons and small.h[3].mlp.c_fc.weight.shape == (neurons, WIDTH)
    assert small.config.parameters() == sum(parameter.numel() for parameter in small.parameters())
    ids_T, layout = torch.arange(30), Layout.of([20, 10])
    torch.testing.assert_close(small(ids_T, layout), larger(ids_T, layout), rtol=1e-3, atol=1e-3)
    assert larger.h[0].mlp.c_fc.weight.shape == (4 * WIDTH, WIDTH)  # the larger encoder is as before


def test_the_neurons_that_stay_are_fitted_by_least_squares(prepared):  # noqa: F811
    larger = larger_of(prepared[0])
    documents = [torch.randint(prepared[0].vocab_size, (POSITIONS,)).tolist() for _ in range(30)]
    small, block = shrink(larger, layers=[0], neurons=40, documents=documents), larger.h[0]
    layout = Layout.of([POSITIONS] * len(documents))
    x_TD, *qkv = block.before(larger.wte(torch.tensor(documents).flatten()) + larger.wpe(layout.positions_T))
    x_TD = block.ln_2(x_TD + block.attn.merged(block.attn(*qkv, layout)))
    active_TN, fitted = block.mlp.activations(x_TD), small.h[0].mlp
    effect_N = active_TN.std(0) * block.mlp.c_proj.weight.norm(dim=0)
    kept = sorted(effect_N.argsort(descending=True)[:40].tolist())
    torch.testing.assert_close(fitted.c_fc.weight, block.mlp.c_fc.weight[kept])
    inputs = np.hstack([active_TN[:, kept].detach().numpy(), np.ones((len(x_TD), 1), np.float32)]).astype(float)
    solution, *_ = np.linalg.lstsq(inputs, block.mlp(x_TD).detach().numpy().astype(float), rcond=None)
    found = np.vstack([fitted.c_proj.weight.detach().numpy().T, fitted.c_proj.bias.detach().numpy()])
    np.testing.assert_allclose(found, solution, atol=2e-3)


@pytest.mark.parametrize("norm_first", [True, False])
def test_heads_without_effect_leave_without_a_trace(prepared, norm_first, tmp_path):  # noqa: F811
    larger = larger_of(prepared[0], norm_first=norm_first)
    with torch.no_grad():
        for block, head in zip(larger.h, (0, 1, 3, 2), strict=True):
            block.attn.c_proj.weight[:, 8 * head : 8 * head + 8] = 0
    documents = [torch.randint(prepared[0].vocab_size, (POSITIONS,)).tolist() for _ in range(4)]
    small = shrink(larger, heads=3, documents=documents)
    assert (small.config.num_attention_heads, small.config.head_dim, small.config.attention_width) == (3, 8, 24)
    assert small.config.parameters() == sum(parameter.numel() for parameter in small.parameters())
    ids_T, layout = torch.arange(30), Layout.of([20, 10])
    torch.testing.assert_close(small(ids_T, layout), larger(ids_T, layout), rtol=1e-3, atol=1e-3)
    rows_M = torch.tensor([3, 21])
    torch.testing.assert_close(small(ids_T, layout, rows_M=rows_M), small(ids_T, layout)[rows_M])
    export(small, prepared[0], tmp_path / "small", settings={}, facts={"max_tokens": POSITIONS})
    vectors = codesage.load(tmp_path / "small", precision="fp32").encode(["def f(x): return x"])
    ids = prepared[0].encode(["def f(x): return x"], max_tokens=POSITIONS)
    np.testing.assert_allclose(vectors, F.normalize(small.embed(ids)).detach().numpy(), atol=1e-5)
    for file in ("model.onnx", "model.int8.onnx"):
        found = state_of(tmp_path / "small" / file)
        assert {name: tuple(value.shape) for name, value in found.items()} == {
            name: tuple(reversed(value.shape)) if value.ndim == 2 and name[0] == "h" else tuple(value.shape)
            for name, value in small.state_dict().items()
        }


def test_of_two_heads_that_do_the_same_one_stays(prepared):  # noqa: F811
    larger = larger_of(prepared[0], norm_first=False)
    with torch.no_grad():
        for block in larger.h:
            for rows in block.attn.c_attn.weight, block.attn.c_attn.bias:
                rows.unflatten(0, (3, 4, 8))[:, 2] = rows.unflatten(0, (3, 4, 8))[:, 1]  # heads of large effect, both alike
            block.attn.c_proj.weight[:, 8:24] *= 3
    documents = [torch.randint(prepared[0].vocab_size, (POSITIONS,)).tolist() for _ in range(4)]
    small = shrink(larger, heads=3, documents=documents)
    ids_T, layout = torch.arange(30), Layout.of([20, 10])
    torch.testing.assert_close(small(ids_T, layout), larger(ids_T, layout), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("neurons", "documents", "message"),
    [
        (129, [[1] * 200], "neurons to keep are 129, expected at most the 128 of each layer"),
        (50, [[1] * 30, []], "30 tokens are too few to choose heads or neurons: give at least 50"),
    ],
)
def test_neurons_that_cannot_be_chosen_are_refused(prepared, neurons, documents, message):  # noqa: F811
    with pytest.raises(CodesageError, match=message):
        shrink(larger_of(prepared[0]), neurons=neurons, documents=documents)


def test_the_loss_is_zero_for_equal_directions_and_two_for_opposite_ones():
    own, larger = torch.eye(4)[[0, 1, 2, 3]] * 7, torch.eye(4)[[0, 1, 3, 3]]
    larger[1] *= -2
    assert distillation_loss(own, larger).item() == pytest.approx((0 + 2 + 1 + 0) / 4)


def test_vectors_of_the_larger_encoder_come_in_the_order_given(monkeypatch):
    monkeypatch.setattr(distillation, "_MICRO_TOKENS", 25)
    encoder, batch = tiny(dropout=0).eval(), documents(14)
    vectors_ND = distillation.Larger("larger", "", encoder).vectors(batch)
    torch.testing.assert_close(vectors_ND, embed(encoder, batch).float().detach())
    assert not vectors_ND.requires_grad


@pytest.mark.parametrize("micro_tokens", [0, 100])
def test_the_gradient_is_that_of_both_losses(prepared, folder, micro_tokens):  # noqa: F811
    tokenizer, tokens = prepared
    settings = replace(phase(distil_weight=3.0), micro_tokens=micro_tokens)
    small = shrink(load_encoder(folder), layers=[0, 3], positions=48).train()
    larger = distillation.read(folder, tokenizer, small.config)
    batch = Batches(tokens, settings.batches, tokenizer=tokenizer).at(0)
    stage.gradients(small, settings, batch, larger=larger)
    found = {name: parameter.grad for name, parameter in small.named_parameters()}
    small.zero_grad(set_to_none=True)
    everything = stacked(batch.texts, batch.codes)
    vectors_ND = embed(small, everything)
    target_ND = embed(larger.encoder, everything)
    cosines_N = (F.normalize(vectors_ND, dim=1) * F.normalize(target_ND, dim=1)).sum(1)
    (tiled_loss(*vectors_ND.chunk(2), temperature=settings.temperature) + 3 * (1 - cosines_N).mean()).backward()
    expected = {name: parameter.grad for name, parameter in small.named_parameters()}
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_small_encoder_comes_near_to_the_larger_one(prepared, folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CODESAGE_PRECISION", "fp32")
    tokenizer, tokens = prepared
    larger = distillation.read(folder, tokenizer, Config(WIDTH, 2, 4, max_position_embeddings=48))
    held = taken(tokens.held_out.text, list(range(20)))
    target_ND, cosines = larger.vectors(held), []
    for weight in (0.0, 10.0):
        small = shrink(load_encoder(folder), layers=[0, 3], positions=48)
        before = distillation_loss(embed(small, held), target_ND).item()
        artifact = stage.run(
            phase(30, 2e-3, distil_weight=weight),
            tokens,
            small,
            tokenizer=tokenizer,
            out=tmp_path / str(weight),
            prepared=stage.Prepared(larger=larger),
        )
        cosines.append(distillation_loss(embed(small.eval(), held), target_ND).item())
    assert cosines[1] < before / 2 < cosines[0], (before, cosines)
    parameters, fingerprint = load_encoder(folder).config.parameters(), open_artifact(folder, "model").fingerprint
    assert artifact.facts["distilled_from"] == {"name": "larger", "fingerprint": fingerprint, "parameters": parameters}


def test_shrink_and_distil_from_the_command_line(prepared, folder, tmp_path):  # noqa: F811
    small, out, tokens = tmp_path / "small", tmp_path / "out", prepared[1].path
    options = ("--layers", "1,4", "--positions", "48", "--neurons", "32", "--heads", "3", "--tokens", tokens)
    done = run("shrink", folder, *options, "--out", small)
    assert done.returncode == 0 and "2 layers, each with 3 heads and 32 neurons" in done.stdout, done.stderr
    facts = open_artifact(small, "model").facts
    assert facts["shrunk_from"] == open_artifact(folder, "model").fingerprint and facts["max_tokens"] == 48
    options = ("--steps", "2", "--batch-pairs", "8", "--text-tokens", "32", "--code-tokens", "48", "--threads", "1")
    done = run("contrast", tokens, "--model", small, "--distil", folder, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert open_artifact(out, "model").facts["distilled_from"]["name"] == "larger"
    assert "teacher" not in open_artifact(out, "model").facts  # this run had none
    assert codesage.load(out).encode(["x"]).shape == (1, WIDTH)
    again = run("contrast", tokens, "--model", small, "--out", tmp_path / "out", *options)
    assert again.returncode == 2 and "belongs to another run (larger " in again.stderr, again.stderr


def test_narrower_vectors_keep_the_similarities(prepared, folder, tmp_path):  # noqa: F811
    """The principal components give the best similarities of all projections to their width (Eckart and Young, 1936)."""
    tokens = prepared[1]
    larger, documents = load_encoder(folder), stacked(tokens.pairs.text, tokens.pairs.body)
    vectors_NV = F.normalize(embed(larger, documents), dim=1)
    count = len(documents.lengths)
    rows = [documents[row].tolist() for row in range(count)]
    error = {}
    for width in (WIDTH // 2, WIDTH // 4):
        narrow = shrink(larger, width=width, documents=rows)
        narrow_NV = embed(narrow, documents)
        assert narrow_NV.shape == (count, width) and narrow.config.vector_width == width
        weight = narrow.projection.weight
        torch.testing.assert_close(weight @ weight.T, torch.eye(width), rtol=0, atol=1e-5)
        kept_NV = vectors_NV @ weight.T
        error[width] = (vectors_NV @ vectors_NV.T - kept_NV @ kept_NV.T).norm().item()
        values = torch.linalg.eigvalsh(vectors_NV @ vectors_NV.T)
        assert error[width] == pytest.approx(values[: count - width].norm().item(), rel=1e-2, abs=1e-4)
    assert error[WIDTH // 2] < error[WIDTH // 4]
    half = shrink(larger, width=WIDTH // 2, documents=rows)
    quarter = shrink(half, width=WIDTH // 4, documents=rows).projection.weight  # some directions of those that half has
    torch.testing.assert_close(quarter @ half.projection.weight.T @ half.projection.weight, quarter, rtol=0, atol=1e-5)
    with pytest.raises(CodesageError, match=f"width of the vectors is 99, expected at most {WIDTH}"):
        shrink(larger, width=99, documents=rows)
    with pytest.raises(CodesageError, match=f"3 texts are too few for vectors of width {WIDTH // 2}"):
        shrink(larger, width=WIDTH // 2, documents=rows[:3])


def test_a_model_with_narrower_vectors_trains_and_is_exported(prepared, folder, tmp_path):  # noqa: F811
    small, out, tokens = tmp_path / "small", tmp_path / "out", prepared[1].path
    done = run("shrink", folder, "--width", "8", "--tokens", tokens, "--out", small)
    assert done.returncode == 0 and "vectors of width 8" in done.stdout, done.stderr
    options = ("--steps", "2", "--batch-pairs", "8", "--text-tokens", "32", "--code-tokens", "48", "--threads", "1")
    done = run("contrast", tokens, "--model", small, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    before, after = (load_encoder(one).projection.weight for one in (small, out))
    assert not torch.equal(before, after)  # the projection learns too
    assert codesage.load(out).encode(["x"]).shape == (1, 8)
    refused = run("contrast", tokens, "--model", small, "--distil", folder, "--out", tmp_path / "x", *options)
    assert refused.returncode == 2 and f"has vectors of width {WIDTH}, the model to train 8" in refused.stderr


def test_the_mean_of_two_models(prepared, folder, tmp_path):  # noqa: F811
    larger, tokenizer, out = load_encoder(folder), prepared[0], tmp_path / "mean"
    moved = load_encoder(folder)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += 4
    export(moved, tokenizer, tmp_path / "moved", settings={}, facts={"max_tokens": POSITIONS}, precisions=())
    done = run("average", tmp_path / "moved", folder, "--share", "0.25", "--out", out)
    assert done.returncode == 0 and "25% of" in done.stdout, done.stderr
    expected = {name: weight + 1 for name, weight in larger.state_dict().items()}
    torch.testing.assert_close(load_encoder(out).state_dict(), expected)
    known = {"with": [open_artifact(folder, "model").fingerprint], "share": 0.25, "of_one_start": False}
    assert open_artifact(out, "model").facts["averaged"] == known
    done = run("average", folder, tmp_path / "moved", tmp_path / "moved", "--out", tmp_path / "three")
    assert done.returncode == 0 and "33% of" in done.stdout, done.stderr
    done = run("average", tmp_path / "moved", tmp_path / "moved", "--out", tmp_path / "same")
    assert done.returncode == 0 and open_artifact(tmp_path / "same", "model").facts["averaged"]["of_one_start"], done.stderr
    expected = {name: weight + 8 / 3 for name, weight in larger.state_dict().items()}
    torch.testing.assert_close(load_encoder(tmp_path / "three").state_dict(), expected)
    done = run("average", tmp_path / "moved", tmp_path / "moved", folder, "--out", tmp_path / "also")
    assert done.returncode == 0 and not open_artifact(tmp_path / "also", "model").facts["averaged"]["of_one_start"], done.stderr
    with pytest.raises(CodesageError, match="the models differ in num_hidden_layers, 4 and 2: only models of one shape"):
        average(larger, [shrink(larger, layers=[0, 1])], share=0.5)
    dropped = Encoder(replace(larger.config, embedding_dropout_prob=0.1, initializer_range=0.1))
    assert average(larger, [dropped], share=0.5).config == larger.config  # how it was trained is no part of the shape
    with pytest.raises(CodesageError, match="share is 1.5, expected 0 to 1"):
        average(larger, [larger], share=1.5)
    refused = run("average", folder, "general", "--out", tmp_path / "x")
    assert refused.returncode == 2 and "have different tokenizers" in refused.stderr


@pytest.mark.parametrize("other", [False, True])
def test_a_longer_model_keeps_the_vectors_of_short_texts(prepared, other):  # noqa: F811
    """New positions are those of the model again, or those of the other model plus what the last 16 of 64 differ by."""
    model, like = larger_of(prepared[0]), larger_of(prepared[0], max_position_embeddings=200, initializer_range=0.5)
    longer = lengthen(model, 150, like=like if other else None)
    ids_T, layout = torch.arange(60), Layout.of([POSITIONS - 24, 20])
    torch.testing.assert_close(longer(ids_T, layout), model(ids_T, layout), rtol=0, atol=0)
    own, rows = model.wpe.weight, longer.wpe.weight
    moved = sum(own[row] - like.wpe.weight[row] for row in range(48, 64)) / 16
    expected = torch.stack([like.wpe.weight[row] + moved if other else own[row % 64] for row in range(64, 150)])
    torch.testing.assert_close(rows[64:], expected)
    assert longer(torch.arange(100) % 50, Layout.of([100])).isfinite().all()


def test_lengthen_from_the_command_line(prepared, folder, tmp_path):  # noqa: F811
    out, refused = tmp_path / "longer", tmp_path / "x"
    done = run("lengthen", folder, "--positions", "100", "--out", out)
    assert done.returncode == 0 and "100 positions (64 before)" in done.stdout
    facts = open_artifact(out, "model").facts
    assert facts["max_tokens"] == 100 and facts["lengthened_from"] == open_artifact(folder, "model").fingerprint
    vectors = codesage.load(out).encode(["def f(): return 1", "x = 1\n" * 200])
    assert vectors[0] == pytest.approx(codesage.load(folder).encode(["def f(): return 1"])[0], abs=1e-6)
    for options, message in (
        (("--positions", "64"), "positions are 64, expected more than the 64 of the model"),
        (("--positions", "200", "--like", out), "the other model has 100 positions, expected 200"),
        (("--positions", "200", "--like", "general"), "the other model has width 384, this one 32"),
    ):
        done = run("lengthen", folder, *options, "--out", refused)
        assert done.returncode == 2 and message in done.stderr and not refused.exists()


def test_bad_requests_are_one_clear_line(prepared, folder, tmp_path):  # noqa: F811
    for options, message in (
        (("--layers", "1,x"), "--layers is '1,x', expected numbers"),
        (("--layers", "9"), "layers to keep are 9"),
        ((), "nothing to leave out: give --layers, --heads, --neurons, --width, --positions or --vocab-size"),
        (("--neurons", "8"), "give --tokens with --heads, --neurons or --width"),
        (("--vocab-size", "300"), "only a WordPiece vocabulary, such as that of 'general', can lose its rarest pieces"),
    ):
        refused = run("shrink", folder, *options, "--out", tmp_path / "s")
        assert refused.returncode == 2 and message in refused.stderr and not (tmp_path / "s").exists()
    tokens = prepared[1].path
    for options, message in (
        (("--distil-weight", "2"), "--distil-weight is 2, but --distil is missing"),
        (("--distil", "default"), "has another tokenizer than the model to train"),
        (("--distil", tmp_path / "none"), "no such folder"),
    ):
        refused = run("contrast", tokens, "--model", folder, "--out", tmp_path / "x", *options)
        assert refused.returncode == 2 and message in refused.stderr, refused.stderr
    tokenizer = prepared[0]
    with pytest.raises(CodesageError, match="vectors of width 32, the model to train 64"):
        distillation.read(folder, tokenizer, Config(64, 2, 4))
    with pytest.raises(CodesageError, match="64 positions, the model to train 100"):
        distillation.read(folder, tokenizer, Config(WIDTH, 2, 4, max_position_embeddings=100))
