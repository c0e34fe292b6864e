"""One score for every candidate name: the table of names, the rules of the file, and the model together.

In: candidates for a hidden name, each with its log-probability in the table, the rules that gave it, and what the model says of
its sub-tokens. Out: a probability for each candidate. The score is log-linear; its few weights are fitted for each language on
identifiers of packages that the table was not counted on (scripts/names_table.py). Shapes: C candidates, W weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesage.names.derived import suggested
from codesage.names.others import Others
from codesage.names.surroundings import Occurrences, features
from codesage.names.table import NO_RULE, Table
from codesage.names.units import is_placeholder
from codesage.words import split_words

_FROM_TABLE, _FROM_FILE = 30, 30  # candidates of each
_LEAST_LOG = -14.0
_MODEL = 9  # the first column of the model
WEIGHTS = 12


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidates and what is known of each: float64 (C, WEIGHTS), the columns of the model 0 where it was not asked."""

    names: tuple[str, ...]
    known_CW: np.ndarray

    def without_model(self) -> np.ndarray:
        """As `known_CW`, with the columns of the model 0."""
        return np.where(np.arange(WEIGHTS) < _MODEL, self.known_CW, 0.0)


def candidates(table: Table, around: Occurrences, others: Others, further: Iterable[str] = ()) -> Candidates:
    """The candidates for a hidden name: those of the table, of the file, and `further` ones."""
    language, kind = around.tokens.language, around.unit.kind
    scores_V = table.log_probabilities(features(around), language, kind)
    odds = {name: table.odds(given, language, kind) for name, given in suggested(around, others).items()}
    best = np.argpartition(-scores_V, min(_FROM_TABLE, len(scores_V) - 1))[:_FROM_TABLE]
    listed = [table.names[one] for one in best[np.argsort(-scores_V[best], kind="stable")]]
    listed += sorted(odds, key=lambda name: (-odds[name][0], name))[:_FROM_FILE]
    listed += further
    names = [name for name in dict.fromkeys(listed) if not is_placeholder(name) and name not in around.tokens.words]
    return Candidates(tuple(names), described(table, around, names, scores_V, odds))


def described(
    table: Table, around: Occurrences, names: Sequence[str], scores_V: np.ndarray, odds: Mapping[str, list[float]]
) -> np.ndarray:
    """What the score knows of names without the model, float64 (C, WEIGHTS)."""
    known_CW = np.zeros((len(names), WEIGHTS))
    places = around.tokens.places
    for row, name in enumerate(names):
        place = table.places.get(name, -1)
        given = [*odds.get(name, ()), NO_RULE, NO_RULE][:2]
        known_CW[row, :_MODEL] = (
            max(_LEAST_LOG, scores_V[place]) if place >= 0 else _LEAST_LOG,
            place < 0,
            given[0],
            given[1],
            name not in odds,
            around.inside(places.bare.get(name, ())),
            around.inside(places.dotted.get(name, ())),
            len(split_words(name)),
            len(name) == 1,
        )
    return known_CW


def with_model(candidates: Candidates, ids: Sequence[Sequence[int]], by_length: Mapping[int, np.ndarray]) -> Candidates:
    """The candidates with what the model says of them; `ids` and `by_length` as in `of_model`."""
    known_CW = candidates.known_CW.copy()
    known_CW[:, _MODEL:] = of_model(ids, by_length)
    return Candidates(candidates.names, known_CW)


def ranked(table: Table, candidates: Candidates, language: str, *, alone: bool = False) -> list[tuple[str, float]]:
    """The candidates and their log-probabilities among all of them, best first. `alone`: without the model."""
    scores_C = candidates.known_CW @ np.asarray(table.weights[f"{language} alone" if alone else language])
    scores_C -= scores_C.max(initial=-np.inf)
    scores_C -= np.log(np.exp(scores_C).sum())
    return [(candidates.names[place], float(scores_C[place])) for place in np.argsort(-scores_C, kind="stable")]


def of_model(ids: Sequence[Sequence[int]], by_length: Mapping[int, np.ndarray]) -> np.ndarray:
    """What the model says of names, float64 (C, 3): total and mean log-probability of sub-tokens, and their number.

    `ids`: the sub-tokens of each name. by_length: for names of k sub-tokens, the log-probabilities at each, (k, V). A name of
    more sub-tokens than were asked for gets the mean of the lowest.
    """
    found_CM = np.zeros((len(ids), 3))
    for row, one in enumerate(ids):
        known = by_length.get(len(one))
        totals = [_LEAST_LOG] * len(one) if known is None else [max(_LEAST_LOG, float(known[k, i])) for k, i in enumerate(one)]
        found_CM[row] = sum(totals), sum(totals) / max(1, len(totals)), len(one)
    return found_CM
