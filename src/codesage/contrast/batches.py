"""Tokenised pairs to batches of Stage II: which pairs stand together, and what of each is shown.

In: Tokens (corpus.tokens), mapped. Out: `Batches.at(step)`, the token ids of the texts and of the codes of a batch, a
pure function of (seed, step). An epoch is a permutation of the pairs, drawn by their kinds' weights, cut into batches;
the last, partial one is left out, since a smaller batch is an easier problem. No two pairs of a batch share their
text or their body, which would make a negative of a positive: a pair that would moves to the end of the epoch's line.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from codesage.corpus.tokens.ragged import Ragged, joined
from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError
from codesage.training import order

_VIEW, _KIND, _BATCH, _DROP = 1, 2, 3, 4  # what a key is for
_REACH = 1 << 20  # more tokens than a side can have


@dataclass(frozen=True, slots=True)
class Settings:
    """What a batch is. Published: batch 8,192, hard positives, lengths of 128 and 1,024; the rest is our choice.

    The code side is the bare body with probability `hard_positives`; the definition with the rest of its docstring
    in front with probability `documented`, where there is one; else the whole definition. Drawn anew every epoch.
    """

    batch_pairs: int = 8192
    text_tokens: int = 128  # end token included, as in the next
    code_tokens: int = 1024
    hard_positives: float = 1.0
    documented: float = 0.0
    kinds: dict[str, float] = field(default_factory=dict)  # how often an epoch has a pair of each kind; {}: all, once
    token_dropout: float = 0.0  # share of the tokens of either side that a batch leaves out at random
    one_language: bool = False  # batches of one language, each as often as its pairs fill one
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_pairs < 2:
            raise CodesageError(f"batch_pairs is {self.batch_pairs}: a contrastive batch needs at least 2 pairs")
        if min(self.text_tokens, self.code_tokens) < 2:
            raise CodesageError(f"text_tokens {self.text_tokens}, code_tokens {self.code_tokens}: expected at least 2 each")
        if min(self.hard_positives, self.documented) < 0 or self.hard_positives + self.documented > 1:
            raise CodesageError(f"hard_positives {self.hard_positives} and documented {self.documented}: expected two "
                                "probabilities of at most 1 together")  # fmt: skip
        if not 0 <= self.token_dropout < 1:
            raise CodesageError(f"token_dropout is {self.token_dropout}: expected a share of at least 0 and under 1")
        if any(weight < 0 for weight in self.kinds.values()):
            raise CodesageError(f"kinds are {self.kinds}: expected weights that are not negative")


@dataclass(frozen=True, slots=True)
class Batch:
    """P pairs: row p of both sides is a pair. Ids are int64 and end with the end token."""

    texts: Ragged
    codes: Ragged
    pair_P: np.ndarray  # their numbers in Tokens.pairs


class Batches:
    """All batches of Stage II, by step, without end."""

    def __init__(self, tokens: Tokens, settings: Settings, *, consistent: np.ndarray | None = None) -> None:
        """`consistent`: bool, one of each pair: which to keep (contrast's consistency filtering); None: all.

        Raises CodesageError when there are not two pairs to set against each other, or the settings ask for kinds or
        lengths that the tokens do not hold.
        """
        self._tokens, self._settings = tokens, settings
        self._weight_P = self._weights(consistent)
        for name in ("text_tokens", "code_tokens"):
            asked, held = getattr(settings, name), getattr(tokens, name)
            if asked > held:
                raise CodesageError(f"{name} is {asked}, but {tokens.path} was cut at {held}: "
                                    f"run 'codesage tokens' with a longer --{name.replace('_', '-')}")  # fmt: skip
        usable = int((self._weight_P > 0).sum())
        try:
            self._epochs = order.Epochs(self._plan)
        except ValueError:
            raise CodesageError(
                f"{usable} of {len(tokens.pairs)} pairs of {tokens.path} to learn from: expected at least 2 that differ "
                "in text and body, build a larger corpus or choose other kinds"
            ) from None

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step` (from 0), or the share of it that process `rank` of `world` takes (training.order.share).

        The first call in an epoch plans it, and the first after a resume all epochs before: one to two seconds
        for a million pairs.
        """
        epoch, (item_P, pair_P) = self._epochs.at(step)
        return self._shown(epoch, order.share(item_P, rank, world), order.share(pair_P, rank, world))

    def _shown(self, epoch: int, item_P: np.ndarray, pair_P: np.ndarray) -> Batch:
        settings, sides, end_id = self._settings, self._tokens.pairs, self._tokens.end_id
        chance_P = order.uniform(order.key(settings.seed, epoch, _VIEW), item_P)
        bare_P = (chance_P < settings.hard_positives) & (sides.body.lengths_at(pair_P) > 0)
        documented_P = ~bare_P & (chance_P < settings.hard_positives + settings.documented)
        room = settings.code_tokens - 1
        newline = np.array(self._tokens.newline)
        about_P = np.minimum(sides.description.lengths_at(pair_P), room // 2) * documented_P  # leaves room for the code
        break_P = len(newline) * (about_P > 0)
        left_P = np.maximum(room - about_P - break_P, 0)
        text_P = np.minimum(sides.text.lengths_at(pair_P), settings.text_tokens - 1)
        parts = [
            (sides.description.ids, sides.description.borders[pair_P], about_P),
            (newline, np.zeros_like(pair_P), break_P),
            (sides.body.ids, sides.body.borders[pair_P], np.minimum(sides.body.lengths_at(pair_P), left_P) * bare_P),
            (sides.code.ids, sides.code.borders[pair_P], np.minimum(sides.code.lengths_at(pair_P), left_P) * ~bare_P),
        ]
        texts = joined([(sides.text.ids, sides.text.borders[pair_P], text_P)], end_id=end_id)
        codes = joined(parts, end_id=end_id)
        return Batch(self._thinned(texts, epoch, 0, item_P), self._thinned(codes, epoch, 1, item_P), pair_P)

    def _thinned(self, rows: Ragged, epoch: int, side: int, item_P: np.ndarray) -> Ragged:
        """`rows` without a share of their tokens, drawn anew every epoch; the end token stays."""
        if not self._settings.token_dropout:
            return rows
        token_T = np.repeat(item_P * _REACH - rows.borders[:-1], rows.lengths) + np.arange(len(rows.ids))
        # uniform(...) >= token_dropout of 53 bits, compared before they become floats
        least = np.uint64(math.ceil(self._settings.token_dropout * 2**53) << 11)
        kept_T = order.draws(order.key(self._settings.seed, epoch, _DROP, side), token_T) >= least
        kept_T[rows.borders[1:] - 1] = True
        place_K = np.flatnonzero(kept_T)
        return Ragged(rows.ids[place_K], np.searchsorted(place_K, rows.borders))

    def _weights(self, consistent: np.ndarray | None) -> np.ndarray:
        tokens, kinds = self._tokens, self._settings.kinds
        unknown = sorted(set(kinds) - set(tokens.kinds))
        if unknown:
            raise CodesageError(f"no pairs of kind {unknown[0]!r} can be: expected kinds of {', '.join(tokens.kinds)}")
        weight_K = np.array([kinds.get(kind, 0.0) if kinds else 1.0 for kind in tokens.kinds])
        weight_P = weight_K[tokens.pairs.kind]
        if consistent is None:
            return weight_P
        if np.shape(consistent) != weight_P.shape:
            raise CodesageError(f"the consistency mask is of {len(consistent)} pairs, {tokens.path} holds {len(weight_P)}: "
                                "filter again")  # fmt: skip
        return weight_P * np.asarray(consistent, bool)

    def _plan(self, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(items, their pairs) of each batch of an epoch; a pair of weight 2 is two items."""
        settings, pairs = self._settings, self._tokens.pairs
        chance_P = order.uniform(order.key(settings.seed, epoch, _KIND), np.arange(len(pairs)))
        item_pair = np.repeat(np.arange(len(pairs)), (self._weight_P + chance_P).astype(np.int64))  # rounded at random
        items = order.permutation(len(item_pair), seed=settings.seed, epoch=epoch)
        language = pairs.language[item_pair[items]] if settings.one_language else np.zeros(len(items), np.uint8)
        size = max(2, min(settings.batch_pairs, len(items)))
        filled = [self._filled(items[language == one], item_pair, size) for one in np.unique(language)]
        batches = [batch for full, _ in filled for batch in full]
        if not batches:  # too few pairs for one whole batch: a smaller one is better than none
            batches = [rest for _, rest in filled if len(rest) >= 2]
        shuffled = order.permutation(len(batches), seed=order.key(settings.seed, _BATCH), epoch=epoch)
        batches = [batches[index] for index in shuffled] if settings.one_language else batches
        return [(batch, item_pair[batch]) for batch in batches]

    def _filled(self, items: np.ndarray, item_pair: np.ndarray, size: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Whole batches of `items`, in their order but for those that must wait, and what is left for another."""
        text_I, body_I = (key[item_pair[items]] for key in (self._tokens.pairs.text_key, self._tokens.pairs.body_key))
        alone_I = _once(text_I) & _once(body_I)
        line = deque(zip(items.tolist(), alone_I.tolist(), text_I.tolist(), body_I.tolist(), strict=True))
        full, batch, texts, bodies, refused = [], [], set(), set(), 0
        while line and refused < len(line):  # refused in a row: when all are, the batch cannot be filled
            item, alone, text, body = line.popleft()
            if not alone:
                if text in texts or body in bodies:
                    line.append((item, alone, text, body))
                    refused += 1
                    continue
                texts.add(text)
                bodies.add(body)
            refused = 0
            batch.append(item)
            if len(batch) == size:
                full.append(np.array(batch))
                batch, texts, bodies = [], set(), set()
        return full, np.array(batch, np.int64)


def _once(keys: np.ndarray) -> np.ndarray:
    """Which keys occur only once, bool: by sorting, where np.unique would hash, at a third of the speed."""
    order_K = np.argsort(keys)
    fresh = np.concatenate(([True], np.diff(keys[order_K]) != 0, [True]))
    once = np.empty(len(keys), bool)
    once[order_K] = fresh[1:] & fresh[:-1]
    return once
