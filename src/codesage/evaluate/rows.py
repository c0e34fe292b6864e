"""Read the rows of a data set: JSON lines or Parquet, with the file and line of everything that is wrong."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from codesage.classify import parquet
from codesage.classify.data import fault
from codesage.errors import CodesageError

TEXTS = {"code", "func", "src", "query", "doc", "java", "csharp", "entry_point"}  # fields that hold text

_SHOWN = 4  # names of files in a message


def read_rows(file: Path, *needed: str) -> Iterator[dict]:
    """The objects in `file`, each with all fields in `needed`, none of them null, and text where text belongs.

    A Parquet table has them as rows, and its column `id` also counts as `idx` and `index`, as hubs name these. CodesageError
    names the file and the line, or the row of a table.
    """
    is_table = file.suffix == parquet.SUFFIX
    expected = ("a row" if is_table else "a JSON object") + (f" with {', '.join(needed)}" if needed else "")
    values = map(_named, parquet.rows_of(file)) if is_table else read_lines(file, f"lines, each {expected}")
    for number, value in enumerate(values, start=1):
        try:
            row = parsed(value) if isinstance(value, str) else value
            if not isinstance(row, dict):
                raise ValueError("not an object")
            if any(field not in row for field in needed):
                raise ValueError(f"no {', '.join(field for field in needed if field not in row)}")
            require(row, needed)
        except ValueError as error:
            raise CodesageError(f"{file}:{number}: {error}: expected {expected}") from None
        yield row


def held(folder: Path, name: str) -> Path:
    """The file `name` of JSON lines in a folder, or the Parquet table of that name where there is only that."""
    file = folder / name
    if file.is_file():
        return file
    others = {"valid": "validation"}  # as hubs call the part
    names = [file.stem, *([others[file.stem]] if file.stem in others else [])]
    return next((table for one in names if (table := parquet.table_of(one, folder)) is not None), file)


def all_held(folder: Path, ending: str) -> list[Path]:
    """The files of JSON lines whose names have this ending, and the Parquet tables in place of such files, by name."""
    tables = [*folder.glob(f"*{parquet.SUFFIX}"), *folder.glob(f"data/*{parquet.SUFFIX}")]
    names = {file.name for file in folder.glob(f"*{ending}")} | {f"{parquet.name_of(file)}.jsonl" for file in tables}
    return [held(folder, name) for name in sorted(names) if name.endswith(ending)]


def _named(row: dict) -> dict:
    """A row of a hub's table, by the names that the authors' own files have."""
    row = {name: int(value) if isinstance(value, bool) else value for name, value in row.items()}
    return {"idx": row["id"], "index": row["id"]} | row if "id" in row else row


def parsed(text: str) -> Any:
    """The value of JSON. ValueError when it is not JSON, repeats a key, holds NaN, or is nested too deeply to be read.

    The message names the column, and the line if there are several.
    """
    if not text.strip():
        raise ValueError("empty")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(fault(error, lines="\n" in text)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {repeated[:40]!r} occurs twice")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def require(row: dict, fields: Iterable[str]) -> None:
    """ValueError when one of the fields of `row` is null, or holds no text where text belongs."""
    for field in fields:
        if row[field] is None or (field in TEXTS and not isinstance(row[field], str)):
            raise ValueError(f"{field} is {json.dumps(row[field])[:40]}, not {'text' if field in TEXTS else 'a value'}")


def in_all(field: str, *sides: tuple[Path, list[dict]], unit: str = "line") -> bool:
    """Whether the rows have `field`: all of them, or none. CodesageError names the first row that lacks what others have.

    `sides`: files and their rows. `unit` as in `once`.
    """
    if not any(field in row for _, rows in sides for row in rows):
        return False
    for file, rows in sides:
        for number, row in enumerate(rows):
            if row.get(field) is None:
                raise CodesageError(f"{place(file, number, unit)}: no {field}: expected it in all rows, since others have it")
    return True


def read_lines(file: Path, expected: str) -> list[str]:
    """The lines of a text file. CodesageError when it cannot be read, with what was `expected`."""
    try:
        return file.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except OSError as error:
        raise CodesageError(f"{file} cannot be read ({error.strerror}): expected {expected}{_beside(file)}") from None
    except UnicodeDecodeError as error:
        raise CodesageError(f"{file} is not UTF-8 (byte {error.start:,}): expected {expected}") from None


def _beside(file: Path) -> str:
    """For a message about a file that is missing: what its folder holds, such as the table of a hub in place of JSON lines."""
    if file.exists() or not file.parent.is_dir():
        return ""
    names = sorted(one.name for one in file.parent.iterdir())
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"; the folder holds {', '.join(names[:_SHOWN])}{more}" if names else "; the folder is empty"


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """Put the file or folder in front of each CodesageError of the block that does not name it."""
    try:
        yield
    except CodesageError as error:
        if str(place) in str(error):
            raise
        raise CodesageError(f"{place}: {error}") from None


def unique(rows: list[dict], field: str, file: Path, *, unit: str = "line") -> dict[str, int]:
    """The row of each value of `field`, counted from 0. CodesageError when two rows have the same value."""
    return once([one[field] for one in rows], field, file, unit=unit)


def once(values: Sequence[object], field: str, file: Path, *, unit: str = "line") -> dict[str, int]:
    """The place of each of `values`, counted from 0. CodesageError when two are equal.

    They stand in this order in `file`, one a line, or one an "item" of its one JSON value: that is the `unit`.
    """
    row_of: dict[str, int] = {}
    for row, value in enumerate(map(str, values)):
        if value in row_of:
            raise CodesageError(
                f"{place(file, row, unit)}: {field} {value} is in {unit} {row_of[value] + 1} too: expected each once"
            )
        row_of[value] = row
    return row_of


def answered(identities: Sequence[object], row_of: dict[str, int], file: Path, *, unit: str = "line") -> list[int]:
    """The row of each query's answer. CodesageError when a query of `file` has no answer among the candidates."""
    for row, identity in enumerate(identities):
        if str(identity) not in row_of:
            raise CodesageError(f"{place(file, row, unit)}: the answer {identity} is not among the {len(row_of):,} candidates")
    return [row_of[str(identity)] for identity in identities]


def place(file: Path, row: int, unit: str = "line") -> str:
    """Where a row, counted from 0, stands in a file."""
    return f"{file}:{row + 1}" if unit == "line" else f"{file}: {unit} {row + 1}"
