"""Stage II: losses compared with a plain loop over the paper's formula, cached gradients, filtering, and whole runs."""

import json
import math
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import codesage
from codesage import CodesageError
from codesage import tokenizer as tokenizers
from codesage.artifacts import open_artifact
from codesage.contrast import batches, cached, embedder, filtering, stage, tiled
from codesage.contrast.commands import filter_pairs
from codesage.contrast.loss import NEGATIVES, contrastive_loss
from codesage.contrast.matryoshka import check_dims, matryoshka_loss
from codesage.contrast.vectors import embed, stacked, taken
from codesage.corpus.tokens import tokenised as token_files
from codesage.corpus.tokens.ragged import Ragged
from codesage.encoder.config import Config
from codesage.encoder.folders import folder_of
from codesage.encoder.model import Encoder
from codesage.records import Pair
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import train as train_tokenizer
from codesage.training import estimate, precision, processes
from codesage.training import loop as loops


def loop(text, code, temperature, negatives):
    """Equation 3, one anchor and one negative at a time, in float64."""
    vectors = [v / v.norm() for v in [*text, *code]]
    pairs, total = len(text), 0.0
    for i, anchor in enumerate(vectors):
        partner = (i + pairs) % (2 * pairs)
        scores = [float(anchor @ v) / temperature for v in vectors]
        others = [k for k in range(2 * pairs) if k not in (i, partner)]
        partition = sum(math.exp(scores[k]) for k in others)
        scale = {"uniform": None, "softmax": 1.0, "mean_one": 2 * pairs - 2}[negatives]
        weights = {k: 1.0 if scale is None else scale * math.exp(scores[k]) / partition for k in others}
        negative = sum(weights[k] * math.exp(scores[k]) for k in others)
        total += -math.log(math.exp(scores[partner]) / (math.exp(scores[partner]) + negative))
    return total / pairs


def vectors(pairs, width=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(pairs, width, generator=generator, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("pairs", [2, 3, 9])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_equals_the_formula(negatives, pairs, temperature):
    text, code = vectors(pairs)
    got = contrastive_loss(text, code, temperature=temperature, negatives=negatives)
    assert got.item() == pytest.approx(loop(text, code, temperature, negatives), rel=1e-9)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_gradient_flows_through_the_weights(negatives):
    text, code = (v.requires_grad_() for v in vectors(4))
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, temperature=0.5, negatives=negatives), (text, code))


def test_scale_and_order_of_pairs_do_not_matter():
    text, code = vectors(6)
    base = contrastive_loss(text, code)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert contrastive_loss(7 * text, 0.1 * code).item() == pytest.approx(base.item(), rel=1e-12)
    assert contrastive_loss(text[order], code[order]).item() == pytest.approx(base.item(), rel=1e-12)


def test_golden_value_of_orthogonal_pairs():
    eye = torch.eye(2, dtype=torch.float64)  # both negatives of an anchor score 0: softmax weights are 1/2 each
    want = {"softmax": 1.0, "uniform": 2.0, "mean_one": 2.0}
    for negatives, weight in want.items():
        expected = 2 * math.log(1 + weight * math.exp(-2))
        assert contrastive_loss(eye, eye, temperature=0.5, negatives=negatives).item() == pytest.approx(expected)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_a_single_pair_has_no_negatives(negatives):
    text, code = (v.requires_grad_() for v in vectors(1))
    loss = contrastive_loss(text, code, negatives=negatives)
    loss.backward()
    assert loss.item() == 0 and text.grad.isfinite().all()


def test_large_scores_stay_finite_in_float32():
    same = torch.ones(64, 8)
    for negatives in NEGATIVES:
        loss = contrastive_loss(same.requires_grad_(), same, temperature=0.001, negatives=negatives)
        assert loss.isfinite()


@pytest.mark.parametrize(
    ("text", "code", "options"),
    [
        (torch.ones(2, 3), torch.ones(3, 3), {}),
        (torch.ones(0, 3), torch.ones(0, 3), {}),
        (torch.ones(3), torch.ones(3), {}),
        (torch.ones(2, 3), torch.ones(2, 3), {"negatives": "hard"}),
        (torch.ones(2, 3), torch.ones(2, 3), {"temperature": 0.0}),
    ],
)
def test_bad_arguments_are_refused(text, code, options):
    with pytest.raises(ValueError, match="expected"):
        contrastive_loss(text, code, **options)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize(("pairs", "tile"), [(1, 4), (2, 4), (9, 1), (9, 4), (9, 5), (9, 100), (10, 10)])
def test_tiles_give_the_loss_and_its_gradient(monkeypatch, kept, negatives, pairs, tile):
    monkeypatch.setattr(tiled, "_KEPT", 2**20 if kept else 0)
    sides = [v.requires_grad_() for v in vectors(pairs)]
    want = contrastive_loss(*sides, temperature=0.3, negatives=negatives)
    got = tiled.tiled_loss(*sides, temperature=0.3, negatives=negatives, tile=tile)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad(3 * got, sides), torch.autograd.grad(3 * want, sides), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.001, 0.01, 0.03, 0.05])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_tiles_stay_right_at_extreme_scores_in_float32(negatives, temperature):
    generator = torch.Generator().manual_seed(0)
    near = 1 + 0.1 * torch.randn(9, 8, generator=generator)
    for text, code in ((near, -near), (near, near), (near, torch.randn(9, 8, generator=generator))):
        text = text.clone().requires_grad_()
        got = tiled.tiled_loss(text, code, temperature=temperature, negatives=negatives, tile=4)
        want = contrastive_loss(text.double(), code.double(), temperature=temperature, negatives=negatives)
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)
        ahead, behind = torch.autograd.grad(got, text)[0], torch.autograd.grad(want, text)[0]
        torch.testing.assert_close(ahead, behind, rtol=1e-2, atol=1e-3 / temperature)


def test_tiles_keep_float32_under_autocast():
    text, code = (side.float() for side in vectors(6))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(tiled.tiled_loss(text, code), contrastive_loss(text.double(), code.double()).float())
        assert tiled.tiled_loss(text.bfloat16(), code.bfloat16()).dtype == torch.bfloat16


def test_matryoshka_is_the_weighted_mean_over_prefixes():
    text, code = vectors(5)
    parts = [loop(text[:, :m], code[:, :m], 0.5, "softmax") for m in (2, 4, 8)]
    loss = lambda a, b: contrastive_loss(a, b, temperature=0.5)  # noqa: E731
    got = matryoshka_loss(text, code, loss=loss, dims=(2, 4, 8), weights=(1, 2, 5))
    assert got.item() == pytest.approx((parts[0] + 2 * parts[1] + 5 * parts[2]) / 8)
    assert matryoshka_loss(text, code, loss=loss, dims=()).item() == pytest.approx(parts[2])
    with pytest.raises(ValueError, match="width 8"):
        matryoshka_loss(text, code, loss=loss, dims=(16,))
    for dims, weights in (((4, 2, 8), ()), ((2, 4), ()), ((2, 8), (1,)), ((), (1,)), ((0, 8), ()), ((2, 8), (1, -1))):
        with pytest.raises(CodesageError, match="matryoshka"):
            check_dims(dims, weights, 8)
    check_dims((2, 4, 8), (1, 0, 1), 8)


def tiny(*, dropout=0.1, seed=0):
    torch.manual_seed(seed)
    shape = Config(16, 2, 2, vocab_size=50, max_position_embeddings=32)
    encoder = Encoder(shape if dropout else shape.without_dropout()).double().train()
    with torch.no_grad():  # a fresh encoder's vectors are nearly equal; spread them
        encoder.wte.weight.mul_(20)
    return encoder


def documents(count, seed=0):
    rng = np.random.default_rng(seed)
    return ragged([rng.integers(0, 50, rng.integers(1, 20)).astype(np.uint16) for _ in range(count)])


def ragged(rows):
    return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))


def gradients(encoder):
    gradients_by_name = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    encoder.zero_grad()
    return gradients_by_name


def test_the_compact_embedding_is_the_same_function():
    for batch in (documents(3), documents(400)):  # a compact table of ids, and the full one
        encoder, results = tiny(dropout=0), []
        ahead = torch.randn(len(batch), 16, dtype=torch.float64)
        lists = [batch[i].tolist() for i in range(len(batch))]
        for vectors_BD in (encoder.embed(lists, depth=0), embed(encoder, batch, depth=0)):
            (vectors_BD * ahead).sum().backward()
            results.append((vectors_BD.detach(), gradients(encoder)))
        torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-8, atol=1e-10)
    with pytest.raises(ValueError, match="expected 1 to 32"):
        embed(encoder, ragged([np.zeros(33, np.uint16)]), depth=0)


@pytest.mark.parametrize("depth", [None, 0])
def test_vectors_come_in_the_order_given(depth):
    encoder, batch = tiny().eval(), documents(9)
    together = embed(encoder, batch, depth=depth)
    alone = torch.cat([embed(encoder, taken(batch, [i]), depth=depth) for i in range(9)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_micro_batches_fill_a_budget_with_similar_lengths():
    lengths = [3, 50, 4, 9, 1, 9, 9]
    assert cached.micro_batches(lengths, tokens=20) == [[1], [3, 5], [6, 2, 0, 4]]
    assert cached.micro_batches(lengths, tokens=0) == [[1, 3, 5, 6, 2, 0, 4]]
    assert cached.micro_batches([], tokens=5) == []
    split = cached.micro_batches(lengths, tokens=0, at_least=4)
    assert len(split) == 4 and sorted(row for micro in split for row in micro) == list(range(7))


def test_rows_are_taken_and_stacked():
    batch = documents(5)
    both = stacked(batch, taken(batch, [3, 1]))
    assert [row.tolist() for row in (both[3], both[1])] == [row.tolist() for row in (both[5], both[6])]
    assert len(both) == 7 and both.lengths.tolist()[:5] == batch.lengths.tolist()


@pytest.mark.parametrize("dims", [(), (4, 8, 16)])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_cached_gradients_are_the_uncached_ones_with_dropout_on(negatives, dims):
    encoder, batch, results = tiny(), documents(14), []
    rows = cached.micro_batches(batch.lengths.tolist(), tokens=30)
    assert len(rows) > 3 and len({len(micro) for micro in rows}) > 1
    loss = lambda a, b: tiled.tiled_loss(a, b, negatives=negatives)  # noqa: E731
    for keep in (False, True):
        torch.manual_seed(1)
        value = cached.backward(
            lambda micro: embed(encoder, taken(batch, micro)),
            rows,
            lambda v_ND: matryoshka_loss(*v_ND.chunk(2), loss=loss, dims=dims),
            cached=keep,
        )
        results.append((value, gradients(encoder), torch.rand(3)))
    torch.manual_seed(1)  # and without this file
    parts = torch.cat([embed(encoder, taken(batch, micro)) for micro in rows])
    places = torch.tensor([row for micro in rows for row in micro]).argsort()
    plain = matryoshka_loss(*parts[places].chunk(2), loss=lambda a, b: contrastive_loss(a, b, negatives=negatives), dims=dims)
    plain.backward()
    results.append((plain.detach(), gradients(encoder), torch.rand(3)))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-8, atol=1e-10)
    torch.manual_seed(2)
    different = embed(encoder, batch)
    assert (different - parts[places]).abs().max() > 1e-3  # dropout was on


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's tracing reads it
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("dropout", [0, 0.1])
def test_compiled_blocks_leave_cached_gradients_as_they_are(dropout, across):
    torch._dynamo.reset()
    batch, results = documents(14), []
    rows = cached.micro_batches(batch.lengths.tolist(), tokens=30)
    for compiled, keep in ((False, False), (True, False), (True, True)):
        encoder, embedded = tiny(dropout=dropout), {}
        if compiled:
            precision.compile_blocks(encoder, backend="aot_eager", across=across)

        def once_more(micro, encoder=encoder, embedded=embedded):
            vectors_ND = embed(encoder, taken(batch, micro))
            torch.testing.assert_close(vectors_ND, embedded.setdefault(tuple(micro), vectors_ND), rtol=0, atol=1e-12)
            return vectors_ND

        torch.manual_seed(1)
        value = cached.backward(once_more, rows, lambda v_ND: tiled.tiled_loss(*v_ND.chunk(2)), cached=keep)
        results.append((value, gradients(encoder), torch.rand(3)))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-8, atol=1e-10)


WORDS = [(verb, noun) for verb in ("open", "close", "read", "write", "find") for noun in ("file", "door", "book", "lock")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A tokenizer, and tokens of 20 pairs that are also the held-out pairs."""
    folder = tmp_path_factory.mktemp("contrast")
    pairs = some_pairs()
    texts = [pair.text + pair.bare_body for pair in pairs]
    tokenizer = train_tokenizer(texts, folder / "tokenizer", settings=TokenizerSettings(vocab_size=320))
    return tokenizer, tokenised(pairs, tokenizer, folder / "tokens")


def some_pairs():
    return [
        Pair(
            text=f"{verb.capitalize()} the {noun}",
            code=f"def {verb}():\n    {noun}.{verb}()",
            bare_body=f"{noun}.{verb}()\n{verb} += {i}",
            description="",
            language="python",
            name=verb,
            kind="class" if i % 2 else "function",
            path="a.py",
            start_line=1,
        )
        for i, (verb, noun) in enumerate(WORDS)
    ]


def tokenised(pairs, tokenizer, out):
    options = token_files.Settings(text_tokens=32, code_tokens=48, workers=1)
    token_files.write([], pairs, tokenizer, out, held_out=pairs, settings=options)
    return token_files.open_tokens(out)


def shape(tokenizer, *, dropout=False):
    config = Config(32, 2, 4, vocab_size=tokenizer.vocab_size, max_position_embeddings=48)
    return config if dropout else config.without_dropout()


def phase(steps=40, rate=5e-3, **options):
    sampling = batches.Settings(batch_pairs=16, text_tokens=32, code_tokens=48)
    return stage.Settings(loops.Settings(steps, 4, rate, evaluations=2), **{"batches": sampling, **options})


def test_two_phases_learn_the_pairs(prepared, tmp_path):
    tokenizer, tokens = prepared
    torch.manual_seed(0)
    encoder = Encoder(shape(tokenizer))
    first = phase(20, 2e-2, depth=0, negatives="uniform")
    settings = phase(matryoshka_dims=(8, 32), micro_tokens=100, residual_scale=0.1, negatives="mean_one", first=first)
    assert list(settings.phases()) == ["shallow", "contrast"]
    artifact = stage.run(settings, tokens, encoder, tokenizer=tokenizer, out=tmp_path / "m", checkpoints=tmp_path / "c")
    facts = artifact.facts
    assert facts["contrast"]["mrr"] > 90 and facts["shallow"]["mrr"] > 50, facts
    assert facts["stages"] == ["contrast"] and facts["matryoshka_dims"] == [8, 32] and facts["shallow"]["pairs_seen"] == 320
    model = codesage.load(tmp_path / "m")
    texts = [f"{verb.capitalize()} the {noun}" for verb, noun in WORDS]
    bodies = [f"{n}.{v}()\n{v} += {i}" for i, (v, n) in enumerate(WORDS)]
    for dims in (None, 8):
        scores = model.encode(texts, kind="text", dims=dims) @ model.encode(bodies, dims=dims).T
        assert (scores.argmax(1) == np.arange(20)).mean() > 0.8
    again = Encoder(shape(tokenizer))  # all phases are done, so the checkpoints give the same model at once
    stage.run(settings, tokens, again, tokenizer=tokenizer, out=tmp_path / "n", checkpoints=tmp_path / "c")
    assert open_artifact(tmp_path / "n", "model").facts["contrast"]["steps"] == 40
    torch.testing.assert_close(dict(again.named_parameters()), dict(encoder.named_parameters()), rtol=0, atol=0)


def two_phases(first, last):
    """Settings of a run of so many steps in each phase."""
    return phase(last, first=phase(first, depth=0))


def run_phases(made, home, settings, **options):
    tokenizer, tokens = made
    torch.manual_seed(0)
    encoder = Encoder(shape(tokenizer))
    given = {"tokenizer": tokenizer, "out": home / "m", "checkpoints": home / "c"}
    return stage.run(settings, tokens, encoder, **given, **options).facts


def test_only_the_last_phase_of_a_finished_run_is_prolonged(prepared, tmp_path):
    before = run_phases(prepared, tmp_path, two_phases(6, 4))
    longer = run_phases(prepared, tmp_path, two_phases(12, 8))
    assert longer["shallow"] == before["shallow"] and longer["shallow"]["steps"] == 6  # the weights that contrast started from
    assert longer["contrast"]["steps"] == 8 and longer["contrast"]["pairs_seen"] == 8 * 16
    lines = [json.loads(line) for line in (tmp_path / "m" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines if "loss" in line] == [
        *(("shallow", step) for step in range(6)),
        *(("contrast", step) for step in range(8)),
    ]
    assert (tmp_path / "c" / "shallow" / "step-000000006").is_dir()
    assert not (tmp_path / "c" / "shallow" / "step-000000012").exists()


def test_a_first_phase_is_prolonged_until_the_next_one_starts_from_it(prepared, tmp_path):
    run_phases(prepared, tmp_path, two_phases(6, 4))
    shutil.rmtree(tmp_path / "c" / "contrast")
    facts = run_phases(prepared, tmp_path, two_phases(9, 4))
    assert (facts["shallow"]["steps"], facts["contrast"]["steps"]) == (9, 4)


def test_a_fresh_start_forgets_the_checkpoints_of_all_phases(prepared, tmp_path, monkeypatch):
    run_phases(prepared, tmp_path, two_phases(6, 4))
    train = loops.train

    def killed_between(encoder, settings, run):
        if run.stage == "contrast":
            raise KeyboardInterrupt
        return train(encoder, settings, run)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loops, "train", killed_between)
        run_phases(prepared, tmp_path, two_phases(6, 4), resume=False)
    assert not list((tmp_path / "c" / "contrast").glob("step-*"))


def test_a_phase_whose_own_start_is_gone_is_refused(prepared, tmp_path):
    run_phases(prepared, tmp_path, two_phases(6, 4))
    shutil.rmtree(tmp_path / "c" / "shallow")
    with pytest.raises(CodesageError, match=r"holds checkpoints of contrast, but none of shallow.*--fresh"):
        run_phases(prepared, tmp_path, two_phases(6, 8))


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize(("micro_tokens", "passes"), [(0, 1), (10**6, 2), (60, 2)])  # whole; one micro-batch; several
@pytest.mark.parametrize(("across", "graphs"), [(False, 2), (True, 3)])
def test_stage_two_compiles_nothing_after_the_clock_starts(
    prepared, tmp_path, monkeypatch, across, graphs, micro_tokens, passes
):
    tokenizer, tokens = prepared
    torch._dynamo.reset()
    monkeypatch.setattr(precision, "compile_blocks", partial(precision.compile_blocks, backend="eager", across=across))
    rate_at, counted = loops.rate_at, [precision.graphs()]
    monkeypatch.setattr(loops, "rate_at", lambda *now: counted.append(precision.graphs()) or rate_at(*now))
    settings = phase(3, micro_tokens=micro_tokens)
    settings = replace(settings, loop=replace(settings.loop, compile=True))
    stage.run(settings, tokens, Encoder(shape(tokenizer)), tokenizer=tokenizer, out=tmp_path / "m")
    assert counted[1:] == [counted[0] + graphs * passes] * 3 and precision.graphs() == counted[1]


def test_a_bypassed_block_never_moves(prepared, tmp_path):
    tokenizer, tokens = prepared
    encoder = Encoder(shape(tokenizer))
    before = {name: parameter.clone() for name, parameter in encoder.named_parameters()}
    stage.run(phase(3, depth=1), tokens, encoder, tokenizer=tokenizer, out=tmp_path / "m")
    moved = {name for name, parameter in encoder.named_parameters() if not torch.equal(parameter, before[name])}
    assert {"wte.weight", "h.0.attn.c_attn.weight"} <= moved and not any(name.startswith("h.1.") for name in moved)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_scaled_residuals_leave_a_small_correction():
    encoder, batch = tiny(dropout=0).eval(), documents(6)
    shallow, whole = embed(encoder, batch, depth=0), embed(encoder, batch)
    encoder.scale_residuals(1e-3)
    assert (embed(encoder, batch) - shallow).norm() < 0.01 * (whole - shallow).norm()


def test_residuals_are_scaled_once_before_their_phase(prepared, tmp_path):
    tokenizer, tokens = prepared
    encoder = Encoder(shape(tokenizer))
    before = encoder.h[1].mlp.c_proj.weight.detach().clone()
    for out in ("m", "n"):  # the second run finds the first one complete
        settings = phase(1, 1e-9, residual_scale=0.5)
        stage.run(settings, tokens, encoder, tokenizer=tokenizer, out=tmp_path / out, checkpoints=tmp_path / "c")
        torch.testing.assert_close(encoder.h[1].mlp.c_proj.weight.detach(), before / 2, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("message", "options", "config"),
    [
        ("negatives is 'hard'", {"negatives": "hard"}, {}),
        ("temperature 0", {"temperature": 0.0}, {}),
        ("temperature is nan: expected a finite number", {"temperature": math.nan}, {}),
        ("distil_weight is inf: expected a finite number", {"distil_weight": math.inf}, {}),
        ("but depth 0 uses no blocks", {"depth": 0, "residual_scale": 0.5}, {}),
        ("depth is 3, expected 0 to 2", {"depth": 3}, {}),
        ("so both vectors would be equal", {"positives": "dropout"}, {}),
        ("so both vectors would be equal", {"positives": "dropout", "depth": 0}, {"attention_dropout_prob": 0.1}),
        ("expected rising widths", {"matryoshka_dims": (8, 16)}, {}),
        ("entries, the encoder 7", {}, {"vocab_size": 7}),
        ("code_tokens is 48, but the encoder has 32 positions: lower code_tokens", {}, {"max_position_embeddings": 32}),
        ("text_tokens is 48, but", {"batches": batches.Settings(text_tokens=48, code_tokens=48)}, {}),
        ("0 of 20 pairs", {"batches": batches.Settings(8, 32, 48, kinds={"test": 1.0})}, {}),
    ],
)
def test_impossible_settings_are_refused_at_once(prepared, tmp_path, message, options, config):
    tokenizer, tokens = prepared
    encoder = Encoder(replace(shape(tokenizer), **config))
    with pytest.raises(CodesageError, match=message):
        stage.run(phase(**options), tokens, encoder, tokenizer=tokenizer, out=tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_the_cost_of_a_run_is_estimated_before_it_starts(prepared):
    tokenizer, tokens = prepared
    encoder, first = Encoder(shape(tokenizer)), phase(20, depth=0)
    estimates = stage.expected(phase(40, first=first, micro_tokens=50), tokens, encoder)
    assert list(estimates) == ["shallow", "contrast"] and estimates["contrast"].parameters == encoder.config.parameters()
    assert 0 < estimates["shallow"].seconds < estimates["contrast"].seconds and estimates["shallow"].steps == 20
    bounded = replace(phase(40), loop=loops.Settings(10**9, 4, 1e-3, seconds=60.0))
    whole = stage.expected(bounded, tokens, encoder)["contrast"]
    assert whole.seconds == pytest.approx(60.0, rel=1e-3) and whole.steps < 10**9 and "parameters" in whole.lines()[0]


def test_a_batch_larger_than_memory_keeps_one_graph_at_a_time(prepared, monkeypatch):
    tokenizer, tokens = prepared
    encoder, settings = Encoder(shape(tokenizer)).double(), phase(micro_tokens=0, cached=False)
    batch = batches.Batches(tokens, settings.batches).at(0)
    fixed = estimate.fixed_bytes(encoder.config)
    backward, seen, results = cached.backward, [], []
    monkeypatch.setattr(stage, "_MICRO_TOKENS", 60)
    monkeypatch.setattr(
        cached,
        "backward",
        lambda embed, rows, *rest, **kept: seen.append((len(rows), kept["cached"])) or backward(embed, rows, *rest, **kept),
    )
    for memory in (0, 1e12, fixed + 1e5):
        monkeypatch.setattr(processes, "share_of_memory", lambda device, memory=memory: memory)
        encoder.zero_grad()
        results.append((stage.gradients(encoder, settings, batch), gradients(encoder)))
        memory_told = stage.expected(settings, tokens, encoder)["contrast"].memory_bytes
    assert seen[:2] == [(1, False)] * 2 and seen[2][0] > 3 and seen[2][1] is True
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-8, atol=1e-10)
    assert memory_told - fixed < 0.3 * estimate.graph_bytes(
        encoder.config, results[0][0][1], attended=0, mode="fp32", device=torch.device("cpu")
    )


@pytest.mark.parametrize(("mode", "length"), [("fp32", 16), ("fp32", 400), ("bf16", 16), ("bf16", 400)])
def test_the_memory_of_a_graph_is_what_backward_keeps(mode, length, monkeypatch):
    monkeypatch.delenv(precision.VARIABLE, raising=False)  # it would replace the mode
    config = Config(64, 3, 4, vocab_size=100, max_position_embeddings=400).without_dropout()
    encoder, kept, cpu = Encoder(config), {}, torch.device("cpu")
    own = {parameter.untyped_storage().data_ptr() for parameter in encoder.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), storage)  # held, so that no other tensor gets the same address
        return tensor

    ids = [[7] * length] * (800 // length)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), precision.autocast(mode, cpu)():
        encoder.embed(ids)
    counted = sum(size for size, _ in kept.values())
    told = estimate.graph_bytes(config, 800, attended=length, mode=mode, device=cpu)
    assert 0.5 * told < counted < 1.05 * told


def test_another_tokenizer_is_refused(prepared, tmp_path):
    tokenizer, tokens = prepared
    other = train_tokenizer(["something else"] * 3, tmp_path / "t", settings=TokenizerSettings(vocab_size=300))
    with pytest.raises(CodesageError, match="another tokenizer"):
        stage.run(phase(), tokens, Encoder(shape(tokenizer)), tokenizer=other, out=tmp_path / "m")


def test_a_mask_keeps_pairs_out(prepared, tmp_path):
    tokenizer, tokens = prepared
    keep = np.arange(20) < 6
    facts = stage.run(
        phase(3), tokens, Encoder(shape(tokenizer)), tokenizer=tokenizer, out=tmp_path / "m", prepared=stage.Prepared(keep=keep)
    ).facts
    assert facts["contrast"]["pairs_seen"] == 3 * 6


def test_a_run_resumes_only_with_its_own_mask(prepared, tmp_path):
    keep = np.arange(20) < 6
    run_phases(prepared, tmp_path, phase(2), prepared=stage.Prepared(keep=keep))
    assert run_phases(prepared, tmp_path, phase(2), prepared=stage.Prepared(keep=keep.copy()))["contrast"]["steps"] == 2
    for other in (keep[::-1], np.roll(keep, 1), None):
        with pytest.raises(CodesageError, match="belongs to another run.*kept"):
            run_phases(prepared, tmp_path, phase(2), prepared=stage.Prepared(keep=other))


def test_dropout_positives_pull_an_input_to_itself(prepared):
    tokenizer, tokens = prepared
    torch.manual_seed(0)
    encoder = Encoder(shape(tokenizer, dropout=True)).double().train()
    settings = phase(positives="dropout", temperature=0.5)
    batch = batches.Batches(tokens, settings.batches).at(0)
    torch.manual_seed(3)
    loss, counted = stage.gradients(encoder, settings, batch)
    taken = gradients(encoder)
    torch.manual_seed(3)
    text, code, text_again, code_again = embed(encoder, stacked(*(batch.texts, batch.codes) * 2)).chunk(4)
    want = (contrastive_loss(text, text_again, temperature=0.5) + contrastive_loss(code, code_again, temperature=0.5)) / 2
    want.backward()
    torch.testing.assert_close((loss, taken), (want.detach(), gradients(encoder)), rtol=1e-8, atol=1e-10)
    assert counted == 2 * (len(batch.texts.ids) + len(batch.codes.ids)) and (text - text_again).abs().max() > 1e-4


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    tokenizer, tokens = prepared
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("trained") / "model"
    stage.run(phase(60, 2e-2, depth=0, negatives="uniform"), tokens, Encoder(shape(tokenizer)), tokenizer=tokenizer, out=out)
    return codesage.load(out)


@pytest.mark.parametrize(("top", "pool", "one_language"), [(1, 20, False), (2, 7, False), (3, 20, True)])
def test_filtering_keeps_the_pairs_a_model_finds(prepared, trained, tmp_path, top, pool, one_language):
    tokenizer, _ = prepared
    pairs = [replace(pair, language="go" if i % 4 == 0 else "python") for i, pair in enumerate(some_pairs())]
    for i in (2, 5, 8, 13):  # texts of other pairs
        pairs[i] = replace(pairs[i], text=some_pairs()[i - 2].text)
    pairs[7] = replace(pairs[7], bare_body="")
    tokens = tokenised(pairs, tokenizer, tmp_path / "tokens")
    settings = filtering.Settings(top=top, pool=pool, one_language=one_language, text_tokens=32, code_tokens=48, seed=1)
    keep = filtering.consistent(trained, tokens, settings)
    codes = [pair.bare_body or pair.code for pair in pairs]
    scores = trained.encode([pair.text for pair in pairs], kind="text") @ trained.encode(codes).T
    pools = filtering._pools(tokens.pairs.language, np.arange(20), settings)
    assert sorted(np.concatenate(pools).tolist()) == list(range(20)) and max(map(len, pools)) <= pool
    for rows in pools:
        assert not one_language or len({pairs[row].language for row in rows}) == 1
        for row in rows:
            better = sum(scores[row, other] > scores[row, row] + 1e-6 for other in rows)
            assert keep[row] == (better < top)
    if (top, pool) == (1, 20):
        assert not keep[[2, 5, 8, 13]].any() and keep.sum() > 12


@pytest.mark.parametrize(("share", "pool"), [(0.5, 20), (0.75, 3)])
def test_filtering_keeps_the_best_share_of_each_kind_and_language(prepared, trained, tmp_path, share, pool):
    tokenizer, _ = prepared
    pairs = [replace(pair, language="go" if i % 4 == 0 else "python") for i, pair in enumerate(some_pairs())]
    pairs = [replace(pair, kind="test" if i % 5 == 0 else "function") for i, pair in enumerate(pairs)]
    tokens = tokenised(pairs, tokenizer, tmp_path / "tokens")
    settings = filtering.Settings(share=share, pool=pool, text_tokens=32, code_tokens=48, seed=1)
    calls = []
    keep = filtering.consistent(trained, tokens, settings, progress=lambda *now: calls.append(now))
    cosines = (trained.encode([p.text for p in pairs], kind="text") * trained.encode([p.bare_body for p in pairs])).sum(1)
    scores = cosines * np.log([count + 1 for count in tokens.pairs.text.lengths])
    groups = {}
    for row, pair in enumerate(pairs):
        groups.setdefault((pair.kind, pair.language), []).append(row)
    best = [sorted(rows, key=lambda row: -scores[row])[: math.ceil(share * len(rows))] for rows in groups.values()]
    assert len(groups) == 4 and np.flatnonzero(keep).tolist() == sorted(row for rows in best for row in rows)
    assert calls[-1] == (20, keep.sum()) and [done for done, _ in calls] == sorted({done for done, _ in calls})


def test_filtering_by_share_leaves_out_short_texts_that_fit_as_well_as_long_ones(prepared, tmp_path):
    class Even:
        width, max_tokens, fingerprint = 2, 64, "even"

        def encode_ids(self, documents):
            return np.tile(np.array([0.6, 0.8], np.float32), (len(documents), 1))

    tokenizer, _ = prepared
    texts = ["adds", "adds the numbers of a list and returns their sum", "adds one", "adds all numbers of the list given"]
    tokens = tokenised([replace(some_pairs()[0], text=text) for text in texts], tokenizer, tmp_path / "tokens")
    assert filtering.consistent(Even(), tokens, filtering.Settings(share=0.5)).tolist() == [False, True, False, True]
    assert filtering.consistent(Even(), tokens, filtering.Settings(share=0.75)).tolist() == [False, True, True, True]


def test_a_model_with_another_tokenizer_judges_the_text_of_the_tokens(prepared, trained, tmp_path):
    """The bundled model gets the vectors of the texts themselves; the tokens are of a byte-level tokenizer."""
    tokenizer, tokens = prepared
    bundled = codesage.load()
    judge = embedder.load(None, given=tokenizer)
    texts = ["Adds the two numbers.", "def add(a, b):\n    return a + b\n", "über 'naïve' \t tabs", ""]
    assert judge.fingerprint == bundled.fingerprint != "" and judge.width == bundled.width
    vectors = judge.encode_ids(tokenizer.encode(texts, max_tokens=128))
    assert vectors == pytest.approx(bundled.encode(texts), abs=1e-6)
    own = tokenizers.load(folder_of(None))
    assert embedder.load(None, given=own).encode_ids(own.encode(texts, max_tokens=64)) == pytest.approx(vectors, abs=1e-6)
    with pytest.raises(CodesageError, match="another tokenizer"):
        filter_pairs(tokens.path, tmp_path / "f")
    filter_pairs(tokens.path, tmp_path / "f", tokenizer=tokens.path.parent / "tokenizer", share=0.5)
    assert filtering.read(tmp_path / "f", tokens).sum() == 10


def test_a_filter_is_saved_and_checked(prepared, trained, tmp_path):
    tokenizer, tokens = prepared
    calls = []
    settings = filtering.Settings(top=1, pool=8)
    artifact = filtering.write(trained, tokens, tmp_path / "f", settings, progress=lambda *now: calls.append(now))
    keep = filtering.read(tmp_path / "f", tokens)
    assert keep.sum() == artifact.facts["kept"] == artifact.facts["of_language"]["python"][0] == calls[-1][1]
    assert calls[-1][0] == 20 == artifact.facts["of_language"]["python"][1] and artifact.settings["pool"] == 8
    other = tokenised(some_pairs()[:6], tokenizer, tmp_path / "other")
    with pytest.raises(CodesageError, match="other tokens"):
        filtering.read(tmp_path / "f", other)
    with pytest.raises(CodesageError, match="no pairs to filter"):
        filtering.consistent(trained, tokenised([], tokenizer, tmp_path / "none"))
    for options in ({"top": 0}, {"top": 5, "pool": 5}, {"side": "text"}, {"code_tokens": 1}, {"share": 1.0}, {"share": 0}):
        with pytest.raises(CodesageError, match="expected"):
            filtering.Settings(**options)


def test_filter_from_the_command_line(prepared, trained, tmp_path):
    import typer.testing

    app = typer.Typer()
    app.command()(filter_pairs)
    model = tmp_path / "model"
    tokenizer, tokens = prepared
    stage.run(phase(2, depth=0), tokens, Encoder(shape(tokenizer)), tokenizer=tokenizer, out=model)
    done = typer.testing.CliRunner().invoke(app, [str(tokens.path), "--model", str(model), "--out", str(tmp_path / "f")])
    assert done.exit_code == 0 and "20 of 20 pairs judged" in done.output and "pairs kept, python" in done.output
    assert filtering.read(tmp_path / "f", tokens).shape == (20,)
    shared = [str(tokens.path), "--model", str(model), "--out", str(tmp_path / "g"), "--share", "0.75"]
    done = typer.testing.CliRunner().invoke(app, shared)
    assert done.exit_code == 0 and "16 of 20 pairs kept, python 80%" in done.output  # 8 of 10 of each kind
    assert filtering.read(tmp_path / "g", tokens).sum() == 16
