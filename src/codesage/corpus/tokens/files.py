"""The raw files of tokens: written part by part, mapped to be read.

In: columns of corpus.tokenise. Out: little-endian arrays without headers, named as corpus.tokens lists them; how long
each must be follows from the manifest, so that a file cut short is found when it is opened. Only the names of languages,
kinds and sources are held: all else is written as it is added, borders as running totals.
"""

import json
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from codesage.corpus.tokens.ragged import Ragged
from codesage.corpus.tokens.tokenise import SIDES, Columns
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.records import PAIR_KINDS

KINDS = tuple(PAIR_KINDS)
SOURCES = "sources.json"  # the names that pairs.source counts
_TYPES = {"borders": "<i8", "names": "<u2", "language": "u1", "kind": "u1", "source": "<u4", "key": "<u8"}


class Files:
    """The raw files of an artifact while they grow."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self._folder, self._ids = folder, np.dtype(dtype).newbyteorder("<")
        self._open: dict[str, BinaryIO] = {}
        self._ends: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._numbers: dict[str, dict[str, int]] = {
            "language": {name: number for number, name in enumerate(LANGUAGES)},
            "kind": {name: number for number, name in enumerate(KINDS)},
            "source": {},
        }

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._open.values():
            file.close()

    def open(self, part: str) -> None:
        """Start a part: its files exist from now on, empty where nothing is added."""
        self._counts[part] = 0
        if part == "documents":
            ragged, flat = ["plain", "named"], ["named.names", "language"]
        else:
            ragged, flat = list(SIDES), ["language", "kind", "source", "text.key", "body.key", "group.key"]
        for name in [*flat, *(f"{column}.{end}" for column in ragged for end in ("ids", "borders"))]:
            self._open[f"{part}.{name}"] = open(self._folder / f"{part}.{name}", "wb")  # noqa: SIM115 (closed by __exit__)
        for column in ragged:
            self._ends[f"{part}.{column}"] = 0
            self._write(f"{part}.{column}.borders", [0])

    def add(self, part: str, columns: Columns) -> int:
        """Append columns; returns the number of items of the part so far."""
        for name, values in columns.items():
            column, _, end = name.rpartition(".")
            if end == "lengths":
                borders = self._ends[f"{part}.{column}"] + np.cumsum(values)
                self._ends[f"{part}.{column}"] = int(borders[-1])
                self._write(f"{part}.{column}.borders", borders)
            elif name in self._numbers:
                numbers = self._numbers[name]
                self._write(f"{part}.{name}", [numbers.setdefault(value, len(numbers)) for value in values])
            else:
                self._write(f"{part}.{name}", values)
        self._counts[part] += len(columns["language"])
        return self._counts[part]

    def _write(self, name: str, values: ArrayLike) -> None:
        self._open[name].write(np.asarray(values).astype(_TYPES.get(name.rpartition(".")[2], self._ids), copy=False).tobytes())

    def facts(self) -> dict:
        """Counts of items and tokens, and what the numbers of languages and kinds stand for; writes those of sources."""
        (self._folder / SOURCES).write_text(json.dumps(list(self._numbers["source"]), ensure_ascii=False), encoding="utf-8")
        lists = {"languages": list(self._numbers["language"]), "kinds": list(self._numbers["kind"])}
        return {"counts": dict(self._counts), "tokens": dict(sorted(self._ends.items()))} | lists


def read_sources(folder: Path) -> tuple[str, ...]:
    """The names of the sources of pairs. CodesageError when there are none: the tokens are damaged, or of an older version."""
    try:
        return tuple(json.loads((folder / SOURCES).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise CodesageError(
            f"{folder} has no readable {SOURCES} (tokens of older versions have none): make it again with 'codesage tokens'"
        ) from None


def read_ragged(folder: Path, name: str, rows: int, dtype: np.dtype) -> Ragged:
    """The rows of NAME.ids and NAME.borders, mapped. CodesageError when either is damaged or cut short."""
    borders = read_items(folder / f"{name}.borders", "<i8", rows + 1)
    if borders[0] != 0 or (np.diff(borders) < 0).any():
        raise CodesageError(f"{folder / name}.borders does not ascend from 0: make it again with 'codesage tokens'")
    return Ragged(read_items(folder / f"{name}.ids", dtype, int(borders[-1])), borders)


def read_items(file: Path, dtype: str | np.dtype, items: int) -> np.ndarray:
    """The `items` items of a file, mapped, read-only. CodesageError when it holds another number of them."""
    dtype = np.dtype(dtype)
    try:
        size = file.stat().st_size
        if size != items * dtype.itemsize:
            raise CodesageError(
                f"{file} has {size:,} bytes, expected {items * dtype.itemsize:,} ({items:,} items): "
                "make it again with 'codesage tokens'"
            )
        # A plain view of the map: slices of np.memmap cost microseconds each. An empty file cannot be mapped.
        return np.asarray(np.memmap(file, dtype, "r")) if items else np.empty(0, dtype)
    except OSError as error:
        raise CodesageError(f"{file} cannot be read ({error.strerror}): make it again with 'codesage tokens'") from None
