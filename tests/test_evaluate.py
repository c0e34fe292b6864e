"""Evaluation: all benchmarks in one command, intervals and differences, comparison of reports, and bad data."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from codesage import CodesageError
from codesage.classify.folds import Validated, macro_f1
from codesage.evaluate import intervals, local, models, reports, sets
from codesage.evaluate.commands import evaluate
from codesage.evaluate.tasks import ClassificationTask, CloneTask, GroupTask, Question, Repository, RetrievalTask, Target


def test_an_interval_holds_the_mean_and_narrows_with_more_queries():
    rng = np.random.default_rng(0)
    few, many = rng.random(50), rng.random(5000)
    widths = []
    for values in (few, many):
        low, high = intervals.interval(intervals.bootstrap([values]))
        assert low < values.mean() < high
        widths.append(high - low)
    expected = [2 * 1.96 * values.std() / len(values) ** 0.5 for values in (few, many)]  # by the normal approximation
    assert widths == pytest.approx(expected, rel=0.1)


def test_tasks_have_equal_weight_and_systems_share_resamples():
    one, other = np.zeros(10), np.ones(1000)
    assert intervals.bootstrap([one, other]) == pytest.approx(0.5)
    values = np.random.default_rng(1).random(300)
    moved = intervals.bootstrap([values + 0.1]) - intervals.bootstrap([values])
    assert moved == pytest.approx(0.1)  # paired: both use the same draws
    assert intervals.chance(moved) == 1 / intervals.SAMPLES
    assert intervals.chance(intervals.bootstrap([values - values.mean()])) > 0.3


def macro_f1_of_rows(values, rows):
    runs = [values[rows][values[rows, run] >= 0][:, [0, run]] for run in range(1, values.shape[1])]
    return np.mean([macro_f1(run[:, 1].tolist(), run[:, 0].tolist()) for run in runs])


def f1_of_rows(values, rows):
    same, called = values[rows].T
    return 2 * (same & called).sum() / max(1, same.sum() + called.sum())


@pytest.mark.parametrize("kind", ["macro F1", "F1"])
def test_f1_is_resampled_by_rows_as_in_a_plain_loop(kind):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (40, 3)) if kind == "macro F1" else rng.random((40, 2)) < 0.5
    if kind == "macro F1":
        values[:25, 1] = values[25:, 2] = -1  # each row is in one run, as in folds
        values[:, 0] %= 3  # a label that is only predicted
    plain = macro_f1_of_rows if kind == "macro F1" else f1_of_rows
    assert intervals.figure([values]) == pytest.approx(plain(values, np.arange(40)))
    draws = np.random.default_rng((0, 0)).integers(0, 40, (30, 40))
    assert intervals.bootstrap([values], samples=30) == pytest.approx([plain(values, rows) for rows in draws])


def test_runs_on_the_same_rows_are_no_further_rows():
    """Three seeds that predict alike are as uncertain as one; the figure is that of `Validated`."""
    rng, labels = np.random.default_rng(0), ["a", "b", "c"] * 40
    predicted = [label if rng.random() < 0.6 else "a" for label in labels]
    test = np.arange(30, 120)
    one, three = (Validated(labels, [(test, predicted[30:])] * runs) for runs in (1, 3))
    assert one.outcomes().shape == (90, 2) and intervals.figure([one.outcomes()]) == pytest.approx(one.macro_f1[0])
    np.testing.assert_allclose(intervals.bootstrap([one.outcomes()]), intervals.bootstrap([three.outcomes()]))
    folds = Validated(labels, [(np.arange(60), predicted[:60]), (np.arange(60, 120), predicted[60:])])
    assert 100 * intervals.figure([folds.outcomes()]) == pytest.approx(folds.figures()["macro F1"], abs=0.01)
    perfect = Validated(labels[:12], [(np.arange(start, start + 3), labels[start : start + 3]) for start in range(0, 12, 3)])
    assert set(intervals.bootstrap([perfect.outcomes()])) == {1.0}  # also where a sample has no row of a run
    low, high = intervals.interval(intervals.bootstrap([folds.outcomes()]))
    assert low < np.mean(folds.macro_f1) < high and 0.05 < high - low < 0.3


def benchmarks(folder):
    """A few rows in the layout of each of the four benchmarks."""
    words = ["read a file", "open the door", "sum two numbers", "sort the list"]
    code = [
        "def read_file(path): return open(path).read()",
        "def open_door(door): door.open()",
        "def sum_numbers(a, b): return a + b",
        "def sort_list(items): return sorted(items)",
    ]
    rows = {
        "cosqa/queries": [{"query_id": i, "query": text, "code_id": i} for i, text in enumerate(words)],
        "cosqa/codebase": [{"code_id": i, "code": text} for i, text in enumerate(code)],
        "mbxp/python": [{"task": i, "entry_point": "f", "code": text} for i, text in enumerate(code)],
        "mbxp/java": [{"task": i, "entry_point": "f", "code": text + ";"} for i, text in enumerate(code)],
        "java-csharp/valid": [{"java": text, "csharp": text + ";"} for text in code],
        "codecomplex/test": [{"language": "java", "code": f"{code[i % 2]} # {i}", "label": "ab"[i % 2]} for i in range(20)],
    }
    for name, lines in rows.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return benchmarks(tmp_path_factory.mktemp("benchmarks"))


def run(*words):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.mark.parametrize(
    ("device", "message"), [("cuda", "torch sees no GPU for device cuda"), ("gpu", "unknown device 'gpu'")]
)
def test_another_library_is_not_asked_for_a_device_that_is_not_there(tmp_path, device, message):
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(CodesageError, match=message):
        models.load(str(tmp_path), device=device)


def test_one_command_measures_everything_and_compares_with_a_report(data, tmp_path):
    done = run("default", "--benchmarks", data, "--out", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "| MRR x 100 | CoSQA | MBXP, names masked | Java and C# |"
    assert done.stderr.splitlines()[:2] == ["CoSQA: task 1 of 4", "default: encoding 4 texts"]
    assert (
        "| BM25 words | 100.0 (100.0 to 100.0) |" in done.output
        and "| default + BM25 | 100.0 (100.0 to 100.0) |" in done.output
    )
    assert "against default:\nCoSQA, BM25: +0.0 (+0.0 to +0.0, p = 1.000): no difference" in done.stdout
    assert "\nCodeComplex, BM25 words: +0.0 (+0.0 to +0.0, p = 1.000): no difference" in done.stdout
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["tasks"]["MBXP, names masked"] == {"tasks": 2, "queries": 8, "candidates": 8}
    assert report["classification"]["CodeComplex"]["default"]["low"] == 100.0 and "CodeComplex" not in report["figures"]
    assert report["tasks"]["CodeComplex"] == {"rows": 20, "labels": 2} and report["versions"]["numpy"]
    again = run("default", "--benchmarks", data, "--task", "cosqa", "--against", tmp_path / "a.json")
    assert "CoSQA, default: +0.0 (+0.0 to +0.0, p = 1.000): no difference" in again.output and "MBXP" not in again.output
    told = run("default", "static", "--benchmarks", data, "--task", "codecomplex", "--against", tmp_path / "a.json")
    assert "CodeComplex, default: +0.0 (+0.0 to +0.0, p = 1.000): no difference" in told.output
    assert "CodeComplex, static: not compared, the earlier report has no predictions or ranks of it" in told.output


def test_the_report_is_on_disk_before_it_is_printed(data, tmp_path, monkeypatch):
    """What measuring took hours for is not lost when the reader of a pipe, such as `head`, is gone."""

    def gone(text: str = "", *, err: bool = False) -> None:
        if not err:
            raise BrokenPipeError

    monkeypatch.setattr(typer, "echo", gone)
    done = run("static", "--benchmarks", data, "--task", "java-csharp", "--out", tmp_path / "a.json")
    assert isinstance(done.exception, BrokenPipeError)
    assert json.loads((tmp_path / "a.json").read_text())["figures"]["Java and C#"]["static"]["mrr"] == 100.0
    assert (tmp_path / "a.ranks.npz").is_file()


def test_differences_are_judged_by_their_interval():
    rng = np.random.default_rng(0)
    before = rng.random(400) * 0.5
    other = {"T": {"m": [before], "n": [before], "gone": [before], "less": [before[:3]]}}
    ranks = {"T": {"m": [before + 0.1 * rng.random(400)], "n": [before + 0.02 * rng.normal(size=400)], "less": [before]}}
    better, none, cut = reports.differences(ranks, other)
    assert (
        reports.between(ranks, "m")[0] == reports.differences({"T": {"n": ranks["T"]["n"]}}, {"T": {"n": ranks["T"]["m"]}})[0]
    )
    assert reports.between({"T": {"n": [before]}}, "m") == ["T, n: not compared, no m"]
    assert better.startswith("T, m: +5.") and better.endswith(": better")
    assert none.endswith(": no difference") and cut.endswith("the queries differ")
    assert reports.differences(ranks, other, {"T"}) == [f"T, {name}: not compared, the queries differ" for name in ranks["T"]]
    worse, *missing = reports.differences(other, {"T": {"m": [before + 0.2]}})
    assert worse == "T, m: -20.0 (-20.0 to -20.0, p = 0.001): worse"
    assert missing == [
        f"T, {name}: not compared, the earlier report has no predictions or ranks of it" for name in ("n", "gone", "less")
    ]
    assert reports.differences({"U": {"m": [before]}}, other)[0].startswith("U, m: not compared")


def test_the_parts_are_kept_and_compared(tmp_path):
    values = {"T": {"m": [np.ones(2), np.zeros(3)]}, "U": {"m": [np.ones(1)]}}
    go, c, u = (reports.Part(name, f"of {name}") for name in ("go", "c", "U"))
    reports.write(tmp_path / "a.json", {}, values, {"T": [go, c], "U": [u]})
    ranks, parts = reports.read_ranks(tmp_path / "a.json")
    assert parts == {"T": [go, c], "U": [u]} and [part.tolist() for part in ranks["T"]["m"]] == [[1, 1], [0, 0, 0]]
    assert reports.changed({"T": [go, c], "U": [u]}, parts) == set()
    assert reports.changed({"T": [c, go], "U": [u]}, parts) == {"T"}
    assert reports.changed({"T": [go, c], "U": [u._replace(digest="of others")]}, parts) == {"U"}
    np.savez(tmp_path / "old.ranks.npz", **{'["T", "m", 0]': np.ones(2), '["U", "m", 0, "U"]': np.ones(1)})
    assert reports.changed({"T": [go], "U": [u]}, reports.read_ranks(tmp_path / "old.json")[1]) == {"T", "U"}


@pytest.mark.parametrize("change", ["query", "candidate", "answer"])
def test_other_data_of_equal_size_are_not_compared(data, tmp_path, change):
    changed = tmp_path / "cosqa"
    shutil.copytree(data / "cosqa", changed)
    file = changed / ("codebase.jsonl" if change == "candidate" else "queries.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    key = {"query": "query", "candidate": "code", "answer": "code_id"}[change]
    rows[0][key] = rows[1][key] if change == "answer" else rows[0][key] + " more"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("static", "--benchmarks", data, "--task", "cosqa", "--out", tmp_path / "a.json")
    done = run("static", "--benchmarks", tmp_path, "--task", "cosqa", "--against", tmp_path / "a.json")
    told = done.output.split("a.json:\n")[1]
    assert "CoSQA, static: not compared, the queries differ" in told and "difference" not in told


def test_digests_differ_where_what_is_measured_does():
    task = RetrievalTask("t", ["a", "b"], ["c", "d"], [0, 1])
    changes = [dict(queries=["a\nb"]), dict(candidates=["c", "e"]), dict(relevant=[1, 0]), dict(query_kind="code")]
    groups = GroupTask("g", ["a"], ["1"], ["x"], ["b"], ["1"], ["y"], ("c", "go"))
    others = [dict(query_labels=["2"]), dict(query_identities=["y"]), dict(candidate_labels=["2"]), dict(at_r=True)]
    place = Repository("r", "me/r", "c", ".", "0" * 40, [Question("q", [Target("a.c")])])
    moved = [dict(revision="1" * 40), dict(questions=[Question("q", [Target("a.c", (1, 2))])])]
    rows, pairs = (
        ClassificationTask("c", list("abcdefghij"), ["1", "2"] * 5),
        CloneTask("p", ["a", "b"], [(0, 1, True)], [(0, 1, False)]),
    )
    told = [dict(texts=list("abcdefghix")), dict(labels=["2", "1"] * 5), dict(parts=["train"] * 5 + ["test"] * 5)]
    paired = [dict(texts=["a", "c"]), dict(valid=[(0, 1, False)]), dict(test=[(0, 0, False)])]
    for one, ways in ((task, changes), (groups, others), (place, moved), (rows, told), (pairs, paired)):
        assert len({one.digest(), *(replace(one, **way).digest() for way in ways)}) == 1 + len(ways)
        assert replace(one, name="other").digest() == one.digest()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no task to evaluate"),
        (("--task", "codesearch"), "unknown task 'codesearch': expected cosqa, advtest, codesearchnet, mbxp"),
        (("--against", "none.json"), "not readable"),
        (("=default",), "'=default' lacks a name or a model: expected a model, or NAME=MODEL"),
        (("a=",), "'a=' lacks a name or a model"),
    ],
)
def test_impossible_evaluations_are_one_line(data, words, message):
    given = ("--benchmarks", data) if words else ()
    assert message in str(run("default", *given, *words).exception)


def test_a_folder_without_a_known_data_set_is_told_so(tmp_path):
    (tmp_path / "codecomplex").write_text("a file")
    message = str(run("default", "--benchmarks", tmp_path).exception)
    assert f"no task to evaluate: {tmp_path} holds no folder of a data set (cosqa, advtest, " in message
    done = run("default", "--benchmarks", tmp_path / "codecomplex")
    assert f"{tmp_path}/codecomplex is a file: its tasks are left out" in done.stderr
    assert run("default", "--benchmarks", tmp_path, "--dense-weight", "-1").exit_code == 2


def test_queries_without_an_answer_are_counted(data):
    tasks = local.mbxp_across(data / "mbxp")
    assert sets.sizes({"x": tasks})["x"] == {"tasks": 2, "queries": 8, "candidates": 8}
    short = [replace(task, queries=task.queries[1:], relevant=task.relevant[1:], unanswered=1) for task in tasks]
    assert sets.sizes({"x": short})["x"]["queries without an answer"] == 2


def test_a_task_of_one_language_is_no_answer_to_another(tmp_path):
    rows = {"java": (1, 2, 3), "python": (2, 3, 4, 5)}
    for language, tasks in rows.items():
        text = "".join(json.dumps({"task": task, "entry_point": "f", "code": f"f{task}"}) + "\n" for task in tasks)
        (tmp_path / f"{language}.jsonl").write_text(text)
    to_python, to_java = local.mbxp_across(tmp_path)
    assert (len(to_python.queries), to_python.unanswered, to_java.unanswered) == (2, 1, 2)
    (tmp_path / "java.jsonl").write_text('{"task": 1, "entry_point": "f", "code": "x"}\n' * 2)
    with pytest.raises(CodesageError, match=r"java.jsonl:2: task 1 is in line 1 too"):
        local.mbxp_across(tmp_path)
    (tmp_path / "java.jsonl").write_text('{"task": 9, "entry_point": "f", "code": "x"}\n')
    with pytest.raises(CodesageError, match="MBXP java to python has 0 queries, 4 candidates: expected one or more"):
        local.mbxp_across(tmp_path)


@pytest.mark.parametrize("name", ["BM25", "BM25 words", "one + BM25", "one, width 64"])
def test_a_model_with_the_name_of_another_system_is_refused(data, name):
    message = str(run(f"{name}=default", "--benchmarks", data).exception)
    assert message == f"{name!r} is the name of another system: give default another name, as in one=default"


@pytest.mark.parametrize(
    ("option", "place", "reason"),
    [
        ("--plots", "file", "is a file"),
        ("--plots", "file/plots", "is a file"),
        ("--out", "folder", "is a folder"),
        ("--out", "file/a.json", "is a file"),
        ("--out", "closed/a.json", "must not be written"),
        ("--plots", "closed/new/plots", "must not be written"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_work(data, tmp_path, monkeypatch, option, place, reason):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))  # root may write
    done = run("default", "--benchmarks", data, option, tmp_path / place)
    assert re.fullmatch(
        rf"{tmp_path / place} cannot be written \({tmp_path}.* {reason}\): choose another {option}", str(done.exception)
    )
    assert done.output == "" and sorted(one.name for one in tmp_path.iterdir()) == ["closed", "file", "folder"]


def test_places_that_can_be_written_are_not_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text("")
    for place in ("a.json", "b.json", "new/folders/c.json", str(tmp_path / "d.json")):
        reports.check_place(Path(place), "--out")
    for place in (".", "new/plots"):
        reports.check_place(Path(place), "--plots", folder=True)
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]  # nothing is made


def test_two_models_of_one_name_are_refused(data):
    message = str(run("a/model", "b/model", "--benchmarks", data).exception)
    assert message == "a/model and b/model are both called 'model': give them names, as in one=b/model"


def test_a_width_above_that_of_a_model_is_refused_before_anything_is_encoded(data):
    done = run("general", "default", "--benchmarks", data, "--task", "cosqa", "--width", "300")
    assert str(done.exception) == "default has vectors of width 256: --width must be at most that, not 300"
    assert "encoding" not in done.stderr


@pytest.mark.parametrize("content", [b"", b"PK\3\4 not a zip"])
def test_a_damaged_report_is_one_line(tmp_path, content):
    (tmp_path / "a.ranks.npz").write_bytes(content)
    with pytest.raises(CodesageError, match="a.ranks.npz is not readable"):
        reports.read_ranks(tmp_path / "a.json")
    np.savez(tmp_path / "a.ranks.npz", **{"7": np.zeros(3)})
    with pytest.raises(CodesageError, match="a.ranks.npz is not readable"):
        reports.read_ranks(tmp_path / "a.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(CodesageError, match="file/a.json cannot be written .*: choose another --out"):
        reports.write(tmp_path / "file" / "a.json", {}, {}, {})


def test_a_report_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    values, parts = {"T": {"m": [np.array([0.5])]}}, {"T": [reports.Part("a", "1")]}
    reports.write(tmp_path / "a.json", {"run": 1}, values, parts)
    replace_file = os.replace

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CodesageError, match="No space left on device"):
        reports.write(tmp_path / "a.json", {"run": 2}, {"T": {"m": [np.array([0.25])]}}, parts)
    monkeypatch.setattr(os, "replace", replace_file)
    assert json.loads((tmp_path / "a.json").read_text())["run"] == 1
    assert reports.read_ranks(tmp_path / "a.json")[0]["T"]["m"][0].tolist() == [0.5]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.ranks.npz"]


def test_bad_rows_name_file_and_line(data, tmp_path):
    (tmp_path / "valid.jsonl").write_text('{"java": "x", "csharp": "y"}\n{"java": "x"}\n')
    with pytest.raises(CodesageError, match=r"valid.jsonl:2: no csharp"):
        local.java_csharp(tmp_path)
    (tmp_path / "valid.jsonl").write_text('{"java": "x", "csharp": null}\n')
    with pytest.raises(CodesageError, match=r"valid.jsonl:1: csharp is null, not text"):
        local.java_csharp(tmp_path)
    (tmp_path / "codebase.jsonl").write_text('{"code_id": 1, "code": "x"}\n')
    (tmp_path / "queries.jsonl").write_text('{"query_id": 1, "query": "x", "code_id": 1}\n' * 2)
    with pytest.raises(CodesageError, match=r"queries.jsonl:2: query_id 1 is in line 1 too"):
        local.cosqa(tmp_path)
    (tmp_path / "queries.jsonl").write_text(
        '{"query": "x", "code_id": 1}\n' + '{"query_id": 1, "query": "x", "code_id": 1}\n' * 2
    )
    with pytest.raises(CodesageError, match=r"queries.jsonl:1: no query_id"):
        local.cosqa(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"query_id": 1, "query": "x", "code_id": 2}\n')
    with pytest.raises(CodesageError, match=r"queries.jsonl:1: the answer 2 is not among the 1 candidates"):
        local.cosqa(tmp_path)
    (tmp_path / "test.jsonl").write_text("not json\n")
    with pytest.raises(CodesageError, match=r"test.jsonl:1: "):
        local.codecomplex(tmp_path)
