"""Code that does the same as a given piece, in any language.

In: an index and a place in one of its files. Out: the most similar other chunks, best first, of that index or of another one.
The mean of each language is subtracted from the vectors (encoder.centring), so that code in another language is found by what
it does.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesage.encoder.centring import minus_means
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.records import Chunk, Encoder, Hit
from codesage.search import partial
from codesage.search.clones import by_definition
from codesage.search.files import NESTED, files_of
from codesage.search.filters import ALL, Filter
from codesage.search.folders import command
from codesage.search.index import Index
from codesage.search.pieces import pieces
from codesage.search.query import texts_of
from codesage.search.statics import statics_of
from codesage.search.terms import indexed_words
from codesage.search.view import View
from codesage.walk import name_of

_MOST = 48  # chunks that look most similar, to encode


@dataclass(frozen=True, slots=True)
class Subject:
    """A chunk that others are compared with, which may be in other indexes."""

    root: Path  # of its index
    chunk: Chunk
    vectors_PD: np.ndarray | None  # of its pieces; None where it is not encoded and no encoder is at hand
    static_D: np.ndarray | None


def subject_at(index: Index, path: str, line: int, encoder: Encoder | None = None, *, typed: str = "") -> Subject:
    """The chunk at `line` (from 1) of the file `path`, encoded now if it is not yet. CodesageError when there is none.

    `typed`: the path as messages show it, unless it is `path`.
    """
    with index.snapshot():
        rows = index.connection.execute(
            "SELECT id FROM chunks WHERE path = ? AND start_line <= ? AND end_line >= ? ORDER BY end_line - start_line LIMIT 1",
            (path, line, line),
        ).fetchone()
        if rows is None:
            raise CodesageError(_no_code_at(index, path, line, typed or path))
        view = index.view()
        if rows[0] not in view.positions:
            raise CodesageError(f"{typed or path} is not compared: today's rules take it for secret")
        position, (chunk,) = view.positions[rows[0]], index.chunks_of([rows[0]])
    vectors_PD = None
    if view.encoded_N[position]:
        start, end = np.append(view.starts_N, len(view.vectors_PD))[position : position + 2]
        vectors_PD = view.vectors_PD[start:end]
    elif encoder is not None:
        (texts,) = pieces([chunk], encoder)
        vectors_PD = encoder.encode(texts, kind="code")
    return Subject(index.root.resolve(), chunk, vectors_PD, None if view.statics_ND is None else view.statics_ND[position])


def nearest_to(
    index: Index,
    subject: Subject,
    *,
    means: dict[str, np.ndarray] | None = None,
    top: int = 10,
    where: Filter = ALL,
    encoder: Encoder | None = None,
    seconds: float = 0.5,
) -> list[Hit]:
    """The `top` chunks of an index, of those that `where` lets pass, most similar to `subject`, which may be in another index.

    Best first. The score is the cosine of the subject's mean vector with the best piece of a chunk. Chunks of the same
    definition are left out, and code is compared with code. `means` is subtracted from the vectors of each language (None:
    those of this index). Where the index is not encoded in full, static vectors stand in, and `encoder` has about `seconds` to
    encode the best.
    """
    with index.snapshot():
        view = index.view()
        means = view.means if means is None else means
        if view.complete and subject.vectors_PD is not None:
            centred_PD = view.centred_PD if means is view.means else view.without(means)
            scores_N, known_N = view.best_pieces(centred_PD @ _mean_of(subject, means)).copy(), view.encoded_N
        else:
            scores_N, known_N = _partial(index, view, subject, means, encoder, seconds)
        is_code_N = np.array(view.languages, str) != ""
        left_out_N = (is_code_N != (subject.chunk.language != "")) | _is_subject(index, view, subject)
        scores_N[left_out_N] = -np.inf
        allowed_N = where.allowed(view, lambda places: texts_of(index, view, places))
        if allowed_N is not None:
            scores_N[~allowed_N] = -np.inf
        best = [place for place in np.argsort(-scores_N, kind="stable")[:top] if np.isfinite(scores_N[place])]
        return [
            Hit(chunk, float(scores_N[place]), tier="encoder" if known_N[place] else "static")
            for place, chunk in zip(best, index.chunks_of(view.numbers_N[best].tolist()), strict=True)
        ]


def _no_code_at(index: Index, path: str, line: int, typed: str) -> str:
    """Why no chunk of the index holds a line of a file."""
    known = index.connection.execute("SELECT reason FROM files WHERE path = ?", (path,)).fetchone()
    last = index.connection.execute("SELECT max(end_line) FROM chunks WHERE path = ?", (path,)).fetchone()[0]
    if known is None:
        return _not_indexed(index, path, typed)
    if known[0] and last is None:
        listing = command("status", index.root, "--skipped")
        return f"{typed} is not indexed ({known[0]}): '{listing}' lists what is left out"
    if last is None:
        return f"{typed} holds no code: give a file that holds code"
    if line > last:
        return f"{typed}:{line} is after the last line of code, {last}: give a line that holds code"
    return f"{typed}:{line} is empty: give a line that holds code"


def _not_indexed(index: Index, path: str, typed: str) -> str:
    """Why an index does not know a file."""
    file = index.root if index.root.is_file() else index.root / path
    if not os.path.lexists(file):
        return f"{typed}: no such file: give a file that exists"
    if file.is_dir():
        return f"{typed} is a folder: give a file and a line"
    rows = index.connection.execute(f"SELECT path, reason FROM files WHERE reason IN {NESTED}").fetchall()
    for folder, kind in rows:
        if path.startswith(f"{folder}/"):
            return f"{typed} is in a {kind}, which has an index of its own: give {folder} as a path to search"
    if any(name_of(one, index.root) == path for one in files_of(index.root)):
        return f"{typed} is newer than the index: leave out --no-update"
    return f"{typed} is not indexed: git or a .codesageignore ignores it, or it is in a folder such as node_modules"


def _is_subject(index: Index, view: View, subject: Subject) -> np.ndarray:
    """Bool (N,): the chunks of the definition that is compared."""
    if index.root.resolve() != subject.root:
        return np.zeros(len(view.paths), bool)
    chunk = subject.chunk
    same_N = (np.array(view.paths, str) == chunk.path) & (np.array(view.names, str) == chunk.name)
    if chunk.kind != "function":
        return same_N
    own_N = np.zeros(len(same_N), bool)
    for places in by_definition(index, view, np.flatnonzero(same_N & (np.array(view.kinds, str) == "function")).tolist()):
        own_N[places] = chunk in index.chunks_of(view.numbers_N[places].tolist())
    return own_N


def _mean_of(subject: Subject, means: dict[str, np.ndarray]) -> np.ndarray:
    """The mean of the subject's pieces without the mean of its language, of unit length."""
    vectors_PD = subject.vectors_PD
    assert vectors_PD is not None
    if means:
        vectors_PD = minus_means(vectors_PD, [subject.chunk.language] * len(vectors_PD), means)
    return unit_length(vectors_PD.mean(axis=0))


def _partial(
    index: Index, view: View, subject: Subject, means: dict[str, np.ndarray], encoder: Encoder | None, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
    """Similarities, and which of them are the encoder's. The mean of each language is that of what is encoded."""
    if encoder is None:
        return partial.static_similarities(view, subject.static_D), np.zeros(len(view.paths), bool)
    static_D = subject.static_D
    if (static_D is None or not static_D.any()) and (statics := statics_of(encoder)) is not None:
        static_D = statics.encode([indexed_words(subject.chunk.text)])[0]

    def order(scores_N: np.ndarray) -> list[int]:
        return np.argsort(-scores_N, kind="stable")[: _MOST + 1].tolist()

    return partial.similarities(index, view, encoder, _mean_of(subject, means), static_D, order, seconds, means)
