"""Read the rows of a data set: JSON lines, with the file and line of everything that is wrong."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from codesage.errors import CodesageError

TEXTS = {"code", "func", "src", "query", "doc", "java", "csharp", "entry_point"}  # fields that hold text


def read_rows(file: Path, *needed: str) -> Iterator[dict]:
    """The objects in `file`, each with all fields in `needed`, none of them null, and text where text belongs.

    CodesageError names the file and the line.
    """
    for number, line in enumerate(read_lines(file, f"JSON lines with {', '.join(needed)}"), start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
            if any(field not in row for field in needed):
                raise ValueError(f"no {', '.join(field for field in needed if field not in row)}")
            require(row, needed)
        except ValueError as error:
            raise CodesageError(f"{file}:{number}: {error}: expected a JSON object with {', '.join(needed)}") from None
        yield row


def require(row: dict, fields: Iterable[str]) -> None:
    """ValueError when one of the fields of `row` is null, or holds no text where text belongs."""
    for field in fields:
        if row[field] is None or (field in TEXTS and not isinstance(row[field], str)):
            raise ValueError(f"{field} is {json.dumps(row[field])[:40]}, not {'text' if field in TEXTS else 'a value'}")


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
    return once([one[field] for one in rows], field, file)


def once(values: Sequence[object], field: str, file: Path) -> dict[str, int]:
    """The place of each of `values`, counted from 0. CodesageError when two are equal; they stand in line order in `file`."""
    row_of: dict[str, int] = {}
    for row, value in enumerate(map(str, values)):
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
