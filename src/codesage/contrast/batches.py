"""Build the batches of Stage II from tokenised pairs.

In: Tokens (corpus.tokens), memory-mapped. Out: `Batches.at(step)`, the token ids of both sides of a batch, a pure function of
(seed, step). A batch is drawn from one entry of a mixture (contrast.entries). Without a mixture it is drawn from all pairs,
weighted by kind. contrast.plans decides, epoch by epoch, which pairs share a batch. The two sides are texts and their codes.
For groups of equivalent code, both sides are codes.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from codesage.contrast import entries, neighbours, plans
from codesage.contrast.augment import DRAWS, augmented
from codesage.contrast.augment import Settings as AugmentSettings
from codesage.contrast.entries import GROUPS, Entry
from codesage.contrast.plans import Planned
from codesage.corpus.tokens.pretokens import Pretokens
from codesage.corpus.tokens.ragged import Ragged, joined
from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError
from codesage.tokenizer import Tokenizer
from codesage.training import order
from codesage.training.schedule import require_finite

_VIEW, _DROP, _AUGMENT, _MINED, _HEADER = 1, 4, 6, 7, 8  # purposes of random keys; plans and entries have their own
_REACH = 1 << 20  # more than the tokens of any side
_LAST = np.iinfo(np.uint64).max
_MINED_ITEMS = 1 << 33  # item numbers of mined pairs start here, above those of an epoch's items
DOCUMENTED = ("function", "class", "example", "comment", "test")  # the kinds that a run without a mixture uses


@dataclass(frozen=True, slots=True)
class Settings:
    """The content of a batch. The paper gives batch 8,192, hard positives, lengths 128 and 1,024; the rest is our choice.

    The code side is the bare body with probability `hard_positives`. With probability `documented` it is the definition
    preceded by the rest of its docstring, if there is one. Otherwise it is the whole definition. A code side that is not the
    bare body begins with the end of its path and its name with probability `header`, as search gives it to the encoder, if it
    is a definition. It is redrawn every epoch. Groups of equivalent code have neither docstring nor path.
    """

    batch_pairs: int = 8192
    text_tokens: int = 128  # maximum, end token included; the same holds for code_tokens
    code_tokens: int = 1024
    hard_positives: float = 1.0
    documented: float = 0.0
    header: float = 0.0
    kinds: dict[str, float] = field(default_factory=dict)  # times a pair of each kind occurs in an epoch; {}: DOCUMENTED, once
    token_dropout: float = 0.0  # share of the tokens of each side that are dropped at random
    one_language: bool = True  # one language per batch of texts and codes; the remainders are joined into mixed batches
    mix: dict[str, float] = field(default_factory=dict)  # share of the batches of each entry (contrast.entries); {}: by kinds
    neighbours: int = 0  # pairs whose texts are alike share a batch in runs of this many (contrast.neighbours); 0: at random
    mined_negatives: int = 0  # hard negatives (contrast.mining) added to a batch of texts for each of its pairs
    augment: AugmentSettings = field(default_factory=AugmentSettings)  # applies to texts
    seed: int = 0

    def __post_init__(self) -> None:
        require_finite(self)
        if self.batch_pairs < 2:
            raise CodesageError(f"batch_pairs is {self.batch_pairs}: a contrastive batch needs at least 2 pairs")
        if min(self.text_tokens, self.code_tokens) < 2:
            raise CodesageError(f"text_tokens {self.text_tokens}, code_tokens {self.code_tokens}: expected at least 2 each")
        if min(self.hard_positives, self.documented) < 0 or self.hard_positives + self.documented > 1:
            raise CodesageError(
                f"hard_positives {self.hard_positives} and documented {self.documented}: expected two "
                "probabilities of at most 1 together"
            )
        if not 0 <= self.header <= 1:
            raise CodesageError(f"header is {self.header}: expected a probability")
        if not 0 <= self.token_dropout < 1:
            raise CodesageError(f"token_dropout is {self.token_dropout}: expected a share of at least 0 and under 1")
        if self.mined_negatives < 0:
            raise CodesageError(f"mined_negatives is {self.mined_negatives}: expected 0 or more")
        if self.neighbours < 0 or self.neighbours == 1:
            raise CodesageError(f"neighbours is {self.neighbours}: expected 2 or more, or 0 for batches drawn at random")
        if not all(0 <= weight < math.inf for weight in self.kinds.values()):
            raise CodesageError(f"kinds are {self.kinds}: expected weights of 0 or more")
        if self.kinds and self.mix:
            raise CodesageError("both kinds and mix are given: give only one, a mixture already weights its kinds")
        entries.check(self.mix)


@dataclass(frozen=True, slots=True)
class Batch:
    """P pairs: row p of both sides is a pair. Ids are int64, and each row ends with the end token."""

    texts: Ragged  # the anchors: texts, or for groups the codes of one side
    codes: Ragged
    pair_P: np.ndarray  # row numbers of the anchors in Tokens.pairs
    partner_P: np.ndarray  # row numbers of the codes; differs from pair_P only for groups
    teacher_PW: np.ndarray | None = None  # float16, the teacher's vectors of the texts; None for groups or without a teacher


@dataclass(frozen=True, slots=True)
class Part:
    """An entry of the mixture with its batches."""

    entry: Entry
    share: float  # share of the run's batches
    seed: int
    chosen_P: np.ndarray  # bool, one per pair: whether the entry contains it
    epochs: order.Epochs
    facts: dict  # entry, share; per epoch: rows (pairs or groups of code), batches, batches of several languages

    @staticmethod
    def of(entry: Entry, share: float, plan: plans.OfPairs | plans.OfGroups, *, seed: int, chosen_P: np.ndarray) -> "Part":
        """Plan the first epoch. ValueError when it has no batch."""
        epochs = order.Epochs(plan)
        planned = epochs.planned(0)
        facts = {
            "entry": entry.name,
            "share": round(share, 6),
            "rows": plan.count,
            "batches": len(planned),
            "mixed_batches": sum(batch.mixed for batch in planned),
        }
        return Part(entry, share, seed, chosen_P, epochs, facts)


class Batches:
    """All batches of Stage II, by step; the number of steps is unlimited."""

    def __init__(
        self,
        tokens: Tokens,
        settings: Settings,
        *,
        consistent: np.ndarray | None = None,
        tokenizer: Tokenizer | None = None,
        mined: np.ndarray | None = None,
        teacher_PW: np.ndarray | None = None,
    ) -> None:
        """`consistent`: bool, one per pair: the pairs to keep (contrast.filtering); None: all.

        `tokenizer`: the tokens' tokenizer, needed when texts are augmented. `mined`: hard negatives of each pair from
        contrast.mining, needed when the settings use them. `teacher_PW`: a teacher's vectors of all texts (contrast.teacher).
        Raises CodesageError when there are fewer than two pairs, or when the tokens lack the kinds, entries or lengths in the
        settings.
        """
        self._tokens, self._settings = tokens, settings
        self._mined, self._teacher_PW = mined, teacher_PW
        self._retokenise = None if tokenizer is None else (tokenizer, Pretokens(tokenizer, dtype=np.dtype(np.int64)))
        available = 0 if mined is None else mined.shape[1]
        if settings.mined_negatives > available:
            raise CodesageError(
                f"mined_negatives is {settings.mined_negatives}, but {available} are available for each pair: "
                "give --mined, a folder that 'codesage mine' wrote with a larger --keep"
            )
        if settings.augment.share and tokenizer is None:
            raise CodesageError("augmented texts must be tokenised again: give the tokenizer of the tokens")
        for name in ("text_tokens", "code_tokens"):
            requested, available = getattr(settings, name), getattr(tokens, name)
            if requested > available:
                raise CodesageError(
                    f"{name} is {requested}, but {tokens.path} was cut at {available}: "
                    f"run 'codesage tokens' with a longer --{name.replace('_', '-')}"
                )
        self._runs = None
        if settings.neighbours:
            if teacher_PW is None:
                raise CodesageError("neighbours are found with a teacher's vectors of the texts: give --teacher")
            self._runs = plans.Runs(neighbours.rounded(teacher_PW), settings.neighbours)
        keep = _mask(tokens, consistent)
        self.parts = self._mixture(keep) if settings.mix else [self._documented(keep)]
        self.schedule = entries.Schedule([part.share for part in self.parts], seed=settings.seed)

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step` (from 0), or the share of it for process `rank` of `world` (training.order.share).

        The first call in an epoch plans that epoch. The first call after a resume plans all earlier epochs too. A plan takes
        one to two seconds for a million pairs.
        """
        number, turn = self.schedule.at(step)
        part = self.parts[number]
        epoch, planned = part.epochs.at(turn)
        if self._mined is not None and self._settings.mined_negatives and not part.entry.groups:
            planned = self._with_mined(self._mined, part, epoch, planned)
        item_P, anchor_P, partner_P = (
            order.share(side, rank, world) for side in (planned.item_B, planned.anchor_B, planned.partner_B)
        )
        return self._batch(part, epoch, Planned(item_P, anchor_P, partner_P))

    def lines(self) -> list[str]:
        """What the run will learn from, one line per entry, and what it leaves out."""
        return [_line(part) for part in self.parts] + self._left_out()

    def _left_out(self) -> list[str]:
        counts = np.bincount(self._tokens.pairs.kind, minlength=len(self._tokens.kinds))
        used = {kind for part in self.parts for kind in part.entry.kinds}
        return [
            f"{kind}: {counts[number]:,} pairs are not used: name them in the mixture to learn from them"
            for number, kind in enumerate(self._tokens.kinds)
            if counts[number] and kind not in used
        ]

    def _documented(self, keep: np.ndarray) -> Part:
        """The single part of a run without a mixture: pairs weighted by kind."""
        tokens, settings = self._tokens, self._settings
        unknown = sorted(set(settings.kinds) - set(tokens.kinds))
        if unknown:
            raise CodesageError(f"unknown kind {unknown[0]!r}: expected some of {', '.join(tokens.kinds)}")
        if settings.kinds.get(GROUPS):
            raise CodesageError(f"kinds give {GROUPS!r} a weight, but its batches compare code with code: use a mixture for it")
        weights = settings.kinds or dict.fromkeys(DOCUMENTED, 1.0)
        weight_K = np.array([weights.get(kind, 0.0) for kind in tokens.kinds])
        weight_P = weight_K[tokens.pairs.kind] * keep * (tokens.pairs.text.lengths > 0)
        plan = self._plan(weight_P, seed=settings.seed)
        kinds = tuple(kind for kind, weight in weights.items() if weight)
        try:
            return Part.of(Entry("+".join(kinds), kinds), 1.0, plan, seed=settings.seed, chosen_P=weight_P > 0)
        except ValueError:
            raise CodesageError(
                f"only {plan.count} of {len(tokens.pairs)} pairs of {tokens.path} can be used: expected at least 2 that differ "
                "in text and body, build a larger corpus or choose other kinds"
            ) from None

    def _plan(self, weight_P: np.ndarray, *, seed: int) -> plans.OfPairs:
        settings = self._settings
        size, one_language = settings.batch_pairs, settings.one_language
        return plans.OfPairs(self._tokens.pairs, weight_P, size=size, one_language=one_language, seed=seed, runs=self._runs)

    def _mixture(self, keep: np.ndarray) -> list[Part]:
        tokens, settings, size = self._tokens, self._settings, self._settings.batch_pairs
        named = entries.entries_of(settings.mix, tokens)
        total, parts = math.fsum(entry.weight for entry in named), []
        for entry in named:
            rows = entries.rows_of(entry, tokens)
            rows, seed = rows[keep[rows]], entries.seed_of(entry, settings.seed)
            chosen_P = np.zeros(len(tokens.pairs), bool)
            chosen_P[rows] = True
            if entry.groups:
                which = entry.language if entry.language in (entries.ACROSS, entries.WITHIN) else ""
                plan = plans.OfGroups(tokens.pairs, rows, size=size, which=which, seed=seed)
            else:
                plan = self._plan(chosen_P.astype(float), seed=seed)
            try:
                part = Part.of(entry, entry.weight / total, plan, seed=seed, chosen_P=chosen_P)
            except ValueError:
                part = None
            if part is None or len(part.epochs.planned(0)[0]) < size:
                raise CodesageError(_too_few(entry, plan.count, size))
            parts.append(part)
        return parts

    def _batch(self, part: Part, epoch: int, planned: Planned) -> Batch:
        if part.entry.groups:
            anchors = self._codes(part, epoch, planned.item_B, planned.anchor_B, side=1)
        else:
            anchors = self._texts(part, epoch, planned.item_B, planned.anchor_B)
        codes = self._codes(part, epoch, planned.item_B, planned.partner_B, side=0)
        item_B = planned.item_B
        anchors, codes = (self._dropped(rows, part, epoch, side, item_B) for side, rows in enumerate((anchors, codes)))
        teacher_PW = None
        if self._teacher_PW is not None and not part.entry.groups:
            teacher_PW = self._teacher_PW[planned.anchor_B]
        return Batch(anchors, codes, planned.anchor_B, planned.partner_B, teacher_PW)

    def _with_mined(self, mined: np.ndarray, part: Part, epoch: int, planned: Planned) -> Planned:
        """Add to a batch, for each of its pairs, up to `mined_negatives` pairs whose codes are hard negatives of its text.

        The added pairs bring their own texts, so the loss does not change. They belong to the same entry, were not filtered
        out, and share no text, body or group with a pair of the batch. The choice among the mined pairs is redrawn each epoch.
        """
        mined_BK = mined[planned.anchor_B]
        fits_BK = (mined_BK >= 0) & part.chosen_P[mined_BK]  # -1 (none) reads the last pair, which the first test masks
        row_B = order.draws(order.key(part.seed, epoch, _MINED), planned.item_B)
        draw_BK = order.draws(np.broadcast_to(row_B[:, None], mined_BK.shape), mined_BK)
        draw_BK[~fits_BK] = _LAST
        mined_BK = np.take_along_axis(mined_BK, np.argsort(draw_BK, axis=1, kind="stable"), 1)
        keys_BK3, own_B3 = self._keys(mined_BK).tolist(), self._keys(planned.anchor_B)
        taken, added = set(own_B3.ravel().tolist()), []
        for rows, keys, fits in zip(mined_BK.tolist(), keys_BK3, fits_BK.sum(1).tolist(), strict=True):
            left = self._settings.mined_negatives
            for row, own in zip(rows[:fits], keys[:fits], strict=True):
                if left and taken.isdisjoint(own):
                    taken.update(own)
                    added.append(row)
                    left -= 1
        rows = np.array(added, np.int64)
        item_B = np.concatenate([planned.item_B, rows + _MINED_ITEMS])
        anchor_B = np.concatenate([planned.anchor_B, rows])
        return Planned(item_B, anchor_B, anchor_B, planned.mixed)

    def _keys(self, rows: np.ndarray) -> np.ndarray:
        """Keys that no two rows of a batch may share, uint64 (..., 3)."""
        pairs = self._tokens.pairs
        text, group = pairs.text_key[rows], pairs.group_key[rows]
        return np.stack([text, pairs.body_key[rows], np.where(group > 0, group, text)], -1)

    def _texts(self, part: Part, epoch: int, item_P: np.ndarray, pair_P: np.ndarray) -> Ragged:
        text, most = self._tokens.pairs.text, self._settings.text_tokens - 1
        if self._retokenise is None or not self._settings.augment.share:
            return joined([text.first(pair_P, most)], end_id=self._tokens.end_id)
        changed_P, ids, length_C = self._augmented(part, epoch, item_P, pair_P, *self._retokenise)
        start_P, length_P = (np.zeros_like(pair_P) for _ in range(2))
        start_P[changed_P], length_P[changed_P] = np.cumsum(length_C) - length_C, length_C
        parts = [text.first(pair_P, most * ~changed_P), (ids, start_P, np.minimum(length_P, most))]
        return joined(parts, end_id=self._tokens.end_id)

    def _augmented(
        self, part: Part, epoch: int, item_P: np.ndarray, pair_P: np.ndarray, tokenizer: Tokenizer, pretokens: Pretokens
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which texts are changed, bool (P,), then the concatenated ids of these texts, and the length of each.

        Byte-level ids decode to the original text, so the texts themselves are not stored.
        """
        changes, tokens = self._settings.augment, self._tokens
        chance_DP = [order.uniform(order.key(part.seed, epoch, _AUGMENT, draw), item_P) for draw in range(DRAWS)]
        changed_P = chance_DP[0] < changes.share
        texts = [
            augmented(tokenizer.decode(tokens.pairs.text[pair]), tokens.languages[language], chances, changes)
            for pair, language, *chances in zip(
                pair_P[changed_P].tolist(),
                tokens.pairs.language[pair_P[changed_P]].tolist(),
                *(chance_P[changed_P].tolist() for chance_P in chance_DP),
                strict=True,
            )
        ]
        return changed_P, *pretokens.encode(texts)

    def _codes(self, part: Part, epoch: int, item_P: np.ndarray, pair_P: np.ndarray, *, side: int) -> Ragged:
        settings, sides = self._settings, self._tokens.pairs
        chance_P = order.uniform(order.key(part.seed, epoch, _VIEW, *([side] if side else [])), item_P)
        bare_P = (chance_P < settings.hard_positives) & (sides.body.lengths_at(pair_P) > 0)
        documented_P = ~bare_P & (chance_P < settings.hard_positives + settings.documented) & (not part.entry.groups)
        room = settings.code_tokens - 1
        length_P = sides.header.lengths_at(pair_P)
        headed_P = ~bare_P & (length_P <= room // 4) & (not part.entry.groups)  # search leaves out longer ones too
        headed_P &= order.uniform(order.key(part.seed, epoch, _HEADER), item_P) < settings.header
        header_P = length_P * headed_P
        room_P = room - header_P
        newline = np.array(self._tokens.newline, np.int64)  # none where the tokenizer drops white space
        about_P = np.minimum(sides.description.lengths_at(pair_P), room_P // 2) * documented_P  # leaves room for the code
        break_P = len(newline) * (about_P > 0)
        left_P = np.maximum(room_P - about_P - break_P, 0)
        return joined(
            [
                sides.header.first(pair_P, header_P),
                sides.description.first(pair_P, about_P),
                (newline, np.zeros_like(pair_P), break_P),
                sides.body.first(pair_P, left_P * bare_P),
                sides.code.first(pair_P, left_P * ~bare_P),
            ],
            end_id=self._tokens.end_id,
        )

    def _dropped(self, rows: Ragged, part: Part, epoch: int, side: int, item_P: np.ndarray) -> Ragged:
        """Drop a random share of the tokens of `rows`, redrawn every epoch; the end token stays."""
        if not self._settings.token_dropout:
            return rows
        token_T = np.repeat(item_P * _REACH - rows.borders[:-1], rows.lengths) + np.arange(len(rows.ids))
        # uniform(...) >= token_dropout with 53 bits, compared as integers
        least = np.uint64(math.ceil(self._settings.token_dropout * 2**53) << 11)
        kept_T = order.draws(order.key(part.seed, epoch, _DROP, side), token_T) >= least
        kept_T[rows.borders[1:] - 1] = True
        place_K = np.flatnonzero(kept_T)
        return Ragged(rows.ids[place_K], np.searchsorted(place_K, rows.borders))


def _line(part: Part) -> str:
    facts, what = part.facts, "groups" if part.entry.groups else "pairs"
    mixed = f", {facts['mixed_batches']:,} of them in several languages" if facts["mixed_batches"] else ""
    batches = "1 batch" if facts["batches"] == 1 else f"{facts['batches']:,} batches"
    return f"{part.entry.name}: {part.share:.1%} of the batches, {facts['rows']:,} {what}, {batches} an epoch{mixed}"


def _mask(tokens: Tokens, consistent: np.ndarray | None) -> np.ndarray:
    if consistent is None:
        return np.ones(len(tokens.pairs), bool)
    if np.shape(consistent) != (len(tokens.pairs),):
        raise CodesageError(
            f"the filter covers {len(consistent)} pairs, but {tokens.path} holds {len(tokens.pairs)}: "
            "run 'codesage filter' again"
        )
    return np.asarray(consistent, bool)


def _too_few(entry: Entry, count: int, size: int) -> str:
    what = "groups with two members that can form a pair" if entry.groups else "pairs"
    return (
        f"{entry.name!r} of the mixture cannot fill a batch: it has {count:,} {what}, a batch needs {size:,} different "
        "ones: lower --batch-pairs, join it with another entry, or leave it out"
    )
