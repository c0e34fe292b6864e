"""Labels from frozen and fine-tuned vectors: the head, folds, unreadable files, and the commands."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

import codesage
from codesage import CodesageError
from codesage.artifacts import publish
from codesage.classify import data, folds, head, training, tuned
from codesage.classify.commands import app
from codesage.encoder.config import Config
from codesage.encoder.folders import BUNDLED
from codesage.encoder.model import Encoder
from codesage.encoder.weights import load_encoder, save_weights
from codesage.tokenizer import load as load_tokenizer


def clouds(rows=60, width=5, labels=("ant", "bee", "cow"), seed=0, spread=0.3):
    """Vectors around one centre per label."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(labels), width))
    names = [labels[row % len(labels)] for row in range(rows)]
    return np.stack([centres[labels.index(name)] for name in names]) + spread * rng.normal(size=(rows, width)), names


def test_labels_that_share_codes_are_in_each_fold():
    labels, codes = ["A", "C", "A", "B", "C", "B"], [1, 1, 2, 3, 3, 4]
    fold_N = folds.stratified(labels, 2, codes, seed=0)
    for label in "ABC":
        assert sorted(fold for fold, own in zip(fold_N.tolist(), labels, strict=True) if own == label) == [0, 1]
    assert fold_N[0] == fold_N[1] and fold_N[3] == fold_N[4]


def test_the_head_is_the_minimum_of_its_loss():
    vectors, labels = clouds(spread=1.5)
    trained = head.fit(vectors, labels, strength=0.05)
    x = (vectors - vectors.mean(0)) / vectors.std(0)
    one_hot = np.array([[label == name for name in trained.labels] for label in labels], float)
    error = trained.probabilities(vectors) - one_hot  # at a minimum the gradient is zero
    np.testing.assert_allclose(error.T @ x / len(x) + 0.05 * trained.weight_CD, 0, atol=1e-5)
    np.testing.assert_allclose(error.mean(0), 0, atol=1e-5)
    assert trained.probabilities(vectors).sum(1) == pytest.approx(1)


def test_scale_and_offset_of_the_vectors_do_not_matter():
    vectors, labels = clouds(spread=1.0)
    shares = head.fit(vectors, labels).probabilities(vectors)
    moved = vectors * [1, 10, 100, 0.1, 5] + 7
    np.testing.assert_allclose(head.fit(moved, labels).probabilities(moved), shares, atol=1e-4)
    constant = np.concatenate([vectors, np.ones((len(vectors), 1))], axis=1)
    np.testing.assert_allclose(head.fit(constant, labels).probabilities(constant), shares, atol=1e-4)


def test_a_head_is_loaded_and_refuses_another_width(tmp_path):
    vectors, labels = clouds()
    trained = head.fit(vectors, labels)
    head.save(trained, tmp_path / "head", settings={}, facts={"model": "m"})
    again, facts = head.load(tmp_path / "head")
    assert again.predict(vectors) == trained.predict(vectors) == labels and facts["model"] == "m"
    with pytest.raises(CodesageError, match="width 4, but the head was trained on 5"):
        again.predict(vectors[:, :4])
    with pytest.raises(CodesageError, match="not finite"):
        again.predict(np.where(vectors > 0, np.nan, vectors))
    with open(tmp_path / "head" / head.FILE, "r+b") as file:
        file.truncate(30)
    with pytest.raises(CodesageError, match="head"):
        head.load(tmp_path / "head")


@pytest.mark.parametrize(
    ("vectors", "labels", "message"),
    [
        (np.ones((3, 2)), ["a", "b"], "3 vectors, but 2 labels"),
        (np.ones((2, 2)), ["a", "a"], "all rows have the label 'a'"),
        (np.array([[np.nan, 1], [1, 2]]), ["a", "b"], "not finite"),
    ],
)
def test_unlearnable_labels_are_one_line(vectors, labels, message):
    with pytest.raises(CodesageError, match=message):
        head.fit(vectors, labels)


def test_folds_have_their_share_of_every_label_and_predict_rows_they_have_not_seen():
    vectors, labels = clouds(rows=90)
    rows = range(len(labels))
    fold = folds.stratified(labels, 5, rows, seed=3)
    assert all(np.bincount(fold[np.array(labels) == name]).tolist() == [6] * 5 for name in set(labels))
    assert (fold != folds.stratified(labels, 5, rows, seed=4)).any()
    result = folds.cross_validated(vectors, labels, rows)
    assert result.figures()["macro F1"] > 95 and len(result.macro_f1) == 5
    noise = np.random.default_rng(1).permutation(labels).tolist()  # nothing to learn: about a third is right by chance
    assert folds.cross_validated(vectors, noise, rows).figures()["macro F1"] < 60
    with pytest.raises(CodesageError, match="label 'rare' has 1 rows"):
        folds.stratified([*labels, "rare"], 5, range(91), seed=0)


def test_equal_codes_are_in_one_fold_and_each_fold_has_its_share():
    rng = np.random.default_rng(0)
    labels = [str(label) for label in rng.integers(0, 3, 400)]
    codes = [3 * int(code) + int(label) for code, label in zip(rng.integers(0, 40, 400), labels, strict=True)]
    fold = folds.stratified(labels, 5, codes, seed=1)
    assert all(len(set(fold[np.array(codes) == code])) == 1 for code in set(codes))
    for label in "012":
        rows = np.bincount(fold[np.array(labels) == label], minlength=5)
        assert rows.max() - rows.min() <= 3, rows  # a code has three rows or so
    labels = [*"ababab", *"aaa", *"bbbb"]  # three codes have both labels, and few others are there
    codes = [0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 8]
    fold = folds.stratified(labels, 3, codes, seed=0)
    assert fold[:6:2].tolist() == fold[1:6:2].tolist() and sorted(fold[:6:2]) == [0, 1, 2] and fold[-1] == fold[-2]


def test_folds_of_different_codes_are_drawn_label_by_label():
    """As they were before rows with equal code were kept together."""
    labels, want, rng = list("abcab" * 9), np.empty(45, int), np.random.default_rng(3)
    for label in "abc":
        rows = rng.permutation([row for row, own in enumerate(labels) if own == label])
        want[rows] = np.arange(len(rows)) % 4
    assert folds.stratified(labels, 4, range(45), seed=3).tolist() == want.tolist()


def test_rows_that_repeat_others_are_never_predicted_by_a_head_that_has_seen_them(tmp_path):
    """Labels by chance: every row stands twice, the second time with other white space, so a head could know them all."""
    labels = np.random.default_rng(5).permutation(["a", "b"] * 15).tolist()
    rows = [{"code": f"def f{n}(x):\n    return x[{n}]", "label": label} for n, label in enumerate(labels)]
    again = [{**row, "code": row["code"].replace("    ", "\t") + "\n"} for row in rows] + [{**rows[0], "label": "c"}] * 2
    table, run = tmp_path / "rows.jsonl", CliRunner().invoke
    table.write_text("".join(json.dumps(row) + "\n" for row in rows + again[:-2]))
    done = run(app, ["train", str(table), "--out", str(tmp_path / "head"), "--folds", "3"])
    assert done.exit_code == 0, done.output
    facts = head.load(tmp_path / "head")[1]
    assert facts["cross-validation"]["accuracy"] < 75 and facts["repeated"] == {data.REPEATED: 30}
    assert done.output.splitlines()[-2] == "rows with the code of an earlier row: 30 (equal codes are in one fold)"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows + again))
    done = run(app, ["train", str(table), "--out", str(tmp_path / "head"), "--folds", "0"])
    told = ["rows with the code of an earlier row: 32", "rows with the code of an earlier row, with another label: 2"]
    assert done.output.splitlines()[:2] == told
    refused = str(run(app, ["train", str(table), "--out", str(tmp_path / "head")]).exception)
    assert "5 folds, but label 'c' has 2 rows with one code, and equal codes stay in one fold: " in refused


def test_fine_tuning_keeps_equal_codes_in_one_fold():
    documents, labels = marked_documents()
    codes = [row // 4 for row in range(48)]  # of both labels
    runs = training.cross_validated(small_encoder(), documents, labels, codes, QUICK, training.Extent(folds=3)).runs
    assert len(runs) == 3 and all(set(np.bincount(rows // 4)) <= {0, 4} for rows, _ in runs)
    quick = replace(QUICK, epochs=1, seeds=2)
    for protocol in (quick, replace(quick, learns_encoder=False)):
        runs = training.trained(small_encoder(), documents, labels, (), codes, protocol).runs
        assert len(runs) == 10 and all(set(np.bincount(rows // 4)) <= {0, 4} for rows, _ in runs)


def test_tables_are_read_and_errors_name_the_line(tmp_path):
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"code": "x = 1", "label": 3}\n\n{"code": "y", "label": "b"}\n')
    assert data.read(lines) == data.Labelled(["x = 1", "y"], ["3", "b"])
    table = tmp_path / "a.csv"
    table.write_text('text,kind\n"a,\nb",one\nc,two\n')
    assert data.read(table, code="text", label="kind").texts == ["a,\nb", "c"]
    assert data.read(table, code="text", labelled=False).labels == []
    for content, message in (
        ('{"code": "x"}', "a.jsonl:1: no label"),
        ("[1]", "expected a JSON object"),
        ("{", "a.jsonl:1:"),
        ("", "holds no rows"),
        ('{"code": 7, "label": 1}', "a.jsonl:1: expected text in code"),
        ('{"code": "x", "label": 1}\n{"code": "y", "label": [1]}', r"a.jsonl:2: the label is \[1\]: expected a text"),
        ("[" * 100_000, "a.jsonl:1: objects or lists are nested too deeply"),
        ('{"code": "x", "label": ' + "[" * 100_000, "a.jsonl:1: objects or lists are nested too deeply"),
        ('{"code": "", "label": 1}', "no code"),
        ('[\n{"code": "x", "label": 1}\n]\n', "a.jsonl:1: Expecting value at column 2: expected a JSON object in each line"),
        ('{"code": "x",\n "label": 1}\n', "a.jsonl:1: Expecting property name .* at column 14: expected"),
        ('{"code": "x", "label": %s}' % ("9" * 5000), "a.jsonl:1: a number has too many digits: expected"),
        (r'{"code": "x", "label": "a\ud800"}', "a.jsonl:1: the label is .*: half a character of UTF-16 is no text"),
        ('{"code": " \\n", "label": 1}', "a.jsonl:1: no code: fill it in, or name the columns with --code-column and --label"),
        ('{"code": "x", "label": 1, "code": "y"}', "a.jsonl:1: 2 columns are called 'code', expected one"),
    ):
        lines.write_text(content)
        with pytest.raises(CodesageError, match=message):
            data.read(lines)
    lines.write_bytes(b'{"code": "\xff", "label": 1}')
    with pytest.raises(CodesageError, match="UTF-8"):
        data.read(lines)
    with pytest.raises(CodesageError, match="cannot be read"):
        data.read(tmp_path / "none.csv")
    with pytest.raises(CodesageError, match="the code and the labels are both in column 'code': give two columns"):
        data.read(lines, label="code")


def test_a_parquet_table_is_read_as_others(tmp_path):
    file = tmp_path / "rows.parquet"
    columns = {"code": [b"x = 1", b"y = 2"], "label": [1.0, 2.0], "other": [None, "z"]}
    pq.write_table(pa.table(columns), file)
    assert data.read(file) == data.Labelled(["x = 1", "y = 2"], ["1", "2"]) and data.read(file).lines == [1, 2]
    with pytest.raises(CodesageError, match=r"rows.parquet: no column text among code, label, other: name the columns with"):
        data.read(file, code="text")
    with pytest.raises(CodesageError, match=r"rows.parquet:1: no other: fill it in"):
        data.read(file, label="other")
    pq.write_table(pa.table({"code": [b"\xff"], "label": ["a"]}), file)
    with pytest.raises(CodesageError, match=r"rows.parquet holds text that is not UTF-8 \(byte 0\)"):
        data.read(file)
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 3, ["code", "label", "code"]), file)
    with pytest.raises(CodesageError, match=r"rows.parquet: 2 columns are called 'code', expected one"):
        data.read(file)
    with pytest.raises(CodesageError, match=r"none.parquet cannot be read \(No such file or directory\)"):
        data.read(tmp_path / "none.parquet")


def test_a_column_that_a_table_lacks_is_told_with_those_it_has(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("\n\ncode;label\nx;a\n")
    with pytest.raises(CodesageError, match="a.csv:3: no column code and no label among code;label: name the columns with"):
        data.read(table)
    with pytest.raises(CodesageError, match="a.csv:3: no column code among code;label: name the columns with --code-column$"):
        data.read(table, labelled=False)
    table.write_text(",".join(f"column{n}" for n in range(99)) + "\n")
    with pytest.raises(CodesageError) as raised:
        data.read(table)
    assert len(str(raised.value)) < 250 + len(str(table))


def test_rows_are_named_by_the_line_where_they_begin(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text('code,label\n\n"a\n\nb",x\r\n"c\nd",y\n"e\n",""\n')
    assert data.read(table, labelled=False).lines == [3, 6, 8]
    with pytest.raises(CodesageError, match="a.csv:8: no label"):
        data.read(table)


def test_equal_labels_are_one_label_however_they_are_written():
    def found(*values):
        return data.labels_of([(f"f:{row}", value) for row, value in enumerate(values, 1)])

    assert found(1, 1.0, "1", " 1 ", "a", "a ", "\ta\r") == ["1"] * 4 + ["a"] * 3
    assert found(True, False, "true") == ["true", "false", "true"] and found(-2.0, 0.5, 10**20) == ["-2", "0.5", f"1{'0' * 20}"]
    for value in (float("nan"), float("inf"), [1], {"a": 1}, None, "", "  "):
        with pytest.raises(CodesageError, match="f:2: the label is .*: expected a text that is not empty, or a number"):
            found("a", value)
    for values in ((1, True), ("a", False, 1.0)):
        with pytest.raises(CodesageError, match=r"labels are .*\(f:\d\) and .*\(f:\d\): expected one kind"):
            found(*values)


def test_labels_of_a_table_are_read_as_such(tmp_path):
    table = tmp_path / "a.jsonl"
    table.write_text('{"code": "x", "label": 1}\n{"code": "y", "label": 1.0}\n{"code": "z", "label": "1 "}\n')
    assert data.read(table).labels == ["1", "1", "1"]
    table.write_text('{"code": "x", "label": 1}\n{"code": "y", "label": NaN}\n')
    with pytest.raises(CodesageError, match="a.jsonl:2: the label is NaN"):
        data.read(table)
    table = tmp_path / "a.csv"
    table.write_text("code,label\nx,a\ny,a \n")
    assert data.read(table).labels == ["a", "a"]


@pytest.mark.parametrize(
    ("predicted", "labels", "want"),
    [
        ("acb", "aab", (2 / 3 + 1 + 0) / 3),  # c is predicted only
        ("aaa", "aab", (0.8 + 0) / 2),  # b is never predicted
        ("ddd", "aab", 0.0),
        ("aab", "aab", 1.0),
        ("", "", 0.0),
    ],
)
def test_macro_f1_is_the_mean_over_all_labels_that_occur(predicted, labels, want):
    """The values of scikit-learn's f1_score(average="macro")."""
    assert folds.macro_f1(list(predicted), list(labels)) == pytest.approx(want)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("code,label\nf(a,b),pos\ng(x),neg\n", r"a.csv:2: 3 fields, but the first line has 2 columns: put code with a comma"),
        ('code,label\n"f(a,\nb)",pos\nh(a,c),neg\n', "a.csv:4: 3 fields"),
        ("label,code\npos,f(a,b)\n", "a.csv:2: 3 fields"),
        ("code,label,note\nx,pos\n", "a.csv:2: 2 fields, but the first line has 3 columns"),
        ("code\nf(a,b)\n", "a.csv:2: 2 fields, but the first line has 1 columns"),
        ('code,label\n"f(""a"")"x,pos\n', "a.csv:2: .*write the quote twice"),
        ('code,label\nx,pos\n"f(a),neg\ng(x),pos\n', "a.csv:3: unexpected end of data"),
    ],
)
def test_a_comma_or_a_quote_in_code_never_moves_a_field(tmp_path, content, message):
    table = tmp_path / "a.csv"
    table.write_text(content)
    for labelled in (True, False) if "label" in content else (False,):
        with pytest.raises(CodesageError, match=message):
            data.read(table, labelled=labelled)


def test_tables_of_spreadsheets_are_read(tmp_path):
    for name, content in (("a.csv", "code,label\nx,y\n"), ("a.jsonl", '{"code": "x", "label": "y"}\n')):
        (tmp_path / name).write_text(content, encoding="utf-8-sig")
        assert data.read(tmp_path / name) == data.Labelled(["x"], ["y"])
    table, long = tmp_path / "a.csv", "x" * 200_000
    table.write_text(f"code,label\n{long},y\n")
    assert data.read(table).texts == [long]
    table.write_text("code,label\r\n\r\nx,y\r\n\r\n")  # empty lines
    assert data.read(table) == data.Labelled(["x"], ["y"])
    table.write_text("note,code,note,label\n1,x,2,y\n")  # a column that is not needed
    assert data.read(table) == data.Labelled(["x"], ["y"])
    for header in ("code,code,label", "label,code,label", "code,label,code"):
        table.write_text(f"{header}\na,b,c\n")
        with pytest.raises(CodesageError, match=r"a.csv:1: 2 columns are called '\w+', expected one: rename the others"):
            data.read(table)
    table.write_text("code,label,label\nx,1,2\n")
    assert data.read(table, labelled=False).texts == ["x"]


def test_a_head_is_applied_in_the_precision_of_its_training(tmp_path, monkeypatch):
    """A head that was trained on a GPU, so with torch, is applied with torch on a CPU too; another model is refused."""
    vectors, labels = clouds()
    head.save(head.fit(vectors, labels), tmp_path / "head", settings={}, facts={"model": "torch:1"})
    asked = []

    class Encoder:
        fingerprint = "torch:1"

        def encode(self, texts):
            return vectors[: len(texts)]

    monkeypatch.setattr("codesage.load", lambda model, **options: asked.append(options) or Encoder())
    (tmp_path / "a.py").write_text("a = 1\n")
    words = ["apply", str(tmp_path / "head"), str(tmp_path / "a.py"), "--device", "cpu"]
    assert CliRunner().invoke(app, words).output.startswith(f"{tmp_path}/a.py: {labels[0]} (")
    assert asked == [{"precision": "torch", "device": "cpu"}]
    Encoder.fingerprint = "int8:2"
    assert "give --model and --device as in training" in str(CliRunner().invoke(app, words).exception)


def test_labels_are_printed_in_one_line_each(tmp_path):
    labels = ["\x1b[31mred\nblue", "x" * 3000]
    table, run = tmp_path / "rows.csv", CliRunner().invoke
    rows = "".join(f'"def f{n}(): pass","{labels[n % 2]}"\n' for n in range(8))
    table.write_text(f"code,label\n{rows}")
    done = run(app, ["train", str(table), "--out", str(tmp_path / "head"), "--folds", "2"])
    starts = [line.split("  ")[0] for line in done.output.splitlines()[:3]]
    assert starts == ["label", r"\x1b[31mred\nblue", "x" * 37 + "..."], done.output
    lines = run(app, ["apply", str(tmp_path / "head"), str(table)]).output.splitlines()
    assert len(lines) == 8 and lines[0].startswith(f"{table}:2: " + r"\x1b[31mred\nblue ("), lines[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": "x"}, "manifest.json is not readable"),
        ({"facts": {}}, "holds no readable head"),
        ({"facts": {"labels": 7}}, "holds no readable head"),
        ({"facts": {"labels": ["ant"]}}, "holds weights that do not fit its 1 labels: train it again"),
        ({"facts": {"labels": ["ant", 1, "cow"]}}, "holds weights that do not fit its 3 labels"),
        ("[" * 100_000, "manifest.json is not readable .*: make the head again"),
    ],
)
def test_a_damaged_manifest_of_a_head_is_one_line(tmp_path, change, message):
    vectors, labels = clouds()
    head.save(head.fit(vectors, labels), tmp_path / "head", settings={}, facts={})
    manifest = tmp_path / "head" / "manifest.json"
    given = change if isinstance(change, str) else json.dumps(json.loads(manifest.read_text()) | change)
    manifest.write_text(given)
    with pytest.raises(CodesageError, match=message):
        head.load(tmp_path / "head")


def test_train_then_apply_from_the_command_line(tmp_path):
    loops = [f"for i in range({n}):\n    total_{n} += values[i] * {n}" for n in range(12)]
    files = [f"with open('file_{n}.txt') as file:\n    text = file.read()" for n in range(12)]
    rows = [{"code": code, "label": label} for label, group in (("loop", loops), ("file", files)) for code in group]
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = CliRunner().invoke
    done = run(app, ["train", str(table), "--out", str(tmp_path / "head"), "--folds", "3"])
    assert done.exit_code == 0, done.output
    assert "3 folds: macro F1 100.0" in done.output and "2 labels from 24 rows" in done.output
    source = tmp_path / "new.py"
    source.write_text("with open(path) as handle:\n    data = handle.read()\n")
    done = run(app, ["apply", str(tmp_path / "head"), str(source), str(table)])
    lines = done.output.splitlines()
    assert lines[0].startswith(f"{source}: file (") and lines[1].startswith(f"{table}:1: loop (") and len(lines) == 25
    for suffix in (".json", ".ndjson", ".JSONL"):
        renamed = table.rename(tmp_path / f"rows{suffix}")
        assert run(app, ["apply", str(tmp_path / "head"), str(renamed)]).output == done.output.split("\n", 1)[1].replace(
            str(tmp_path / "rows.jsonl"), str(renamed)
        )
        table = renamed
    done = run(app, ["apply", str(tmp_path / "head"), str(source), "--json"])
    answer = json.loads(done.output)
    assert answer["label"] == "file" and sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    done = run(app, ["apply", str(tmp_path / "head"), str(tmp_path / "none.py")])
    assert isinstance(done.exception, CodesageError)


QUICK = replace(training.FINE_TUNED, learning_rate=1e-2, epochs=6, batch=8)


def small_encoder(vocabulary=32, positions=16):
    torch.manual_seed(0)
    shape = Config(16, 1, 2, vocab_size=vocabulary, max_position_embeddings=positions, intermediate_size=32)
    return Encoder(shape).eval()


def marked_documents(rows=48, seed=0):
    """Token ids that hold one of two marks, and which one."""
    rng, labels = np.random.default_rng(seed), [str(row % 2) for row in range(rows)]
    return [[*rng.integers(4, 32, 3).tolist(), *[2 + int(label)] * 3, 1] for label in labels], labels


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """The folder of a model with random weights and the tokenizer of the bundled one."""
    folder, tokenizer = tmp_path_factory.mktemp("models") / "small", load_tokenizer(BUNDLED)
    with publish(folder, "model", settings={}, facts={"max_tokens": 40, "stages": ["pretrain"]}) as inside:
        save_weights(small_encoder(tokenizer.vocab_size, positions=64), inside)
        tokenizer.save(inside)
    return folder


def test_fine_tuning_changes_a_copy_and_the_head_takes_its_vectors():
    encoder, (documents, labels) = small_encoder(), marked_documents()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    lines = []
    trained, layer = training.fine_tuned(encoder, documents, labels, QUICK, training.Extent(say=lines.append))
    assert all((value == before[name]).all() for name, value in encoder.state_dict().items())
    changed = [name for name, value in trained.state_dict().items() if (value != before[name]).any()]
    assert {"wte.weight", "wpe.weight", "h.0.attn.c_attn.weight", "h.0.mlp.c_fc.weight", "ln_f.weight"} <= set(changed)
    assert len(lines) == QUICK.epochs and lines[-1].startswith("all rows, epoch 6 of 6: loss 0.")
    new, truth = marked_documents(seed=1)
    assert layer.predict(training.pooled(trained, new)) == truth
    assert layer.predict(training.pooled(encoder, new)) != truth  # of the encoder as it was, the head makes nothing
    again, _ = training.fine_tuned(encoder, documents, labels, QUICK, training.Extent())
    assert all((value == trained.state_dict()[name]).all() for name, value in again.state_dict().items())
    other, _ = training.fine_tuned(encoder, documents, labels, QUICK, training.Extent(seed=1))
    assert (other.wte.weight != trained.wte.weight).any()


def test_a_batch_in_pieces_is_trained_as_a_whole(monkeypatch):
    config = replace(small_encoder().config, embedding_dropout_prob=0.0, attention_dropout_prob=0.0, residual_dropout_prob=0.0)
    torch.manual_seed(0)
    encoder, (documents, labels) = Encoder(config), marked_documents()
    whole, head_of_whole = training.fine_tuned(encoder, documents, labels, QUICK, training.Extent())
    monkeypatch.setattr(training, "_MICRO_TOKENS", 16)
    pieces, head_of_pieces = training.fine_tuned(encoder, documents, labels, QUICK, training.Extent())
    np.testing.assert_allclose(head_of_pieces.weight_CD, head_of_whole.weight_CD, atol=1e-3)
    torch.testing.assert_close(pieces.ln_f.weight, whole.ln_f.weight, atol=1e-3, rtol=0)


def test_every_document_is_predicted_by_a_model_that_has_not_seen_it():
    encoder, (documents, labels) = small_encoder(), marked_documents()
    extent = training.Extent(folds=3)
    found = training.cross_validated(encoder, documents, labels, range(48), QUICK, extent)
    assert found.predicted == labels and found.macro_f1 == (1.0, 1.0, 1.0)
    assert sorted(row for rows, _ in found.runs for row in rows) == list(range(len(labels)))
    alone = [[*document[:3], 4 + row % 28, 1] for row, document in enumerate(documents)]  # to be learnt by heart only
    noise = np.random.default_rng(2).permutation(labels).tolist()
    by_heart = replace(QUICK, epochs=20)
    trained, layer = training.fine_tuned(encoder, alone, noise, by_heart, training.Extent())
    known = np.mean([one == other for one, other in zip(layer.predict(training.pooled(trained, alone)), noise, strict=True)])
    unseen = training.cross_validated(encoder, alone, noise, range(48), by_heart, extent)
    assert known > 0.9 and unseen.figures()["accuracy"] < 70


@pytest.mark.parametrize(
    ("labels", "change", "message"),
    [
        ("aaaa", {}, "all rows for training have the label 'a'"),
        ("abab", {"learning_rate": 1e30}, "the loss of epoch 2 is not"),
        ("abab", {"learning_rate": 1e30, "epochs": 1}, "the trained weights give no finite vectors: lower the learning rate"),
    ],
)
def test_impossible_fine_tuning_is_one_line(labels, change, message):
    with pytest.raises(CodesageError, match=message):
        training.fine_tuned(small_encoder(), [[2, 1]] * 4, list(labels), replace(QUICK, **change), training.Extent())


def test_fine_tune_then_apply_from_the_command_line(tmp_path, small_model):
    table, out, run = tmp_path / "rows.jsonl", tmp_path / "head", CliRunner().invoke
    rows = [
        {"code": f"{word} {word} {word} item_{n}", "label": label}
        for n in range(12)
        for label, word in (("a", "for"), ("b", "def"))
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = ["train", str(table), "--model", str(small_model), "--out", str(out), "--device", "cpu"]
    done = run(app, [*train, "--fine-tune", "--folds", "2", "--epochs", "30", "--learning-rate", "2e-2"])
    assert done.exit_code == 0, done.output
    assert "2 folds: macro F1 100.0" in done.output and "2 labels from 24 rows" in done.output
    assert "fold 2 of 2, epoch 30 of 30: loss" in done.stderr and "all rows, epoch 30 of 30: loss" in done.stderr
    kept, facts = head.load(out)
    assert facts["cross-validation"]["macro F1"] == 100.0 and facts["counts"] == {"a": 12, "b": 12}
    assert codesage.load(out / tuned.FOLDER).encode(["x"]).shape == (1, 16)  # a model folder like others
    start = tuned.read(out / tuned.FOLDER, "cpu")
    assert start.max_tokens == 40 and start.facts["stages"] == ["pretrain", "classify"]
    assert (start.encoder.wte.weight != load_encoder(small_model).wte.weight).any()
    answers = [json.loads(line) for line in run(app, ["apply", str(out), str(table), "--json"]).output.splitlines()]
    assert [one["label"] for one in answers] == [row["label"] for row in rows]
    shares = start.probabilities(kept, [rows[0]["code"]])[0]
    assert list(answers[0]["probabilities"].values()) == pytest.approx(shares, abs=1e-4)
    refused = run(app, ["apply", str(out), str(table), "--model", str(small_model)])
    assert "holds the model that was trained with the head: leave out --model" in str(refused.exception)
    assert "are for --fine-tune" in str(run(app, [*train, "--epochs", "3"]).exception)
    with open(out / tuned.FOLDER / "model.safetensors", "r+b") as file:
        file.truncate(100)
    assert "model.safetensors has 100 bytes" in str(run(app, ["apply", str(out), str(table)]).exception)


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ("aaaab", [], r"rows.csv: 5 folds, but label 'b' has 1 rows: .* take fewer --folds \(0: do not measure\)"),
        ("aabb", ["--folds", "3", "--fine-tune"], "rows.csv: 3 folds, but label 'a' has 2 rows"),
        ("abab", ["--folds", "1"], "rows.csv: 1 folds: expected 2 or more, or 0"),
        ("aaaa", ["--folds", "0"], "rows.csv: all rows have the label 'a': expected two labels or more"),
        ("abab", ["--out", "{}/taken"], r"taken exists and holds no manifest.json: choose another --out"),
        ("abab", ["--out", "{}/file/head"], r"cannot write .*/file/head: .*/file is a file: choose another --out"),
    ],
)
def test_what_cannot_be_trained_or_written_is_refused_before_the_model_is_read(tmp_path, monkeypatch, rows, words, message):
    (tmp_path / "rows.csv").write_text("code,label\n" + "".join(f"x{row},{label}\n" for row, label in enumerate(rows)))
    (tmp_path / "taken").mkdir()
    for name in ("taken/note.txt", "file"):
        (tmp_path / name).write_text("mine")
    monkeypatch.setattr("codesage.load", pytest.fail)
    monkeypatch.setattr(tuned, "read", pytest.fail)
    words = ["train", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "head"), *(word.format(tmp_path) for word in words)]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, CodesageError) and re.search(message, str(done.exception)), done.exception
    assert (tmp_path / "taken" / "note.txt").read_text() == "mine"


def test_an_input_that_is_not_there_is_named(tmp_path):
    vectors, labels = clouds()
    head.save(head.fit(vectors, labels), tmp_path / "head", settings={}, facts={"model": "int8:1"})
    for name, content in (
        ("empty.py", b""),
        ("latin.py", "x = 'é'\n".encode("latin-1")),
        ("long.py", b"x=1;" * 1300),
        ("big.py", b"x = 1\n" * 200_000),
        (".env", b"KEY=1\n"),
    ):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link.py").symlink_to("latin.py")
    os.mkfifo(tmp_path / "pipe.py")
    for name, message in (
        ("none.py", "none.py: no such file: give a file that exists"),
        ("head", "head is a folder: give a file"),
        ("none.csv", "none.csv cannot be read"),
        ("link.py", "link.py is a link: give the file that it leads to"),
        ("empty.py", "empty.py cannot be read (empty): expected code, but the file is empty"),
        ("latin.py", "latin.py cannot be read (encoding): expected code in UTF-8"),
        ("long.py", "long.py cannot be read (minified): expected lines of at most 5,000 characters: break its lines"),
        ("big.py", "big.py cannot be read (huge): expected at most 1 MB: split the file"),
        (".env", ".env cannot be read (secret): expected code, but this is a name of files with passwords or keys: rename"),
        ("pipe.py", "pipe.py cannot be read (special): expected a file, not a pipe, socket or device"),
    ):
        done = CliRunner().invoke(app, ["apply", str(tmp_path / "head"), str(tmp_path / name)])
        assert isinstance(done.exception, CodesageError) and message in str(done.exception)
