"""Whether a query has anything to do with an index, so that nonsense gets no answer.

In: a query and its vector. Out: yes or no. The query passes when one chunk holds most of what its words weigh, or is clearly
nearer to it than chunks are to phrases from outside programming (`_PROBES`). The floor is thus measured for each model and
index; benchmarks/score_floor.py tells how many queries pass (docs/log.md).
"""

from functools import lru_cache

import numpy as np

from codesage.records import Encoder
from codesage.search import ranking
from codesage.search.index import Index
from codesage.search.terms import query_words
from codesage.search.view import View

_COVERED = 0.5  # share of the weight of the query's words that one chunk holds
_MARGIN = 0.05  # of cosines
_THIRD = 3  # highest of the probes, as one or two may meet something by chance
_FEWEST = 50  # chunks: in fewer the nearest to a good question may be far from it
_LETTERS = 3  # of a word that may be a part of a name
_PROBES = (
    "wqzjvk", "plimrath dorvex", "ogubnelt", "xkqv wzzt prq", "hjdfk sdlfj", "brontiva melusk", "qqxz ulbrefost", "zzpl mnkw",
    "tavoremil sunderap gick", "sparrow jam harbour", "violin", "a walk on the beach", "tomato soup with basil",
    "medieval castle", "winter coat and gloves", "rings of the planet Saturn", "horse race", "old piano", "mountain goat",
    "how to grow roses",
)  # fmt: skip


def passes(index: Index, view: View, encoder: Encoder, query: str, vector_D: np.ndarray | None) -> bool:
    """Whether the index can answer `query`; `vector_D`: its vector, None where full text alone is asked.

    Every query passes in an index of few chunks, and while chunks are not encoded yet: the answer then says that it is partial.
    """
    words = [word for word in query_words(query) if not ranking.is_stop_word(word)]
    if not words or (vector_D is not None and (len(view.paths) < _FEWEST or not view.complete)):
        return True
    covered = _coverage(index, view, words)
    if covered >= _COVERED or _is_part_of_a_name(view, query):  # the names are read last: there may be many
        return True
    if vector_D is None:
        return covered > 0
    return float((view.vectors_PD @ vector_D).max(initial=-1.0)) >= _floor(view, encoder)


def _is_part_of_a_name(view: View, query: str) -> bool:
    name = ranking.asked_name(query).lower()
    return len(name) >= _LETTERS and any(name in one.lower() for names in (view.names, view.distinct_paths) for one in names)


def _coverage(index: Index, view: View, words: list[str]) -> float:
    """The largest share of the weight of `words`, rare ones weighing more, that a chunk holds."""
    total = len(view.paths)
    held_N, weight = np.zeros(total), 0.0
    for word in words:
        places, _ = view.postings.holders(index.connection, word)
        rarity = float(np.log(1 + (total - len(places) + 0.5) / (len(places) + 0.5)))
        held_N[places] += rarity
        weight += rarity
    return float(held_N.max(initial=0.0)) / weight


def _floor(view: View, encoder: Encoder) -> float:
    if encoder.fingerprint not in view.floors:
        nearest = (view.vectors_PD @ _probes(encoder).T).max(axis=0, initial=-1.0)
        view.floors[encoder.fingerprint] = float(np.sort(nearest)[-_THIRD]) + _MARGIN
    return view.floors[encoder.fingerprint]


@lru_cache(maxsize=2)
def _probes(encoder: Encoder) -> np.ndarray:
    """float32 (number of probes, D)."""
    return encoder.encode(_PROBES, kind="text")
