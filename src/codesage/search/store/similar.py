"""Code in a store that does the same: as a given piece, or as any other of its functions.

In: a store and a place, or a filter. Out: an Answer, or groups of functions. Vectors are compared without the mean of their
language, as in search.similar and search.clones; of a language with more than _SAMPLE pieces, that of a sample.
Shapes: P pieces, D the width of the vectors.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from codesage.encoder.centring import means_of_sums, minus_means
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES, SEARCHED
from codesage.records import Hit
from codesage.search.chunks import definitions
from codesage.search.clones import Functions
from codesage.search.filters import Filter
from codesage.search.searcher import Answer
from codesage.search.store.conditions import at_line, below, conditions_of, passing, shown
from codesage.search.store.query import CUT, Question, answer_of, best_passing, chunk_of
from codesage.search.store.rows import place_of_row
from codesage.search.store.table import SHOWN, Store, all_of, quoted, vectors_in

_DEPTH = 200  # chunks of each language that are compared exactly
_SAMPLE = 20_000  # pieces of a language that its mean is made from
_MOST_COMPARED = 50_000  # functions of which every two are compared
_LANGUAGES = ("", *LANGUAGES, *SEARCHED)


def similar(store: Store, place: str, line: int, where: Filter, paths: Sequence[str] = (), *, top: int = 10) -> Answer:
    """The `top` chunks of a store most similar to the one at `line` (from 1) of the file `place`, as search.similar has them.

    `place` is the path of a file here, or what an answer shows of a file elsewhere. CodesageError when the store holds no chunk
    at that line, or nothing of one of `paths`.
    """
    rows = list(store.rows(f"{at_line(store, place, line)} AND piece = 0", SHOWN))
    own = min(rows, key=lambda row: (row["end_line"] - row["start_line"], row["at"]))
    folder = below(store, paths)
    means = _means(store)
    vectors_PD = _vectors_of(store, [own["id"]])[own["id"]]
    vector_D = unit_length(minus_means(vectors_PD, [own["language"]] * len(vectors_PD), means).mean(axis=0))
    same = {row["id"] for row in _of_definition(store, own)}
    nearest, cut = [], False
    for name in filter(None, _LANGUAGES) if own["language"] else [""]:
        condition = all_of(f"language = {quoted(name)}", folder, *conditions_of(where))
        if store.holds(condition):
            rows, also_cut = _nearest(store, vector_D, Question("", where, condition), max(_DEPTH, 2 * top), same)
            nearest, cut = nearest + rows, cut or also_cut
    kept = {row["id"]: row for row in nearest}
    vectors = _vectors_of(store, list(kept))
    scores = {
        number: float((minus_means(vectors[number], [row["language"]] * len(vectors[number]), means) @ vector_D).max())
        for number, row in kept.items()
    }
    best = sorted(scores, key=lambda number: (-scores[number], *place_of_row(kept[number])))[:top]
    hits = [(kept[one], Hit(chunk_of(kept[one]), scores[one])) for one in best]
    return answer_of(store, hits, [CUT] if cut else [], where, folder)


def _nearest(
    store: Store, vector_D: np.ndarray, question: Question, depth: int, same: Collection[str]
) -> tuple[list[dict], bool]:
    """The chunks nearest to a vector that pass, without the `same`, and whether there may be more than were looked at."""

    def fetch(depth: int) -> tuple[list[dict], bool]:
        rows, similarities, are_all = store.by_vector(vector_D, depth, question.condition)
        ordered = [rows[at] for at in np.argsort(-similarities, kind="stable").tolist()]
        return [row for row in ordered if row["id"] not in same], are_all

    return best_passing(fetch, question, depth)


def functions_of(store: Store, where: Filter, paths: Sequence[str] = (), *, min_lines: int) -> Functions:
    """The functions of a store that `clones` compares. CodesageError when there are too many."""
    folder = below(store, paths)
    condition = all_of("kind = 'function' AND piece = 0", folder, *conditions_of(where))
    count = store.count(condition)
    if count > _MOST_COMPARED:
        raise CodesageError(
            f"{store.address} holds {count:,} such functions, and every two are compared, at most {_MOST_COMPARED:,}: "
            "give a folder, or -t and -g"
        )
    together = _by_definition(passing(where, store.rows(condition, SHOWN)))
    kept = [parts[0] for parts in together if len(parts) == 1 and _lines(parts[0]["text"]) >= min_lines]
    kept.sort(key=place_of_row)
    vectors = _vectors_of(store, [row["id"] for row in kept])
    means_ND = np.array([vectors[row["id"]].mean(axis=0) for row in kept], np.float32)
    chunks = [replace(chunk_of(row), path=shown(row)) for row in kept]
    return Functions(chunks, unit_length(means_ND) if kept else means_ND, sum(len(parts) > 1 for parts in together))


def _of_definition(store: Store, own: dict) -> list[dict]:
    """The rows of the definition that a row belongs to."""
    names = ("root", "path", "name", *(["kind"] if own["kind"] == "function" else []))
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
    if not numbers:
        return {}
    table = store.pieces("true", numbers).sort_by([("id", "ascending"), ("piece", "ascending")])
    ids, vectors_PD = np.array(table["id"].to_pylist()), vectors_in(table)
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    return dict(zip(ids[starts].tolist(), np.split(vectors_PD, starts[1:]), strict=True))


def _means(store: Store) -> dict[str, np.ndarray]:
    """The mean of each language, from at most _SAMPLE pieces of it; nothing where there is one language. Made once."""
    if store.means is None:
        sums = {}
        for name in _LANGUAGES:
            if len(some := store.pieces(f"language = {quoted(name)}", most=_SAMPLE)):
                sums[name] = vectors_in(some).sum(axis=0), len(some)
        store.means = means_of_sums([sums])
    return store.means
