"""Labelled code: CSV, JSON lines or Parquet to texts and their labels, and which rows repeat the code of others.

In: a file with a column of code and one of labels. Out: rows in their order. A row that cannot be read is an error
that names file and line, since leaving it out would change what is measured. Evaluation reads its labels here too.
"""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codesage.classify import parquet
from codesage.errors import CodesageError

REPEATED = "rows with the code of an earlier row"
_LONGEST_FIELD = 2**31 - 1  # characters of a CSV field; the library's default is 131,072
_SHOWN = 80  # characters of a list of columns in a message


@dataclass(frozen=True, slots=True)
class Labelled:
    """Code and the label of each piece; `labels` are empty where the file has none and none are needed.

    `lines`: of the file, where each row begins; of a table in Parquet, the numbers of the rows.
    """

    texts: list[str]
    labels: list[str]
    lines: list[int] = field(default_factory=list, compare=False)

    def counts(self) -> dict[str, int]:
        """How many pieces each label has, most frequent first."""
        return dict(Counter(self.labels).most_common())

    def repeated(self) -> dict[str, int]:
        """How many pieces repeat the code of an earlier one, and how many of these have another label; {} if none."""
        return repeats(codes(self.texts), self.labels, REPEATED)


def codes(texts: Sequence[str]) -> list[int]:
    """The number of the code of each text: equal for texts that are equal but for white space."""
    number_of: dict[str, int] = {}
    return [number_of.setdefault("".join(text.split()), len(number_of)) for text in texts]


def repeats(items: Sequence[Hashable], labels: Sequence[object], what: str) -> dict[str, int]:
    """How many items are equal to an earlier one, and how many of these have another label than the first; {} if none.

    `what`: what the repeated items are called.
    """
    first: dict[Hashable, object] = {}
    others = [first.setdefault(item, label) != label for item, label in zip(items, labels, strict=True)]
    counts = {what: len(items) - len(first), f"{what}, with another label": sum(others)}
    return {of_what: count for of_what, count in counts.items() if count}


def read(file: Path, *, code: str = "code", label: str = "label", labelled: bool = True) -> Labelled:
    """The rows of `file`: CSV and Parquet by its suffix, JSON lines otherwise; `code` and `label` name the columns.

    CodesageError when the file cannot be read, holds no row, has a column twice, or a row lacks one or has code that is empty.
    """
    if labelled and code == label:
        raise CodesageError(f"the code and the labels are both in column {code!r}: give two columns")
    needed = (code, label) if labelled else (code,)
    texts, labels, lines = [], [], []
    for number, row in _rows(file, needed):
        missing = [name for name in needed if row.get(name) is None or (isinstance(row[name], str) and not row[name].strip())]
        if missing:
            raise CodesageError(f"{file}:{number}: no {' and no '.join(missing)}: fill it in, or {_named(labelled)}")
        if not isinstance(row[code], str):
            raise CodesageError(f"{file}:{number}: expected text in {code}, not {json.dumps(row[code])[:40]}")
        texts.append(row[code])
        lines.append(number)
        labels += [(f"{file}:{number}", row[label])] if labelled else []
    if not texts:
        raise CodesageError(f"{file} holds no rows: expected code in column {code!r}")
    return Labelled(texts, labels_of(labels), lines)


def _named(labelled: bool) -> str:
    return "name the columns with --code-column" + (" and --label-column" if labelled else "")


def labels_of(values: Sequence[tuple[str, object]]) -> list[str]:
    """The label in each of `values`, which are places and what stands there: a text, a number, or true or false.

    White space around a text does not count, and equal numbers are one label, so 1.0 is 1. CodesageError when a value is none
    of these, or when there are both numbers and truth values: true could be 1, or a label of its own.
    """
    labels, first = [], {}
    for place, value in values:
        if isinstance(value, (bool, int, float)):
            first.setdefault("true or false" if isinstance(value, bool) else "a number", place)
        labels.append(_label(place, value))
    if len(first) > 1:
        places = " and ".join(f"{kind} ({place})" for kind, place in first.items())
        raise CodesageError(f"labels are {places}: expected one kind")
    return labels


def _label(place: str, value: object) -> str:
    if isinstance(value, str) and value.strip():
        if re.search("[\ud800-\udfff]", value):
            raise CodesageError(f"{place}: the label is {json.dumps(value)[:40]}: half a character of UTF-16 is no text")
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)) and math.isfinite(value):
        return str(int(value) if value == int(value) else value)
    raise CodesageError(f"{place}: the label is {json.dumps(value)[:40]}: expected a text that is not empty, or a number")


def _rows(file: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict]]:
    """Rows by the names of their columns, each with its first line, or with its number in a table of Parquet.

    `needed`: columns that must not occur twice.
    """
    if file.suffix.lower() == parquet.SUFFIX:
        columns = parquet.columns_of(file)
        _check_columns(str(file), columns, needed)
        _check_needed(str(file), columns, needed)
        yield from enumerate(parquet.rows_of(file, list(needed)), start=1)
        return
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:  # Excel writes a byte order mark
            if file.suffix.lower() == ".csv":
                yield from _csv_rows(file, opened, needed)
                return
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    yield number, _object(f"{file}:{number}", line, needed)
    except OSError as error:
        raise CodesageError(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise CodesageError(f"{file} is not readable as UTF-8 text with rows ({error})") from None


def _csv_rows(file: Path, lines: Iterable[str], needed: Sequence[str]) -> Iterator[tuple[int, dict]]:
    """Rows of a CSV file, with the first line of each. A row has a field for each column: a comma too many moves the others."""
    csv.field_size_limit(_LONGEST_FIELD)
    reader, first, last = csv.reader(lines, strict=True), 1, 0
    columns: list[str] = []
    try:
        for fields in reader:
            first, last = last + 1, reader.line_num
            if not fields:  # an empty line
                continue
            if not columns:
                columns = fields
                _check_columns(f"{file}:{first}", columns, needed)
                _check_needed(f"{file}:{first}", columns, needed)
                continue
            if len(fields) != len(columns):
                raise CodesageError(
                    f"{file}:{first}: {len(fields)} fields, but the first line has {len(columns)} columns: put code "
                    "with a comma or a line break into double quotes"
                )
            yield first, dict(zip(columns, fields, strict=True))
    except csv.Error as error:
        raise CodesageError(
            f"{file}:{last + 1}: {error}: put fields with a double quote into double quotes, and write the quote twice"
        ) from None


def _check_needed(place: str, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        held = ", ".join(columns)
        held = held if len(held) <= _SHOWN else held[:_SHOWN] + "..."
        raise CodesageError(f"{place}: no column {' and no '.join(missing)} among {held}: {_named(len(needed) > 1)}")


def _object(place: str, line: str, needed: Sequence[str]) -> dict:
    def checked(pairs: list[tuple[str, object]]) -> dict:
        _check_columns(place, [name for name, _ in pairs], needed)
        return dict(pairs)

    try:
        row = json.loads(line.rstrip("\r\n"), object_pairs_hook=checked)
    except RecursionError:
        raise CodesageError(
            f"{place}: objects or lists are nested too deeply: expected code and a label in each line"
        ) from None
    except ValueError as error:
        raise CodesageError(f"{place}: {fault(error)}: expected a JSON object in each line") from None
    if not isinstance(row, dict):
        raise CodesageError(f"{place}: expected a JSON object in each line, not {type(row).__name__}")
    return row


def fault(error: ValueError, *, lines: bool = False) -> str:
    """What is wrong in a text that is not JSON, and in which column; `lines`: and in which of its lines."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at {f'line {error.lineno}, ' if lines else ''}column {error.colno}"
    return "a number has too many digits" if "integer string conversion" in str(error) else str(error)


def _check_columns(place: str, columns: Sequence[str], needed: Sequence[str]) -> None:
    twice = next((name for name in needed if columns.count(name) > 1), None)
    if twice is not None:
        raise CodesageError(f"{place}: {columns.count(twice)} columns are called {twice!r}, expected one: rename the others")
