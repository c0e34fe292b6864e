"""The table of static vectors, learned from the pairs of a corpus (extra `train`). `scripts/static_table.py` runs it.

In: (text, code) pairs, and the tokenizer that cuts their words. Out: one vector for each token. The sum of the vectors of a
text is to be nearer to that of its own code than to those of the other codes of a batch, and the sum of a code likewise: the
symmetric InfoNCE loss of Stage II. Codes come with their path and name, as an index has them. No encoder is involved, so one
table serves every model. Shapes: V vocabulary, D dimensions, N texts, B texts of a batch, T distinct tokens of each of several
texts, end to end.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from torch.nn import functional

from codesage.encoder.queries import query_form
from codesage.errors import CodesageError
from codesage.records import Pair
from codesage.search.fields import Words, words_in
from codesage.search.statics import DIMENSIONS

KINDS = ("function", "class", "howto", "test", "example")  # pairs whose text says what the code does
_READ_AT_ONCE = 10_000  # pairs
_WARMUP, _LAST_RATE = 50, 0.02  # steps; share of the learning rate
_SPREAD = 0.1  # of the numbers of a token that occurs in an average share of the texts, before training
_WordIds = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True, slots=True)
class Settings:
    """Of training. The first that were tried; others gave about the same (docs/log.md)."""

    batch: int = 1_024
    steps: int = 600
    learning_rate: float = 0.02
    temperature: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Bags:
    """The distinct tokens of N texts with their counts: those of text n are at starts[n] to starts[n + 1]."""

    starts: np.ndarray
    tokens_T: np.ndarray
    counts_T: np.ndarray

    def of(self, rows: np.ndarray) -> "Bags":
        """Those of some texts."""
        starts, sizes = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        ends = np.cumsum(sizes)
        places_T = np.repeat(starts - (ends - sizes), sizes) + np.arange(sizes.sum())
        return Bags(np.concatenate([[0], ends]), self.tokens_T[places_T], self.counts_T[places_T])


def bags_of(words: Words, word_ids: _WordIds) -> Bags:
    """The tokens of the words of each text."""
    ids = word_ids(words.vocabulary)
    sizes = np.fromiter(map(len, ids), np.int64, len(ids))
    tokens = np.fromiter(chain.from_iterable(ids), np.int64)
    sizes_W = sizes[words.numbers_W]
    first_W = (np.cumsum(sizes) - sizes)[words.numbers_W]
    owners_W = np.repeat(np.arange(words.chunks), words.lengths())
    places = np.repeat(first_W - (np.cumsum(sizes_W) - sizes_W), sizes_W) + np.arange(sizes_W.sum())
    most = int(tokens.max(initial=0)) + 1
    keys_T, counts_T = np.unique(np.repeat(owners_W, sizes_W) * most + tokens[places], return_counts=True)
    owners_T, tokens_T = np.divmod(keys_T, most)
    lengths = np.bincount(owners_T, minlength=words.chunks)
    return Bags(np.concatenate([[0], np.cumsum(lengths)]), tokens_T.astype(np.int32), counts_T.astype(np.int32))


def learned(
    pairs: Iterable[Pair],
    word_ids: _WordIds,
    vocab_size: int,
    *,
    settings: Settings | None = None,
    say: Callable[[int, float], None] = lambda step, loss: None,
) -> np.ndarray:
    """The table, float32 (V, D), from pairs of any kind; those without a text are left out.

    `say` gets the step and the loss of each. CodesageError when there are fewer than two pairs to learn from.
    """
    settings = settings or Settings()
    texts, codes = _both_sides(pairs, word_ids)
    count = len(texts.starts) - 1
    if count < 2:
        raise CodesageError(f"a table of static vectors is learned from (text, code) pairs: there are {count}, expected many")
    size, rng = min(settings.batch, count), np.random.default_rng(settings.seed)
    table_VD = _beginning(codes, vocab_size, rng).requires_grad_()
    optimizer = torch.optim.Adam([table_VD])
    own_B = torch.arange(size)
    order = np.empty(0, np.int64)
    for step in range(settings.steps):
        if len(order) < size:
            order = rng.permutation(count)
        rows, order = order[:size], order[size:]
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1, (step + 1) / _WARMUP) * max(_LAST_RATE, 1 - step / settings.steps)
        cosines_BB = _directions(table_VD, texts.of(rows)) @ _directions(table_VD, codes.of(rows)).T / settings.temperature
        loss = (functional.cross_entropy(cosines_BB, own_B) + functional.cross_entropy(cosines_BB.T, own_B)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        say(step + 1, loss.item())
    return table_VD.detach().numpy()


def _both_sides(pairs: Iterable[Pair], word_ids: _WordIds) -> tuple[Bags, Bags]:
    texts, codes = [], []
    left = (pair for pair in pairs if pair.text)
    while some := list(islice(left, _READ_AT_ONCE)):
        fields = words_in(field for pair in some for field in (query_form(pair.text), "", ""))
        texts.append(bags_of(fields, word_ids))
        fields = words_in(field for pair in some for field in (pair.name, pair.path, pair.code))
        codes.append(bags_of(fields, word_ids))
    return _joined(texts), _joined(codes)


def _joined(parts: Sequence[Bags]) -> Bags:
    lengths = [np.diff(part.starts) for part in parts]
    return Bags(
        np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths])),
        np.concatenate([np.zeros(0, np.int32), *(part.tokens_T for part in parts)]),
        np.concatenate([np.zeros(0, np.int32), *(part.counts_T for part in parts)]),
    )


def _beginning(codes: Bags, vocab_size: int, rng: np.random.Generator) -> torch.Tensor:
    """Random vectors, those of tokens that many codes have shorter (inverse document frequency)."""
    found_V = np.bincount(codes.tokens_T, minlength=vocab_size) + 1
    rarity_V = np.log((len(codes.starts) + 1) / found_V).clip(0.05)
    table_VD = rng.standard_normal((vocab_size, DIMENSIONS)) * (_SPREAD * rarity_V / rarity_V.mean())[:, None]
    return torch.from_numpy(table_VD.astype(np.float32))


def _directions(table_VD: torch.Tensor, bags: Bags) -> torch.Tensor:
    """Unit vectors (B, D) of texts; zeros for one without tokens."""
    sums_BD = functional.embedding_bag(
        torch.from_numpy(bags.tokens_T.astype(np.int64)),
        table_VD,
        torch.from_numpy(bags.starts[:-1]),
        mode="sum",
        per_sample_weights=torch.from_numpy(bags.counts_T.astype(np.float32)),
    )
    return functional.normalize(sums_BD, dim=1)
