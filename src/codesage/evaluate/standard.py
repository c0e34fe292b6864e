"""The standard data sets in the layouts in which their authors publish them.

In: a folder. Out: tasks, prepared as in the published evaluation (paper section 4 and its evaluation scripts):
text and code of NL2Code are space-joined tokens; code of Code2Code has no comments, and all white space is one space.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from codesage.classify.data import REPEATED, codes, labels_of, repeats
from codesage.classify.parquet import name_of
from codesage.errors import CodesageError
from codesage.evaluate.comments import without_comments
from codesage.evaluate.hubs import SEARCHNET_ROWS
from codesage.evaluate.rows import (
    TEXTS,
    all_held,
    answered,
    held,
    in_all,
    once,
    parsed,
    place,
    read_lines,
    read_rows,
    require,
    unique,
)
from codesage.evaluate.tasks import SEED, ClassificationTask, CloneTask, GroupTask, RetrievalTask
from codesage.languages import LANGUAGES, language_named

_CODE, _LABEL = ("code", "func", "src"), ("target_label", "label", "target", "complexity")  # the first that a row has
_PARTS = ("train", "valid", "test")
_NO_ERROR, _NO_ERROR_NUMBER = "no error", "1"  # the label of programs without one, as the authors name and number it
_RUNTIME_ERROR_EPOCHS = 2  # paper, section 4.2; the other sets take as many as the protocol says
_GROUPED = "_with_func.jsonl"
SEARCHNET_LANGUAGES = tuple(SEARCHNET_ROWS)


def cosqa_search(folder: Path, *, part: str = "test") -> RetrievalTask:
    """CoSQA as published: `code_idx_map.txt` and `cosqa-retrieval-PART-500.json`."""
    file, map_file = folder / f"cosqa-retrieval-{part}-500.json", folder / "code_idx_map.txt"
    queries, codebase = _read_json(file, list), _read_json(map_file, dict)
    row_of = once(list(codebase.values()), "index", map_file, unit="item")
    _require(queries, ("doc", "retrieval_idx"), file)
    if in_all("idx", (file, queries), unit="item"):
        unique(queries, "idx", file, unit="item")
    once([(one["doc"], one["retrieval_idx"]) for one in queries], "the query with its answer", file, unit="item")
    answers = answered([one["retrieval_idx"] for one in queries], row_of, file, unit="item")
    return RetrievalTask("CoSQA", [_one_line(one["doc"]) for one in queries], [_one_line(code) for code in codebase], answers)


def advtest(folder: Path) -> RetrievalTask:
    """AdvTest (CodeXGLUE NL-code-search-Adv): `test.jsonl`, Python with hidden names; each function is its text's answer."""
    file = held(folder, "test.jsonl")
    return _described("AdvTest", file, file)


def codesearchnet(folder: Path) -> list[RetrievalTask]:
    """CodeSearchNet, filtered as for GraphCodeBERT: `LANGUAGE/test.jsonl` and `LANGUAGE/codebase.jsonl`.

    A folder of one of the six languages with other JSON lines lacks a file, which is an error. Other folders are left out.
    """
    found = sorted(one.name for one in folder.iterdir() if one.is_dir() and all_held(one, ".jsonl"))
    languages = [name for name in found if name in SEARCHNET_LANGUAGES]
    if not languages:
        raise CodesageError(
            f"{folder} holds no LANGUAGE/test.jsonl: expected CodeSearchNet as filtered for GraphCodeBERT, in one or more of "
            + ", ".join(SEARCHNET_LANGUAGES)
        )
    left_out = tuple(name for name in found if name not in languages)
    tasks = [_described(name, held(folder / name, "test.jsonl"), held(folder / name, "codebase.jsonl")) for name in languages]
    return [replace(task, left_out=left_out) for task in tasks]


def codenet(folder: Path) -> list[GroupTask]:
    """CodeNet (UniXcoder's zero-shot-search and its extension): `LANGUAGE_with_func.jsonl`; every ordered pair of languages.

    A language is also searched with itself. Languages that are none of the paper's nine, such as C++, which the extension has
    too, are left out.
    """
    files: dict[str, Path] = {}
    left_out: list[str] = []
    for file in all_held(folder, _GROUPED):
        name = f"{name_of(file)}.jsonl".removesuffix(_GROUPED)
        language = language_named(name)  # comments are stripped by language, so "Python" must not be an unknown one
        if language in files:
            raise CodesageError(f"{file} and {files[language].name} are both {language}: expected one file for each language")
        if language:
            files[language] = file
        else:
            left_out.append(name)
    if not files:
        raise CodesageError(
            f"{folder} holds no LANGUAGE{_GROUPED}: expected the sets of CodeNet in one or more of {', '.join(LANGUAGES)}"
        )
    sets = {language: _solutions(file, language) for language, file in sorted(files.items())}
    return [
        GroupTask(f"{one} to {other}", *sets[one], *sets[other], languages=(one, other), left_out=tuple(left_out))
        for one in sets
        for other in sets
    ]


def poj104(folder: Path) -> list[GroupTask]:
    """POJ-104 (CodeXGLUE): `test.jsonl` with code, label and index; measured by MAP@R."""
    file = held(folder, "test.jsonl")
    rows = list(read_rows(file, "code", "label", "index"))
    labels = labels_of([(place(file, line), row["label"]) for line, row in enumerate(rows)])
    columns = [_one_line(row["code"]) for row in rows], labels, [str(row["index"]) for row in rows]
    once(columns[2], "index", file)
    return [GroupTask("POJ-104", *columns, *columns, languages=("c", "c"), at_r=True)]


def bigclonebench(folder: Path) -> CloneTask:
    """BigCloneBench (CodeXGLUE): `data.jsonl` with func and idx; `valid.txt` and `test.txt` with idx, idx and 0 or 1."""
    file = held(folder, "data.jsonl")
    rows = list(read_rows(file, "func", "idx"))
    row_of = unique(rows, "idx", file)
    valid, test = (_pairs(folder / f"{part}.txt", row_of) for part in ("valid", "test"))
    ordered = {"validation": [_unordered(pair) for pair in valid], "test": [_unordered(pair) for pair in test]}
    counted: dict[str, int] = {}
    for (part, own), pairs in zip(ordered.items(), (valid, test), strict=True):
        counted |= repeats(own, [same for *_, same in pairs], f"{part} pairs that are listed again")
    if shared := set(ordered["validation"]).intersection(ordered["test"]):
        counted["test pairs that are validation pairs too"] = len(shared)
    return CloneTask("BigCloneBench", [_one_line(row["func"]) for row in rows], valid, test, counted)


def defect(folder: Path) -> ClassificationTask:
    """Defect detection (Devign, CodeXGLUE): `train`, `valid` and `test.jsonl`, or `function.json` and the lists of rows."""
    if not (folder / "function.json").is_file():
        return _counting(_split("Defect", [held(folder, f"{part}.jsonl") for part in _PARTS]))
    functions = _read_json(folder / "function.json", list)
    _require(functions, ("func", "target"), folder / "function.json")
    labels = labels_of([(place(folder / "function.json", row, "item"), one["target"]) for row, one in enumerate(functions)])
    rows, parts, where = [], [], {}
    for part in _PARTS:
        for number, line in enumerate(read_lines(folder / f"{part}.txt", "one number a line"), start=1):
            if not (line.strip().isdigit() and int(line) < len(functions)):
                raise CodesageError(
                    f"{folder / part}.txt:{number}: {line[:40]!r} is not a row of function.json ({len(functions):,} rows)"
                )
            if int(line) in where:
                raise CodesageError(f"{folder / part}.txt:{number}: row {line.strip()} is in {where[int(line)]} too")
            where[int(line)] = f"{part}.txt:{number}"
            rows.append(int(line))
            parts.append(part)
    texts = [functions[row]["func"] for row in rows]
    return _counting(ClassificationTask("Defect", texts, [labels[row] for row in rows], parts))


def runtime_error(folder: Path, *, seed: int = SEED) -> ClassificationTask:
    """Runtime errors of Python programs (29 labels): `train`, `valid` and `test` as JSON lines, "_balanced" or not.

    Training programs without an error are as many as those with one at most; the others are left out and counted. Their label
    is "no error" in any spelling, or 1 where all labels are numbers, as the authors number them.
    """
    files = [
        next(
            (file for name in (f"{part}_balanced.json", f"{part}.jsonl", f"{part}.json") if (file := folder / name).is_file()),
            held(folder, f"{part}.jsonl"),
        )
        for part in _PARTS
    ]
    task = replace(_split("Runtime error", files), epochs=_RUNTIME_ERROR_EPOCHS)
    numbered = all(label.isdigit() for label in task.labels)
    quiet = [
        row
        for row, (label, part) in enumerate(zip(task.labels, task.parts, strict=True))
        if part == "train" and (label == _NO_ERROR_NUMBER if numbered else label.lower().replace("_", " ") == _NO_ERROR)
    ]
    surplus = len(quiet) - (task.parts.count("train") - len(quiet))
    if surplus <= 0:
        return _counting(task)
    dropped = set(np.random.default_rng(seed).choice(quiet, surplus, replace=False).tolist())
    kept = [row for row in range(len(task.texts)) if row not in dropped]
    texts, labels, parts = ([column[row] for row in kept] for column in (task.texts, task.labels, task.parts))
    counted = {"training programs without an error, left out": surplus}
    return _counting(replace(task, texts=texts, labels=labels, parts=parts, counted=counted))


def _described(name: str, queries: Path, codebase: Path) -> RetrievalTask:
    rows = list(read_rows(queries, "docstring_tokens"))
    code = rows if codebase == queries else list(read_rows(codebase))
    identity = _identity((queries, rows), (codebase, code))
    if codebase != queries:
        unique(rows, identity, queries)
    answers = answered([row[identity] for row in rows], unique(code, identity, codebase), queries)
    return RetrievalTask(
        name,
        [_joined(row, ("docstring_tokens",), queries, line) for line, row in enumerate(rows, start=1)],
        [_joined(row, ("function_tokens", "code_tokens"), codebase, line) for line, row in enumerate(code, start=1)],
        answers,
    )


def _identity(queries: tuple[Path, list[dict]], codebase: tuple[Path, list[dict]]) -> str:
    """The field that says which function answers a query. `idx` counts the rows of one file, so it joins no two files."""
    if in_all("url", queries, codebase):
        return "url"
    if queries[0] != codebase[0]:
        raise CodesageError(
            f"{place(queries[0], 0)}: no url: expected it in all rows of {queries[0].name} and {codebase[0].name}"
        )
    if not in_all("idx", codebase):
        raise CodesageError(f"{place(queries[0], 0)}: neither url nor idx: expected one of them in all rows")
    return "idx"


def _solutions(file: Path, language: str) -> tuple[list[str], list[str], list[str]]:
    """Code, labels and identities. An index counts within its language: another language may have the same."""
    texts, labels, indexes = [], [], []
    for line, row in enumerate(read_rows(file, "label", "index"), start=1):
        texts.append(_one_line(without_comments(_field(row, ("func", "code"), file, line), language)))
        labels.append((f"{file}:{line}", row["label"]))
        indexes.append(str(row["index"]))
    once(indexes, "index", file)
    return texts, labels_of(labels), [f"{language} {index}" for index in indexes]


def _pairs(file: Path, row_of: dict[str, int]) -> list[tuple[int, int, bool]]:
    pairs = []
    for number, line in enumerate(read_lines(file, "idx, idx and 0 or 1, with tabs between"), start=1):
        parts = line.split()
        if len(parts) != 3 or parts[2] not in ("0", "1") or parts[0] not in row_of or parts[1] not in row_of:
            raise CodesageError(f"{file}:{number}: {line[:60]!r}: expected two functions of data.jsonl and 0 or 1")
        pairs.append((row_of[parts[0]], row_of[parts[1]], parts[2] == "1"))
    if not any(same for *_, same in pairs):
        raise CodesageError(f"{file}: no pair is a clone: expected both kinds")
    return pairs


def _unordered(pair: tuple[int, int, bool]) -> tuple[int, int]:
    return min(pair[:2]), max(pair[:2])


def _split(name: str, files: list[Path]) -> ClassificationTask:
    texts, labels, parts = [], [], []
    for part, file in zip(_PARTS, files, strict=True):
        rows = list(read_rows(file))
        if in_all("idx", (file, rows)):
            unique(rows, "idx", file)
        for line, row in enumerate(rows, start=1):
            texts.append(_field(row, _CODE, file, line))
            labels.append((f"{file}:{line}", _field(row, _LABEL, file, line)))
            parts.append(part)
    return ClassificationTask(name, texts, labels_of(labels), parts)


def _counting(task: ClassificationTask) -> ClassificationTask:
    """`task` with the numbers of its repeated rows."""
    numbers = codes(task.texts)
    counted = task.counted | repeats(numbers, task.labels, REPEATED)
    learned = {code for code, part in zip(numbers, task.parts, strict=True) if part == "train"}
    known = sum(part == "test" and code in learned for code, part in zip(numbers, task.parts, strict=True))
    return replace(task, counted=counted | ({"test rows with the code of a training row": known} if known else {}))


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
        value = parsed("\n".join(read_lines(file, "a JSON file")))
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
