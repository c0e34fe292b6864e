"""Features for classification and clones: the words of BM25, the vectors of models, and both together.

In: texts and models. Out: by system, a row of numbers for each text. Shapes: N texts, W words, D width.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.words import split_words

K1, B = 1.2, 0.75  # BM25's usual constants
WORDS = 1000
BASELINE = "BM25 words"


class EncodesTexts(Protocol):
    """The part of `codesage.load()`'s result that evaluation needs."""

    def encode(self, texts: Sequence[str], *, kind: str) -> np.ndarray:
        """Unit vectors, float32 (n, width)."""
        ...


def features_of(models: Mapping[str, EncodesTexts], texts: Sequence[str]) -> dict[str, np.ndarray]:
    """By system: BM25's weights of the common words, the vectors of each model, and both side by side, (N, W + D).

    Rows of both parts have unit length, so that a cosine of the fusion is the mean of the two cosines. CodesageError when a
    vector is not finite.
    """
    words_NW = unit_length(word_weights(texts))
    features = {BASELINE: words_NW}
    for name, model in models.items():
        features[name] = checked(model.encode(texts, kind="code"), name)
        features[f"{name} + BM25"] = np.hstack([features[name], words_NW])
    return features


def checked(vectors_ND: np.ndarray, name: str) -> np.ndarray:
    """`vectors_ND`. CodesageError when one is not finite."""
    bad = np.flatnonzero(~np.isfinite(vectors_ND).all(axis=1))
    if len(bad):
        raise CodesageError(
            f"{name} gives {len(bad):,} of {len(vectors_ND):,} texts a vector that is not finite: train or export it again"
        )
    return vectors_ND


def word_weights(texts: Sequence[str], *, words: int = WORDS) -> np.ndarray:
    """BM25's weights of the words of split identifiers that occur in the most texts: float32 (N, at most `words`).

    The weight of a word is its inverse document frequency times its saturated frequency, as in a score of BM25.
    """
    counts = [Counter(split_words(text)) for text in texts]
    held = Counter(word for count in counts for word in count)
    common = sorted(held, key=lambda word: (-held[word], word))[:words]
    columns = {word: column for column, word in enumerate(common)}
    frequency_NW = np.zeros((len(texts), len(columns)), np.float32)
    for row, count in enumerate(counts):
        for word, times in count.items():
            if word in columns:
                frequency_NW[row, columns[word]] = times
    length_N = np.array([count.total() for count in counts], np.float32)
    relative_N = length_N / max(1.0, float(length_N.mean()))
    rarity_W = np.array([np.log1p((len(texts) - held[word] + 0.5) / (held[word] + 0.5)) for word in common], np.float32)
    return rarity_W * frequency_NW * (K1 + 1) / (frequency_NW + K1 * (1 - B + B * relative_N[:, None]))
