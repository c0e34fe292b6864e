"""Code that does the same as a given piece, in any language.

In: an index and a place in one of its files. Out: the most similar other chunks, best first. Vectors are compared without
the mean of their language (encoder.centring), so that code in another language is found by what it does.
"""

from collections import Counter

import numpy as np

from codesage.encoder.centring import without_language
from codesage.errors import CodesageError
from codesage.records import Chunk, Hit
from codesage.search.index import Index

_COLUMNS = "path, language, kind, name, start_line, end_line, text"


def similar(index: Index, path: str, line: int, *, top: int = 10) -> list[Hit]:
    """The `top` chunks most similar to the one that holds `line` (from 1) of the file `path`, best first.

    The score is the cosine of the vectors. Chunks of the same definition are left out, and code is compared with code.
    CodesageError when the index does not hold the place.
    """
    with index.unmoved():
        place = index.connection.execute(
            f"SELECT {_COLUMNS}, row FROM chunks WHERE path = ? AND start_line <= ? AND end_line >= ? "
            "ORDER BY end_line - start_line LIMIT 1", (path, line, line),
        ).fetchone()  # fmt: skip
        if place is None:
            raise CodesageError(f"{path}:{line} is not in the index of {index.root}: give a file and a line that hold code")
        own = Chunk(*place[:-1])
        rows = index.connection.execute(
            "SELECT id, language, row FROM chunks WHERE (language != '') = ? AND NOT (path = ? AND name = ?) ORDER BY id",
            (own.language != "", path, own.name),
        ).fetchall()
        if not rows:
            return []
        numbers, languages, places = zip(*rows, strict=True)
        vectors_CD = np.asarray(index.vectors()[[*places, place[-1]]], np.float32)
        languages = [*languages, own.language]
        if len(Counter(languages)) > 1:
            vectors_CD = without_language(vectors_CD, languages)
        score_C = vectors_CD[:-1] @ vectors_CD[-1]
        best = np.argsort(-score_C, kind="stable")[:top]
        return [Hit(_chunk(index, numbers[row]), float(score_C[row])) for row in best]


def _chunk(index: Index, number: int) -> Chunk:
    return Chunk(*index.connection.execute(f"SELECT {_COLUMNS} FROM chunks WHERE id = ?", (number,)).fetchone())
