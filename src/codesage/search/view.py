"""One state of an index in memory, which every query reads. It is loaded once and kept until the index changes.

In: a connection. Out: columns by position of the chunk, and the float32 vectors of all pieces, those of a chunk together. A
chunk that is not encoded yet has one row of zeros there, and its static vector beside (search.statics). Files that were indexed
by an earlier version, and are secret by today's rules, are left out until an update erases them.
"""

import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from codesage.encoder.centring import means_of_sums, minus_means
from codesage.search.database import has_todays_rules, meta_of
from codesage.search.kinds import kinds_of
from codesage.search.postings import Postings
from codesage.search.ranking import best
from codesage.search.scan import Scan
from codesage.search.secrets import holds_secret
from codesage.search.statics import table_name
from codesage.search.texts import Blocks, read
from codesage.search.vectors import restored
from codesage.walk import is_secret

_SCAN_QUERIES, _SCAN_PIECES = 2, 4_096  # from so many queries and pieces on, a scan saves time
_BLOCK = 64  # values of which only the highest is looked at
_KEPT = 4  # views of this process, the last used of as many indexes


@dataclass(frozen=True)
class View:
    """Columns, one entry a chunk in the order of its number; N chunks, P pieces, D the width of the vectors."""

    numbers_N: np.ndarray
    paths: list[str]
    languages: list[str]
    kinds: list[str]  # "function", "class" or "window"
    names: list[str]
    postings: Postings
    vectors_PD: np.ndarray
    starts_N: np.ndarray  # first piece of each chunk
    encoded_N: np.ndarray  # bool: the vectors are those of the encoder
    statics_ND: np.ndarray | None  # unit length, zeros where there is none; None where every chunk is encoded
    hidden: int = 0  # files that are left out, because today's rules take them for secret
    queries: list[int] = field(default_factory=lambda: [0])  # their number so far
    texts: Blocks = field(default_factory=dict)  # those that were read, see search.texts
    floors: dict[str, float] = field(default_factory=dict)  # see search.floor, by model
    last: list[tuple[np.ndarray, np.ndarray, float]] = field(default_factory=list)  # the last vector, and `_products` of it

    @cached_property
    def positions(self) -> dict[int, int]:
        """The position of each number."""
        return {number: place for place, number in enumerate(self.numbers_N.tolist())}

    @cached_property
    def path_N(self) -> np.ndarray:
        """int64 (N,): chunks of one path share a number, which counts up from 0 in order of appearance."""
        return _coded(self.paths)[0]

    @cached_property
    def distinct_paths(self) -> list[str]:
        """The path of each number in `path_N`."""
        return _coded(self.paths)[1]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Chunks of each distinct path."""
        return np.bincount(self.path_N, minlength=len(self.distinct_paths))

    @cached_property
    def files(self) -> list[str]:
        """Kind of the file of each distinct path, see search.kinds."""
        return kinds_of(self.distinct_paths)

    @cached_property
    def chunks_by_name(self) -> dict[str, list[int]]:
        """The chunks of each name, by its last part in lower case."""
        by_name = defaultdict(list)
        for place, name in enumerate(self.names):
            if name:
                by_name[name.rpartition(".")[2].lower()].append(place)
        return dict(by_name)

    @cached_property
    def language_counts(self) -> Counter:
        """Chunks of each language."""
        return Counter(self.languages)

    @cached_property
    def owner_P(self) -> np.ndarray:
        """The position of the chunk of each piece."""
        return np.repeat(np.arange(len(self.starts_N)), np.diff(np.append(self.starts_N, len(self.vectors_PD))))

    @cached_property
    def centred_PD(self) -> np.ndarray:
        """The vectors of all pieces without the mean of their language, where there are several; float32 (P, D)."""
        return self.without(self.means)

    def without(self, means: dict[str, np.ndarray]) -> np.ndarray:
        """The vectors of all pieces without such means, which may be those of several indexes; float32 (P, D)."""
        if not means:
            return self.vectors_PD
        centred_PD, of_encoder_P = np.zeros_like(self.vectors_PD), self.encoded_N[self.owner_P]
        centred_PD[of_encoder_P] = minus_means(self.vectors_PD[of_encoder_P], self._encoded_languages, means)
        return centred_PD

    @cached_property
    def means(self) -> dict[str, np.ndarray]:
        """The mean vector of each language, which `centred_PD` subtracts; empty if there is only one language.

        A language without encoded chunks has the mean of all.
        """
        return means_of_sums([self.language_sums])

    @cached_property
    def language_sums(self) -> dict[str, tuple[np.ndarray, int]]:
        """The sum and the number of the encoder's vectors of each language."""
        vectors_PD, names = self.vectors_PD[self.encoded_N[self.owner_P]], np.array(self._encoded_languages, str)
        rows_by_language = {name: np.flatnonzero(names == name) for name in self.language_counts}
        return {name: (vectors_PD[rows].sum(axis=0), len(rows)) for name, rows in rows_by_language.items()}

    @property
    def _encoded_languages(self) -> list[str]:
        return np.array(self.languages)[self.owner_P[self.encoded_N[self.owner_P]]].tolist()

    @cached_property
    def _scan(self) -> Scan:
        return Scan(self.vectors_PD)

    @property
    def complete(self) -> bool:
        """Whether every chunk is encoded."""
        return self.statics_ND is None

    def similarities(self, vector_D: np.ndarray) -> np.ndarray:
        """float32 (N,): the similarity of each chunk, which is that of its best piece; 0 for those not encoded."""
        return self.best_pieces(self.vectors_PD @ vector_D)

    def similarity(self, place: int, vector_D: np.ndarray) -> float:
        """The similarity of the chunk at a place, which is that of its best piece."""
        end = self.starts_N[place + 1] if place + 1 < len(self.starts_N) else len(self.vectors_PD)
        return float((self.vectors_PD[self.starts_N[place] : end] @ vector_D).max())

    def highest(self, vector_D: np.ndarray) -> float:
        """The similarity of the nearest chunk; -1 where there is none."""
        products_P, error = self._products(vector_D)
        if not error:
            return float(products_P.max(initial=-1.0))
        least = float(self.vectors_PD[products_P.argmax()] @ vector_D) - error
        return float(self._scan.exact(vector_D, np.flatnonzero(products_P >= least)).max())

    def nearest(self, vector_D: np.ndarray, depth: int, allowed_N: np.ndarray | None = None) -> list[int]:
        """Places of the `depth` chunks nearest to a vector among those `allowed_N`, best first; of equal ones the first."""
        allowed = len(self.paths) if allowed_N is None else int(allowed_N.sum())
        depth = min(depth, allowed)
        if not depth:
            return []
        products_P, error = self._products(vector_D)
        self.queries[0] += 1
        places = self._scanned(vector_D, products_P, error, depth, allowed_N) if error else None
        if places is not None:
            return places
        scores_N = self.similarities(vector_D) if error else self.best_pieces(products_P)
        return best(scores_N if allowed_N is None else np.where(allowed_N, scores_N, -np.inf), depth)

    def _products(self, vector_D: np.ndarray) -> tuple[np.ndarray, float]:
        """float32 (P,) products of all pieces with a vector, and how far off each is at most, 0 for exact ones.

        Those of the last vector are kept: a question compares its vector with a floor first, then for its answers.
        """
        for of_D, products_P, error in self.last:
            if np.array_equal(of_D, vector_D):
                return products_P, error
        if self.queries[0] >= _SCAN_QUERIES and len(self.vectors_PD) >= _SCAN_PIECES:
            products_P, error = self._scan.approximate(vector_D)
        else:
            products_P, error = self.vectors_PD @ vector_D, 0.0
        self.last[:] = [(vector_D, products_P, error)]
        return products_P, error

    def _scanned(
        self, vector_D: np.ndarray, rough_P: np.ndarray, error: float, depth: int, allowed_N: np.ndarray | None
    ) -> list[int] | None:
        """As `nearest`, but compares exactly only pieces that can be among the nearest; None if these are most of them.

        Those that seem nearest come first: what seems further than the last of them by more than `error` cannot be nearer.
        """

        def above(least: float) -> np.ndarray:
            pieces = np.flatnonzero(rough_P >= least)
            return pieces if allowed_N is None else pieces[allowed_N[self.owner_P[pieces]]]

        rough_N = self.best_pieces(rough_P)
        least = _at_most(rough_N if allowed_N is None else np.where(allowed_N, rough_N, -np.inf), depth)
        _, scores = self._compared(vector_D, above(least))
        pieces = above(float(np.partition(scores, -depth)[-depth]) - error)
        if len(pieces) > len(rough_P) // 4:
            return None
        places, scores = self._compared(vector_D, pieces)
        return places[best(scores, depth)].tolist()

    def _compared(self, vector_D: np.ndarray, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of the chunks of some pieces, with the exact similarity of the best of these pieces of each."""
        owners = self.owner_P[pieces]
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        return owners[starts], np.maximum.reduceat(self._scan.exact(vector_D, pieces), starts)

    def best_pieces(self, scores_P: np.ndarray) -> np.ndarray:
        """The best score of each chunk among those of its pieces, (N,)."""
        if len(scores_P) == len(self.starts_N):
            return scores_P
        return np.maximum.reduceat(scores_P, self.starts_N)


def _at_most(values_N: np.ndarray, depth: int) -> float:
    """A number that at least `depth` of the values reach, close to the last of the `depth` highest: of blocks, where few."""
    blocks = values_N[: len(values_N) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).max(axis=1)
    if len(blocks) < 4 * depth:
        blocks = values_N
    return float(np.partition(blocks, -depth)[-depth])


def _coded(values: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    return np.fromiter((numbers[value] for value in values), np.int64, len(values)), list(numbers)


class Views:
    """The views of a process: the last state of each of a few indexes, shared by all that open them."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[str, View]] = {}
        self._lock = threading.Lock()

    def get(self, folder: Path, state: str, connection: sqlite3.Connection, width: int) -> View:
        """The view of `state`, which the connection sees."""
        with self._lock:
            kept = self._kept.pop(folder, None)
            if kept is None or kept[0] != state:
                kept = (state, load(connection, width))
            self._kept[folder] = kept
            for oldest in list(self._kept)[:-_KEPT]:
                del self._kept[oldest]
            return kept[1]


def load(connection: sqlite3.Connection, width: int) -> View:
    """Read the state that the connection sees."""
    files = {number: own for number, *own in connection.execute("SELECT id, path, language FROM files")}
    rows = connection.execute("SELECT id, file, kind, name, words FROM spans ORDER BY id").fetchall()
    hidden = set() if has_todays_rules(connection) else _secret(connection, {file: path for file, (path, _) in files.items()})
    if hidden:
        rows = [row for row in rows if row[1] not in hidden]
    numbers, owners, kinds, names, lengths = zip(*rows, strict=True) if rows else [()] * 5
    numbers_N = np.array(numbers, np.int64)
    vectors_PD, starts_N, encoded_N = _vectors(connection, numbers_N, width)
    return View(
        numbers_N,
        [files[owner][0] for owner in owners],
        [files[owner][1] for owner in owners],
        list(kinds),
        list(names),
        Postings(numbers_N, np.array(lengths, np.float64)),
        vectors_PD,
        starts_N,
        encoded_N,
        None if encoded_N.all() else _statics(connection, numbers_N),
        len(hidden),
    )


def _secret(connection: sqlite3.Connection, paths: dict[int, str]) -> set[int]:
    """The numbers of the files whose paths or indexed texts are secret by today's rules."""
    numbers_by_file: dict[int, list[int]] = defaultdict(list)
    for number, file in connection.execute("SELECT id, file FROM spans ORDER BY file, start_line, id"):
        numbers_by_file[file].append(number)

    def text(numbers: list[int]) -> str:
        held = read(connection, numbers)
        return "\n".join(held[number] for number in numbers)

    return {
        file for file, numbers in numbers_by_file.items() if is_secret(paths[file]) or holds_secret(paths[file], text(numbers))
    }


def _vectors(connection: sqlite3.Connection, numbers_N: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of the pieces of all chunks, the first piece of each chunk, and which chunks are encoded."""
    pieces = _table(connection, "SELECT chunk, row FROM pieces ORDER BY chunk, part")
    pieces = pieces[np.isin(pieces[:, 0], numbers_N)]  # without those of hidden files
    stored = connection.execute("SELECT row, vector FROM vectors ORDER BY row").fetchall()
    rows = np.array([row for row, _ in stored], np.int64)
    vectors = restored(np.frombuffer(b"".join(vector for _, vector in stored), np.int8).reshape(-1, width))
    at = np.searchsorted(rows, pieces[:, 1])
    encoded_N = np.zeros(len(numbers_N), bool)
    encoded_N[np.searchsorted(numbers_N, pieces[:, 0])] = True
    if encoded_N.all():
        same = len(at) == len(vectors) and (at == np.arange(len(at))).all()
        return vectors if same else vectors[at], np.searchsorted(pieces[:, 0], numbers_N), encoded_N
    owners = np.concatenate([pieces[:, 0], numbers_N[~encoded_N]])
    vectors_PD = np.zeros((len(owners), width), np.float32)
    vectors_PD[: len(at)] = vectors[at]
    order = np.argsort(owners, kind="stable")
    return vectors_PD[order], np.searchsorted(owners[order], numbers_N), encoded_N


def _statics(connection: sqlite3.Connection, numbers_N: np.ndarray) -> np.ndarray:
    """The static vectors of all chunks; of width 0 where there are none, or those there are from another table."""
    stored = connection.execute("SELECT chunk, vector FROM statics").fetchall()
    if not stored or meta_of(connection).get("statics") != table_name():
        return np.zeros((len(numbers_N), 0), np.float32)
    chunks = np.array([chunk for chunk, _ in stored], np.int64)
    rows = np.frombuffer(b"".join(vector for _, vector in stored), np.int8).reshape(len(chunks), -1)
    there = np.isin(chunks, numbers_N)  # without those of hidden files
    statics_ND = np.zeros((len(numbers_N), rows.shape[1]), np.float32)
    statics_ND[np.searchsorted(numbers_N, chunks[there])] = restored(rows[there])
    return statics_ND


def _table(connection: sqlite3.Connection, query: str) -> np.ndarray:
    return np.array(connection.execute(query).fetchall(), np.int64).reshape(-1, 2)
