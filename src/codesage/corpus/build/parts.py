"""The shards of a corpus: rows of many pieces put into files of bounded size, by workers.

A shard is planned from counts alone, so equal pieces give equal shards whoever writes them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from codesage.corpus.build.places import Place, parquet
from codesage.corpus.build.tables import Writer
from codesage.corpus.build.work import Work, result
from codesage.corpus.build.worker import Guard

PART_CHARACTERS = 128 << 20  # of text in a shard, about
PART_FILE = "part.parquet"


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a Parquet file, or of one row group of it."""

    path: Place
    rows: tuple[int, ...] | None  # within the group (or file); None: all of them
    characters: int  # of text, as far as planning needs it
    group: int = -1  # -1: the whole file

    def inputs(self) -> tuple:
        """What tells one piece from another: results lie in folders named after all they depend on."""
        return self.path.parent.name, self.path.name, self.group, self.rows


@dataclass(frozen=True, slots=True)
class PartUnit:
    """One shard to write."""

    pieces: tuple[Piece, ...]
    schema: pa.Schema
    folder: Place
    weight: int


def write_part(unit: PartUnit, guard: Guard) -> str:
    """Task: the rows of a shard's pieces, in order, as one Parquet file in its place, whose name is the answer."""
    names = unit.schema.names
    with result(unit.folder) as (folder, _), Writer(folder / PART_FILE, unit.schema) as writer:
        for piece in unit.pieces:
            with parquet(piece.path) as file:
                table = file.read(names) if piece.group < 0 else file.read_row_group(piece.group, names)
            table = table.select(names)
            writer.add(table if piece.rows is None else table.take(pa.array(piece.rows, pa.int64())))
    return str(unit.folder)


def plan(work: Work, pieces: Iterable[Piece], *, schema: pa.Schema, characters: int) -> list[PartUnit]:
    """Shards of about `characters` of text each, in the order of the pieces, and at least one."""
    units = []
    for chosen in _chosen(pieces, characters):
        place = work.place("parts", schema.names, [piece.inputs() for piece in chosen])
        units.append(PartUnit(tuple(chosen), schema, place, 1 + sum(piece.characters for piece in chosen)))
    return units


def _chosen(pieces: Iterable[Piece], characters: int) -> Iterator[list[Piece]]:
    chosen, size, given = [], 0, 0
    for piece in pieces:
        if piece.rows == ():
            continue
        chosen.append(piece)
        size += piece.characters
        if size >= characters:
            yield chosen
            chosen, size, given = [], 0, given + 1
    if chosen or not given:
        yield chosen


def rows_of(mask: np.ndarray) -> tuple[int, ...]:
    """The rows where `mask` is true."""
    return tuple(np.flatnonzero(mask).tolist())
