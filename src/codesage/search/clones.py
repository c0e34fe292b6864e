"""Groups of functions that do the same, within and across languages.

In: one or several indexes. Out: groups of chunks, the closest first. The vector of a function is the mean of its pieces'
vectors, minus the mean of its language (encoder.centring). Any two functions of a group are at least as similar as the
threshold (complete linkage), so chains of similar functions do not form one group. docs/log.md has the measurement behind the
default threshold.
"""

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from codesage.encoder.centring import without_language
from codesage.encoder.unit import unit_length
from codesage.records import Chunk
from codesage.search.chunks import definitions
from codesage.search.defaults import CLONE_LINES
from codesage.search.filters import ALL, Filter
from codesage.search.index import Index
from codesage.search.query import texts_of
from codesage.search.view import View

_BLOCK = 1024  # rows of the matrix of similarities at a time


@dataclass(frozen=True, slots=True)
class Group:
    """Functions that do the same. `similarity`: the lowest cosine of two of them; that of equal texts is 1."""

    chunks: list[Chunk]
    similarity: float

    def as_json(self) -> dict:
        """The group as a JSON object."""
        return {
            "similarity": round(self.similarity, 4),
            "functions": [
                {
                    "path": chunk.path,
                    "start_line": chunk.start_line,
                    "end_line": chunk.end_line,
                    "name": chunk.name,
                    "language": chunk.language,
                }
                for chunk in self.chunks
            ],
        }


class Functions(NamedTuple):
    """Functions to compare."""

    chunks: list[Chunk]
    vectors_ND: np.ndarray  # float32, rows of unit length
    left_out: int  # functions that are not compared because they are indexed in parts


def functions_of(index: Index, *, min_lines: int = CLONE_LINES, where: Filter = ALL) -> Functions:
    """The functions of an index to compare: of at least `min_lines` lines that hold something.

    A definition that is indexed in parts, or not encoded yet, is left out.
    """
    with index.snapshot():
        view = index.view()
        places, left_out = _candidates(index, view, where, min_lines)
        compared = [
            chunk
            for start in range(0, len(places), _BLOCK)
            for chunk in index.chunks_of(view.numbers_N[places[start : start + _BLOCK]].tolist())
        ]
        return Functions(compared, means_of(view, places), left_out)


def grouped(chunks: Sequence[Chunk], vectors_ND: np.ndarray, threshold: float) -> list[Group]:
    """Groups of functions that do the same, by their vectors, which may come from several indexes. Best first.

    `threshold`: the lowest cosine of two functions of a group. Functions of equal text are always together. Their vectors may
    differ, because they also show the names of the files.
    """
    if len(chunks) < 2:
        return []
    vectors_ND = centred(vectors_ND, [chunk.language for chunk in chunks])
    alike: dict[str, list[int]] = defaultdict(list)
    for row, chunk in enumerate(chunks):
        alike[textwrap.dedent(chunk.text)].append(row)
    copies = list(alike.values())
    means_ND = unit_length(np.stack([vectors_ND[rows].mean(axis=0) for rows in copies]))
    similar = groups_of(means_ND, threshold)
    among_similar = {place for places, _ in similar for place in places}
    similar += [([place], 1.0) for place, rows in enumerate(copies) if len(rows) > 1 and place not in among_similar]
    groups = [
        Group([chunks[row] for row in sorted(row for place in places for row in copies[place])], similarity)
        for places, similarity in similar
    ]
    return sorted(groups, key=lambda group: (-group.similarity, -len(group.chunks), group.chunks[0].path))


def centred(vectors_ND: np.ndarray, languages: Sequence[str]) -> np.ndarray:
    """The vectors minus the mean of their language, if there are several languages."""
    return without_language(vectors_ND, languages) if len(set(languages)) > 1 else vectors_ND


def means_of(view: View, places: Sequence[int]) -> np.ndarray:
    """float32 (N, D), rows of unit length: the mean of each chunk's pieces."""
    ends_N = np.append(view.starts_N[1:], len(view.vectors_PD))
    means = np.zeros((len(places), view.vectors_PD.shape[1]), np.float32)
    for row, place in enumerate(places):
        means[row] = view.vectors_PD[view.starts_N[place] : ends_N[place]].mean(axis=0)
    return unit_length(means)


def groups_of(vectors_ND: np.ndarray, threshold: float) -> list[tuple[list[int], float]]:
    """Groups of two or more rows in which every two have at least cosine `threshold`, with the lowest cosine of each."""
    pairs = sorted(_pairs(vectors_ND, threshold), key=lambda pair: (-pair[0], pair[1], pair[2]))
    linked = {(one, other) for _, one, other in pairs}
    group = {row: [row] for _, one, other in pairs for row in (one, other)}
    for _, one, other in pairs:
        ours, theirs = group[one], group[other]
        if ours is not theirs and all((min(a, b), max(a, b)) in linked for a in ours for b in theirs):
            ours += theirs
            for row in theirs:
                group[row] = ours
    unique = {id(rows): sorted(rows) for rows in group.values() if len(rows) > 1}
    return [(rows, float((vectors_ND[rows] @ vectors_ND[rows].T).min())) for rows in unique.values()]


def _pairs(vectors_ND: np.ndarray, threshold: float) -> Iterator[tuple[float, int, int]]:
    for start in range(0, len(vectors_ND), _BLOCK):
        scores_BN = vectors_ND[start : start + _BLOCK] @ vectors_ND[start:].T
        for row, column in np.argwhere(scores_BN >= threshold).tolist():
            if column > row:
                yield float(scores_BN[row, column]), start + row, start + column


def _candidates(index: Index, view: View, where: Filter, min_lines: int) -> tuple[list[int], int]:
    """The places of the functions to compare, and how many functions are left out because they are indexed in parts."""
    allowed_N = where.allowed(view, lambda places: texts_of(index, view, places))
    functions = [
        place for place, kind in enumerate(view.kinds) if kind == "function" and (allowed_N is None or allowed_N[place])
    ]
    together = by_definition(index, view, functions)
    places = sorted(parts[0] for parts in together if len(parts) == 1 and view.encoded_N[parts[0]])
    lines = {}
    for start in range(0, len(places), _BLOCK):
        for place, text in texts_of(index, view, places[start : start + _BLOCK]):
            lines[place] = sum(1 for line in text.splitlines() if line.strip())
    return [place for place in places if lines[place] >= min_lines], sum(len(parts) > 1 for parts in together)


def by_definition(index: Index, view: View, places: Sequence[int]) -> list[list[int]]:
    """Places of functions, those of one definition together."""
    named: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place in places:
        named[view.paths[place], view.names[place]].append(place)
    several = [place for same in named.values() if len(same) > 1 for place in same]
    lines: dict[int, tuple[int, int]] = {}
    for start in range(0, len(several), _BLOCK):
        numbers = ",".join(map(str, view.numbers_N[several[start : start + _BLOCK]].tolist()))
        rows = index.connection.execute(f"SELECT id, start_line, end_line FROM spans WHERE id IN ({numbers})")
        lines |= {view.positions[number]: (first, last) for number, first, last in rows}
    result = []
    for same in named.values():
        ordered = sorted(same, key=lambda place: lines.get(place, (0, 0)))
        spans = [lines.get(place, (0, 0)) for place in ordered]
        result += [[ordered[at] for at in parts] for parts in definitions(spans)]
    return result
