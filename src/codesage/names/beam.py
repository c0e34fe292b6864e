"""Fill the sub-tokens of a name together: beam search over names of several lengths.

In: a function that gives the log-probabilities of the next sub-token of a name. Out: names, best first. A name of k sub-tokens
is filled from left to right with k holes in place; its score is the sum of its log-probabilities over k ** power, so that
names of different lengths compare (power 1: the mean). With a beam that holds every beginning, this is exact: the names with
the best scores of all. A length is given up when no name of it can reach the names found so far.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Settings:
    """How a name is searched for."""

    most_tokens: int = 4  # sub-tokens of a name
    beam: int = 4  # beginnings of a name that are followed up, of each length
    keep: int = 8  # names to return
    power: float = 1.0  # of the length that a score is divided by


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name as token ids, and its score: the log-probability of its sub-tokens over their number ** power."""

    ids: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a name of `length` sub-tokens, and the sum of its log-probabilities."""

    length: int
    ids: tuple[int, ...] = ()
    total: float = 0.0


Next = Callable[[Sequence[Prefix]], list[np.ndarray]]


def search(next_of: Next, settings: Settings, *, first: np.ndarray, later: np.ndarray) -> list[Candidate]:
    """The best names, at most `keep`, best first; ties go to the smaller ids.

    next_of: for beginnings, the log-probabilities of the sub-token that follows each, float (V,). first and later, bool (V,):
    tokens that a name can begin with, and those that can follow.
    """
    live, finished = [Prefix(length) for length in range(1, settings.most_tokens + 1)], []
    while live:
        grown: list[Prefix] = []
        for begun, scores_V in zip(live, next_of(live), strict=True):
            allowed = later if begun.ids else first
            most = settings.keep if len(begun.ids) + 1 == begun.length else settings.beam
            grown += [
                Prefix(begun.length, (*begun.ids, token), begun.total + score)
                for token, score in _best(np.where(allowed, scores_V, -np.inf), most)
            ]
        finished += [Candidate(one.ids, one.total / one.length**settings.power) for one in grown if len(one.ids) == one.length]
        finished = sorted(finished, key=lambda one: (-one.score, one.ids))[: settings.keep]
        live = _extended([one for one in grown if len(one.ids) < one.length], finished, settings)
    return finished


def _best(scores_V: np.ndarray, most: int) -> list[tuple[int, float]]:
    """The tokens of the highest scores that are finite, best first, ties in the order of ids."""
    most = min(most, len(scores_V))
    least = np.partition(scores_V, len(scores_V) - most)[len(scores_V) - most]
    tokens = np.flatnonzero((scores_V >= least) & np.isfinite(scores_V))
    order = tokens[np.argsort(-scores_V[tokens], kind="stable")][:most]
    return [(int(token), float(scores_V[token])) for token in order]


def _extended(grown: list[Prefix], finished: list[Candidate], settings: Settings) -> list[Prefix]:
    """The best beginnings of each length, but none that cannot reach the names found: a total only falls."""
    least = finished[-1].score if len(finished) == settings.keep else -np.inf
    kept: list[Prefix] = []
    for length in sorted({one.length for one in grown}):
        same = sorted((one for one in grown if one.length == length), key=lambda one: (-one.total, one.ids))
        kept += [one for one in same[: settings.beam] if one.total / length**settings.power >= least]
    return kept
