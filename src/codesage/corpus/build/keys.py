"""The keys of a unit: one row for each document or pair, used to compare and count it without reading its text.

In: columns of equal length. Out: two archives. `keys.npz` holds what the build counts, about 16 bytes a row.
`sketches.npz` holds the digests and signatures, about 550 bytes a row. Only comparisons read it.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from codesage.remote.places import Place, Remote

Keys = dict[str, np.ndarray]  # column name -> array with one row for each document or pair
KEYS_FILE, SKETCHES_FILE = "keys.npz", "sketches.npz"
_SKETCHES = {"sha256", "signature", "body", "text"}
_PARSER = Lock()  # numpy parses headers with ast.literal_eval, which fails at random when two threads use it (CPython 3.11)


def write_keys(folder: Path, keys: Keys) -> None:
    """Write the columns `keys` into `folder`."""
    counted = {name: column for name, column in keys.items() if name not in _SKETCHES}
    compared = {name: column for name, column in keys.items() if name in _SKETCHES}
    np.savez(folder / KEYS_FILE, **counted)  # pyright: ignore[reportArgumentType]
    np.savez(folder / SKETCHES_FILE, **compared)  # pyright: ignore[reportArgumentType]


def read_keys(place: Place) -> Keys:
    """The columns of the unit at `place` that a build counts."""
    return _read(place / KEYS_FILE)


def read_sketches(place: Place, names: Sequence[str] | None = None) -> Keys:
    """The columns of the unit at `place` that a comparison needs: all of them, or those in `names`."""
    return _read(place / SKETCHES_FILE, names)


def _read(file: Place, names: Sequence[str] | None = None) -> Keys:
    source: Path | io.BytesIO
    if isinstance(file, Remote):  # read it in one request
        with file.open() as opened:
            source = io.BytesIO(opened.read())
    else:
        source = file
    with _PARSER, np.load(source) as arrays:
        return {name: arrays[name] for name in names or arrays.files}
