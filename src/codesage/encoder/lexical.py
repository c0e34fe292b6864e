"""A lexical start for encoders that see little data: words that are spelled alike begin alike, rare ones weigh more.

In: a fresh encoder, its tokenizer, and tokenised texts to count words in. Out: the same encoder, its weights set.
Published sizes start from N(0, 0.02), and learn from billions of tokens that `parse`, ` parse` and `Parsing` have to do
with one another. A model that sees some million tokens never does. This start tells it: the row of a token is the sum of
its words' vectors, each a random direction of the word itself and of its character n-grams (as in fastText, Bojanowski
et al. 2017), weighted by inverse document frequency. The shape of the encoder stays the published one: since the final
layer norm takes away the length of a row, its weight is the angle to two sink columns, which that norm gives gain 0.
Positions start at 0, or as random directions (`spread_positions`), and the blocks as a small correction of the residual
stream, so that the whole encoder starts as a bag of words with inverse document frequencies, which full-text search
knows to be strong. Tokens without a word weigh next to nothing: punctuation, parts of a character, and special tokens,
of which the end token stands in every text.
Shapes: V vocabulary, D width, W words, E words of all tokens end to end, T tokens, B buckets.
"""

import math
import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from codesage.encoder.config import Config
from codesage.encoder.model import Encoder
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.tokenizer import Tokenizer
from codesage.words import split_words

INITIAL = ("normal", "lexical")
_SINKS = 2  # columns at the end of a row: +s and -s, so that the row's mean stays 0
_LEAST = 0.02  # weight of tokens without a word, and of words that stand everywhere
_WORD = 0.6  # share of a word's own direction; the rest is that of its n-grams
_GRAMS = (3, 4, 5)
_BUCKETS = 1 << 16  # of random directions that words and n-grams are hashed to
_RESIDUAL = 0.02  # scale of what the blocks add at the start
_POSITIONS = 1  # what a seed is for
_SAMPLE = 100_000  # texts that words are counted in
_AT_ONCE = 10_000  # texts whose words are in memory at a time


class Texts(Protocol):
    """Token ids of N texts, end to end: text i is ids[borders[i]:borders[i + 1]] (codesage.corpus.tokens.ragged.Ragged)."""

    @property
    def ids(self) -> np.ndarray:
        """Integers (sum of lengths,)."""
        ...

    @property
    def borders(self) -> np.ndarray:
        """int64 (N + 1,)."""
        ...


def check(initial: str) -> None:
    """CodesageError when `initial` is not one of INITIAL."""
    if initial not in INITIAL:
        raise CodesageError(f"initial is {initial!r}, expected one of {', '.join(INITIAL)}")


def fresh(
    config: Config, tokenizer: Tokenizer, texts: Sequence[Texts], *, initial: str, position_scale: float = 0.0, seed: int = 0
) -> Encoder:
    """An untrained encoder, from N(0, initializer_range) or from words; `texts` as in `initialise`.

    With a `position_scale` over 0 its positions are random directions of this length, whatever `initial` makes of them.
    """
    check(initial)
    torch.manual_seed(seed)
    encoder = Encoder(config)
    if initial == "lexical":
        initialise(encoder, tokenizer, texts, seed=seed)
    if position_scale > 0:
        spread_positions(encoder, position_scale, seed=seed)
    return encoder


def spread_positions(encoder: Encoder, scale: float, *, seed: int = 0) -> None:
    """Set the position rows, in place, to random directions of length `scale`, with mean 0 and nothing in the sinks.

    Attention can tell such positions apart from the first step on. The columns of the sinks stay 0, so that the weights
    of tokens keep their meaning.
    """
    random = np.random.default_rng([seed, _POSITIONS])
    rows_LD = random.standard_normal((encoder.config.max_position_embeddings, encoder.config.hidden_size - _SINKS), np.float32)
    rows_LD -= rows_LD.mean(1, keepdims=True)
    rows_LD *= scale / np.linalg.norm(rows_LD, axis=1, keepdims=True)
    with torch.no_grad():
        encoder.wpe.weight.zero_()
        encoder.wpe.weight[:, :-_SINKS] = torch.from_numpy(rows_LD)


def initialise(encoder: Encoder, tokenizer: Tokenizer, texts: Sequence[Texts], *, seed: int = 0) -> None:
    """Set the weights of a fresh `encoder` in place; words are counted in at most 100,000 rows of each of `texts`."""
    words_V = words_of(tokenizer)
    names = sorted({word for words in words_V for word in words})
    rarity_W = inverse_document_frequency(words_V, names, texts)
    table_VD = embedding(words_V, dict(zip(names, rarity_W, strict=True)), width=encoder.config.hidden_size, seed=seed)
    with torch.no_grad():
        encoder.wte.weight[: len(table_VD)] = torch.from_numpy(table_VD)
        encoder.wpe.weight.zero_()
        encoder.ln_f.weight[-_SINKS:] = 0
    encoder.scale_residuals(_RESIDUAL)


def words_of(tokenizer: Tokenizer) -> list[list[str]]:
    """The words in each token's text, in the order of ids: none in special tokens and in bytes that are no letter."""
    special = {tokenizer.end_id, tokenizer.mask_id, tokenizer.pad_id}
    return [[] if token in special else split_words(tokenizer.decode([token])) for token in range(tokenizer.vocab_size)]


def inverse_document_frequency(words_V: list[list[str]], names: list[str], texts: Sequence[Texts]) -> np.ndarray:
    """BM25's log(1 + (N - n + 1/2) / (n + 1/2)) of each of `names`, over log(1 + N), so in 0..1: float64 (W,).

    N texts, of which n hold a token with the word; `words_V` are the words of each token, all of them in `names`.
    """
    number = {name: row for row, name in enumerate(names)}
    word_E = np.array([number[word] for words in words_V for word in words], np.int64)
    first_V = np.cumsum([0, *map(len, words_V)])  # V + 1: the words of token v are word_E[first_V[v]:first_V[v + 1]]
    holding_W, total = np.zeros(len(names)), 0
    for rows in texts:
        count = len(rows.borders) - 1
        chosen = np.arange(0, count, max(1, -(-count // _SAMPLE)))
        for start in range(0, len(chosen), _AT_ONCE):
            holding_W += _holding(rows, chosen[start : start + _AT_ONCE], word_E, first_V, len(names))
        total += len(chosen)
    return np.log1p((total - holding_W + 0.5) / (holding_W + 0.5)) / np.log1p(max(1, total))


def _holding(rows: Texts, chosen: np.ndarray, word_E: np.ndarray, first_V: np.ndarray, words: int) -> np.ndarray:
    """How many of the chosen texts hold each word: int64 (W,)."""
    text_T = np.repeat(np.arange(len(chosen)), rows.borders[chosen + 1] - rows.borders[chosen])
    ids_T = np.concatenate([rows.ids[rows.borders[i] : rows.borders[i + 1]] for i in chosen]).astype(np.int64)
    tokens = len(first_V) - 1
    text_T, ids_T = np.divmod(_distinct(text_T * tokens + ids_T), tokens)  # a token counts once a text
    counts_T = first_V[ids_T + 1] - first_V[ids_T]
    within = np.arange(counts_T.sum()) - np.repeat(counts_T.cumsum() - counts_T, counts_T)
    holding = word_E[np.repeat(first_V[ids_T], counts_T) + within]
    return np.bincount(_distinct(np.repeat(text_T, counts_T) * words + holding) % words, minlength=words)


def embedding(words_V: list[list[str]], rarity: dict[str, float], *, width: int, seed: int = 0) -> np.ndarray:
    """Rows of unit length, float32 (V, D): direction of a token's words, weight as the angle to the sink columns."""
    random = np.random.default_rng(seed)
    directions_BD = unit_length(random.standard_normal((_BUCKETS, width - _SINKS), np.float32))
    vectors = {word: np.float32(weight) * _word_vector(word, directions_BD) for word, weight in rarity.items()}
    rows_VD = np.zeros((len(words_V), width - _SINKS), np.float32)
    for row, words in enumerate(words_V):
        for word in words:
            rows_VD[row] += vectors[word]
    weight_V = np.linalg.norm(rows_VD, axis=1)
    bare = weight_V == 0
    rows_VD[bare] = random.standard_normal((bare.sum(), width - _SINKS), np.float32)
    rows_VD = unit_length(rows_VD)
    weight_V = np.clip(weight_V, _LEAST, 1)[:, None]
    sink_V = np.sqrt((1 - weight_V**2) / _SINKS)
    return np.concatenate([rows_VD * weight_V, sink_V, -sink_V], axis=1)


def _distinct(keys: np.ndarray) -> np.ndarray:
    """Sorted, each once: np.unique hashes integers, at a tenth of the speed."""
    keys = np.sort(keys)
    return keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if len(keys) else keys


def _word_vector(word: str, directions_BD: np.ndarray) -> np.ndarray:
    marked = f"<{word}>"  # so that n-grams tell the ends of a word from its middle
    grams = [_bucket(marked[i : i + size]) for size in _GRAMS for i in range(len(marked) - size + 1)]
    spelled = directions_BD[grams].sum(0)
    return _WORD * directions_BD[_bucket(word)] + math.sqrt(1 - _WORD**2) * spelled / np.linalg.norm(spelled)


def _bucket(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "replace")) % _BUCKETS  # the same in every process, unlike hash()
