"""The progress of a build, and the facts about its corpus: what it contains, what was left out, and why."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from codesage.corpus.distinct.verdicts import DOCUMENT_REASONS, PAIR_REASONS, counted
from codesage.corpus.sources.others import OTHER_LANGUAGES, in_words
from codesage.corpus.sources.trees import Source
from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.records import PAIR_KINDS, sound

_KINDS = tuple(PAIR_KINDS)
_NAMES = list(LANGUAGES)
_SHOWN = 10  # names listed in a message
_NAMED = 300  # files listed in the facts; skipped.parquet lists all of them
_EXPECTED = {
    "test",
    "vendored",
    "generated",
    "minified",
    "data",
    "C++",
    "Objective-C",
    "licence",
    "copyleft header",
    "empty",
    "excluded",
    "equal to another",
    "near duplicate",
}
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(slots=True)
class Progress:
    """The progress of a phase. Rates count only the work of this run, not what an earlier run had already done."""

    phase: str  # "fetch", "read", "compare", "parse", "join" or "write"
    units: int
    characters: int = 0  # in total; 0: unknown
    documents: int = 0
    done: int = 0  # units
    characters_done: int = 0
    documents_done: int = 0
    fresh_characters: int = 0
    fresh_documents: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, characters: int, documents: int, fresh: bool) -> None:
        """Count one more finished unit. `fresh` is true when this run did it."""
        self.done += 1
        self.characters_done += characters
        self.documents_done += documents
        self.fresh_characters += characters * fresh
        self.fresh_documents += documents * fresh

    @property
    def seconds(self) -> float:
        """Seconds since the phase began."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Estimated seconds until the phase ends; None while there is no estimate."""
        remaining = self.characters - self.characters_done
        return self.seconds * remaining / self.fresh_characters if self.fresh_characters else None


class Report:
    """The counts of a build, filled phase by phase. `facts` goes into the manifest, and `skipped` lists every skipped file."""

    def __init__(self) -> None:
        self.skipped: list[tuple[str, str, str]] = []  # source, path, reason
        self._skips, self._drops, self._masked, self._others = Counter(), Counter(), Counter(), Counter()
        self.facts: dict = {"packages": {}, "named": []}
        self._benchmarks = {"files": Counter(), "pairs": Counter()}
        self._tables = {name: Counter() for name in ("documents", "characters", "tests", "functions", "documented")}

    def add_source(self, source: Source, report: dict, archives: dict[str, str]) -> None:
        """Add the results of reading a source. `archives` has the hashes of the files that were fetched for it."""
        self._skip(source, report["skipped"])
        self._masked.update(report["masked"])
        self._others.update(report["other files"])
        for name, version, licence in report["packages"]:
            package = self._package(name, version, source, archives)
            if licence and licence not in package["licences"]:
                package["licences"].append(licence)

    def add_documents(self, verdicts: Sequence[np.ndarray]) -> None:
        """Add the verdicts on the documents of all units."""
        self._skips.update(counted(verdicts, DOCUMENT_REASONS))

    def add_parsed(self, source: Source, report: dict, keys: dict[str, np.ndarray]) -> None:
        """Add the results of parsing a row group. `keys` has the keys of all documents in the group."""
        self._skip(source, report["skipped"])
        self._drops.update(report["dropped"])
        self._benchmarks["files"].update(report["benchmark files"])
        self._benchmarks["pairs"].update(report["benchmark pairs"])
        rows = np.array(report["read"], np.int64)
        languages = keys["language"][rows]
        for name, weights in (("documents", None), ("characters", keys["characters"][rows]), ("tests", keys["test"][rows])):
            sums = np.bincount(languages, weights, minlength=len(_NAMES))
            self._tables[name].update({_NAMES[i]: int(sums[i]) for i in np.flatnonzero(sums)})
        for name in ("functions", "documented"):
            self._tables[name].update(report[name])
        self._update_facts()

    def add_joined(self, report: dict) -> None:
        """Add the results of joining the tests of a source."""
        self._benchmarks["pairs"].update(report["benchmark pairs"])
        self._drops.update(report["dropped"])

    def add_pairs(self, units: Sequence[dict], verdicts: Sequence[np.ndarray]) -> None:
        """Add the verdicts on the pairs of all units. `units` has their keys."""
        self._drops.update(counted(verdicts, PAIR_REASONS))
        keys = {name: np.concatenate([unit[name] for unit in units]) for name in ("held", "language", "kind", "words", "lines")}
        kept = np.concatenate(verdicts) == 0
        for name, held in (("pairs", False), ("held_out_pairs", True)):
            rows = kept & (keys["held"] == held)
            table = np.zeros((len(_NAMES), len(_KINDS)), np.int64)
            np.add.at(table, (keys["language"][rows], keys["kind"][rows]), 1)
            self.facts[name] = {_NAMES[i]: int(table[i].sum()) for i in np.flatnonzero(table.sum(1))}
            self.facts[f"{name}_by_kind"] = {
                _NAMES[i]: {_KINDS[j]: int(table[i, j]) for j in np.flatnonzero(table[i])} for i in np.flatnonzero(table.sum(1))
            }
        rows = kept & ~keys["held"]
        self.facts["lengths"] = {
            _NAMES[language]: {
                "text words": _quantiles(keys["words"][rows & (keys["language"] == language)]),
                "code lines": _quantiles(keys["lines"][rows & (keys["language"] == language)]),
            }
            for language in np.unique(keys["language"][rows])
        }
        self._update_facts()

    def check_held_out(self, names: Iterable[str]) -> None:
        """CodesageError when one of the names is not a package of any source."""
        for name in sorted(set(names) - self.facts["packages"].keys()):
            known = sorted(self.facts["packages"])
            shown = ", ".join(known[:_SHOWN]) + f" and {len(known) - _SHOWN:,} more" * (len(known) > _SHOWN)
            raise CodesageError(f"no source has a package {name!r} to hold out: expected some of {shown}")

    def seen(self) -> str:
        """Describe the files that were found instead of source files."""
        skipped = [f"{count:,} skipped as {reason}" for reason, count in self._skips.most_common()]
        return ", ".join(filter(None, [in_words(dict(self._others.most_common(_SHOWN))), *skipped])) or "no file at all"

    def _package(self, name: str, version: str, source: Source, archives: dict[str, str]) -> dict:
        """The facts of one package. Packages with the same name from two sources are kept apart."""
        packages = self.facts["packages"]
        known = packages.get(name)
        if known and known["source"] != source.key and not _same_repository(known["source"], source.key):
            name = f"{name} ({source.key})"
        return packages.setdefault(name, {"version": version, "licences": [], "source": source.key, "archives": archives})

    def _skip(self, source: Source, skipped: Sequence[tuple[str, str]]) -> None:
        for path, reason in skipped:
            path = sound(path)
            self.skipped.append((source.key, path, reason))
            self._skips[reason] += 1
            if reason not in _EXPECTED and len(self.facts["named"]) < _NAMED:
                self.facts["named"].append([source.key, path, reason])

    def _update_facts(self) -> None:
        self.facts |= {name: dict(sorted(counter.items())) for name, counter in self._tables.items()}
        self.facts |= {
            "skipped": dict(sorted(self._skips.items())),
            "dropped": dict(sorted(self._drops.items())),
            "masked": dict(sorted(self._masked.items())),
        }
        languages = {kind: count for kind, count in self._others.items() if kind in OTHER_LANGUAGES}
        self.facts["other_languages"] = dict(sorted(languages.items(), key=lambda item: (-item[1], item[0])))
        sets = sorted({*self._benchmarks["files"], *self._benchmarks["pairs"]})
        self.facts["benchmarks"] = {
            name: {what: counter[name] for what, counter in self._benchmarks.items() if counter[name]} for name in sets
        }


def _same_repository(*keys: str) -> bool:
    """Whether packages with one name in two sources are the same repository: true when both sources are Parquet.

    A data set may be split into several Parquet sources.
    """
    return all(key.startswith("stack:") for key in keys)


def _quantiles(values: np.ndarray) -> list[int]:
    return [int(value) for value in np.quantile(values, _QUANTILES, method="nearest")]
