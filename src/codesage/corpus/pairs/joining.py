"""The tests of a source with the functions they test: what can only be known when all of its files are parsed."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codesage.corpus.build.tables import records_of
from codesage.corpus.build.work import result
from codesage.corpus.build.worker import Guard
from codesage.corpus.documents.recognise import is_test
from codesage.corpus.pairs.parsing import (
    FUNCTIONS_FILE,
    HELD_FUNCTIONS_FILE,
    TESTS_FILE,
    without_benchmarks,
    write_pairs,
)
from codesage.corpus.pairs.tested import Tested, match_tests
from codesage.records import Function


@dataclass(frozen=True, slots=True)
class JoinUnit:
    """The parsed row groups of one source."""

    parsed: tuple[Path, ...]
    held_out: bool
    folder: Path
    weight: int


@dataclass(frozen=True, slots=True)
class JoinTests:
    """Task: pairs of kind "test", one for each test of a source, matched within its package."""

    held_out: frozenset[str]
    exclude: str

    def __call__(self, unit: JoinUnit, guard: Guard) -> str:
        """Fill the unit's place; its name is the answer."""
        tests = list(_tests(unit.parsed))
        called = pa.array(sorted({name for test in tests for name in test.calls}), pa.string())
        definitions = _definitions(unit.parsed, called)
        counts, pairs = Counter(), []
        for package in dict.fromkeys(test.package for test in tests):
            own = [test for test in tests if test.package == package]
            pairs += without_benchmarks(self.exclude, match_tests(own, definitions.get(package, {})), counts)
        with result(unit.folder) as (folder, report):
            write_pairs(folder, pairs, self.held_out, everything=unit.held_out)
            report |= {"benchmark pairs": counts}
        return str(unit.folder)


def _tests(parsed: tuple[Path, ...]) -> Iterator[Tested]:
    for folder in parsed:
        table = pq.read_table(folder / TESTS_FILE, use_threads=False)
        for test in records_of(table, Tested):
            yield Tested(**{name: getattr(test, name) for name in Tested.__slots__} | {"calls": tuple(test.calls.split("\n"))})


def _definitions(parsed: tuple[Path, ...], called: pa.Array) -> dict[str, dict[str, list[tuple[Function, str]]]]:
    """By package and name: the (function, path) of every function outside tests that a test may call."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for folder in parsed:
        for name in (FUNCTIONS_FILE, HELD_FUNCTIONS_FILE):
            table = pq.read_table(folder / name, use_threads=False)
            table = table.filter(pc.and_(pc.is_in(table["name"], called), pc.equal(table["kind"], "function")))
            paths, packages = table["path"].to_pylist(), table["package"].to_pylist()
            for function, path, package in zip(records_of(table, Function), paths, packages, strict=True):
                if not is_test(path):
                    found[package][function.name].append((function, path))
    return found
