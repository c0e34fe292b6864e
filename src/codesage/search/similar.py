"""Code that does the same as a given piece, in any language.

In: an index and a place in one of its files. Out: the most similar other chunks, best first. Vectors are compared without
the mean of their language (encoder.centring), so that code in another language is found by what it does.
"""

import numpy as np

from codesage.encoder.centring import without_language
from codesage.errors import CodesageError
from codesage.records import Chunk, Hit
from codesage.search.filters import ALL, Filter
from codesage.search.index import Index
from codesage.search.query import texts_of
from codesage.search.view import View

_COLUMNS = "path, language, kind, name, start_line, end_line, text"


def similar(index: Index, path: str, line: int, *, top: int = 10, where: Filter = ALL) -> list[Hit]:
    """The `top` chunks, of those that `where` lets pass, most similar to the one at `line` (from 1) of the file `path`.

    Best first. The score is the cosine of the chunk's mean vector with the best piece of the other one. Chunks of the same
    definition are left out, and code is compared with code. CodesageError when the index does not hold the place.
    """
    with index.unmoved():
        found = index.connection.execute(
            "SELECT id FROM chunks WHERE path = ? AND start_line <= ? AND end_line >= ? ORDER BY end_line - start_line LIMIT 1",
            (path, line, line),
        ).fetchone()
        if found is None:
            raise CodesageError(f"{path}:{line} is not in the index of {index.root}: give a file and a line that hold code")
        view = index.view()
        own = view.place[found[0]]
        scores_N = _scores(view, own)
        is_code_N = np.array(view.languages) != ""
        same_N = (np.array(view.paths) == view.paths[own]) & (np.array(view.names) == view.names[own])
        scores_N[(is_code_N != is_code_N[own]) | same_N] = -np.inf
        allowed_N = where.allowed(view, lambda places: texts_of(index, view, places))
        if allowed_N is not None:
            scores_N[~allowed_N] = -np.inf
        best = [place for place in np.argsort(-scores_N, kind="stable")[:top] if np.isfinite(scores_N[place])]
        return [Hit(_chunk(index, int(view.numbers_N[place])), float(scores_N[place])) for place in best]


def centred(view: View) -> np.ndarray:
    """The vectors of all pieces, float32 (P, D), without the mean of their language where there are several."""
    pieces_N = np.diff(np.append(view.starts_N, len(view.vectors_PD)))
    languages = np.repeat(np.array(view.languages), pieces_N)
    return view.vectors_PD if len(set(view.languages)) < 2 else without_language(view.vectors_PD, languages.tolist())


def _scores(view: View, own: int) -> np.ndarray:
    vectors_PD = centred(view)
    start, end = np.append(view.starts_N, len(vectors_PD))[own : own + 2]
    mean_D = vectors_PD[start:end].mean(axis=0)
    mean_D /= np.linalg.norm(mean_D).clip(np.finfo(np.float32).tiny)
    return np.maximum.reduceat(vectors_PD @ mean_D, view.starts_N)


def _chunk(index: Index, number: int) -> Chunk:
    return Chunk(*index.connection.execute(f"SELECT {_COLUMNS} FROM chunks WHERE id = ?", (number,)).fetchone())
