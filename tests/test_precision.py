"""Training in bf16, requested with CODESAGE_PRECISION. It is emulated on processors without bf16.

rounding.py derives the bounds. test_processes.py tests several processes in bf16, test_training.py resumed runs.
"""

import copy
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import codesage
from codesage import CodesageError
from codesage.contrast import batches, cached
from codesage.contrast import stage as contrast
from codesage.contrast.vectors import embed, taken
from codesage.corpus.tokens import tokenised
from codesage.corpus.tokens.ragged import Ragged
from codesage.encoder.config import Config
from codesage.encoder.export import export_folder
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_encoder
from codesage.pretrain import examples
from codesage.pretrain import stage as pretrain
from codesage.pretrain.head import summed_cross_entropy
from codesage.records import Document, Pair
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import train as train_tokenizer
from codesage.training import checkpoints, loop, muon, optimizers, precision
from rounding import UNIT, bf16_rounding, distance

CPU = torch.device("cpu")
CONFIG = Config(32, 2, 4, vocab_size=100, max_position_embeddings=64)
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@pytest.fixture(autouse=True, scope="module")
def in_bf16():
    """All runs in this file are in bf16, on every processor."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(precision.VARIABLE, "bf16")
        yield


def encoder_of(config=CONFIG):
    torch.manual_seed(0)
    encoder = Encoder(config).train()
    with torch.no_grad():  # a fresh encoder's vectors are nearly equal; spread them
        encoder.wte.weight.mul_(20)
    return encoder


def documents(count, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 30, count)
    return Ragged(rng.integers(0, 90, lengths.sum()).astype(np.uint16), np.concatenate(([0], lengths.cumsum())))


def masked_batch(windows=6, seed=0):
    ids, rng = documents(windows, seed), np.random.default_rng(seed)
    lengths = np.sort(ids.lengths)
    hidden = np.sort(rng.choice(len(ids.ids), len(ids.ids) // 4, replace=False))
    inputs = ids.ids.astype(np.int64)
    labels = inputs[hidden].copy()
    inputs[hidden] = 99
    return examples.Batch(inputs, labels, hidden, lengths.tolist())


def pair_batch(pairs=8):
    return batches.Batch(documents(pairs, 1), documents(pairs, 2), np.arange(pairs), np.arange(pairs))


def contrast_settings(**changes):
    return contrast.Settings(loop.Settings(30, 3, 1e-2), **{"temperature": 0.5, **changes})


STEPS = {
    "pretrain": lambda encoder, **sizes: pretrain.gradients(encoder, masked_batch(), **{"micro_tokens": 10**6, **sizes}),
    "contrast": lambda encoder, **sizes: contrast.gradients(encoder, contrast_settings(**sizes), pair_batch()),
}


def flat(encoder):
    values = torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])
    encoder.zero_grad(set_to_none=True)
    return values


def step_of(encoder, gradients_of, name):
    """Loss and gradients of a step in a given precision, computed as in the loop."""
    with precision.autocast(name, CPU)():
        loss, _ = gradients_of(encoder)
    return loss.item(), flat(encoder)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("requested", ["", "auto", "bf16", "fp32"])
def test_the_environment_sets_the_default_precision_and_a_run_its_own(monkeypatch, native, requested):
    monkeypatch.setenv(precision.VARIABLE, requested)
    monkeypatch.setattr(precision, "native_bf16", lambda device: native)
    has = {"bf16": True, "fp32": False}.get(requested, native)
    assert precision.has_bf16(CPU) == has and precision.fast_dtype("fp32", CPU) == torch.float32
    assert precision.fast_dtype("auto", CPU) == DTYPES["bf16" if has else "fp32"]
    assert precision.environment()["precision"] == ("bf16" if has else "fp32")
    assert precision.environment()["native_bf16"] == native
    if has:
        assert precision.autocast("bf16", CPU).fast_dtype == torch.bfloat16
    else:
        with pytest.raises(CodesageError, match="no native bf16"):
            precision.autocast("bf16", CPU)


def test_an_unknown_precision_is_one_line(monkeypatch):
    monkeypatch.setenv(precision.VARIABLE, "fp16")
    with pytest.raises(CodesageError, match="CODESAGE_PRECISION is 'fp16', expected one of auto, bf16, fp32"):
        precision.has_bf16(CPU)


@pytest.mark.parametrize("name", DTYPES)
def test_muon_iterates_in_the_precision_of_its_run(monkeypatch, name):
    taken_in, orthogonal = set(), muon.orthogonal
    monkeypatch.setattr(muon, "orthogonal", lambda x, *, dtype: taken_in.add(dtype) or orthogonal(x, dtype=dtype))
    encoder = encoder_of(CONFIG.without_dropout())
    optimizer = optimizers.build(encoder, loop.Settings(3, 1, 1e-2, optimizer="muon", precision=name))
    step_of(encoder, STEPS["pretrain"], name)
    STEPS["pretrain"](encoder)
    optimizer.step()
    assert taken_in == {DTYPES[name]}


def bounds(stage):
    """Bounds for the loss and the gradient.

    A score of Stage II is the cosine of two vectors in bf16, divided by the temperature. So its error is sqrt(2) / temperature
    times theirs. The loss has the same error, and so has the factor e^score in every gradient.
    """
    loss, gradient = bf16_rounding(CONFIG)
    if stage == "pretrain":
        return loss, gradient
    score = 2**0.5 / contrast_settings().temperature * loss
    return score, (gradient**2 + score**2) ** 0.5


@pytest.mark.parametrize("stage", STEPS)
def test_loss_and_gradients_are_those_of_fp32_within_the_rounding(stage):
    encoder = encoder_of(CONFIG.without_dropout())
    (loss, gradient), (expected_loss, expected) = (step_of(encoder, STEPS[stage], name) for name in DTYPES)
    of_loss, of_gradient = bounds(stage)
    assert loss == pytest.approx(expected_loss, rel=of_loss)
    assert UNIT / 64 < distance(gradient, expected) < of_gradient  # it is bf16, and differs from fp32 only by rounding
    assert gradient.dtype == torch.float32


@pytest.mark.parametrize("stage", STEPS)
def test_micro_batches_leave_the_gradients_of_the_whole_batch_in_bf16(stage):
    encoder = encoder_of(CONFIG.without_dropout())
    loss, whole = step_of(encoder, STEPS[stage], "bf16")
    of_loss, of_gradient = bounds(stage)
    for tokens in (60, 40):
        micro_loss, micro = step_of(encoder, partial(STEPS[stage], micro_tokens=tokens), "bf16")
        assert micro_loss == pytest.approx(loss, rel=2 * of_loss)
        assert distance(micro, whole) < 2 * of_gradient  # each has this distance from the gradient in fp32


def test_cached_gradients_are_the_direct_ones_to_the_last_bit_in_bf16():
    encoder, batch, results = encoder_of(), documents(14), []  # with dropout
    rows = cached.micro_batches(batch.lengths.tolist(), tokens=40)
    weights = torch.randn(14, 32)
    for keep in (False, True):
        torch.manual_seed(3)
        with precision.autocast("auto", CPU)():
            loss = cached.backward(
                lambda micro: embed(encoder, taken(batch, micro)),
                rows,
                lambda vectors: (vectors.float() * weights).sum(),
                cached=keep,
            )
        results.append((loss, flat(encoder)))
    assert len(rows) > 3 and torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's tracing reads it
@pytest.mark.parametrize("across", [False, True])
def test_compiled_blocks_compute_in_bf16_what_plain_ones_do(across):
    torch._dynamo.reset()
    plain = encoder_of(CONFIG.without_dropout())
    compiled = copy.deepcopy(plain)
    precision.compile_blocks(compiled, backend="aot_eager", across=across)
    (loss, gradient), (expected_loss, expected) = (step_of(encoder, STEPS["pretrain"], "bf16") for encoder in (compiled, plain))
    of_loss, of_gradient = bounds("pretrain")
    assert loss == pytest.approx(expected_loss, rel=2 * of_loss) and distance(gradient, expected) < 2 * of_gradient


def test_the_vocabulary_loss_leaves_float64_alone():
    torch.manual_seed(0)
    states, weight, labels = torch.randn(10, 8).double(), torch.randn(50, 8).double(), torch.randint(0, 50, (10,))
    results = []
    for context in (precision.Autocast(CPU, None), precision.autocast("bf16", CPU)):
        x, w = states.clone().requires_grad_(), weight.clone().requires_grad_()
        with context():
            value = summed_cross_entropy(x, w, labels)
        value.backward()
        results.append([value.detach(), x.grad, w.grad])
    assert all(torch.equal(*sides) and sides[0].dtype == torch.float64 for sides in zip(*results, strict=True))


class Same:
    """Gives the same batch in every step."""

    def __init__(self, batch):
        self.batch = batch

    def at(self, step, **share):
        return self.batch


BY_HEART = {
    "pretrain": (masked_batch(), STEPS["pretrain"], 0.1),
    "contrast": (pair_batch(), partial(STEPS["contrast"], temperature=0.1), 0.6),
}


@pytest.mark.parametrize("stage", BY_HEART)
def test_one_batch_is_memorised_in_bf16(tmp_path, stage):
    batch, step, bound = BY_HEART[stage]
    encoder = encoder_of(CONFIG.without_dropout())
    run = loop.Run(stage, tmp_path, Same(batch), gradients_of=lambda _: step(encoder))
    facts = loop.train(encoder, loop.Settings(60, 5, 1e-2), run)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] > 10 * bound > 10 * lines[-1]["loss"] and facts["skipped"] == 0


# A model trained in bf16 from its first step to its export.

WORDS = [(verb, noun) for verb in ("open", "close", "read", "write", "find") for noun in ("file", "door", "book", "lock")]
PAIRS = [
    Pair(
        text=f"{verb.capitalize()} the {noun}",
        code=f"def {verb}():\n    {noun}.{verb}()",
        bare_body=f"{noun}.{verb}()\n{verb} += {i}",
        description="",
        language="python",
        name=verb,
        kind="function",
        path="a.py",
        start_line=1,
    )
    for i, (verb, noun) in enumerate(WORDS)
]
TEXTS, BODIES = [pair.text for pair in PAIRS], [pair.bare_body for pair in PAIRS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of the model; it also has that of Stage I, the checkpoints of both, and the exports."""
    root = tmp_path_factory.mktemp("bf16")
    tokenizer = train_tokenizer(TEXTS + BODIES, root / "tokenizer", settings=TokenizerSettings(vocab_size=320))
    sources = [Document(f"a{i}.py", "python", "\n".join(BODIES[i:]), "") for i in range(6)]
    options = tokenised.Settings(text_tokens=32, code_tokens=48, workers=1)
    tokenised.write(sources, PAIRS, tokenizer, root / "tokens", held_out=PAIRS, settings=options)
    tokens, shape = tokenised.open_tokens(root / "tokens"), replace(CONFIG, vocab_size=tokenizer.vocab_size).without_dropout()
    sampling = examples.Settings(max_tokens=64, batch_tokens=256)
    settings = pretrain.Settings(shape, sampling, loop.Settings(10, 2, 5e-3, evaluations=1))
    before = pretrain.run(settings, tokens, tokenizer, root / "stage1", checkpoints=root / "kept")
    sampling = batches.Settings(batch_pairs=16, text_tokens=32, code_tokens=48)
    shallow = contrast.Settings(loop.Settings(20, 4, 2e-2, evaluations=0), sampling, depth=0, negatives="uniform")
    settings = contrast.Settings(
        loop.Settings(30, 4, 5e-3, evaluations=1),
        sampling,
        negatives="mean_one",
        micro_tokens=150,
        residual_scale=0.1,
        first=shallow,
    )
    contrast.run(
        settings,
        tokens,
        load_encoder(before.path),
        tokenizer=tokenizer,
        out=root / "model",
        prepared=contrast.Prepared(before),
        checkpoints=root / "kept",
    )
    export_folder(root / "model", root / "exported")
    return root / "model"


def test_weights_and_moments_stay_in_fp32(model):
    kept = model.parent / "kept"
    files = [model / "model.safetensors", model.parent / "stage1" / "model.safetensors"]
    files += [
        checkpoints.newest(kept / stage).path / name
        for stage in ("pretrain", "contrast")
        for name in (checkpoints.WEIGHTS, checkpoints.OPTIMIZER)
    ]
    for file in files:
        for name, tensor in load_file(file).items():
            if tensor.is_floating_point() and tensor.numel() > 1000:
                assert tensor.dtype == torch.float32, f"{file} {name}"
                finer = (tensor != tensor.bfloat16().float()).sum() / (tensor != 0).sum().clamp(min=1)
                assert finer > 0.9, f"{file} {name} is rounded to bf16"


def test_a_model_trained_in_bf16_scores_exports_and_loads(model):
    facts = json.loads((model / "manifest.json").read_text())["facts"]
    assert facts["contrast"]["mrr"] > 90
    loaded = {name: codesage.load(model.parent / "exported", precision=name) for name in ("torch", "fp32", "int8")}
    vectors = {name: one.encode(BODIES) for name, one in loaded.items()}
    assert (vectors["torch"] * vectors["fp32"]).sum(1).min() >= 0.9999
    assert (vectors["torch"] * vectors["int8"]).sum(1).min() >= 0.99
    for name, one in loaded.items():
        scores = one.encode(TEXTS, kind="text") @ vectors[name].T
        assert (scores.argmax(1) == np.arange(20)).mean() > 0.8, name


def test_vectors_in_bf16_are_those_of_fp32_within_the_rounding(model):
    """So the score during training, computed in bf16, is also that of the model when it is loaded later."""
    encoder, tokenizer = load_encoder(model).eval(), codesage.tokenizer.load(model)
    ids = tokenizer.encode(BODIES, max_tokens=48)
    with torch.no_grad():
        plain = encoder.embed(ids)
        with precision.autocast("auto", CPU)():
            fast = encoder.embed(ids)
    bound, _ = bf16_rounding(encoder.config)
    assert 0 < max(distance(row, whole) for row, whole in zip(fast, plain, strict=True)) < bound
