"""Code in a store that does the same: as a given piece, or as any other of its functions.

In: a store and a place, or a filter. Out: an Answer, or groups of functions. Vectors are compared without the mean of their
language, as in search.similar and search.clones; in a store the mean is that of a sample of the language.
Shapes: P pieces, D the width of the vectors.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from codesage.encoder.centring import language_means, minus_means
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.records import Hit
from codesage.search.chunks import definitions
from codesage.search.clones import Group, grouped
from codesage.search.filters import Filter
from codesage.search.searcher import Answer
from codesage.search.store.conditions import at_line, below, conditions_of, passes, shown
from codesage.search.store.query import answer_of, chunk_of
from codesage.search.store.table import SHOWN, Store, quoted

_DEPTH = 200  # chunks of each language that are compared exactly
_SAMPLE = 2_000  # pieces of a language that its mean is made from
_MOST_COMPARED = 50_000  # functions of which every two are compared


def similar(store: Store, place: str, line: int, where: Filter, paths: Sequence[str] = (), *, top: int = 10) -> Answer:
    """The `top` chunks of a store most similar to the one at `line` (from 1) of the file `place`, as search.similar has them.

    `place` is the path of a file here, or what an answer shows of a file elsewhere. CodesageError when the store holds no chunk
    at that line, or nothing of one of `paths`.
    """
    rows = list(store.rows(f"{at_line(store, place, line)} AND piece = 0", SHOWN))
    own = min(rows, key=lambda row: row["end_line"] - row["start_line"])
    folder = below(store, paths)
    languages = [name for name in ("", *LANGUAGES) if store.holds(f"language = {quoted(name)}")]
    means = _means(store, languages) if len(languages) > 1 else {}
    vectors_PD = _vectors_of(store, [own["id"]])[own["id"]]
    vector_D = unit_length(minus_means(vectors_PD, [own["language"]] * len(vectors_PD), means).mean(axis=0))
    nearest: list[dict] = []
    for name in languages:
        if bool(name) == bool(own["language"]):
            condition = " AND ".join(filter(None, [f"language = {quoted(name)}", folder, *conditions_of(where)]))
            nearest += store.by_vector(vector_D, _DEPTH, condition)[0]
    same = {row["id"] for row in _of_definition(store, own)}
    kept = {row["id"]: row for row in nearest if row["id"] not in same and passes(where, row)}
    vectors = _vectors_of(store, list(kept))
    scores = {
        number: float((minus_means(vectors[number], [row["language"]] * len(vectors[number]), means) @ vector_D).max())
        for number, row in kept.items()
    }
    best = sorted(scores, key=lambda number: -scores[number])[:top]
    return answer_of(store, [(kept[one], Hit(chunk_of(kept[one]), scores[one])) for one in best], [], where, folder)


def clones(store: Store, where: Filter, paths: Sequence[str] = (), *, threshold: float, min_lines: int) -> list[Group]:
    """Groups of functions of a store that do the same, as search.clones finds them. CodesageError when there are too many."""
    folder = below(store, paths)
    condition = " AND ".join(filter(None, ["kind = 'function'", folder, *conditions_of(where)]))
    count = store.count(f"{condition} AND piece = 0")
    if count > _MOST_COMPARED:
        raise CodesageError(
            f"{store.address} holds {count:,} such functions, and every two are compared, at most {_MOST_COMPARED:,}: "
            "give a folder, or -t and -g"
        )
    rows = list(store.rows(f"{condition} AND piece = 0", SHOWN))
    whole = [parts[0] for parts in _by_definition(rows) if len(parts) == 1]
    kept = [
        row
        for row in sorted(whole, key=lambda row: (row["root"], row["path"], row["start_line"]))
        if passes(where, row) and _lines(row["text"]) >= min_lines
    ]
    if not kept:
        return []
    vectors = _vectors_of(store, [row["id"] for row in kept])
    means_ND = unit_length(np.stack([vectors[row["id"]].mean(axis=0) for row in kept]))
    return grouped([replace(chunk_of(row), path=shown(row)) for row in kept], means_ND, threshold)


def _of_definition(store: Store, own: dict) -> list[dict]:
    """The rows of the definition that a row belongs to."""
    names = ("root", "path", "name", "kind")
    rows = list(store.rows(" AND ".join([*(f"{name} = {quoted(own[name])}" for name in names), "piece = 0"]), SHOWN))
    if own["kind"] != "function":
        return rows
    return next(parts for parts in _by_definition(rows) if any(row["id"] == own["id"] for row in parts))


def _by_definition(rows: Sequence[dict]) -> list[list[dict]]:
    """Rows of functions, those of one definition together."""
    named = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["start_line"], row["end_line"])):
        named[row["root"], row["path"], row["name"]].append(row)
    return [
        [same[at] for at in parts]
        for same in named.values()
        for parts in definitions([(row["start_line"], row["end_line"]) for row in same])
    ]


def _lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


def _vectors_of(store: Store, numbers: Sequence[str]) -> dict[str, np.ndarray]:
    """float32 (P, D) of the pieces of each of some chunks, in their order."""
    vectors_by_number = defaultdict(list)
    for row in store.rows("true", ["id", "piece", "vector"], "id", numbers):
        vectors_by_number[row["id"]].append((row["piece"], row["vector"]))
    return {number: np.array([vector for _, vector in sorted(vectors_by_number[number])], np.float32) for number in numbers}


def _means(store: Store, languages: Sequence[str]) -> dict[str, np.ndarray]:
    vectors, names = [], []
    for name in languages:
        sample = [row["vector"] for row in store.rows(f"language = {quoted(name)}", ["vector"], most=_SAMPLE)]
        vectors += sample
        names += [name] * len(sample)
    return language_means(np.array(vectors, np.float32), names)
