"""Find equal and nearly equal rows on a Ray cluster. The verdicts are exactly those of verdicts.py.

No process holds all keys. In: the places of the units; the actors of the cluster read their sketches. Out: a verdict for
each row. There are four steps. Each step reads records from units, divides them into partitions by a hash of the shared
value, collects all records of a partition in one actor, and returns rows:

1. held out: digests of texts and bodies. Rows that equal a held-out row are dropped (pairs only).
2. equal: digests. All rows except the first of equal ones are dropped.
3. candidates: a hash of every band of every signature. Rows that share no band with another row are kept.
4. near: the signatures of candidates, by band. As on one machine, bands are judged one after the other, since a row that
   one band has dropped cannot drop other rows. Between bands only the dropped rows are exchanged.

Besides what it counts, the building process keeps five bytes for each row: the verdict, and the bands that the row shares.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from codesage.corpus.build.keys import Keys, read_sketches
from codesage.corpus.build.pool import Pool
from codesage.corpus.distinct.duplicates import PERMUTATIONS, band_keys, bands, drop_repeats
from codesage.corpus.distinct.verdicts import EQUAL, HELD_BODY, HELD_TEXT, NEAR
from codesage.remote.places import Place, place_of

_BLOCK_ROWS = 1 << 21  # documents or pairs that one call reads; their bands take 0.7 GB
_PARTITION_RECORDS = 1 << 24  # records that one call collects: 0.3 GB
_SIGNED = 16  # a record with a signature counts as this many records
_BLOCKS_AN_ACTOR = 4  # at least, if there are enough units
_TRAINING = np.int64(1 << 62)  # bit in the order of rows that puts training rows after all held-out rows
_TEXT, _BODY = 0, 1
_MIX = np.uint64(0x9E3779B97F4A7C15)
_BANDS = bands()


class Cluster:
    """Compares rows with the actors of a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def documents(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on documents, uint8 (n,) for each unit. Reads from `keys`: held (n,) bool."""
        rows = _Rows(places, [{"held": key["held"]} for key in keys], self._pool.size)
        self._drop_equal(rows, ("sha256",))
        self._drop_near(rows)
        return rows.parts()

    def pairs(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on pairs, uint8 (n,) for each unit. Reads from `keys`: held (n,) bool, side (n,) uint8."""
        rows = _Rows(places, keys, self._pool.size)
        if any(key["held"].any() for key in keys):
            self._drop_held(rows)
        self._drop_equal(rows, ("body", "side"))
        self._drop_near(rows)
        return rows.parts()

    def _drop_held(self, rows: "_Rows") -> None:
        tables = list(self._columns(rows, _held_records, _held_twins, records=2 * rows.undecided()))
        for what, code in ((_BODY, HELD_BODY), (_TEXT, HELD_TEXT)):  # if both are held out, the text is the reason
            for table in tables:
                rows.verdict[table["row"][table["what"] == what]] = code

    def _drop_equal(self, rows: "_Rows", names: tuple[str, ...]) -> None:
        for table in self._columns(rows, _Digests(names), _repeats, records=rows.undecided()):
            rows.verdict[table["row"]] = EQUAL

    def _drop_near(self, rows: "_Rows") -> None:
        shared = np.zeros(len(rows.verdict), np.uint32)
        for table in self._columns(rows, _band_records, _shared, records=len(_BANDS) * rows.undecided()):
            for band in np.unique(table["band"]).tolist():
                shared[table["row"][table["band"] == band]] |= np.uint32(1 << band)
        if shared.any():
            self._judge_bands(rows, shared)

    def _judge_bands(self, rows: "_Rows", shared: np.ndarray) -> None:
        """Judge the candidates, band by band. `shared` has one bit for each band that a row shares with another row."""
        records = _SIGNED * int(np.bitwise_count(shared).sum())
        partitions = [part for _, part in self._brought(rows, _candidate_records, _ordered, records=records, shared=shared)]
        dropped = self._pool.put(_packed(rows.verdict != 0))
        for band in range(len(_BANDS)):
            calls = [(_near_in_band, partition, band, dropped) for partition in partitions]
            near = [self._pool.get(reference) for _, (reference,) in self._pool.done("apply", calls)]
            rows.verdict[np.concatenate(near)] = NEAR
            if any(map(len, near)):
                dropped = self._pool.put(_packed(rows.verdict != 0))

    def _columns(self, rows: "_Rows", read: Callable, reduce: Callable, *, records: int) -> Iterator[Keys]:
        """The columns that `reduce` returns for each partition of the records."""
        for _, reference in self._brought(rows, read, reduce, records=records):
            table = self._pool.get(reference)
            yield {name: table[name].to_numpy() for name in table.column_names}

    def _brought(
        self, rows: "_Rows", read: Callable, reduce: Callable, *, records: int, shared: np.ndarray | None = None
    ) -> Iterator[tuple[int, object]]:
        """(number, reference to the result) of each partition.

        `read` makes records with a column `key` from units. `reduce` gets all records of some keys as one table.
        """
        count = max(self._pool.size, -(-records // _PARTITION_RECORDS))
        blocks = rows.blocks(shared)
        parts: list[list] = [[]] * len(blocks)
        calls = [(_partition, read, block, count) for block in blocks]
        for number, references in self._pool.done("apply", calls, returns=count):
            parts[number] = references
        calls = [(_reduce, reduce, *pieces) for pieces in zip(*parts, strict=True)]
        del parts  # so that each piece is freed once it was collected
        for number, (reference,) in self._pool.done("apply", calls):
            yield number, reference


def _partition(read: Callable, block: pa.Table, count: int) -> list[pa.Table] | pa.Table:
    """The records of a block in `count` tables. Records with one key are in the table of one number, in every block."""
    table = read(block)
    numbers = ((table["key"].to_numpy() * _MIX) >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)
    order = np.argsort(numbers, kind="stable")
    borders = np.searchsorted(numbers[order], np.arange(count + 1)).tolist()
    parts = [table.take(pa.array(order[start:end])) for start, end in pairwise(borders)]
    return parts if count > 1 else parts[0]


def _reduce(reduce: Callable, *pieces: pa.Table) -> pa.Table:
    return reduce(pa.concat_tables(pieces).combine_chunks())


class _Rows:
    """The rows of all units, numbered from 0, and their present verdicts."""

    def __init__(self, places: Sequence[Place], keys: Sequence[Keys], actors: int) -> None:
        self._places, self._keys = [str(place) for place in places], keys
        self._starts = np.cumsum([0, *(len(key["held"]) for key in keys)])
        self._actors = actors
        self.verdict = np.zeros(self._starts[-1], np.uint8)

    def undecided(self) -> int:
        """The number of rows without a verdict."""
        return int(np.count_nonzero(self.verdict == 0))

    def parts(self) -> list[np.ndarray]:
        """The verdicts of each unit."""
        return np.split(self.verdict, self._starts[1:-1])

    def blocks(self, shared: np.ndarray | None) -> list[pa.Table]:
        """Tables that tell tasks how to read units: one row for each unit, and about _BLOCK_ROWS corpus rows in a block."""
        size = min(_BLOCK_ROWS, 1 + len(self.verdict) // (_BLOCKS_AN_ACTOR * self._actors))
        blocks, units = [], []
        for unit in range(len(self._places)):
            units.append(unit)
            if self._starts[unit + 1] - self._starts[units[0]] >= size or unit + 1 == len(self._places):
                blocks.append(self._block(units, shared))
                units = []
        return blocks

    def _block(self, units: list[int], shared: np.ndarray | None) -> pa.Table:
        inside = [slice(self._starts[unit], self._starts[unit + 1]) for unit in units]
        columns = {
            "place": [self._places[unit] for unit in units],
            "start": [int(self._starts[unit]) for unit in units],
            "held": [self._keys[unit]["held"].tobytes() for unit in units],
            "side": [self._keys[unit]["side"].tobytes() if "side" in self._keys[unit] else b"" for unit in units],
            "verdict": [self.verdict[rows].tobytes() for rows in inside],
            "shared": [b"" if shared is None else shared[rows].tobytes() for rows in inside],
        }
        return pa.table(columns)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit in a task: the place of its sketches, and what the build knows about its rows."""

    place: Place
    start: int  # number of its first row
    held: np.ndarray
    side: np.ndarray  # zeros for documents, which have no side
    verdict: np.ndarray
    shared: np.ndarray

    def order(self, chosen: np.ndarray) -> np.ndarray:
        """The rows where `chosen` is true, as numbers that sort in the order of judging: held-out rows first."""
        rows = np.flatnonzero(chosen)
        return (rows + self.start) | np.where(self.held[rows], np.int64(0), _TRAINING)


def _units(table: pa.Table) -> Iterator[_Unit]:
    columns = (table[name].to_pylist() for name in ("place", "start", "held", "side", "verdict", "shared"))
    for place, start, held, side, verdict, shared in zip(*columns, strict=True):
        yield _Unit(
            place_of(place),
            start,
            np.frombuffer(held, bool),
            np.frombuffer(side or bytes(len(held)), np.uint8),
            np.frombuffer(verdict, np.uint8),
            np.frombuffer(shared, np.uint32),
        )


# ---- reading: tasks make a record for each value that rows may share ----


@dataclass(frozen=True, slots=True)
class _Digests:
    """The digests of rows without a verdict: columns key, then word1, word2, ... for the rest that must be equal, and order."""

    names: tuple[str, ...]  # of sketches, or "side"

    def __call__(self, table: pa.Table) -> pa.Table:
        return _table_of(self._records(unit) for unit in _units(table))

    def _records(self, unit: _Unit) -> dict[str, np.ndarray]:
        chosen = unit.verdict == 0
        columns = read_sketches(unit.place, [name for name in self.names if name != "side"]) | {"side": unit.side}
        words = [word for name in self.names for word in _words(columns[name][chosen])]
        return _named(words, unit.order(chosen))


def _held_records(table: pa.Table) -> pa.Table:
    """The digests of texts and of bodies. The column word2 tells which of the two a record is."""
    sides = ((_TEXT, "text"), (_BODY, "body"))
    return _table_of(_digests_of(unit, name, what) for unit in _units(table) for what, name in sides)


def _digests_of(unit: _Unit, name: str, what: int) -> dict[str, np.ndarray]:
    words = _words(read_sketches(unit.place, (name,))[name])
    return _named([*words, np.full(len(unit.held), what, np.uint64)], unit.order(np.ones(len(unit.held), bool)))


def _band_records(table: pa.Table) -> pa.Table:
    """A hash of each band of the rows without a verdict: columns key, row, band."""
    return _table_of(records for unit in _units(table) for records in _bands_of(unit))


def _bands_of(unit: _Unit) -> Iterator[dict[str, np.ndarray]]:
    rows = np.flatnonzero(unit.verdict == 0)
    signatures = read_sketches(unit.place, ("signature",))["signature"]
    for number, band in enumerate(_BANDS):
        key = _bucket_keys(signatures, band, rows, unit.side)
        yield {"key": key, "row": rows + unit.start, "band": np.full(len(rows), number, np.uint8)}


def _candidate_records(table: pa.Table) -> pa.Table:
    """The signatures of candidates, once for each band that a row shares: columns key, table, order, signature."""
    return _table_of(records for unit in _units(table) for records in _candidates_of(unit))


def _candidates_of(unit: _Unit) -> Iterator[dict[str, np.ndarray]]:
    signatures = read_sketches(unit.place, ("signature",))["signature"]
    for number, band in enumerate(_BANDS):
        chosen = (unit.shared >> np.uint32(number)) & np.uint32(1) == 1
        rows = np.flatnonzero(chosen)
        sides = unit.side[rows].astype(np.uint16)
        yield {
            "key": _bucket_keys(signatures, band, rows, unit.side),
            "table": np.uint16(number << 8) | sides,
            "order": unit.order(chosen),
            "signature": signatures[rows],
        }


def _bucket_keys(signatures: np.ndarray, band: slice, rows: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """A hash of one band. It also depends on the side and on the number of the band."""
    table = np.uint64(band.start << 8) | sides[rows].astype(np.uint64)
    return band_keys(signatures, band, rows) ^ ((table + np.uint64(1)) * _MIX)


# ---- reducing: tasks find rows among the records of a partition ----


def _repeats(table: pa.Table) -> pa.Table:
    """Rows that equal an earlier row in all words."""
    order, first, _ = _groups(table)
    return pa.table({"row": order[~first] & ~_TRAINING})


def _held_twins(table: pa.Table) -> pa.Table:
    """Training rows that equal a held-out row, and whether the text or the body is equal."""
    order, first, words = _groups(table)
    training = order >= _TRAINING
    leaders = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    twins = training & ~training[leaders] if len(order) else training
    return pa.table({"row": order[twins] & ~_TRAINING, "what": words[-1][twins].astype(np.uint8)})


def _shared(table: pa.Table) -> pa.Table:
    """The rows and bands whose hash another row also has."""
    shared = _sharing(table["key"].to_numpy())
    return pa.table({name: table[name].to_numpy()[shared] for name in ("row", "band")})


def _ordered(table: pa.Table) -> pa.Table:
    """The candidates, sorted by table, then by bucket, then by the order of judging."""
    columns = [table[name].to_numpy() for name in ("order", "key", "table")]
    return table.take(pa.array(np.lexsort(columns)))


def _near_in_band(table: pa.Table, band: int, dropped: np.ndarray) -> np.ndarray:
    """The rows of `table` that one band drops. Rows whose bit is set in `dropped` no longer count."""
    if not len(table):
        return np.empty(0, np.int64)
    tables = table["table"].to_numpy()
    inside = slice(*np.searchsorted(tables, [band << 8, (band + 1) << 8]))
    rows = table["order"].to_numpy()[inside] & ~_TRAINING
    left = np.flatnonzero((dropped[rows >> 3] >> (rows & 7).astype(np.uint8)) & np.uint8(1) == 0)
    if not len(left):
        return np.empty(0, np.int64)
    tables, keys = tables[inside][left], table["key"].to_numpy()[inside][left]
    first = np.ones(len(left), bool)
    first[1:] = (tables[1:] != tables[:-1]) | (keys[1:] != keys[:-1])
    keep = np.ones(len(left), bool)
    drop_repeats(_signatures(table["signature"])[inside][left], np.arange(len(left)), first, keep)
    return rows[left[~keep]]


def _groups(table: pa.Table) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """The records whose key another record also has, sorted by all words: their order, where each group starts, their words."""
    names = [name for name in table.column_names if name != "order"]
    words, order = [table[name].to_numpy() for name in names], table["order"].to_numpy()
    some = np.flatnonzero(_sharing(words[0]))  # only these few are sorted by all words
    some = some[np.lexsort([order[some], *(word[some] for word in reversed(words))])]
    words = [word[some] for word in words]
    first = np.ones(len(some), bool)
    first[1:] = np.logical_or.reduce([word[1:] != word[:-1] for word in words])
    return order[some], first, words


def _sharing(keys: np.ndarray) -> np.ndarray:
    """Whether each of `keys` occurs more than once, bool (n,)."""
    order = np.argsort(keys)
    equal = keys[order[1:]] == keys[order[:-1]]
    repeated = np.zeros(len(keys), bool)
    repeated[order[1:][equal]] = True
    repeated[order[:-1][equal]] = True
    return repeated


# ---- converting columns to tables and back ----


def _words(rows: np.ndarray) -> list[np.ndarray]:
    """The columns of `rows` as 64-bit words. Digests are split into 8 bytes each, and numbers are widened."""
    if rows.ndim == 1:
        return [rows.astype(np.uint64)]
    return list(np.ascontiguousarray(rows).view("<u8").reshape(len(rows), rows.shape[1] * rows.itemsize // 8).T)


def _named(words: list[np.ndarray], order: np.ndarray) -> dict[str, np.ndarray]:
    return {"key": words[0]} | {f"word{number}": word for number, word in enumerate(words[1:], 1)} | {"order": order}


def _table_of(parts: Iterator[dict[str, np.ndarray]]) -> pa.Table:
    return pa.concat_tables([pa.table({name: _array(column) for name, column in part.items()}) for part in parts])


def _array(column: np.ndarray) -> pa.Array:
    if column.ndim == 1:
        return pa.array(np.ascontiguousarray(column))
    size = column.shape[1] * column.itemsize
    return pa.Array.from_buffers(pa.binary(size), len(column), [None, pa.py_buffer(np.ascontiguousarray(column))])


def _signatures(column: pa.ChunkedArray) -> np.ndarray:
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else array.chunk(0)
    entries = np.frombuffer(array.buffers()[1], np.uint32)
    return entries.reshape(-1, PERMUTATIONS)[array.offset : array.offset + len(array)]


def _packed(flags: np.ndarray) -> np.ndarray:
    return np.packbits(flags, bitorder="little")
