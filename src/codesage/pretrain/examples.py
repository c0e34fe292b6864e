"""Tokenised documents to packed batches of Stage I examples.

In: Tokens (corpus.tokens), mapped. Out: `Batches.at(step)`, flat token ids with what is hidden in them. A batch is a
pure function of (seed, step): in an epoch each document takes an objective by a coin, from its plain stream (random
masking) or its named one (deobfuscation), and is cut into windows of `max_tokens`; all windows of the epoch are
shuffled and packed, in that order, into batches of at most `batch_tokens`. What a window hides is drawn from (seed,
epoch, window). Resuming needs the step and nothing else. Positions restart in each window: a batch has no blocks in
which they could run on, and every text that is embedded later starts at position 0 too.
"""

import sys
from dataclasses import dataclass, replace

import numpy as np

from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError
from codesage.pretrain import masking
from codesage.training import order

OBJECTIVES = ("parallel", "masking", "deobfuscation", "sequential")
_SHORTEST = 8  # tokens; a window's remainder under this teaches nothing
_COIN, _MASKS, _SHIFT = 1, 2, 3  # what a key is for


@dataclass(frozen=True, slots=True)
class Settings:
    """What an example is. Published: mask_rate, max_tokens 1024, the coin of 1/2; the rest is our choice."""

    objective: str = "parallel"  # "parallel": a coin per document; or one of the two alone; or one after the other
    masking_steps: int = 0  # "sequential": steps of masking before those of deobfuscation; 0: half of the run
    mask_rate: float | tuple[float, float] = 0.15  # two: each window draws its rate between them
    mask_style: str = "full"  # of random masking: "full", or "80-10-10"
    deobfuscation_share: float = 1.0  # cap on the share of tokens deobfuscation hides; 1: no cap
    max_tokens: int = 1024  # of a window
    random_offsets: bool = False  # cut each document at another place in every epoch
    end_each: bool = False  # end every window with the end token, as a text cut for embedding ends; else only the last
    batch_tokens: int = 2048 * 1024
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.rates
        for name, allowed in (("objective", OBJECTIVES), ("mask_style", masking.STYLES)):
            if getattr(self, name) not in allowed:
                raise CodesageError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(allowed)}")
        if not 0 < low <= high <= 1:
            raise CodesageError(f"mask_rate is {self.mask_rate}: expected a share in (0, 1], or a lower and a higher one")
        if not 0 < self.deobfuscation_share <= 1:
            raise CodesageError(f"deobfuscation_share is {self.deobfuscation_share}: expected a share in (0, 1]")
        if not _SHORTEST + self.end_each <= self.max_tokens <= masking.MOST_TOKENS:
            raise CodesageError(f"max_tokens is {self.max_tokens}: expected {_SHORTEST} to {masking.MOST_TOKENS:,}")
        if not self.max_tokens <= self.batch_tokens < _SHORTEST * masking.MOST_WINDOWS:
            raise CodesageError(f"batch_tokens is {self.batch_tokens}: a batch must hold a window of max_tokens "
                                f"({self.max_tokens}) and at most {_SHORTEST * masking.MOST_WINDOWS:,} tokens")  # fmt: skip

    @property
    def rates(self) -> tuple[float, float]:
        """The lowest and the highest mask rate."""
        low, high = (self.mask_rate,) * 2 if isinstance(self.mask_rate, (int, float)) else self.mask_rate
        return low, high


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows end to end, shortest first: T tokens of them, M of which are hidden. No window at all: no tokens."""

    inputs_T: np.ndarray  # int64, <mask> where a token is hidden
    labels_M: np.ndarray  # int64, the hidden tokens
    hidden_M: np.ndarray  # int64, where they stand among the T, ascending
    lengths: list[int]  # of the windows, as Layout.of takes them


@dataclass(frozen=True, slots=True)
class _Cut:
    """How an epoch cuts its D documents into windows: window k of a document is [k * longest - shift, ... + longest).

    A shift over 0 leaves the first window shorter, which moves all the cuts after it.
    """

    length_D: np.ndarray  # tokens of each document, without its end token where every window gets one
    shift_D: np.ndarray
    longest: int

    @property
    def count_D(self) -> np.ndarray:
        """Windows of each document; a remainder under _SHORTEST tokens is left out."""
        return (self.length_D + self.shift_D + self.longest - _SHORTEST) // self.longest

    def spans(self, document_B: np.ndarray, place_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First token and length of windows, by their documents and their places in them."""
        start_B = place_B * self.longest - self.shift_D[document_B]
        end_B = np.minimum(start_B + self.longest, self.length_D[document_B])
        start_B = np.maximum(start_B, 0)
        return start_B, end_B - start_B


@dataclass(frozen=True, slots=True)
class _Epoch:
    """Where the windows of an epoch are, by batch: D documents, W windows numbered document by document."""

    named_D: np.ndarray  # bool: takes the named stream
    cut: _Cut
    first_D: np.ndarray  # D + 1: number of the first window of each document
    order_W: np.ndarray  # window numbers in the order of training
    borders: np.ndarray  # of the batches in order_W: batch b is order_W[borders[b]:borders[b + 1]]

    def __len__(self) -> int:
        return len(self.borders) - 1

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of the B windows of a batch: number, document, first token in the document, and tokens of the document."""
        window_B = self.order_W[self.borders[batch] : self.borders[batch + 1]]
        document_B = np.searchsorted(self.first_D, window_B, "right") - 1
        return window_B, document_B, *self.cut.spans(document_B, window_B - self.first_D[document_B])


class Batches:
    """All batches of Stage I, by step, without end."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        """Raises CodesageError when no document has a window to learn from."""
        self._tokens, self._settings = tokens, settings
        self._plain_D, self._named_D = tokens.plain.lengths, tokens.named.lengths
        special = [tokens.end_id, tokens.mask_id, tokens.pad_id]
        self._ordinary = np.setdiff1d(np.arange(tokens.vocab_size), special)
        self._after: Batches | None = None
        self._masking_steps = settings.masking_steps or sys.maxsize
        if settings.objective == "sequential":
            self._after = Batches(tokens, replace(settings, objective="deobfuscation"))
        try:
            self._epochs = order.Epochs(self._plan)
        except ValueError:
            raise CodesageError(f"{tokens.path} holds no document of {_SHORTEST} tokens or more to learn from: "
                                "build a corpus with 'codesage corpus build'") from None  # fmt: skip

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step` (from 0), or the share of it that process `rank` of `world` takes (training.order.share).

        The first call in an epoch plans it, and the first after a resume all epochs before: 0.4 s for a million windows.
        """
        if self._after is not None and step >= self._masking_steps:
            return self._after.at(step - self._masking_steps, rank=rank, world=world)
        epoch, (window_B, document_B, start_B, length_B) = self._epochs.at(step)
        named_B = self._epochs.planned(epoch).named_D[document_B]
        start_B = start_B + np.where(named_B, self._tokens.named.borders[document_B], self._tokens.plain.borders[document_B])
        chosen = order.share(np.argsort(length_B, kind="stable"), rank, world)
        if not len(chosen):  # fewer windows than processes
            return Batch(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), [])
        return self._hide(epoch, window_B[chosen], named_B[chosen], start_B[chosen], length_B[chosen])

    def switch(self, step: int) -> None:
        """Where `masking_steps` is 0: "sequential" goes on with deobfuscation at `step`, or where it was told before."""
        if not self._settings.masking_steps:
            self._masking_steps = min(self._masking_steps, step)

    def _hide(self, epoch: int, window_B: np.ndarray, named_B: np.ndarray, start_B: np.ndarray, length_B: np.ndarray) -> Batch:
        settings, tokens = self._settings, self._tokens
        spans = list(zip(named_B.tolist(), start_B.tolist(), (start_B + length_B).tolist(), strict=True))
        ids_T = np.concatenate([(tokens.named if named else tokens.plain).ids[start:end] for named, start, end in spans])
        none = np.zeros(settings.max_tokens, np.uint16)
        names_T = np.concatenate([tokens.names[start:end] if named else none[: end - start] for named, start, end in spans])
        if settings.end_each:
            ends_B = np.cumsum(length_B)
            ids_T, names_T, length_B = np.insert(ids_T, ends_B, tokens.end_id), np.insert(names_T, ends_B, 0), length_B + 1
        key_B = order.draws(order.key(settings.seed, epoch, _MASKS), window_B)
        hidden_T = masking.deobfuscate(names_T, length_B, max_share=settings.deobfuscation_share, key_B=key_B)
        # A plain window, and a window of a file in which none of its names stands, takes random masking.
        random_B = ~np.logical_or.reduceat(names_T > 0, np.cumsum(length_B) - length_B)
        random_T = np.repeat(random_B, length_B)
        if random_B.any():
            rate = float(settings.mask_rate) if isinstance(settings.mask_rate, (int, float)) else settings.rates
            hidden_T[random_T] = masking.random_mask(
                ids_T[random_T], length_B[random_B], rate=rate, keep_id=tokens.end_id, key_B=key_B[random_B]
            )
        hidden_M = np.flatnonzero(hidden_T)
        inputs_T = ids_T.astype(np.int64)
        labels_M = inputs_T[hidden_M]
        inputs_T[hidden_M] = tokens.mask_id
        if settings.mask_style != "full":
            soft_M = random_T[hidden_M]
            draw = masking.draws_at(hidden_M[soft_M], length_B, key_B=key_B)
            inputs_T[hidden_M[soft_M]] = masking.softened(
                labels_M[soft_M], mask_id=tokens.mask_id, ordinary=self._ordinary, draw_M=draw
            )
        return Batch(inputs_T, labels_M, hidden_M, length_B.tolist())

    def _plan(self, epoch: int) -> _Epoch:
        settings = self._settings
        named_D = self._named_D > 0  # empty: nothing to hide
        if settings.objective in ("masking", "sequential"):
            named_D[:] = False
        elif settings.objective == "parallel":
            named_D &= order.uniform(order.key(settings.seed, epoch, _COIN), np.arange(len(named_D))) < 0.5
        cut = self._cut(epoch, np.where(named_D, self._named_D, self._plain_D))
        count_D = cut.count_D
        first_D = np.concatenate(([0], np.cumsum(count_D)))
        document_W = np.repeat(np.arange(len(count_D)), count_D)
        _, length_W = cut.spans(document_W, np.arange(first_D[-1]) - first_D[document_W])
        order_W = order.permutation(len(length_W), seed=settings.seed, epoch=epoch)
        borders = _packed(length_W[order_W] + settings.end_each, settings.batch_tokens)
        return _Epoch(named_D, cut, first_D, order_W, borders)

    def _cut(self, epoch: int, length_D: np.ndarray) -> _Cut:
        settings = self._settings
        length_D, longest = length_D - settings.end_each, settings.max_tokens - settings.end_each
        shift_D = np.zeros(len(length_D), np.int64)
        if settings.random_offsets:
            draw_D = order.uniform(order.key(settings.seed, epoch, _SHIFT), np.arange(len(length_D)))
            shift_D = (draw_D * longest).astype(np.int64)
            # A document that fits a window is not cut, and no first window is too short to learn from.
            shift_D[(length_D <= longest) | (shift_D > longest - _SHORTEST)] = 0
        return _Cut(length_D, shift_D, longest)


def _packed(length_W: np.ndarray, budget: int) -> np.ndarray:
    """Borders of batches of at most `budget` tokens: each takes what comes next while it fits, int64."""
    end_W = np.cumsum(length_W)
    after_W = np.searchsorted(end_W, end_W - length_W + budget, "right").tolist()  # where a batch that starts here ends
    borders, at = [0], 0
    while at < len(length_W):
        at = after_W[at]
        borders.append(at)
    return np.array(borders)
