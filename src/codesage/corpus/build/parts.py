"""The shards of a corpus: workers put the rows of many pieces into files of bounded size.

Shards are planned from counts alone. So equal pieces give equal shards, whichever worker writes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from codesage.corpus.build.tables import Writer
from codesage.corpus.build.work import Work, result
from codesage.corpus.build.worker import Guard
from codesage.remote.places import Place, parquet

PART_CHARACTERS = 128 << 20  # approximate characters of text in a shard
PART_FILE = "part.parquet"


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a Parquet file, or of one row group of it."""

    path: Place
    rows: tuple[int, ...] | None  # row numbers within the group (or the file); None: all rows
    characters: int  # of text; an estimate is enough for planning
    group: int = -1  # number of the row group; -1: the whole file

    def inputs(self) -> tuple:
        """What identifies this piece. The name of a result's folder is a hash of everything the result depends on."""
        return self.path.parent.name, self.path.name, self.group, self.rows


@dataclass(frozen=True, slots=True)
class PartUnit:
    """One shard to write."""

    pieces: tuple[Piece, ...]
    schema: pa.Schema
    folder: Place
    weight: int


def write_part(unit: PartUnit, guard: Guard) -> str:
    """Task: write the rows of a shard's pieces, in order, to one Parquet file in the unit's place; returns its path."""
    names = unit.schema.names
    with result(unit.folder) as (folder, _), Writer(folder / PART_FILE, unit.schema) as writer:
        for piece in unit.pieces:
            with parquet(piece.path) as file:
                table = file.read(names) if piece.group < 0 else file.read_row_group(piece.group, names)
            table = table.select(names)
            writer.add(table if piece.rows is None else table.take(pa.array(piece.rows, pa.int64())))
    return str(unit.folder)


def plan(work: Work, pieces: Iterable[Piece], *, schema: pa.Schema, characters: int) -> list[PartUnit]:
    """Plan shards of about `characters` of text each, in the order of the pieces. There is at least one shard."""
    units = []
    for shard in _shards(pieces, characters):
        place = work.place("parts", schema.names, [piece.inputs() for piece in shard])
        units.append(PartUnit(tuple(shard), schema, place, 1 + sum(piece.characters for piece in shard)))
    return units


def _shards(pieces: Iterable[Piece], characters: int) -> Iterator[list[Piece]]:
    shard, size, count = [], 0, 0
    for piece in pieces:
        if piece.rows == ():
            continue
        shard.append(piece)
        size += piece.characters
        if size >= characters:
            yield shard
            shard, size, count = [], 0, count + 1
    if shard or not count:
        yield shard


def rows_of(mask: np.ndarray) -> tuple[int, ...]:
    """The rows where `mask` is true."""
    return tuple(np.flatnonzero(mask).tolist())
