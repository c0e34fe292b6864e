"""The tests of a source with the functions they test: what can only be known when all of its files are parsed."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from codesage.corpus.build.places import Place, parquet
from codesage.corpus.build.work import result
from codesage.corpus.build.worker import Guard
from codesage.corpus.documents.recognise import is_test
from codesage.corpus.pairs.parsing import (
    FUNCTIONS,
    FUNCTIONS_FILE,
    HELD_FUNCTIONS_FILE,
    TESTS,
    TESTS_FILE,
    ParseUnit,
    without_benchmarks,
    write_pairs,
)
from codesage.corpus.pairs.tested import Tested, match_tests
from codesage.records import Function


@dataclass(frozen=True, slots=True)
class JoinUnit:
    """The parsed row groups of one source."""

    parsed: tuple[ParseUnit, ...]
    held_out: bool
    folder: Place
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


def _tests(parsed: tuple[ParseUnit, ...]) -> Iterator[Tested]:
    for part in parsed:
        table = _table(part.folder / TESTS_FILE)
        for *values, calls in zip(*(table[name].to_pylist() for name in TESTS.names), strict=True):
            yield Tested(*values, tuple(calls.split("\n")))


def _definitions(parsed: tuple[ParseUnit, ...], called: pa.Array) -> dict[str, dict[str, list[tuple[Function, str]]]]:
    """By package and name: the (function, path) of every function outside tests that a test may call, defined once.

    They are few: so their bodies are read from the documents, and no body of any other function is written anywhere.
    """
    tables = [_called(part.folder, called) for part in parsed]
    times = Counter(key for table in tables for key in _names(table))
    found: dict = defaultdict(dict)
    for part, table in zip(parsed, tables, strict=True):
        table = table.filter(pa.array([times[key] == 1 for key in _names(table)], pa.bool_()))
        if len(table):
            for function, path, package in _functions(table, part):
                found[package][function.name] = [(function, path)]
    return found


def _called(folder: Place, called: pa.Array) -> pa.Table:
    """The functions of a row group outside tests whose names are called."""
    table = pa.concat_tables([_table(folder / name) for name in (FUNCTIONS_FILE, HELD_FUNCTIONS_FILE)])
    table = table.filter(pc.and_(pc.is_in(table["name"], called), pc.equal(table["kind"], "function")))
    tests = pa.array(list(filter(is_test, table["path"].unique().to_pylist())), pa.string())
    return table.filter(pc.invert(pc.is_in(table["path"], tests)))


def _table(path: Place) -> pa.Table:
    with parquet(path) as file:
        return file.read(use_threads=False)


def _names(table: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(table["package"].to_pylist(), table["name"].to_pylist(), strict=True)


def _functions(table: pa.Table, part: ParseUnit) -> Iterator[tuple[Function, str, str]]:
    """(function, path, package) of each row."""
    with parquet(part.documents) as file:
        texts = file.read_row_group(part.group, columns=["text"])["text"]
    sources = {row: texts[row].as_py().encode("utf-8", "replace") for row in set(table["row"].to_pylist())}
    for *values, bare, path, package, row in zip(*(table[name].to_pylist() for name in FUNCTIONS.names), strict=True):
        yield Function(*values, bare=tuple(bare), source=sources[row]), path, package
