"""Equal and nearly equal rows found on a Ray cluster: the verdicts of verdicts.py, bit for bit; no process holds all keys.

In: the places of the units, whose sketches the actors of the cluster read. Out: a verdict a row. Four steps. Each reads
records from units, cuts them by a hash of what may be shared, brings together all records of a cut, and gives back rows:

1. held out: digests of texts and bodies; what equals a held-out one goes (pairs only).
2. equal: digests; all but the first of each go.
3. candidates: a hash of every band of every signature; rows that share none with another row are done.
4. near: the signatures of candidates, by band. Bands are judged one after the other, as on one machine, since what one
   band drops no longer drops others. Between bands only the rows that went are exchanged.

The process that builds keeps five bytes a row besides what it counts: the verdict, and the bands a row shares.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from codesage.corpus.build.keys import Keys, read_sketches
from codesage.corpus.build.places import Place, place_of
from codesage.corpus.build.pool import Pool
from codesage.corpus.distinct.duplicates import PERMUTATIONS, band_keys, bands, drop_repeats
from codesage.corpus.distinct.verdicts import EQUAL, HELD_BODY, HELD_TEXT, NEAR

_BLOCK_ROWS = 1 << 21  # documents or pairs that one call reads: their bands are 0.7 GB
_CUT_RECORDS = 1 << 24  # records that one call brings together: 0.3 GB
_SIGNED = 16  # a record with a signature counts as many
_BLOCKS_AN_ACTOR = 4  # at least, where there are units enough
_TRAINING = np.int64(1 << 62)  # in the order of rows: held-out ones come before all others
_TEXT, _BODY = 0, 1
_MIX = np.uint64(0x9E3779B97F4A7C15)
_BANDS = bands()


class Cluster:
    """Compares rows by the actors of a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def documents(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on documents, uint8 (n,) a unit. Of `keys`: held (n,) bool."""
        rows = _Rows(places, [{"held": key["held"]} for key in keys], self._pool.size)
        self._drop_equal(rows, ("sha256",))
        self._drop_near(rows)
        return rows.parts()

    def pairs(self, places: Sequence[Place], keys: Sequence[Keys]) -> list[np.ndarray]:
        """Verdicts on pairs, uint8 (n,) a unit. Of `keys`: held (n,) bool, kind (n,) uint8."""
        rows = _Rows(places, keys, self._pool.size)
        if any(key["held"].any() for key in keys):
            self._drop_held(rows)
        self._drop_equal(rows, ("body", "kind"))
        self._drop_near(rows)
        return rows.parts()

    def _drop_held(self, rows: "_Rows") -> None:
        found = list(self._found(rows, _held_records, _held_twins, records=2 * rows.standing()))
        for what, code in ((_BODY, HELD_BODY), (_TEXT, HELD_TEXT)):  # where both are held out, the text is the reason
            for table in found:
                rows.verdict[table["row"][table["what"] == what]] = code

    def _drop_equal(self, rows: "_Rows", names: tuple[str, ...]) -> None:
        for table in self._found(rows, _Digests(names), _repeats, records=rows.standing()):
            rows.verdict[table["row"]] = EQUAL

    def _drop_near(self, rows: "_Rows") -> None:
        shared = np.zeros(len(rows.verdict), np.uint32)
        for table in self._found(rows, _band_records, _shared, records=len(_BANDS) * rows.standing()):
            for band in np.unique(table["band"]).tolist():
                shared[table["row"][table["band"] == band]] |= np.uint32(1 << band)
        if shared.any():
            self._judge_bands(rows, shared)

    def _judge_bands(self, rows: "_Rows", shared: np.ndarray) -> None:
        """Judge the candidates, band after band. `shared` has a bit for each band that a row shares with another."""
        records = _SIGNED * int(np.bitwise_count(shared).sum())
        cuts = [cut for _, cut in self._brought(rows, _candidate_records, _ordered, records=records, shared=shared)]
        gone = self._pool.put(_packed(rows.verdict != 0))
        for band in range(len(_BANDS)):
            calls = [(_near_in_band, cut, band, gone) for cut in cuts]
            found = [self._pool.get(reference) for _, (reference,) in self._pool.done("apply", calls)]
            rows.verdict[np.concatenate(found)] = NEAR
            if any(map(len, found)):
                gone = self._pool.put(_packed(rows.verdict != 0))

    def _found(self, rows: "_Rows", read: Callable, bring: Callable, *, records: int) -> Iterator[Keys]:
        """What `bring` gives of the records that share a key, cut by cut, as columns."""
        for _, reference in self._brought(rows, read, bring, records=records):
            table = self._pool.get(reference)
            yield {name: table[name].to_numpy() for name in table.column_names}

    def _brought(
        self, rows: "_Rows", read: Callable, bring: Callable, *, records: int, shared: np.ndarray | None = None
    ) -> Iterator[tuple[int, object]]:
        """`read` makes records with a column `key` from units; `bring` gets all records of some keys as one table."""
        count = max(self._pool.size, -(-records // _CUT_RECORDS))
        blocks = rows.blocks(shared)
        cut = [None] * len(blocks)
        for number, references in self._pool.done("apply", [(_cut, read, block, count) for block in blocks], returns=count):
            cut[number] = references
        calls = [(_bring, bring, *pieces) for pieces in zip(*cut, strict=True)]
        del cut  # a piece is freed once it was brought
        for number, (reference,) in self._pool.done("apply", calls):
            yield number, reference


def _cut(read: Callable, block: pa.Table, count: int) -> list[pa.Table] | pa.Table:
    """The records of a block in `count` tables: those of one key are in one of them, whatever the block."""
    table = read(block)
    cut = ((table["key"].to_numpy() * _MIX) >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)
    order = np.argsort(cut, kind="stable")
    borders = np.searchsorted(cut[order], np.arange(count + 1)).tolist()
    parts = [table.take(pa.array(order[start:end])) for start, end in pairwise(borders)]
    return parts if count > 1 else parts[0]


def _bring(bring: Callable, *pieces: pa.Table) -> pa.Table:
    return bring(pa.concat_tables(pieces).combine_chunks())


class _Rows:
    """The rows of all units, numbered from 0, and their verdicts so far."""

    def __init__(self, places: Sequence[Place], keys: Sequence[Keys], actors: int) -> None:
        self._places, self._keys = [str(place) for place in places], keys
        self._starts = np.cumsum([0, *(len(key["held"]) for key in keys)])
        self._actors = actors
        self.verdict = np.zeros(self._starts[-1], np.uint8)

    def standing(self) -> int:
        """How many rows have no verdict yet."""
        return int(np.count_nonzero(self.verdict == 0))

    def parts(self) -> list[np.ndarray]:
        """The verdicts of each unit."""
        return np.split(self.verdict, self._starts[1:-1])

    def blocks(self, shared: np.ndarray | None) -> list[pa.Table]:
        """What tasks need to read units: one row a unit, about _BLOCK_ROWS of its rows a block."""
        size = min(_BLOCK_ROWS, 1 + len(self.verdict) // (_BLOCKS_AN_ACTOR * self._actors))
        found, chosen = [], []
        for unit in range(len(self._places)):
            chosen.append(unit)
            if self._starts[unit + 1] - self._starts[chosen[0]] >= size or unit + 1 == len(self._places):
                found.append(self._block(chosen, shared))
                chosen = []
        return found

    def _block(self, units: list[int], shared: np.ndarray | None) -> pa.Table:
        inside = [slice(self._starts[unit], self._starts[unit + 1]) for unit in units]
        columns = {
            "place": [self._places[unit] for unit in units],
            "start": [int(self._starts[unit]) for unit in units],
            "held": [self._keys[unit]["held"].tobytes() for unit in units],
            "kind": [self._keys[unit]["kind"].tobytes() if "kind" in self._keys[unit] else b"" for unit in units],
            "verdict": [self.verdict[rows].tobytes() for rows in inside],
            "shared": [b"" if shared is None else shared[rows].tobytes() for rows in inside],
        }
        return pa.table(columns)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit as a task sees it: its sketches, and what the build knows of its rows."""

    place: Place
    start: int  # number of its first row
    held: np.ndarray
    kind: np.ndarray  # zeros for documents, which have none
    verdict: np.ndarray
    shared: np.ndarray

    def order(self, chosen: np.ndarray) -> np.ndarray:
        """The rows where `chosen` as numbers that sort as rows are judged: held-out ones first, then as they came."""
        rows = np.flatnonzero(chosen)
        return (rows + self.start) | np.where(self.held[rows], np.int64(0), _TRAINING)


def _units(table: pa.Table) -> Iterator[_Unit]:
    columns = (table[name].to_pylist() for name in ("place", "start", "held", "kind", "verdict", "shared"))
    for place, start, held, kind, verdict, shared in zip(*columns, strict=True):
        yield _Unit(
            place_of(place), start, np.frombuffer(held, bool), np.frombuffer(kind or bytes(len(held)), np.uint8),
            np.frombuffer(verdict, np.uint8), np.frombuffer(shared, np.uint32),
        )  # fmt: skip


# ---- what tasks read: a record for each thing that may be shared ----


@dataclass(frozen=True, slots=True)
class _Digests:
    """The digests of rows without a verdict: columns key, and word1, word2, ... of what else must be equal; order."""

    names: tuple[str, ...]  # of sketches, or "kind"

    def __call__(self, table: pa.Table) -> pa.Table:
        return _table_of(self._records(unit) for unit in _units(table))

    def _records(self, unit: _Unit) -> dict[str, np.ndarray]:
        chosen = unit.verdict == 0
        columns = read_sketches(unit.place, [name for name in self.names if name != "kind"]) | {"kind": unit.kind}
        words = [word for name in self.names for word in _words(columns[name][chosen])]
        return _named(words, unit.order(chosen))


def _held_records(table: pa.Table) -> pa.Table:
    """The digests of texts and of bodies: word2 says which."""
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
        key = _bucket_keys(signatures, band, rows, unit.kind)
        yield {"key": key, "row": rows + unit.start, "band": np.full(len(rows), number, np.uint8)}


def _candidate_records(table: pa.Table) -> pa.Table:
    """The signatures of candidates, once for each band that they share: columns key, table, order, signature."""
    return _table_of(records for unit in _units(table) for records in _candidates_of(unit))


def _candidates_of(unit: _Unit) -> Iterator[dict[str, np.ndarray]]:
    signatures = read_sketches(unit.place, ("signature",))["signature"]
    for number, band in enumerate(_BANDS):
        chosen = (unit.shared >> np.uint32(number)) & np.uint32(1) == 1
        rows = np.flatnonzero(chosen)
        kinds = unit.kind[rows].astype(np.uint16)
        yield {"key": _bucket_keys(signatures, band, rows, unit.kind), "table": np.uint16(number << 8) | kinds,
               "order": unit.order(chosen), "signature": signatures[rows]}  # fmt: skip


def _bucket_keys(signatures: np.ndarray, band: slice, rows: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """A hash of one band that differs from kind to kind and from band to band."""
    table = np.uint64(band.start << 8) | kinds[rows].astype(np.uint64)
    return band_keys(signatures, band, rows) ^ ((table + np.uint64(1)) * _MIX)


# ---- what tasks find among the records they are brought ----


def _repeats(table: pa.Table) -> pa.Table:
    """Rows that equal an earlier one in all words."""
    order, first, _ = _groups(table)
    return pa.table({"row": order[~first] & ~_TRAINING})


def _held_twins(table: pa.Table) -> pa.Table:
    """Rows that equal a held-out one and are not held out themselves, and in what."""
    order, first, words = _groups(table)
    training = order >= _TRAINING
    leaders = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    twins = training & ~training[leaders] if len(order) else training
    return pa.table({"row": order[twins] & ~_TRAINING, "what": words[-1][twins].astype(np.uint8)})


def _shared(table: pa.Table) -> pa.Table:
    """The rows and bands whose hash another row has too."""
    shared = _sharing(table["key"].to_numpy())
    return pa.table({name: table[name].to_numpy()[shared] for name in ("row", "band")})


def _ordered(table: pa.Table) -> pa.Table:
    """The candidates ordered by table, by bucket, and within one as they are judged."""
    columns = [table[name].to_numpy() for name in ("order", "key", "table")]
    return table.take(pa.array(np.lexsort(columns)))


def _near_in_band(table: pa.Table, band: int, gone: np.ndarray) -> np.ndarray:
    """The rows of `table` that one band drops, when those in the bits of `gone` no longer count."""
    if not len(table):
        return np.empty(0, np.int64)
    tables = table["table"].to_numpy()
    inside = slice(*np.searchsorted(tables, [band << 8, (band + 1) << 8]))
    rows = table["order"].to_numpy()[inside] & ~_TRAINING
    stands = np.flatnonzero((gone[rows >> 3] >> (rows & 7).astype(np.uint8)) & np.uint8(1) == 0)
    if not len(stands):
        return np.empty(0, np.int64)
    tables, keys = tables[inside][stands], table["key"].to_numpy()[inside][stands]
    first = np.ones(len(stands), bool)
    first[1:] = (tables[1:] != tables[:-1]) | (keys[1:] != keys[:-1])
    keep = np.ones(len(stands), bool)
    drop_repeats(_signatures(table["signature"])[inside][stands], np.arange(len(stands)), first, keep)
    return rows[stands[~keep]]


def _groups(table: pa.Table) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """The records that share all words with another, ordered: their order, where each group starts, and their words."""
    names = [name for name in table.column_names if name != "order"]
    words, order = [table[name].to_numpy() for name in names], table["order"].to_numpy()
    some = np.flatnonzero(_sharing(words[0]))  # few: the rest need not be sorted by all words
    some = some[np.lexsort([order[some], *(word[some] for word in reversed(words))])]
    words = [word[some] for word in words]
    first = np.ones(len(some), bool)
    first[1:] = np.logical_or.reduce([word[1:] != word[:-1] for word in words])
    return order[some], first, words


def _sharing(keys: np.ndarray) -> np.ndarray:
    """Which of `keys` are there more than once, bool (n,)."""
    order = np.argsort(keys)
    equal = keys[order[1:]] == keys[order[:-1]]
    found = np.zeros(len(keys), bool)
    found[order[1:][equal]] = True
    found[order[:-1][equal]] = True
    return found


# ---- columns to tables and back ----


def _words(rows: np.ndarray) -> list[np.ndarray]:
    """The columns of `rows` as 64-bit words: digests are cut into eights of bytes, numbers are widened."""
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
