"""The standard data sets in the layouts in which their authors publish them.

In: a folder. Out: tasks, prepared as in the published evaluation (paper section 4 and its evaluation scripts):
text and code of NL2Code are space-joined tokens; code of Code2Code has no comments, and all white space is one space.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from codesage.errors import CodesageError
from codesage.evaluate.comments import without_comments
from codesage.evaluate.rows import TEXTS, answered, once, read_lines, read_rows, require, unique
from codesage.evaluate.tasks import ClassificationTask, CloneTask, GroupTask, RetrievalTask

_CODE, _LABEL = ("code", "func", "src"), ("label", "target", "complexity", "target_label")
_PARTS = ("train", "valid", "test")
_NO_ERROR = ("no_error", "No_Error")  # the label of programs without a runtime error
_RUNTIME_ERROR_EPOCHS = 2  # paper, section 4.2; the other sets take as many as the protocol says
_GROUPED = "_with_func.jsonl"


def cosqa_search(folder: Path, *, part: str = "test") -> RetrievalTask:
    """CoSQA as published: `code_idx_map.txt` and `cosqa-retrieval-PART-500.json`."""
    queries = _read_json(folder / f"cosqa-retrieval-{part}-500.json", list)
    codebase = _read_json(folder / "code_idx_map.txt", dict)
    row_of = unique([{"index": identity} for identity in codebase.values()], "index", folder / "code_idx_map.txt")
    _require(queries, ("doc", "retrieval_idx"), folder / f"cosqa-retrieval-{part}-500.json")
    answers = answered([one["retrieval_idx"] for one in queries], row_of, folder / f"cosqa-retrieval-{part}-500.json")
    return RetrievalTask("CoSQA", [_one_line(one["doc"]) for one in queries], [_one_line(code) for code in codebase], answers)


def advtest(folder: Path) -> RetrievalTask:
    """AdvTest (CodeXGLUE NL-code-search-Adv): `test.jsonl`, Python with hidden names; each function is its text's answer."""
    return _described("AdvTest", folder / "test.jsonl", folder / "test.jsonl")


def codesearchnet(folder: Path) -> list[RetrievalTask]:
    """CodeSearchNet, filtered as for GraphCodeBERT: `LANGUAGE/test.jsonl` and `LANGUAGE/codebase.jsonl`."""
    languages = sorted(path.parent.name for path in folder.glob("*/test.jsonl"))
    if not languages:
        raise CodesageError(f"{folder} holds no LANGUAGE/test.jsonl: expected CodeSearchNet as filtered for GraphCodeBERT")
    return [
        _described(language, folder / language / "test.jsonl", folder / language / "codebase.jsonl") for language in languages
    ]


def codenet(folder: Path) -> list[GroupTask]:
    """CodeNet (UniXcoder's zero-shot-search and its extension): `LANGUAGE_with_func.jsonl`; every ordered pair of languages.

    A language is also searched with itself.
    """
    files = sorted(folder.glob("*" + _GROUPED))
    if not files:
        raise CodesageError(f"{folder} holds no LANGUAGE{_GROUPED}: expected the sets of CodeNet by language")
    sets = {file.name.removesuffix(_GROUPED): _solutions(file, file.name.removesuffix(_GROUPED)) for file in files}
    return [GroupTask(f"{one} to {other}", *sets[one], *sets[other], languages=(one, other)) for one in sets for other in sets]


def poj104(folder: Path) -> list[GroupTask]:
    """POJ-104 (CodeXGLUE): `test.jsonl` with code, label and index; measured by MAP@R."""
    rows = [
        (_one_line(row["code"]), str(row["label"]), str(row["index"]))
        for row in read_rows(folder / "test.jsonl", "code", "label", "index")
    ]
    columns = tuple(list(column) for column in zip(*rows, strict=True))
    once(columns[2], "index", folder / "test.jsonl")
    return [GroupTask("POJ-104", *columns, *columns, languages=("c", "c"), at_r=True)]


def bigclonebench(folder: Path) -> CloneTask:
    """BigCloneBench (CodeXGLUE): `data.jsonl` with func and idx; `valid.txt` and `test.txt` with idx, idx and 0 or 1."""
    rows = list(read_rows(folder / "data.jsonl", "func", "idx"))
    row_of = unique(rows, "idx", folder / "data.jsonl")
    return CloneTask(
        "BigCloneBench",
        [_one_line(row["func"]) for row in rows],
        _pairs(folder / "valid.txt", row_of),
        _pairs(folder / "test.txt", row_of),
    )


def defect(folder: Path) -> ClassificationTask:
    """Defect detection (Devign, CodeXGLUE): `train`, `valid` and `test.jsonl`, or `function.json` and the lists of rows."""
    if not (folder / "function.json").is_file():
        return _split("Defect", [folder / f"{part}.jsonl" for part in _PARTS])
    functions = _read_json(folder / "function.json", list)
    _require(functions, ("func", "target"), folder / "function.json")
    chosen, parts, where = [], [], {}
    for part in _PARTS:
        for number, line in enumerate(read_lines(folder / f"{part}.txt", "one number a line"), start=1):
            if not (line.strip().isdigit() and int(line) < len(functions)):
                raise CodesageError(
                    f"{folder / part}.txt:{number}: {line[:40]!r} is not a row of function.json ({len(functions):,} rows)"
                )
            if int(line) in where:
                raise CodesageError(f"{folder / part}.txt:{number}: row {line.strip()} is in {where[int(line)]} too")
            where[int(line)] = f"{part}.txt:{number}"
            chosen.append(functions[int(line)])
            parts.append(part)
    return ClassificationTask("Defect", [one["func"] for one in chosen], [str(one["target"]) for one in chosen], parts)


def runtime_error(folder: Path, *, seed: int = 0) -> ClassificationTask:
    """Runtime errors of Python programs (29 labels): `train`, `valid` and `test` as JSON lines, "_balanced" or not.

    Training programs without an error are as many as those with one at most; the others are left out and counted.
    """
    files = [
        next(
            (file for name in (f"{part}_balanced.json", f"{part}.jsonl", f"{part}.json") if (file := folder / name).is_file()),
            folder / f"{part}.jsonl",
        )
        for part in _PARTS
    ]
    task = replace(_split("Runtime error", files), epochs=_RUNTIME_ERROR_EPOCHS)
    quiet = [
        row
        for row, (label, part) in enumerate(zip(task.labels, task.parts, strict=True))
        if part == "train" and label in _NO_ERROR
    ]
    surplus = len(quiet) - (task.parts.count("train") - len(quiet))
    if surplus <= 0:
        return task
    dropped = set(np.random.default_rng(seed).choice(quiet, surplus, replace=False).tolist())
    kept = [row for row in range(len(task.texts)) if row not in dropped]
    texts, labels, parts = ([column[row] for row in kept] for column in (task.texts, task.labels, task.parts))
    counted = {"training programs without an error": surplus}
    return replace(task, texts=texts, labels=labels, parts=parts, counted=counted)


def _described(name: str, queries: Path, codebase: Path) -> RetrievalTask:
    rows = list(read_rows(queries, "docstring_tokens"))
    code = rows if codebase == queries else list(read_rows(codebase))
    identity = "url" if all("url" in row for row in [*rows, *code]) else "idx"
    for file, items in ((queries, rows), (codebase, code)):
        _require(items, (identity,), file)
    if codebase != queries:
        unique(rows, identity, queries)
    answers = answered([row[identity] for row in rows], unique(code, identity, codebase), queries)
    return RetrievalTask(
        name,
        [_joined(row, ("docstring_tokens",), queries, line) for line, row in enumerate(rows, start=1)],
        [_joined(row, ("function_tokens", "code_tokens"), codebase, line) for line, row in enumerate(code, start=1)],
        answers,
    )


def _solutions(file: Path, language: str) -> tuple[list[str], list[str], list[str]]:
    codes, labels, identities = [], [], []
    for line, row in enumerate(read_rows(file, "label", "index"), start=1):
        codes.append(_one_line(without_comments(_field(row, ("func", "code"), file, line), language)))
        labels.append(str(row["label"]))
        identities.append(str(row["index"]))
    once(identities, "index", file)
    return codes, labels, identities


def _pairs(file: Path, row_of: dict[str, int]) -> list[tuple[int, int, bool]]:
    pairs = []
    for number, line in enumerate(read_lines(file, "idx, idx and 0 or 1, with tabs between"), start=1):
        parts = line.split()
        if len(parts) != 3 or parts[2] not in ("0", "1") or parts[0] not in row_of or parts[1] not in row_of:
            raise CodesageError(f"{file}:{number}: {line[:60]!r}: expected two functions of data.jsonl and 0 or 1")
        pairs.append((row_of[parts[0]], row_of[parts[1]], parts[2] == "1"))
    return pairs


def _split(name: str, files: list[Path]) -> ClassificationTask:
    texts, labels, parts = [], [], []
    for part, file in zip(_PARTS, files, strict=True):
        for line, row in enumerate(read_rows(file), start=1):
            texts.append(_field(row, _CODE, file, line))
            labels.append(str(_field(row, _LABEL, file, line)))
            parts.append(part)
    return ClassificationTask(name, texts, labels, parts)


def _field(row: dict, names: tuple[str, ...], file: Path, line: int) -> Any:
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if value is None:
        raise CodesageError(f"{file}:{line}: none of the fields {', '.join(names)}")
    if TEXTS.issuperset(names) and not isinstance(value, str):
        raise CodesageError(f"{file}:{line}: the code is {json.dumps(value)[:40]}, not text")
    return value


def _require(rows: list, fields: tuple[str, ...], file: Path) -> None:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or any(field not in row for field in fields):
            raise CodesageError(f"{file}: item {number} lacks one of the fields {', '.join(fields)}")
        try:
            require(row, fields)
        except ValueError as error:
            raise CodesageError(f"{file}: item {number}: {error}") from None


def _read_json(file: Path, kind: type) -> Any:
    try:
        value = json.loads("\n".join(read_lines(file, "a JSON file")))
    except ValueError as error:
        raise CodesageError(f"{file} is not JSON ({error}): copy it again") from None
    if not isinstance(value, kind):
        raise CodesageError(f"{file} holds a JSON {type(value).__name__}, expected a {kind.__name__}")
    return value


def _joined(row: dict, names: tuple[str, ...], file: Path, line: int) -> str:
    """The tokens in one of the fields, a list or a text, with spaces between."""
    tokens = _field(row, names, file, line)
    if isinstance(tokens, str):
        return " ".join(tokens.split())
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CodesageError(f"{file}:{line}: {json.dumps(tokens)[:40]} is not a list of tokens")
    return " ".join(tokens)


def _one_line(text: str) -> str:
    return " ".join(text.split())
