"""The keys a unit leaves: one row for each document or pair, by which it is compared and counted without its text.

In: columns of one length. Out: two archives. `keys.npz` has what the build itself counts, some 16 bytes a row;
`sketches.npz` has the digests and signatures, some 550 bytes a row, which only a comparison reads.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from codesage.corpus.build.places import Place, Remote

Keys = dict[str, np.ndarray]  # name of a column -> one row for each document or pair
KEYS_FILE, SKETCHES_FILE = "keys.npz", "sketches.npz"
_SKETCHES = {"sha256", "signature", "body", "text"}
_PARSER = Lock()  # numpy reads headers with ast.literal_eval, which fails at random in two threads (CPython 3.11)


def write_keys(folder: Path, keys: Keys) -> None:
    """Write the columns `keys` into `folder`."""
    np.savez(folder / KEYS_FILE, **{name: column for name, column in keys.items() if name not in _SKETCHES})
    np.savez(folder / SKETCHES_FILE, **{name: column for name, column in keys.items() if name in _SKETCHES})


def read_keys(place: Place) -> Keys:
    """The columns a build counts, of the unit at `place`."""
    return _read(place / KEYS_FILE)


def read_sketches(place: Place, names: Sequence[str] | None = None) -> Keys:
    """The columns a comparison needs, of the unit at `place`: all, or those in `names`."""
    return _read(place / SKETCHES_FILE, names)


def _read(file: Place, names: Sequence[str] | None = None) -> Keys:
    source = file
    if isinstance(file, Remote):  # in one request
        with file.open() as opened:
            source = io.BytesIO(opened.read())
    with _PARSER, np.load(source) as arrays:
        return {name: arrays[name] for name in names or arrays.files}
