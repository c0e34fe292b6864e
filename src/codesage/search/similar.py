"""Code that does the same as a given piece, in any language.

In: an index and a place in one of its files. Out: the most similar other chunks, best first. The mean of each language is
subtracted from the vectors (encoder.centring), so that code in another language is found by what it does.
"""

import numpy as np

from codesage.encoder.centring import minus_means
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.records import Encoder, Hit
from codesage.search import partial
from codesage.search.filters import ALL, Filter
from codesage.search.index import Index
from codesage.search.pieces import pieces
from codesage.search.query import texts_of
from codesage.search.view import View

_MOST = 48  # chunks that look most similar, to encode


def similar(
    index: Index,
    path: str,
    line: int,
    *,
    top: int = 10,
    where: Filter = ALL,
    encoder: Encoder | None = None,
    seconds: float = 0.5,
) -> list[Hit]:
    """The `top` chunks, of those that `where` lets pass, most similar to the one at `line` (from 1) of the file `path`.

    Best first. The score is the cosine of the chunk's mean vector with the best piece of the other one. Chunks of the same
    definition are left out, and code is compared with code. Where the index is not encoded in full, static vectors stand in,
    and `encoder` has about `seconds` to encode the best. CodesageError when no chunk holds that line.
    """
    with index.snapshot():
        rows = index.connection.execute(
            "SELECT id FROM chunks WHERE path = ? AND start_line <= ? AND end_line >= ? ORDER BY end_line - start_line LIMIT 1",
            (path, line, line),
        ).fetchone()
        if rows is None:
            raise CodesageError(_no_code_at(index, path, line))
        view = index.view()
        position = view.positions[rows[0]]
        if view.complete:
            scores_N, known_N = _scores(view, position), view.encoded_N
        else:
            scores_N, known_N = _partial(index, view, position, encoder, seconds)
        is_code_N = np.array(view.languages) != ""
        same_N = (np.array(view.paths) == view.paths[position]) & (np.array(view.names) == view.names[position])
        scores_N[(is_code_N != is_code_N[position]) | same_N] = -np.inf
        allowed_N = where.allowed(view, lambda places: texts_of(index, view, places))
        if allowed_N is not None:
            scores_N[~allowed_N] = -np.inf
        best = [place for place in np.argsort(-scores_N, kind="stable")[:top] if np.isfinite(scores_N[place])]
        return [
            Hit(chunk, float(scores_N[place]), tier="encoder" if known_N[place] else "static")
            for place, chunk in zip(best, index.chunks_of(view.numbers_N[best].tolist()), strict=True)
        ]


def _no_code_at(index: Index, path: str, line: int) -> str:
    """Why no chunk of the index holds a line of a file."""
    known = index.connection.execute("SELECT reason FROM files WHERE path = ?", (path,)).fetchone()
    last = index.connection.execute("SELECT max(end_line) FROM chunks WHERE path = ?", (path,)).fetchone()[0]
    if known is None or last is None:
        reason = f" ({known[0]})" if known and known[0] else ""
        return f"{path} is not indexed{reason}: 'codesage status {index.root} --skipped' lists what is left out"
    if line > last:
        return f"{path}:{line} is after the last line of code, {last}: give a line that holds code"
    return f"{path}:{line} is empty: give a line that holds code"


def _scores(view: View, position: int) -> np.ndarray:
    vectors_PD = view.centred_PD
    start, end = np.append(view.starts_N, len(vectors_PD))[position : position + 2]
    mean_D = unit_length(vectors_PD[start:end].mean(axis=0))
    return view.best_pieces(vectors_PD @ mean_D).copy()


def _partial(index: Index, view: View, position: int, encoder: Encoder | None, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Similarities, and which of them are the encoder's. The mean of each language is that of what is encoded."""
    static_D = None if view.statics_ND is None else view.statics_ND[position]
    if encoder is None:
        scores_N = np.zeros(len(view.paths)) if view.statics_ND is None else view.statics_ND @ static_D
        return scores_N, np.zeros(len(view.paths), bool)
    start, end = np.append(view.starts_N, len(view.vectors_PD))[position : position + 2]
    vectors_PD = view.centred_PD[start:end]
    if not view.encoded_N[position]:
        (texts,) = pieces(index.chunks_of([int(view.numbers_N[position])]), encoder)
        vectors_PD = minus_means(encoder.encode(texts, kind="code"), [view.languages[position]] * len(texts), view.means)
    mean_D = unit_length(vectors_PD.mean(axis=0))

    def order(scores_N: np.ndarray) -> list[int]:
        return np.argsort(-scores_N, kind="stable")[: _MOST + 1].tolist()

    return partial.similarities(index, view, encoder, mean_D, static_D, order, seconds, view.means)
