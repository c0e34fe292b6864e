"""Read the rows of a data set: JSON lines, with the file and line of everything that is wrong."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from codesage.errors import CodesageError


def read_rows(file: Path, *needed: str) -> Iterator[dict]:
    """The objects in `file`, each with all fields in `needed`. CodesageError names the file and the line."""
    for number, line in enumerate(read_lines(file, f"JSON lines with {', '.join(needed)}"), start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
            if any(field not in row for field in needed):
                raise ValueError(f"no {', '.join(field for field in needed if field not in row)}")
        except ValueError as error:
            raise CodesageError(f"{file}:{number}: {error}: expected a JSON object with {', '.join(needed)}") from None
        yield row


def read_lines(file: Path, expected: str) -> list[str]:
    """The lines of a text file. CodesageError when it cannot be read, with what was `expected`."""
    try:
        return file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise CodesageError(f"{file} cannot be read ({error.strerror}): expected {expected}") from None
    except UnicodeDecodeError as error:
        raise CodesageError(f"{file} is not UTF-8 (byte {error.start:,}): expected {expected}") from None


def unique(rows: list[dict], field: str, file: Path) -> dict[str, int]:
    """The row of each value of `field`, counted from 0. CodesageError when two rows have the same value."""
    row_of: dict[str, int] = {}
    for row, value in enumerate(str(one[field]) for one in rows):
        if value in row_of:
            raise CodesageError(f"{file}:{row + 1}: {field} {value} is in line {row_of[value] + 1} too: expected each once")
        row_of[value] = row
    return row_of


def answered(identities: Sequence[object], row_of: dict[str, int], file: Path) -> list[int]:
    """The row of each query's answer. CodesageError when a query of `file` has no answer among the candidates."""
    for line, identity in enumerate(identities, start=1):
        if str(identity) not in row_of:
            raise CodesageError(f"{file}:{line}: the answer {identity} is not among the {len(row_of):,} candidates")
    return [row_of[str(identity)] for identity in identities]
