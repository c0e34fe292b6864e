"""Decide whether a query matches anything in an index, so that nonsense gets no answer.

In: a query and its vector. Out: yes or no. The query passes if one chunk contains words with most of the query's weight, or if
a chunk is clearly nearer to the query than any chunk is to phrases that are not about programming (`_PROBES`). The more of
the query's words a chunk contains, the less near it has to be. The floor is thus measured for each model and index;
benchmarks/score_floor.py tells how many queries pass (docs/log.md).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from codesage.records import Encoder
from codesage.search import ranking
from codesage.search.index import Index
from codesage.search.terms import query_words
from codesage.search.view import View

_COVERED = 0.5  # share of the weight of the query's words that one chunk holds
_MARGIN = 0.08  # of cosines; of 401 questions in 20 repositories it refuses none (docs/log.md)
_WORDS_FOR_COSINE = 0.2  # of the floor, for the whole weight of the words
_THIRD = 3  # highest of the probes, as one or two may meet something by chance
_FEWEST = 50  # chunks: in fewer the nearest to a good question may be far from it
_ENCODED = 0.5  # share of the chunks: the floor of fewer may be far below that of all; chosen, not compared
_LETTERS = 3  # of a word that may be a part of a name
_PROBES = (
    "wqzjvk", "plimrath dorvex", "ogubnelt", "xkqv wzzt prq", "hjdfk sdlfj", "brontiva melusk", "qqxz ulbrefost", "zzpl mnkw",
    "tavoremil sunderap gick", "sparrow jam harbour", "violin", "a walk on the beach", "tomato soup with basil",
    "medieval castle", "winter coat and gloves", "rings of the planet Saturn", "horse race", "old piano", "mountain goat",
    "how to grow roses",
)  # fmt: skip


class Held(Protocol):
    """What the floor needs from an index or a store."""

    @property
    def floors(self) -> dict[str, float]:
        """Where measured floors are kept."""
        ...

    @property
    def chunks(self) -> int:
        """How many there are."""
        ...

    @property
    def encoded(self) -> float:
        """The share of the chunks that are encoded."""
        ...

    def coverage(self, words: list[str]) -> float:
        """The largest share of the weight of `words`, rare ones weighing more (`rarity`), that a chunk holds."""
        ...

    def is_in_a_name(self, part: str) -> bool:
        """Whether small letters are a part of the name of a chunk or of a path."""
        ...

    def highest(self, vectors_QD: np.ndarray) -> np.ndarray:
        """Of each vector the similarity of the nearest chunk, (Q,)."""
        ...


@dataclass(frozen=True, slots=True)
class InIndex:
    """The state of an index."""

    index: Index
    view: View
    known: float = -1.0  # the similarity of the nearest chunk that was encoded for the query alone

    @property
    def floors(self) -> dict[str, float]:
        """Of this state."""
        return self.view.floors

    @property
    def chunks(self) -> int:
        """See Held."""
        return len(self.view.paths)

    @property
    def encoded(self) -> float:
        """See Held."""
        return float(self.view.encoded_N.mean())

    def coverage(self, words: list[str]) -> float:
        """See Held."""
        held_N, weight = np.zeros(self.chunks), 0.0
        for word in words:
            places, _ = self.view.postings.holders(self.index.connection, word)
            own = rarity(len(places), self.chunks)
            held_N[places] += own
            weight += own
        return float(held_N.max(initial=0.0)) / weight

    def is_in_a_name(self, part: str) -> bool:
        """See Held."""
        return any(part in one.lower() for names in (self.view.names, self.view.distinct_paths) for one in names)

    def highest(self, vectors_QD: np.ndarray) -> np.ndarray:
        """See Held."""
        if len(vectors_QD) == 1:
            return np.array([max(self.view.highest(vectors_QD[0]), self.known)])
        return (self.view.vectors_PD @ vectors_QD.T).max(axis=0, initial=-1.0)


def passes(held: Held, encoder: Encoder, query: str, vector_D: np.ndarray | None) -> bool:
    """Whether the index or store can answer `query`. `vector_D`: its vector, or None for full text alone.

    Every query passes among few chunks, and while few of them are encoded: the answer then says that it is partial.
    """
    if not query_words(query):
        return False  # it is searched as it stands, not by what it means
    words = [word for word in query_words(query) if not ranking.is_stop_word(word)]
    if not words or (vector_D is not None and (held.chunks < _FEWEST or held.encoded < _ENCODED)):
        return True
    covered = held.coverage(words)
    name = ranking.requested_name(query).lower()
    if covered >= _COVERED or (len(name) >= _LETTERS and held.is_in_a_name(name)):  # names last: there may be many
        return True
    if vector_D is None:
        return covered > 0
    return float(held.highest(vector_D[None])[0]) >= _floor(held, encoder) - _WORDS_FOR_COSINE * covered


def rarity(holding: int, chunks: int) -> float:
    """Weight of a word that this many of the chunks contain."""
    return float(np.log(1 + (chunks - holding + 0.5) / (holding + 0.5)))


def _floor(held: Held, encoder: Encoder) -> float:
    if encoder.fingerprint not in held.floors:
        held.floors[encoder.fingerprint] = float(np.sort(held.highest(_probes(encoder)))[-_THIRD]) + _MARGIN
    return held.floors[encoder.fingerprint]


@lru_cache(maxsize=2)
def _probes(encoder: Encoder) -> np.ndarray:
    """float32 (number of probes, D)."""
    return encoder.encode(_PROBES, kind="text")
