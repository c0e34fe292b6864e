"""Names for the identifiers of a file.

In: a parsed file, a Stage I model, and a table of names where there is one. Out: a proposal for each identifier that was asked
for. With a table, candidates come from it, from the file and from the model, and one score judges them (joint.py). Without one,
the model fills the sub-tokens of a name by beam search (beam.py). All of the identifiers are hidden at once.
In each round every name that is still hidden is scored, and the more probable half is written into the file, where it helps the
others. Two units with overlapping scopes never get the same name. A name is never a keyword, a builtin or a word of its scope.
"""

import math
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np

from codesage.encoder.folders import NAMES
from codesage.names import beam, filler, joint, table
from codesage.names.filler import Filler
from codesage.names.others import Others
from codesage.names.surroundings import HOLE, Occurrences, Tokens, tokens_of
from codesage.names.table import Table
from codesage.names.units import FileUnits, Unit, is_placeholder
from codesage.names.windows import Text, Window
from codesage.names.words import taken
from codesage.syntax.tree import SourceTree
from codesage.tokenizer import Tokenizer

_NAME = re.compile(r"[^\W\d]\w*")
_CASED = {"go", "ruby"}  # a capital letter makes a name an exported one, or a constant
_AT_ONCE = 256  # names that the model judges before the next ones, so that memory does not grow with their number
_FEW = 8  # names that are left are all filled at once
_LENGTHS = 3  # sub-tokens of a name that the table and the model judge together
_FEW_HOLES = 4  # of a window that are asked for then
_HOLES = 16  # of a window that are asked for; the others are hidden and count as alike


@dataclass(frozen=True, slots=True)
class Settings:
    """How names are searched for. The defaults are chosen, not compared."""

    search: beam.Settings = field(default_factory=beam.Settings)
    windows: int = 2  # of the file that a name is judged by, without a table; with one, the window of the most occurrences
    window_tokens: int = 128  # tokens of a window, at most what the model takes


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new name for a unit, "" where no name is free.

    `probability`: of the name among its candidates; without a table, of a sub-token, in the geometric mean.
    """

    unit: Unit
    name: str
    probability: float
    others: tuple[str, ...] = ()  # next best


class Proposer:
    """A model with the tokens that can stand in a name, and a table of names, if there is one."""

    def __init__(self, filler: Filler, settings: Settings | None = None, names: Table | None = None) -> None:
        self.filler, self.settings, self.table = filler, settings or Settings(), names
        self._first_V, self._later_V = name_tokens(filler.tokenizer)

    def every(
        self, text: Text, tokens: Tokens, numbers: Sequence[int], units: Sequence[Unit]
    ) -> Iterator[list[tuple[str, float]]]:
        """Names for each unit `units[number]` and their scores, best first: log-probabilities where there is a table.

        Without a table, those of `candidates`.
        """
        if self.table is None:
            yield from (self.candidates(text, number) for number in numbers)
        else:
            judged = self.judged(text, tokens, numbers, units, self.table)
            yield from (joint.ranked(self.table, one, tokens.language) for one in judged)

    def judged(
        self, text: Text, tokens: Tokens, numbers: Sequence[int], units: Sequence[Unit], names: Table
    ) -> Iterator[joint.Candidates]:
        """Candidates for each unit `units[number]`, hidden alone, with what the table, the file and the model say of them."""
        others = Others(units)
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            for number, by_length in zip(part, self._by_length(text, part), strict=True):
                further = self._likely(by_length)
                one = joint.candidates(names, Occurrences(tokens, units[number]), others, further)
                yield joint.with_model(one, self.filler.tokenizer.encode_pieces(one.names), by_length)

    def _by_length(self, text: Text, numbers: Sequence[int]) -> list[dict[int, np.ndarray]]:
        """Of each unit, by the number of sub-tokens, their log-probabilities when all of them are hidden: (k, V)."""
        mask, lengths = self.filler.tokenizer.mask_id, range(1, _LENGTHS + 1)
        filled, positions = [], []
        for number in numbers:
            window = text.around(number, limit=self._limit, most_windows=1, reserve=_LENGTHS)[0]
            for length in lengths:
                ids, starts = window.filled([mask] * length)
                filled.append(ids)
                positions.append([start + place for start in starts[:_FEW_HOLES] for place in range(length)])
        scores = iter(self.filler.log_probabilities(filled, positions))
        return [
            {length: next(scores).reshape(-1, length, self.filler.tokenizer.vocab_size).mean(axis=0) for length in lengths}
            for _ in numbers
        ]

    def _likely(self, by_length: dict[int, np.ndarray]) -> list[str]:
        """Names of the most probable sub-tokens, each place by itself."""
        names = []
        for length, scores_KV in by_length.items():
            most = 8 if length == 1 else 3 if length == 2 else 1
            allowed = [np.where(self._later_V if place else self._first_V, one, -np.inf) for place, one in enumerate(scores_KV)]
            ids = [np.argpartition(-one, most)[:most].tolist() for one in allowed]
            names += [self.filler.tokenizer.decode(one) for one in product(*ids)]
        return [name for name in names if _NAME.fullmatch(name)]

    @property
    def _limit(self) -> int:
        return min(self.settings.window_tokens, self.filler.max_tokens)

    def candidates(self, text: Text, unit: int) -> list[tuple[str, float]]:
        """Names for one unit of `text` and their scores, best first, without duplicates, taken names included."""
        settings = self.settings
        windows = text.around(unit, limit=self._limit, most_windows=settings.windows, reserve=settings.search.most_tokens)
        proposals = beam.search(
            lambda begun: self._next(windows, begun), settings.search, first=self._first_V, later=self._later_V
        )
        scores: dict[str, float] = {}
        for one in proposals:
            scores.setdefault(self.filler.tokenizer.decode(one.ids), one.score)
        return [(name, score) for name, score in scores.items() if _NAME.fullmatch(name)]

    def _next(self, windows: Sequence[Window], begun: Sequence[beam.Prefix]) -> list[np.ndarray]:
        """For beginnings, the mean over all holes of the log-probabilities of the sub-token that follows."""
        mask = self.filler.tokenizer.mask_id
        filled, positions = [], []
        for one in begun:
            for window in windows:
                ids, starts = window.filled([*one.ids, *[mask] * (one.length - len(one.ids))])
                filled.append(ids)
                positions.append([start + len(one.ids) for start in starts[:_HOLES]])
        scores = self.filler.log_probabilities(filled, positions)
        size = len(windows)
        return [np.concatenate(scores[row * size : (row + 1) * size]).mean(axis=0) for row in range(len(begun))]


def load(model: Path | str | None = None, settings: Settings | None = None, *, device: str = "cpu") -> Proposer:
    """The model that ships (None) or the one at `model`, with the table of names in its folder, if there is one.

    CodesageError as in `filler.load` and `table.load`.
    """
    loaded = filler.load(model, device=device)
    file = (NAMES if model is None else Path(model)) / table.FILE
    return Proposer(loaded, settings, table.load(file) if file.is_file() else None)


def name_tokens(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that a name can begin with, and those that can stand inside of it: bool (V,) each."""
    special = {tokenizer.end_id, tokenizer.mask_id, tokenizer.pad_id}
    texts = ["" if token in special else tokenizer.decode([token]) for token in range(tokenizer.vocab_size)]
    later = [re.fullmatch(r"\w+", text, re.ASCII) is not None for text in texts]
    first = [ok and not text[0].isdigit() for ok, text in zip(later, texts, strict=True)]
    return np.array(first), np.array(later)


def propose(
    proposer: Proposer,
    tree: SourceTree,
    file_units: FileUnits,
    chosen: Sequence[int],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Proposal]:
    """A proposal for each unit in `chosen` (numbers of units), in order.

    `progress` is called with the number of units done and of all. To judge half of what is left is half of the work that is
    left, so two units that are judged count as one that is done.
    """
    text = Text(tree.source, file_units.units, file_units.names, proposer.filler.tokenizer)
    tokens, shown = tokens_of(tree), list(file_units.units)
    names = Names(tree, file_units.units)

    def show(unit: int, name: str) -> None:
        text.show(unit, proposer.filler.tokenizer.encode_pieces([name])[0] if name else None)
        tokens.show(file_units.units[unit], name or HOLE)
        shown[unit] = replace(file_units.units[unit], name=name)

    for unit in chosen:
        show(unit, "")
    left, done = list(chosen), {}
    while left:
        scored = {}
        for unit, candidates in zip(left, proposer.every(text, tokens, left, shown), strict=True):
            scored[unit] = candidates
            progress(len(done) + len(scored) // 2, len(chosen))
        ranked = sorted(left, key=lambda unit: -max((score for _, score in scored[unit]), default=-math.inf))
        for unit in ranked[: len(ranked) if len(ranked) <= _FEW else (len(ranked) + 1) // 2]:
            done[unit] = _chosen(names, unit, file_units.units[unit], scored[unit])
            show(unit, done[unit].name or file_units.units[unit].name)
        left = [unit for unit in left if unit not in done]
    progress(len(done), len(chosen))
    return [done[unit] for unit in chosen]


def _chosen(names: "Names", number: int, unit: Unit, candidates: Sequence[tuple[str, float]]) -> Proposal:
    free = [(name, score) for name, score in candidates if names.free(number, name)]
    if not free:
        return Proposal(unit, "", 0.0)
    name, score = free[0]
    names.take(number, name)
    return Proposal(unit, name, math.exp(score), tuple(other for other, _ in free[1:4]))


class Names:
    """Which names are free for a unit: those of its own scope, and new names of units whose scopes meet it, are taken."""

    def __init__(self, tree: SourceTree, units: Sequence[Unit]) -> None:
        self._units, self._language = units, tree.language
        self._given: dict[str, list[tuple[int, int, int]]] = {}  # scopes, in order and apart, and the units
        self._places: dict[str, list[int]] = {}
        for word in re.finditer(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*", tree.source):
            self._places.setdefault(word.group().decode("utf-8", "replace"), []).append(word.start())

    def free(self, number: int, name: str) -> bool:
        """Whether unit `number` can be called `name`; its own name is free where it does not change."""
        unit = self._units[number]
        if name in taken(self._language) or is_placeholder(name):
            return False
        if self._language in _CASED and name[0].isupper() != unit.name[0].isupper():
            return False
        low, high = unit.scope
        places = self._places.get(name, [])
        first = bisect_left(places, low)
        if name != unit.name and first < len(places) and places[first] < high:
            return False
        given = self._given.get(name, [])
        after = bisect_left(given, (low, high, number))
        beside = given[max(0, after - 1) : after + 1]
        return all(other == number or end <= low or high <= start for start, end, other in beside)

    def take(self, number: int, name: str) -> None:
        """Give the name, which is free for it, to the unit."""
        insort(self._given.setdefault(name, []), (*self._units[number].scope, number))
