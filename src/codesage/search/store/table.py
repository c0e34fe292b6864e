"""The two tables of a store: `chunks`, with a row for each piece of text, and `roots`, which says how complete each root is.

In: an address and the fingerprint of a model. Out: the rows that a query or a run reads, and the commits of a run. LanceDB
gives every commit a version of its own: a reader sees one version, and a killed writer leaves the last one. Rows of a changed
file are added first and the older ones deleted after, so that no reader misses a file; `run` tells them apart. Shapes: D the
width of the vectors.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from codesage.encoder.unit import directions
from codesage.errors import CodesageError
from codesage.languages import searched_language
from codesage.records import Encoder
from codesage.search.files import IN_PART
from codesage.search.folders import command
from codesage.search.store.address import connected, is_remote, location_of, store_errors
from codesage.search.store.rows import schema
from codesage.search.vectors import restored

VERSION = "2"
SHOWN = ["id", "root", "path", "file", "language", "kind", "name", "start_line", "end_line", "text", "chunks", "at", "piece"]
HELD = ["id", "root", "path", "at", "length", "file_length", "words"]  # what scores by words are made from
EXACT_UP_TO = 100_000  # rows whose vectors are all compared; above, an index of vectors is made (docs/scaling.md)
_PROBES, _REFINE = 20, 10  # parts of the index of vectors that are looked at; times as many rows that are compared exactly
_AT_ONCE = 500  # values in one condition
_NEAREST = 16  # pieces that are compared exactly to find the nearest
_BATCH = 1_024  # texts that are read at a time
_MOST_KNOWN = 10_000  # words of which it is known how many chunks hold them
_KEPT = timedelta(hours=1)  # older versions stay for readers that have begun
_ROOTS = pa.schema(
    [("root", pa.string()), ("files", pa.int64()), ("pending", pa.int64()), ("reasons", pa.string()), ("kinds", pa.string())]
)
_SORTED = ("id", "key", "called", "root")  # columns with an index that finds single values


@dataclass(frozen=True, slots=True)
class Root:
    """What a store says of one root; `pending`: files that are in no row, because the last run was cut off or still runs."""

    root: str
    files: int
    pending: int
    reasons: dict[str, int]  # why nothing or not all of a file is indexed, and of how many files, see search.files
    kinds: dict[str, str]  # of files whose kind depends on other files, see search.kinds

    @property
    def skipped(self) -> dict[str, int]:
        """Files of which nothing is indexed, by reason."""
        return {reason: count for reason, count in self.reasons.items() if not reason.endswith(IN_PART)}

    @property
    def in_part(self) -> dict[str, int]:
        """Files of which not all is indexed, by reason."""
        return {one.removesuffix(IN_PART): count for one, count in self.reasons.items() if one.endswith(IN_PART)}


class Totals(NamedTuple):
    """What a store holds: chunks, files with chunks, and words of all of them."""

    chunks: int
    files: int
    words: int


def _is_whole(group: dict) -> bool:
    """Whether the rows of a file are complete, and cut with the grammar of its language if that is installed."""
    return group["count_all"] == group["rows"] and bool(group["language"] or not searched_language(group["path"]))


def quoted(value: str) -> str:
    """A string of SQL."""
    return "'" + value.replace("'", "''") + "'"


def listed(values: Iterable[str]) -> str:
    """The inside of an IN (...)."""
    return ", ".join(map(quoted, values))


def all_of(*conditions: str) -> str:
    """One condition of SQL from several, of which those that are "" hold always."""
    return " AND ".join(filter(None, conditions))


class Store:
    """An open store. Use `Store.open`."""

    def __init__(self, address: str, chunks: Any, roots: Any) -> None:
        self.address, self._chunks, self._roots = address, chunks, roots
        self.model = _facts(chunks)["model"]  # the fingerprint
        self.floors: dict[str, float] = {}  # see search.floor
        self.means: dict[str, np.ndarray] | None = None  # see store.similar
        self._totals: Totals | None = None
        self._holding: dict[str, int] = {}

    @classmethod
    def open(cls, address: str, encoder: Encoder | None, *, create: bool = False, rebuild: bool = False) -> "Store":
        """Open the store of an address; with `create` an empty one is made where there is none, with `rebuild` in any case.

        Without an encoder, which only questions and runs need, the store of any model is opened.

        CodesageError when there is none, when it is damaged or out of reach, or was written by another model or version.
        """
        location = location_of(address)
        missing = CodesageError(f"there is no index in {address}: run '{command('index', '--store', address)} PATH'")
        if not create and not is_remote(location) and not Path(location).is_dir():
            raise missing
        database = connected(address)
        with store_errors(address):
            there = set(database.list_tables().tables)
            if create and encoder and (rebuild or not {"chunks", "roots"} <= there):
                _create(database, encoder, replace=rebuild)
            elif "chunks" not in there or "roots" not in there:
                raise missing
            chunks, roots = database.open_table("chunks"), database.open_table("roots")
            _require(address, _facts(chunks), encoder)
            store = cls(address, chunks, roots)
            if create and not store._indexed("words"):
                _index_words(chunks)
            return store

    # ---- what a question reads ----

    def count(self, condition: str = "") -> int:
        """Rows for which a condition holds."""
        with store_errors(self.address):
            return self._chunks.count_rows(condition or None)

    def chunks_of(self, root: str) -> int:
        """Chunks of a root."""
        return self.count(f"root = {quoted(root)} AND piece = 0")

    def renewed(self, encoder: Encoder) -> "Store":
        """The store as it is now, itself where nothing has changed since it was opened. Errors as of `open`."""
        fresh = Store.open(self.address, encoder)
        same = fresh._chunks.version == self._chunks.version and fresh._roots.version == self._roots.version
        return self if same else fresh

    def holds(self, condition: str) -> bool:
        """Whether there is a row for which a condition holds."""
        return next(self.rows(condition, ["piece"], most=1), None) is not None

    @property
    def totals(self) -> Totals:
        """Counted once, from one row of each file."""
        if self._totals is None:
            with store_errors(self.address):
                query = self._chunks.search().where("at = 0 AND piece = 0").select(["file_length"]).limit(None)
                lengths = query.to_arrow()["file_length"].to_numpy()
            self._totals = Totals(self.count("piece = 0"), len(lengths), int(lengths.sum(dtype=np.int64)))
        return self._totals

    def holding(self, word: str) -> int:
        """Chunks that hold a word, as many as EXACT_UP_TO at most. Counted once for each of many words."""
        if word not in self._holding:
            if len(self._holding) >= _MOST_KNOWN:
                self._holding.clear()
            self._holding[word] = len(self.holders([word], EXACT_UP_TO, "", ["_rowid"]))
        return self._holding[word]

    def holders(self, words: Sequence[str], most: int, condition: str, columns: Sequence[str] = HELD) -> pa.Table:
        """`columns` of the chunks that hold one of some words, at least one; of more than `most` the best by LanceDB's BM25."""
        from lancedb import query as queries

        match: Any = queries.MatchQuery  # its fields have defaults that type checkers do not see
        with store_errors(self.address):
            query = self._chunks.search(match(" ".join(words), "words"), query_type="fts")
            return self._found(query, [*columns, "_score"], most, condition)

    def nearest(self, vector_D: np.ndarray) -> float:
        """The similarity of the piece nearest to a vector; -1 where there is none."""
        with store_errors(self.address):
            near = self._found(self._near(vector_D), ["vector", "_distance"], _NEAREST, "")
        return float((vectors_in(near) @ vector_D).max(initial=-1.0))

    def by_vector(self, vector_D: np.ndarray, depth: int, condition: str) -> tuple[list[dict], np.ndarray, bool]:
        """At least `depth` chunks nearest to a vector, with their similarities, in no order; and whether these are all.

        A chunk is as near as its nearest piece.
        """
        rows = 2 * depth  # a chunk may have several
        while True:
            with store_errors(self.address):
                near = self._found(self._near(vector_D), [*SHOWN, "vector", "_distance"], rows, condition)
            highest: dict[str, float] = {}
            for number, similarity in zip(near["id"].to_pylist(), (vectors_in(near) @ vector_D).tolist(), strict=True):
                highest[number] = max(similarity, highest.get(number, -1.0))
            if len(highest) >= depth or len(near) < rows:
                break
            rows *= 2
        heads = {row["id"]: row for row in near.drop_columns(["vector"]).to_pylist() if not row["piece"]}
        heads |= self.chunks([number for number in highest if number not in heads])
        found = [number for number in highest if number in heads]  # others were deleted meanwhile
        return [heads[number] for number in found], np.array([highest[number] for number in found]), len(near) < rows

    def chunks(self, numbers: Sequence[str]) -> dict[str, dict]:
        """The rows of chunks by their ids, with what is shown of them."""
        return {row["id"]: row for row in self.rows("piece = 0", SHOWN, "id", numbers)}

    def texts(self, condition: str, most: int) -> Iterator[pa.RecordBatch]:
        """What is shown of the first `most` chunks for which a condition holds, some at a time."""
        condition = all_of("piece = 0", condition)
        with store_errors(self.address):
            yield from self._chunks.search().where(condition).select(SHOWN).limit(most).to_batches(_BATCH)

    def pieces(self, condition: str, numbers: Sequence[str] | None = None, most: int | None = None) -> pa.Table:
        """Columns id, piece and vector of at most `most` pieces for which a condition holds, or of those of some chunks."""
        columns = ["id", "piece", "vector"]
        parts = list(self._tables(condition, columns, "" if numbers is None else "id", numbers or (), most))
        return pa.concat_tables(parts) if parts else pa.table({name: [] for name in columns})

    def rows(
        self, condition: str, columns: list[str], among: str = "", values: Sequence[str] = (), most: int | None = None
    ) -> Iterator[dict]:
        """Rows for which a condition holds, with `among` given those whose column `among` has one of `values`."""
        for table in self._tables(condition, columns, among, values, most):
            yield from table.to_pylist()

    def _tables(
        self, condition: str, columns: list[str], among: str, values: Sequence[str], most: int | None
    ) -> Iterator[pa.Table]:
        conditions = [f"{among} IN ({listed(some)}) AND ({condition})" for some in _batched(values)] if among else [condition]
        for one in conditions:
            with store_errors(self.address):
                table = self._chunks.search().where(one).select(columns).limit(most).to_arrow()
            yield table

    def roots(self) -> list[Root]:
        """All roots, by name."""
        with store_errors(self.address):
            rows = self._roots.search().limit(None).to_arrow().to_pylist()
        return sorted(
            (
                Root(row["root"], row["files"], row["pending"], json.loads(row["reasons"]), json.loads(row["kinds"]))
                for row in rows
            ),
            key=lambda root: root.root,
        )

    # ---- what a run reads and writes ----

    def known(self, root: str) -> dict[str, str]:
        """The hash of each file of a root; "" where it must be read anew.

        Such a file lacks some of its rows, has older ones too, or was cut before the grammar of its language was installed.
        """
        columns = ["path", "file", "language", "run", "rows"]
        with store_errors(self.address):
            query = self._chunks.search().where(f"root = {quoted(root)}").select(columns).limit(None)
            groups = query.to_arrow().group_by(columns).aggregate([([], "count_all")]).to_pylist()
        seen = Counter(group["path"] for group in groups)
        return {group["path"]: group["file"] if seen[group["path"]] == 1 and _is_whole(group) else "" for group in groups}

    def vectors_of(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """float16 (D,) vectors of those `keys` that the table holds."""
        rows = self.rows("true", ["key", "vector"], "key", keys)
        return {row["key"]: np.array(row["vector"], np.float16) for row in rows}

    def add(self, rows: pa.Table) -> None:
        """Add rows, in one commit."""
        with store_errors(self.address):
            self._chunks.add(rows)

    def forget(self, root: str, paths: Sequence[str], *, but: str = "") -> None:
        """Delete the rows of files, save those of the run `but`."""
        for some in _batched(paths):
            with store_errors(self.address):
                self._chunks.delete(f"root = {quoted(root)} AND path IN ({listed(some)}) AND run <> {quoted(but)}")

    def drop(self, root: str) -> None:
        """Delete all of a root."""
        with store_errors(self.address):
            for table in (self._chunks, self._roots):
                table.delete(f"root = {quoted(root)}")

    def note(self, *roots: Root) -> None:
        """Write what is known of roots."""
        rows = [asdict(one) | {"reasons": json.dumps(one.reasons), "kinds": json.dumps(one.kinds)} for one in roots]
        with store_errors(self.address):
            merge = self._roots.merge_insert("root").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pa.Table.from_pylist(rows, schema=_ROOTS))

    def finish(self) -> None:
        """Make or extend the indexes, join small parts, and drop versions that nobody reads any more."""
        from lancedb.index import BTree, IvfPq

        with store_errors(self.address):
            rows = self._chunks.count_rows()
            for column in _SORTED:
                if not self._indexed(column):
                    self._chunks.create_index(column, config=BTree())
            if rows > EXACT_UP_TO and not self._indexed("vector"):
                self._chunks.create_index("vector", config=IvfPq(distance_type="dot"))
            self._chunks.optimize(cleanup_older_than=_KEPT)
            self._roots.optimize(cleanup_older_than=_KEPT)

    def _indexed(self, column: str) -> bool:
        return any(column in index.columns for index in self._chunks.list_indices())

    def _near(self, vector_D: np.ndarray) -> Any:
        """A question for what is nearest to a vector."""
        query = self._chunks.search(vector_D.astype(np.float32), vector_column_name="vector").distance_type("dot")
        return query.nprobes(_PROBES).refine_factor(_REFINE) if self._indexed("vector") else query

    def _found(self, query: Any, columns: list[str], depth: int, condition: str) -> pa.Table:
        if condition:
            query = query.where(condition, prefilter=True)
        return query.select(columns).limit(depth).to_arrow()


def vectors_in(rows: pa.Table) -> np.ndarray:
    """float32 (P, D): the vectors of rows, as a local index has them (search.vectors)."""
    column = rows["vector"].combine_chunks()
    width = column.type.list_size
    return restored(directions(column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width).astype(np.float32)))


def _batched(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))


def _create(database: Any, encoder: Encoder, *, replace: bool) -> None:
    facts = {"codesage": VERSION, "model": encoder.fingerprint}
    mode: dict[str, Any] = {"mode": "overwrite"} if replace else {"exist_ok": True}
    database.create_table("roots", schema=_ROOTS, **mode)
    database.create_table("chunks", schema=schema(encoder.width, facts), **mode)


def _index_words(chunks: Any) -> None:
    """The index of words, made with the table, since a question by words needs one."""
    from lancedb.index import FTS

    words = FTS(
        base_tokenizer="whitespace",
        lower_case=False,
        stem=False,
        remove_stop_words=False,
        ascii_folding=False,
        max_token_length=None,
    )
    chunks.create_index("words", config=words)


def _facts(chunks: Any) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (chunks.schema.metadata or {}).items()}


def _require(address: str, facts: dict[str, str], encoder: Encoder | None) -> None:
    if facts.get("codesage") != VERSION:
        raise CodesageError(
            f"{address} has version {facts.get('codesage', 'none')}, expected {VERSION}: "
            f"add --rebuild to '{command('index', '--store', address)}', or choose another --store"
        )
    if encoder and facts["model"] != encoder.fingerprint:
        raise CodesageError(
            f"{address} was written by model {facts['model']}, this is model {encoder.fingerprint}: "
            f"add --rebuild to '{command('index', '--store', address)}', or choose another --store"
        )
