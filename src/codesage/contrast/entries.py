"""The entries of a mixture: the sources that batches of Stage II are drawn from, and how often.

In: a table such as {"function": 40, "howto:cookbook": 20, "parallel/across": 25}, and Tokens. Out: the pairs of each entry,
and the entry of each step. An entry is KIND[+KIND...][:PACKAGE][/LANGUAGE]. PACKAGE may be a pattern (*, ?). LANGUAGE is a
language; for groups of code ("parallel") it may also be "across" (two languages) or "within" (two solutions in one
language). Entries may overlap.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.training import order

GROUPS = "parallel"  # means all members of groups, whatever their kind
ACROSS, WITHIN = "across", "within"
_STEPS = 4096  # steps assigned to entries at a time
_ENTRY = 5  # purpose of a random key; batches.py has others


@dataclass(frozen=True, slots=True)
class Entry:
    """One parsed entry of the table."""

    name: str
    kinds: tuple[str, ...]
    package: str = ""  # a name or a pattern; "": all
    language: str = ""  # "": all
    weight: float = 1.0

    @property
    def groups(self) -> bool:
        """Whether its batches compare code with code."""
        return self.kinds == (GROUPS,)


def parsed(text: str) -> dict[str, float]:
    """Parse a line such as "function=40,howto=20" into a table. CodesageError when it is malformed."""
    table: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, sign, weight = (piece.strip() for piece in part.rpartition("="))
        try:
            value = float(weight)
        except ValueError:
            value = math.nan
        if not sign or not name or math.isnan(value):
            raise CodesageError(f"{part!r} in the mixture: expected ENTRY=WEIGHT, as in function=40,howto=20")
        if name in table:
            raise CodesageError(f"{name!r} occurs twice in the mixture: give it one weight")
        table[name] = value
    if not table:
        raise CodesageError("the mixture is empty: expected ENTRY=WEIGHT, as in function=40,howto=20")
    return table


def check(table: Mapping[str, float]) -> None:
    """CodesageError when a weight is not positive and finite: the entry would never be drawn."""
    for name, weight in table.items():
        if not (weight > 0 and math.isfinite(weight)):
            raise CodesageError(f"{name!r} has the weight {weight:g} in the mixture: expected more than 0, or leave it out")


def entries_of(table: Mapping[str, float], tokens: Tokens) -> list[Entry]:
    """The entries of `table`, sorted by name, so its order does not matter. CodesageError when an entry is invalid."""
    check(table)
    return [_entry(name, table[name], tokens) for name in sorted(table)]


def _entry(name: str, weight: float, tokens: Tokens) -> Entry:
    kinds, _, package = name.partition(":")
    if package:
        head, _, last = package.rpartition("/")
        package, language = (package, "") if package in tokens.sources or not _is_language(last) else (head, last)
    else:
        kinds, _, language = kinds.partition("/")
    entry = Entry(name, tuple(kinds.split("+")), package, language, weight)
    unknown = [kind for kind in entry.kinds if kind not in tokens.kinds]
    if unknown:
        raise CodesageError(f"unknown kind {unknown[0]!r} in {name!r} of the mixture: expected {', '.join(tokens.kinds)}")
    if language and not _is_language(language):
        raise CodesageError(f"unknown language {language!r} in {name!r} of the mixture: expected {', '.join(LANGUAGES)}")
    if GROUPS in entry.kinds and len(entry.kinds) > 1:
        raise CodesageError(
            f"{name!r} of the mixture joins {GROUPS!r} with other kinds, but {GROUPS!r} compares code with "
            "code: give it an entry of its own"
        )
    if language in (ACROSS, WITHIN) and not entry.groups:
        raise CodesageError(f"{name!r} of the mixture: only {GROUPS!r} can be {ACROSS!r} or {WITHIN!r}")
    return entry


def _is_language(name: str) -> bool:
    return name in LANGUAGES or name in (ACROSS, WITHIN)


def rows_of(entry: Entry, tokens: Tokens) -> np.ndarray:
    """Row numbers of the entry's pairs, int64. CodesageError, naming what is available, when it has none."""
    pairs = tokens.pairs
    of_kind_P = np.isin(pairs.kind, [tokens.kinds.index(kind) for kind in entry.kinds]) & (pairs.text.lengths > 0)
    if entry.groups:  # members that have a text have the kind "howto"
        of_kind_P = pairs.group_key > 0
    chosen_P = of_kind_P
    if entry.package:
        sources = [number for number, name in enumerate(tokens.sources) if _matches(name, entry.package)]
        chosen_P = chosen_P & np.isin(pairs.source, sources)
    if entry.language in LANGUAGES:
        chosen_P = chosen_P & (pairs.language == tokens.languages.index(entry.language))
    if not chosen_P.any():
        held = _available(of_kind_P, tokens, entry)
        raise CodesageError(f"{tokens.path} holds no pairs for {entry.name!r} of the mixture: {held}")
    return np.flatnonzero(chosen_P)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _available(of_kind_P: np.ndarray, tokens: Tokens, entry: Entry) -> str:
    """What the tokens offer in place of an entry without pairs."""
    if not of_kind_P.any():
        kinds = [tokens.kinds[number] for number in np.unique(tokens.pairs.kind)]
        return f"it has pairs of {', '.join(kinds) or 'no kind'}"
    numbers, counts = np.unique(tokens.pairs.source[of_kind_P], return_counts=True)
    largest = [tokens.sources[number] for number in numbers[np.argsort(-counts, kind="stable")][:8]]
    languages = [tokens.languages[number] for number in np.unique(tokens.pairs.language[of_kind_P])]
    return f"its pairs of {'+'.join(entry.kinds)} are in {', '.join(languages)}, from {', '.join(largest)}" + (
        f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    )


def seed_of(entry: Entry, seed: int) -> int:
    """The seed of an entry's batches: it depends on the entry's name and the run's seed, not on other entries."""
    return order.key(seed, _ENTRY, int.from_bytes(hashlib.blake2b(entry.name.encode(), digest_size=8).digest(), "little"))


class Schedule:
    """The entry of each step and the number of its batch: a function of (seed, step) and the weights only.

    Steps are spread evenly: any range of steps holds each entry in proportion to its weight, within a few batches.
    """

    def __init__(self, weights: Sequence[float], *, seed: int) -> None:
        self._ends = np.cumsum(np.asarray(weights, np.float64) / math.fsum(weights))[:-1]
        self._key = order.key(seed, _ENTRY)
        self._entry_S = np.empty(0, np.int64)

    def at(self, step: int) -> tuple[int, int]:
        """The number of the entry of `step`, and how many earlier steps had the same entry."""
        if not len(self._ends):
            return 0, step
        if step >= len(self._entry_S):
            self._entry_S = self.entries((step // _STEPS + 1) * _STEPS)
        entry = int(self._entry_S[step])
        return entry, int((self._entry_S[:step] == entry).sum())

    def entries(self, steps: int) -> np.ndarray:
        """The number of the entry of each of the first `steps` steps, int64."""
        return np.searchsorted(self._ends, order.even(self._key, np.arange(steps)), "right")
