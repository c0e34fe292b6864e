"""Component analysis: a tiny grid runs, resumes after a kill, equals direct runs; intervals equal reference values."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace

import pytest
import torch
import typer

from codesage import CodesageError
from codesage import tokenizer as tokenizers
from codesage.ablate import cells, measure, report, runs, seeds
from codesage.ablate import grid as grids
from codesage.ablate.commands import ablate
from codesage.ablate.grid import FOLDER
from codesage.contrast import stage as contrast
from codesage.contrast import teacher as teachers
from codesage.corpus.tokens import tokenised
from codesage.encoder.weights import load_encoder
from codesage.evaluate.tasks import RetrievalTask
from codesage.pretrain import stage as pretrain
from codesage.records import Document, Pair
from codesage.tokenizer import Settings as TokenizerSettings
from codesage.tokenizer import train
from codesage.training import loop

WORDS = [(verb, noun) for verb in ("parse", "open", "close", "read", "write") for noun in ("header", "file", "socket", "line")]
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
GRID = """
seeds = [0, 1]
[budget]
stage1_steps = 4
stage2_pairs = 24
[model]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
max_position_embeddings = 64
embedding_dropout_prob = 0.0
attention_dropout_prob = 0.0
residual_dropout_prob = 0.0
[stage1]
micro_tokens = 64
[stage1.examples]
max_tokens = 32
batch_tokens = 64
[stage1.loop]
learning_rate = 1e-3
precision = "fp32"
[stage2]
negatives = "uniform"
[stage2.batches]
batch_pairs = 8
text_tokens = 16
code_tokens = 32
[stage2.loop]
learning_rate = 1e-3
precision = "fp32"
[evaluation]
held_out = 20
text_tokens = 16
code_tokens = 32
[[rows]]
name = "base"
headline = true
[[rows]]
name = "masking"
stage1 = {examples = {objective = "masking"}}
[[rows]]
name = "scratch"
stage1 = false
stage2 = {negatives = "softmax"}
[[claims]]
says = "Both objectives beat one"
higher = "base"
lower = "masking"
"""


class Sentences:
    """A teacher that needs no model."""

    name, fingerprint = "length", "0"

    def encode(self, texts):
        return [[len(text), 1.0, text.count("e")] for text in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer, tokens with documents, pairs and held-out pairs, and a grid."""
    home = tmp_path_factory.mktemp("ablate")
    tokenizer = train([p.text + p.code for p in PAIRS], home / "tokenizer", settings=TokenizerSettings(vocab_size=300))
    documents = [Document(f"{i}.py", "python", pair.code * 3, "") for i, pair in enumerate(PAIRS)]
    tokenised.write(
        documents,
        PAIRS,
        tokenizer,
        home / "tokens",
        held_out=PAIRS,
        settings=tokenised.Settings(text_tokens=32, code_tokens=48, workers=1),
    )
    (home / "grid.toml").write_text(GRID)
    return home


def request(folder, out, **changes):
    return runs.Request(
        **{
            "grid": folder / "grid.toml",
            "tokens": folder / "tokens",
            "tokenizer": folder / "tokenizer",
            "out": out,
            "threads": 1,
        }
        | changes
    )


def edited(folder, text, name="other.toml"):
    (folder / name).write_text(GRID + text)
    return folder / name


@pytest.fixture(scope="module")
def finished(folder):
    """A grid that ran to its end in this process, and what each cell said."""
    plan, inputs = request(folder, folder / "out").opened()
    said = []
    assert runs.work(plan, inputs, say=said.append)
    return plan, inputs, said


def test_a_grid_leaves_one_record_for_each_run_and_no_model(finished):
    plan, _, said = finished
    assert len(plan.cells) == 10 == len(said)  # two Stage I and three Stage II, two seeds each
    assert len(list((plan.folder / "runs").iterdir())) == 10
    records = {name: plan.record(name) for name in plan.cells}
    assert all(set(record["figures"]) == {"held-out", "held-out bodies"} for record in records.values())
    assert {record["facts"]["steps"] for record in records.values() if record["stage"] == "stage1"} == {4}
    assert {record["facts"]["pairs_seen"] for record in records.values() if record["stage"] == "stage2"} == {24}
    assert not list((plan.folder / "models").iterdir()) and not list((plan.folder / "checkpoints").iterdir())


def test_cells_equal_direct_runs_of_the_stations(finished, tmp_path):
    plan, inputs, _ = finished
    row = plan.grid.rows[1]
    first = pretrain.run(plan.grid.pretraining(row, 1), inputs.tokens, inputs.tokenizer, tmp_path / "first")
    second = contrast.run(
        plan.grid.contrasting(row, 1),
        inputs.tokens,
        load_encoder(first.path),
        tokenizer=inputs.tokenizer,
        out=tmp_path / "second",
        prepared=contrast.Prepared(first),
    )
    settings = measure.settings_of(plan.grid.evaluation)
    for stage, artifact, part in (("stage1", first, "pretrain"), ("stage2", second, "contrast")):
        record = plan.record(plan.of_row["masking", 1][stage])
        assert record["facts"]["loss"] == artifact.facts[part]["loss"]
        assert record["figures"] == measure.scores(load_encoder(artifact.path), inputs.tokens, inputs.tokenizer, settings, {})


def test_a_finished_grid_does_nothing_again_and_an_edited_row_alone_is_run(finished, folder):
    plan, inputs, _ = finished
    said = []
    assert runs.work(plan, inputs, say=said.append) and not said
    more = edited(folder, '[[rows]]\nname = "mean"\nseeds = [0]\nstage2 = {negatives = "mean_one"}\n')
    plan, inputs = request(folder, plan.folder, grid=more).opened()
    assert runs.work(plan, inputs, say=said.append)
    assert [line.split(" (")[0].rsplit(":", 1)[0] for line in said] == ["base, stage1, seed 0", "mean, stage2, seed 0"]


def test_a_worker_saves_its_run_when_its_parent_dies(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(runs, "die_with", lambda parent, by: calls.append((parent, by)))
    monkeypatch.setattr(runs.Request, "opened", lambda request, verify: ())
    monkeypatch.setattr(runs, "_work_here", lambda request: calls.append(request))
    request = runs.Request(*[tmp_path] * 4)
    runs._worker(request, 123)
    assert calls == [(123, signal.SIGTERM), request]


def test_a_worker_without_memory_of_the_gpu_ends_in_one_line(folder, tmp_path, monkeypatch, capfd):
    def full(*words, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 8 GiB.")

    monkeypatch.setattr(cells, "run", full)
    with pytest.raises(SystemExit) as ended:
        runs._worker(request(folder, tmp_path), 0)
    assert ended.value.code == 1 and "so one of the processes ends: CUDA out of memory\n" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()  # the next command tries it again


def test_a_killed_grid_resumes_within_a_cell(folder, tmp_path):
    """SIGKILL in the middle of a training: its checkpoint is used, and the results are those of an undisturbed run."""
    out, slow = tmp_path / "out", folder / "slow.toml"
    slow.write_text(
        GRID.replace("stage1_steps = 4", "stage1_steps = 30")
        .replace("seeds = [0, 1]", "seeds = [0]")
        .replace("[stage2]\n", "checkpoint_steps = 5\n[stage2]\n")
    )
    paths = ", ".join(f"Path({str(path)!r})" for path in (slow, folder / "tokens", folder / "tokenizer", out))
    script = (
        "from pathlib import Path; from codesage.ablate import runs; "
        f"asked = runs.Request({paths}, threads=1); runs.run(asked, *asked.opened())"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    while not list(out.glob("checkpoints/*/pretrain/step-*")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not list(out.glob("runs/*"))
    plan, inputs = request(folder, out, grid=slow).opened()
    assert runs.work(plan, inputs)
    assert "".join(path.read_text() for path in (out / "logs").iterdir()).count("resuming from") == 1
    whole, _ = request(folder, tmp_path / "whole", grid=slow).opened()
    assert runs.work(whole, inputs)
    for name in plan.cells:
        one, other = plan.record(name), whole.record(name)
        assert one["figures"] == other["figures"] and one["facts"]["loss"] == other["facts"]["loss"]


def test_a_signal_ends_a_cell_with_a_checkpoint(folder, tmp_path, monkeypatch):
    plan, inputs = request(folder, tmp_path).opened()
    rate_at, asked = loop.rate_at, []

    def interrupted(settings, used):
        if used == 0.5 and not asked:
            asked.append(os.kill(os.getpid(), signal.SIGTERM))
        return rate_at(settings, used)

    monkeypatch.setattr(loop, "rate_at", interrupted)
    assert not runs.work(plan, inputs) and asked and not (tmp_path / "runs").exists()
    assert [path.name for path in tmp_path.glob("checkpoints/*/pretrain/step-*")] == ["step-000000003"]
    assert runs.work(plan, inputs)
    assert "".join(path.read_text() for path in (tmp_path / "logs").iterdir()).count("resuming from") == 1


def test_two_processes_never_run_the_same_cell_and_wait_for_each_other(folder, tmp_path):
    (folder / "one.toml").write_text(GRID.replace("seeds = [0, 1]", "seeds = [0]"))
    asked = request(folder, tmp_path / "out", grid=folder / "one.toml")
    assert runs.run(asked, *asked.opened(), parallel=2)
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 5
    logs = [path.read_text() for path in (tmp_path / "out" / "logs").iterdir()]
    assert len(logs) == 5 and all("resuming" not in log for log in logs)


def test_a_claimed_cell_is_left_to_its_process(folder, tmp_path):
    from filelock import FileLock

    plan, inputs = request(folder, tmp_path).opened()
    (tmp_path / "locks").mkdir()
    cell = next(iter(plan.cells.values()))
    with FileLock(tmp_path / "locks" / f"{cell.name}.lock"):
        assert not runs._tried(plan, cell, inputs, print)
    dependent = plan.cells[plan.of_row["base", 0]["stage2"]]
    assert not runs._tried(plan, dependent, inputs, print)  # its Stage I is not there yet


def test_time_that_is_up_ends_the_work(folder, tmp_path):
    plan, inputs = request(folder, tmp_path).opened()
    before = signal.getsignal(signal.SIGTERM)
    assert not runs.work(plan, inputs, seconds=1e-3)
    assert signal.getsignal(signal.SIGTERM) == before
    assert runs.work(plan, inputs)


def test_rows_with_a_teacher_a_filter_dropout_and_a_lexical_start(folder, tmp_path):
    rows = """
[[rows]]
name = "teacher"
stage2 = {teacher = true}
[[rows]]
name = "filter"
stage2 = {filter = {row = "base", top = 2, pool = 10}}
[[rows]]
name = "unimodal"
stage2 = {dropout = 0.1, positives = "dropout"}
[[rows]]
name = "words"
stage1 = false
stage2 = {initial = "lexical"}
"""
    file = edited(folder, rows, "rows.toml")
    file.write_text(file.read_text().replace("seeds = [0, 1]", "seeds = [3]"))
    with pytest.raises(CodesageError, match="teacher learns from a teacher: give --teacher"):
        request(folder, tmp_path / "out", grid=file).opened()
    plan, inputs = request(folder, tmp_path / "plain").opened()
    teachers.write(Sentences(), inputs.tokens, inputs.tokenizer, tmp_path / "teacher")
    plan, inputs = request(folder, tmp_path / "out", grid=file, teacher=tmp_path / "teacher").opened()
    assert runs.work(plan, inputs)
    losses = {row.name: plan.record(plan.of_row[row.name, 3]["stage2"])["facts"]["loss"] for row in plan.grid.rows}
    assert len(set(losses.values())) == len(losses)


def test_a_stopped_cell_does_not_judge_its_pairs_again(folder, tmp_path, monkeypatch):
    """Judging takes as long as encoding all pairs, which may be most of a piece of some minutes."""
    file = edited(folder, '[[rows]]\nname = "filter"\nstage2 = {filter = {row = "base", top = 2, pool = 10}}\n', "filter.toml")
    file.write_text(file.read_text().replace("seeds = [0, 1]", "seeds = [0]"))
    plan, inputs = request(folder, tmp_path, grid=file).opened()
    judged, trained, consistent = [], contrast.run, cells.filtering.consistent

    def counted(*words):
        judged.append(consistent(*words))
        return judged[-1]

    def stopped(*words, prepared, **options):
        if prepared.keep is not None:
            raise runs.Stopped
        return trained(*words, prepared=prepared, **options)

    monkeypatch.setattr(cells.filtering, "consistent", counted)
    monkeypatch.setattr(cells.contrast, "run", stopped)
    assert not runs.work(plan, inputs) and len(judged) == 1
    monkeypatch.setattr(cells.contrast, "run", trained)
    assert runs.work(plan, inputs) and len(judged) == 1
    assert not list((tmp_path / "filters").iterdir())


def test_a_training_that_fails_is_recorded_and_so_are_those_that_need_it(folder, tmp_path, monkeypatch, capsys):
    trained = cells.pretrained

    def failing(plan, cell, inputs, out):
        if cell.row.name == "masking":
            raise CodesageError("the loss is not finite")
        return trained(plan, cell, inputs, out)

    monkeypatch.setattr(cells, "pretrained", failing)
    plan, inputs = request(folder, tmp_path).opened()
    assert runs.work(plan, inputs)
    first, second = (plan.record(plan.of_row["masking", 0][stage]) for stage in ("stage1", "stage2"))
    assert first["failed"] == "the loss is not finite" and "starts from failed" in second["failed"]
    written = report.write(plan)
    assert written.text.count("- masking, stage") == 4 and "6 of 10 runs are finished, 4 failed, " in written.text
    assert (written.finished, written.failed) == (6, 4)
    data = json.loads((tmp_path / "report.json").read_text())
    assert (data["runs"], data["finished"], data["failed"]) == (10, 6, 4)
    lines = report.listed(plan)
    assert sum(line.startswith("failed    stage") for line in lines) == 4 and lines[-1] == "6 of 10 runs are finished, 4 failed"
    options = {"grid": str(folder / "grid.toml"), "tokenizer": folder / "tokenizer", "out": tmp_path}
    with pytest.raises(typer.Exit) as ended:
        ablate(folder / "tokens", **options)
    assert ended.value.exit_code == 1
    assert f"4 failed: to repeat a failed run, remove its file in {tmp_path / 'runs'}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("held_out = 20\ntext_tokens = 16\ncode_tokens = 32", "held_out = 20"),  # the default is 256 tokens
         "base: evaluation reads 256 tokens, but the encoder has 64 positions"),
        (("held_out = 20\ntext_tokens = 16", "held_out = 20\ntext_tokens = 65"), "base: evaluation reads 65 tokens"),
        (('name = "scratch"', 'name = "scratch"\nmodel = {max_position_embeddings = 31}'),
         "scratch: code_tokens is 32, but the encoder has 31 positions: lower code_tokens"),
        (("micro_tokens = 64\n[stage1.examples]\nmax_tokens = 32\nbatch_tokens = 64",
          "micro_tokens = 65\n[stage1.examples]\nmax_tokens = 65\nbatch_tokens = 65"),
         "base: windows of 65 tokens, but the encoder has 64 positions"),
        (('negatives = "softmax"', "batches = {code_tokens = 48}, dropout = 0.1, matryoshka_dims = [3]"), "scratch: .*widths"),
        (('negatives = "softmax"', 'positives = "dropout"'), "scratch: positives are 'dropout', but the encoder has no"),
        (('negatives = "softmax"', "batches = {neighbours = 4}"), "scratch: neighbours are found with a teacher's vectors"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_work_is_refused_before_anything_is_trained(folder, tmp_path, change, message):
    assert change[0] in GRID
    (tmp_path / "grid.toml").write_text(GRID.replace(*change, 1))
    with pytest.raises(CodesageError, match=message):
        request(folder, tmp_path / "out", grid=tmp_path / "grid.toml").opened()


def test_tokens_without_held_out_pairs_are_refused_before_anything_is_trained(folder, tmp_path):
    tokenizer = tokenizers.load(folder / "tokenizer")
    settings = tokenised.Settings(text_tokens=32, code_tokens=48, workers=1)
    tokenised.write([Document("a.py", "python", "a = 1\n" * 9, "")], PAIRS, tokenizer, tmp_path / "tokens", settings=settings)
    with pytest.raises(CodesageError, match="holds out 0 pairs, expected two or more to measure"):
        request(folder, tmp_path / "out", tokens=tmp_path / "tokens").opened()


def test_the_report_says_what_differs(finished):
    plan, _, _ = finished
    written = report.write(plan)
    data = json.loads((plan.folder / "report.json").read_text())
    assert written.finished == 10 and (plan.folder / "report.md").read_text() == written.text + "\n"
    base = next(row for row in data["rows"] if row["name"] == "base")
    values = base["figures"]["stage2"]["held-out"]
    assert base["means"]["stage2"]["held-out"]["value"] == pytest.approx(sum(values) / 2, abs=1e-3)
    assert [one["metric"] for one in data["claims"][0]["found"]] == ["held-out", "held-out bodies"]
    assert "| **base** | 2 of 2 |" in written.text and "25.8 / 23.3 / 30.5" in written.text


@pytest.mark.parametrize(
    ("higher", "lower", "verdict"),
    [
        ([10.0, 11, 12], [1.0, 2, 3], "agrees"),
        ([1.0, 2, 3], [10.0, 11, 12], "disagrees"),
        ([1.0, 5, 9], [2.0, 4, 8], "none"),
        ([10.0], [1.0], "open"),
    ],
)
def test_claims_are_judged_by_intervals(higher, lower, verdict):
    claim = grids.Claim("one beats the other", "one", "other")
    figures = {"one": {"stage2": {"held-out": higher}}, "other": {"stage2": {"held-out": lower}}}
    (judged,) = report.judge(claim, figures, "stage2")
    assert judged.verdict == verdict


def test_a_claim_about_stage_two_waits_for_it(folder, tmp_path):
    """Rows with the same Stage I share its runs: their difference is 0 until Stage II of both is finished."""
    text = '[[rows]]\nname = "softmax"\nstage2 = {negatives = "softmax"}\n'
    text += '[[claims]]\nsays = "Weights help"\nhigher = "softmax"\nlower = "base"\n'
    plan, _ = request(folder, tmp_path / "out", grid=edited(folder, text, "weights.toml")).opened()
    (tmp_path / "out/runs").mkdir(parents=True)

    def finish(row, stage, *figures):
        for seed, figure in enumerate(figures):
            name = plan.of_row[row, seed][stage]
            record = {"cell": name, "stage": stage, "row": row, "seed": seed, "figures": {"held-out": figure}}
            (tmp_path / f"out/runs/{name}.json").write_text(json.dumps(record))

    finish("base", "stage1", 10.0, 11.0)
    finish("base", "stage2", 20.0, 21.0)
    assert plan.of_row["softmax", 0]["stage1"] == plan.of_row["base", 0]["stage1"]
    assert "- **Weights help**: not measured yet." in report.write(plan).text
    finish("softmax", "stage2", 30.0)
    assert "- **Weights help**, after Stage II: open: held-out functions, whole +9.5 (one seed)." in report.write(plan).text
    finish("softmax", "stage2", 30.0, 31.0)
    found = "agrees: held-out functions, whole +10.0 (+7.0 to +13.0)"
    assert f"- **Weights help**, after Stage II: {found}." in report.write(plan).text


@pytest.mark.parametrize(
    ("share", "freedom", "t"),
    [  # tables of Student's distribution; 1 and 2 in closed form
        (0.975, 1, math.tan(math.pi * 0.475)),
        (0.975, 2, 0.95 * math.sqrt(2 / (1 - 0.95**2))),
        (0.975, 3, 3.182446),
        (0.975, 4, 2.776445),
        (0.975, 10, 2.228139),
        (0.975, 30, 2.042272),
        (0.95, 5, 2.015048),
        (0.995, 8, 3.355387),
        (0.5, 7, 0.0),
    ],
)
def test_quantiles_of_t(share, freedom, t):
    assert seeds.t_quantile(share, freedom) == pytest.approx(t, rel=1e-6, abs=1e-9)


def test_quantiles_of_fractional_freedom_equal_an_integral():
    freedom, t = 2.5, seeds.t_quantile(0.975, 2.5)
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    steps, width = 20_000, t / 20_000
    area = sum(constant * (1 + ((i + 0.5) * width) ** 2 / freedom) ** (-(freedom + 1) / 2) * width for i in range(steps))
    assert 0.5 + area == pytest.approx(0.975, abs=1e-8)


def test_intervals_by_hand():
    interval = seeds.mean([1.0, 2.0, 3.0])
    assert (interval.value, interval.high - interval.value) == (2.0, pytest.approx(4.302653 / math.sqrt(3), rel=1e-6))
    gap = seeds.difference([20.1, 21.3, 19.8, 20.6], [18.2, 19.9, 17.1])  # variances 0.43 and 1.99
    parts = [0.43 / 4, 1.99 / 3]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)
    assert gap.value == pytest.approx(20.45 - 18.4) and gap.count == 3
    half = seeds.t_quantile(0.975, freedom) * math.sqrt(sum(parts))
    assert gap.high - gap.value == pytest.approx(half, rel=1e-5) and not gap.decided
    assert seeds.difference([2.0, 2.0], [1.0, 1.0]).decided and not seeds.difference([2.0], [1.0]).decided
    for call in (lambda: seeds.mean([]), lambda: seeds.difference([1.0], []), lambda: seeds.t_quantile(1.0, 2)):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("stage1_steps = 4", ""), "needs stage1_steps or stage1_tokens"),
        (("stage1_steps = 4", "stage1_steps = 4\nstage1_tokens = 9"), "needs stage1_steps or stage1_tokens"),
        (('name = "masking"', 'name = "base"'), "two rows are called 'base'"),
        (('objective = "masking"', 'objective = "maksing"'), "masking: stage1.examples: objective is 'maksing'"),
        (('objective = "masking"', 'objektive = "masking"'), "unknown setting 'objektive'"),
        (('negatives = "softmax"', "loop = {steps = 9}"), "scratch: stage2.loop sets steps: the budget is the same"),
        (('lower = "masking"', 'lower = "nothing"'), "names the row 'nothing'"),
        (("[[claims]]", "[[klaims]]"), "unknown table 'klaims'"),
        (("seeds = [0, 1]", "seeds = [0, 0]"), "seeds are"),
        (('negatives = "softmax"', 'filter = {row = "later"}'), "filter.row is 'later'"),
        (("seeds", "seeds = = 1\nseeds"), "is not TOML"),
        (("seeds = [0, 1]", "seeds = [0.5]"), r"the grid: seeds are \[0.5\]: expected at least one whole number"),
        (("seeds = [0, 1]", "seeds = 3"), "the grid: seeds are 3"),
        (("headline = true", 'seeds = ["a"]'), r"base: seeds are \['a'\]"),
        (("headline = true", "seeds = [-1]"), r"base: seeds are \[-1\]"),
        (("headline = true", "stage2 = 3"), "base: stage2 is 3: expected a table"),
        (("headline = true", "stage1 = true"), "base: stage1 is True: expected a table"),
        (("headline = true", "model = 3"), "base: model is 3: expected a table"),
        (("headline = true", "stage1 = {examples = 3}"), "base: stage1.examples is 3: expected a table"),
        (("headline = true", "stage1 = {loop = 3}"), "base: stage1.loop is 3: expected a table"),
        (("headline = true", "stage2 = {batches = 3}"), "base: stage2.batches is 3: expected a table"),
        (("headline = true", "stage2 = {batches = {augment = 3}}"), "base: stage2.batches.augment is 3: expected a table"),
        (("headline = true", "stage2 = {filter = 3}"), "base: stage2.filter is 3: expected a table"),
        (("headline = true", "stage2 = {filter = {tops = 3}}"), "base: stage2.filter: unknown setting 'tops'"),
        (("headline = true", "stage2 = {first = {depth = 0}}"), "base: stage2: unknown setting 'first'"),
        (("headline = true", "stage1 = {encoder = {}}"), "base: stage1: unknown setting 'encoder'"),
        (
            ("headline = true", "stage1 = {loop = {guard = {windows = 3}}}"),
            "base: stage1.loop.guard: unknown setting 'windows'",
        ),
        (("headline = true", 'stage1 = {loop = {learning_rate = "x"}}'), "loop.learning_rate is 'x': expected a number"),
        (
            ("headline = true", "stage1 = {loop = {learning_rate = nan}}"),
            "stage1.loop.learning_rate is nan: expected finite",
        ),
        (("headline = true", "stage2 = {batches = {kinds = {function = inf}}}"), "kinds is {'function': inf}: expected finite"),
        (("headline = true", "stage2 = {micro_tokens = 0.5}"), "base: stage2.micro_tokens is 0.5: expected a whole number"),
        (("headline = true", 'stage2 = {dropout = "x"}'), "base: stage2.dropout is 'x': expected a number"),
        (("headline = true", "stage2 = {teacher = 1}"), "base: stage2.teacher is 1: expected true or false"),
        (("headline = true", 'stage2 = {initial = "x"}'), "base: stage2: initial is 'x'"),
        (("stage1_steps = 4", 'stage1_steps = "x"'), "budget.stage1_steps is 'x': expected a whole number"),
        (("stage1_steps = 4", "stage1_steps = 4\nwarmup = 0.1"), "budget: unknown setting 'warmup'"),
        (("held_out = 20", "held_out = 20\n[claim]"), "unknown table 'claim'"),
        (("higher = ", "metrics = 3\nhigher = "), "the claim 'Both objectives beat one'.metrics is 3: expected a list"),
    ],
)
def test_a_wrong_grid_is_refused_in_one_line(tmp_path, change, message):
    assert change[0] in GRID
    (tmp_path / "grid.toml").write_text(GRID.replace(*change, 1))
    with pytest.raises(CodesageError, match=message) as caught:
        grids.read(tmp_path / "grid.toml")
    assert "\n" not in str(caught.value) and "grid.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["budget", "model", "stage1", "stage2", "evaluation", "rows", "claims"])
def test_tables_that_are_none_are_refused(name):
    with pytest.raises(CodesageError, match=f"{name}.* is 3: expected"):
        grids.parsed({**tomllib.loads(GRID), name: 3})


@pytest.mark.parametrize("name", ["reduced", "full"])
def test_the_grids_that_ship_hold_the_same_rows_on_one_budget(name):
    grid = grids.read(FOLDER / f"{name}.toml")
    other = grids.read(FOLDER / "reduced.toml")
    assert [row.name for row in grid.rows] == [row.name for row in other.rows] and grid.claims == other.claims
    assert all(len(row.seeds) >= 3 for row in grid.rows if row.headline)
    plain = grid.pretraining(grid.rows[0], 0).loop
    for row in grid.rows:
        first, second = grid.pretraining(row, 0), grid.contrasting(row, 0)
        assert first is None or first.loop.steps == plain.steps
        pairs = second.loop.steps * second.batches.batch_pairs
        assert pairs == pytest.approx(grid.budget["stage2_pairs"], rel=0.05)
    negatives = {grid.contrasting(row, 0).negatives for row in grid.rows}
    assert negatives == {"uniform", "softmax", "mean_one"}


def test_settings_that_move_no_weight_do_not_rename_a_cell(folder, tmp_path):
    plan, inputs = request(folder, tmp_path).opened()
    base = {**plan.grid.base, "stage1": grids.merged(plan.grid.base["stage1"], {"micro_tokens": 128, "loop": {"keep": 5}})}
    assert list(cells.plan(replace(plan.grid, base=base), inputs, tmp_path).cells) == list(plan.cells)
    base = {**base, "stage1": grids.merged(base["stage1"], {"loop": {"learning_rate": 2e-3}})}
    assert not set(cells.plan(replace(plan.grid, base=base), inputs, tmp_path).of_row["base", 0].values()) & set(plan.cells)


def test_other_items_of_a_data_set_rename_the_cells(folder, tmp_path):
    plan, inputs = request(folder, tmp_path).opened()
    task = RetrievalTask("t", ["a"], ["x", "y"], [0])
    sets = ({}, {"T": [task]}, {"T": [replace(task, relevant=[1])]}, {"T": [task, task]})
    named = [set(cells.plan(plan.grid, replace(inputs, benchmarks=one), tmp_path).cells) for one in sets]
    assert named[0] == set(plan.cells) and len(set.union(*named)) == 4 * len(plan.cells)


def test_a_grid_measures_no_search_in_repositories():
    with pytest.raises(CodesageError, match="unknown data set 'repository-search': expected cosqa, .*runtime-error$"):
        measure.settings_of({"sets": ["cosqa", "repository-search"]})


def test_samples_keep_every_answer():
    task = RetrievalTask("t", [f"q{i}" for i in range(30)], [f"c{i}" for i in range(50)], list(range(30)))
    settings = measure.Settings(most_queries=5, most_candidates=12)
    small = measure.sampled(task, settings)
    assert len(small.queries) == 5 and len(small.candidates) == 12
    assert [small.candidates[row][1:] for row in small.relevant] == [query[1:] for query in small.queries]
    assert measure.sampled(task, measure.Settings()) is task


def test_dropout_is_changed_and_weights_are_not(finished):
    from codesage.encoder.model import Encoder

    plan, _, _ = finished
    encoder = Encoder(plan.grid.encoder(plan.grid.rows[0]))
    changed = cells.with_dropout(encoder, 0.1)
    assert changed.config.residual_dropout_prob == 0.1 and cells.with_dropout(encoder, 0.0) is encoder
    torch.testing.assert_close(changed.state_dict(), encoder.state_dict(), rtol=0, atol=0)


def test_the_command(folder, tmp_path, capsys):
    options = {"grid": str(folder / "grid.toml"), "tokenizer": folder / "tokenizer", "out": tmp_path / "out"}
    ablate(folder / "tokens", **options, dry_run=True)
    assert capsys.readouterr().out.endswith("0 of 10 runs are finished\n") and not (tmp_path / "out").exists()
    ablate(folder / "tokens", **options, minutes=1e-6)
    told = capsys.readouterr()
    assert told.err.endswith("0 of 10 runs are finished: repeat the command to resume\n") and "not measured yet" in told.out
    with pytest.raises(CodesageError, match=r"^none.toml cannot be read"):
        ablate(folder / "tokens", **options | {"grid": "none.toml"})
    (tmp_path / "file").write_text("")
    with pytest.raises(CodesageError, match=r"/file cannot be written .* is a file\): choose another --out"):
        ablate(folder / "tokens", **options | {"out": tmp_path / "file"})


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"figures": {}}', '{"scores": 1}'])
def test_a_damaged_record_is_one_line_and_no_finished_run(finished, tmp_path, content):
    plan, _, _ = finished
    name = next(iter(plan.cells))
    broken = replace(plan, folder=tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / f"runs/{name}.json").write_text(content)
    with pytest.raises(CodesageError, match=rf"runs/{name}.json is damaged \(.*\): remove it to run it again"):
        report.write(broken)
    (tmp_path / f"runs/{name}.json").unlink()
    assert broken.record(name) is None
