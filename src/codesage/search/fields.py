"""The words of chunks as arrays, by the field that they occur in.

In: texts, or lists of words. Out: Words. Shapes: N chunks, W words of all of them end to end, T tokens likewise.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from codesage.search.terms import tokens, words_of_tokens

FIELDS = 3  # of a chunk that have words: its name, its path, its text


@dataclass(frozen=True, slots=True)
class Words:
    """The words of N chunks: word i is vocabulary[numbers_W[i]]; field f of chunk n has sizes[n * FIELDS + f] of them."""

    vocabulary: list[str]
    numbers_W: np.ndarray
    sizes: np.ndarray

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.sizes) // FIELDS

    def lengths(self) -> np.ndarray:
        """Words of each chunk, (N,)."""
        return self.sizes.reshape(-1, FIELDS).sum(axis=1)


def words_of(fields: Iterable[Sequence[str]]) -> Words:
    """Words from the lists of all fields of all chunks. Each list is read before the next is asked for."""
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    sizes: list[int] = []

    def counted() -> Iterator[Sequence[str]]:
        for field in fields:
            sizes.append(len(field))
            yield field

    numbers_W = np.fromiter(map(numbers.__getitem__, chain.from_iterable(counted())), np.int32)
    return Words(list(numbers), numbers_W, np.array(sizes, np.int64))


def words_in(fields: Iterable[str]) -> Words:
    """As `words_of`, from the texts of all fields. Only distinct tokens are looked at one by one; the rest is done by numpy."""
    in_text = words_of(map(tokens, fields))
    in_token = words_of(words_of_tokens(in_text.vocabulary))
    sizes_T = in_token.sizes[in_text.numbers_W]
    borders_T = np.concatenate([[0], np.cumsum(sizes_T)])  # of the words of all tokens end to end
    first_T = (np.cumsum(in_token.sizes) - in_token.sizes)[in_text.numbers_W]  # of the words of a token, in `in_token`
    numbers_W = in_token.numbers_W[np.repeat(first_T - borders_T[:-1], sizes_T) + np.arange(borders_T[-1])]
    borders = np.concatenate([[0], np.cumsum(in_text.sizes)])  # of the tokens of each field
    return Words(in_token.vocabulary, numbers_W, np.diff(borders_T[borders]))
