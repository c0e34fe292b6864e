"""Labelled code: CSV or JSON lines to texts and their labels.

In: a file with a column of code and one of labels. Out: rows in their order. A row that cannot be read is an error
that names file and line, since leaving it out would change what is measured.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codesage.errors import CodesageError


@dataclass(frozen=True, slots=True)
class Labelled:
    """Code and the label of each piece; `labels` are empty where the file has none and none are needed."""

    texts: list[str]
    labels: list[str]

    def counts(self) -> dict[str, int]:
        """How many pieces each label has, most frequent first."""
        return dict(Counter(self.labels).most_common())


def read(file: Path, *, code: str = "code", label: str = "label", labelled: bool = True) -> Labelled:
    """The rows of `file`: CSV by its suffix, JSON lines otherwise; `code` and `label` name the columns.

    CodesageError when the file cannot be read, holds no row, a row lacks a column, or has code that is empty.
    """
    texts, labels = [], []
    for number, row in _rows(file):
        missing = [name for name in (code, label) if (labelled or name == code) and row.get(name) in (None, "")]
        if missing:
            raise CodesageError(
                f"{file}:{number}: no {' and no '.join(missing)}: name the columns with --code-column and --label-column"
            )
        if not isinstance(row[code], str) or (labelled and isinstance(row[label], (list, dict))):
            raise CodesageError(f"{file}:{number}: expected text in {code} and a text or a number in {label}")
        texts.append(row[code])
        labels += [str(row[label])] if labelled else []
    if not texts:
        raise CodesageError(f"{file} holds no rows: expected code in column {code!r}")
    return Labelled(texts, labels)


def _rows(file: Path) -> Iterator[tuple[int, dict]]:
    try:
        with open(file, encoding="utf-8", newline="") as opened:
            if file.suffix.lower() == ".csv":
                reader = csv.DictReader(opened)
                for row in reader:
                    yield reader.line_num, row
                return
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    yield number, _object(file, number, line)
    except OSError as error:
        raise CodesageError(f"{file} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CodesageError(f"{file} is not readable as UTF-8 text with rows ({error})") from None


def _object(file: Path, number: int, line: str) -> dict:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise CodesageError(f"{file}:{number}: {error}: expected a JSON object in each line") from None
    if not isinstance(row, dict):
        raise CodesageError(f"{file}:{number}: expected a JSON object in each line, not {type(row).__name__}")
    return row
