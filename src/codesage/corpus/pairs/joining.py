"""Matches the tests of a source with the functions they test. This step needs all files of the source to be parsed."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import dirname

import pyarrow as pa

from codesage.corpus.build.tables import compute
from codesage.corpus.build.work import result
from codesage.corpus.build.worker import Guard
from codesage.corpus.pairs.matching import Definition, match_tests
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
from codesage.corpus.pairs.tested import Tested, module_of, plain
from codesage.paths import is_test
from codesage.records import Function
from codesage.remote.places import Place, parquet


@dataclass(frozen=True, slots=True)
class JoinUnit:
    """The parsed row groups of one source."""

    parsed: tuple[ParseUnit, ...]
    held_out: bool
    folder: Place
    weight: int


@dataclass(frozen=True, slots=True)
class JoinTests:
    """Task: the pairs of kind "test" of a source: each test with the function of its package that it tests."""

    held_out: frozenset[str]
    exclude: str

    def __call__(self, unit: JoinUnit, guard: Guard) -> str:
        """Write the pairs of the source; returns the folder."""
        tests: dict[str, list[Tested]] = defaultdict(list)  # by package
        for test in _tests(unit.parsed):
            tests[test.package].append(test)
        definitions = _definitions(unit.parsed, tests)
        copied, drops, pairs = Counter(), Counter(), []
        for package, own in tests.items():
            matched = match_tests(own, definitions.get(package, {}), drops)
            pairs += without_benchmarks(self.exclude, matched, copied)
        with result(unit.folder) as (folder, report):
            write_pairs(folder, pairs, self.held_out, everything=unit.held_out)
            report |= {"benchmark pairs": copied, "dropped": drops}
        return str(unit.folder)


def _tests(parsed: tuple[ParseUnit, ...]) -> Iterator[Tested]:
    for part in parsed:
        table = _table(part.folder / TESTS_FILE)
        for *values, calls, subjects in zip(*(table[name].to_pylist() for name in TESTS.names), strict=True):
            subjects = tuple(filter(None, subjects.split("\n")))
            yield Tested(*values, calls=tuple(calls.split("\n")), subjects=subjects)


def _definitions(
    parsed: tuple[ParseUnit, ...], tests: Mapping[str, Sequence[Tested]]
) -> dict[str, dict[str, list[Definition]]]:
    """By package and name: the functions outside tests that a test of the package may test.

    Such a function is called by a test, and is defined once in the package or lies in a class, module or folder that tests
    are for. There are few of them, so only their bodies are read from the documents.
    """
    called = pa.array(sorted({name for own in tests.values() for test in own for name in test.calls}), pa.string())
    homes = {
        package: {*(name for test in own for name in test.subjects), *(dirname(test.path) for test in own)}
        for package, own in tests.items()
    }
    tables = [_called(part.folder, called) for part in parsed]
    times = Counter(key for table in tables for key in zip(*_columns(table, "package", "name"), strict=True))
    definitions: dict[str, dict[str, list[Definition]]] = defaultdict(lambda: defaultdict(list))
    for part, table in zip(parsed, tables, strict=True):
        stays = [
            times[package, name] == 1
            or not homes.get(package, set()).isdisjoint((plain(parent), module_of(path), dirname(path)))
            for package, name, parent, path in zip(*_columns(table, "package", "name", "parent", "path"), strict=True)
        ]
        table = table.filter(pa.array(stays, pa.bool_()))
        if len(table):
            for function, path, package in _functions(table, part):
                definitions[package][function.name].append((function, path))
    return definitions


def _called(folder: Place, called: pa.Array) -> pa.Table:
    """The functions of a row group, outside tests, whose names are in `called`."""
    table = pa.concat_tables([_table(folder / name) for name in (FUNCTIONS_FILE, HELD_FUNCTIONS_FILE)])
    table = table.filter(compute.and_(compute.is_in(table["name"], called), compute.equal(table["kind"], "function")))
    tests = pa.array(list(filter(is_test, table["path"].unique().to_pylist())), pa.string())
    return table.filter(compute.invert(compute.is_in(table["path"], tests)))


def _table(path: Place) -> pa.Table:
    with parquet(path) as file:
        return file.read(use_threads=False)


def _columns(table: pa.Table, *names: str) -> list[list]:
    return [table[name].to_pylist() for name in names]


def _functions(table: pa.Table, part: ParseUnit) -> Iterator[tuple[Function, str, str]]:
    """Yields (function, path, package) for each row."""
    with parquet(part.documents) as file:
        texts = file.read_row_group(part.group, columns=["text"])["text"]
    sources = {row: texts[row].as_py().encode("utf-8", "replace") for row in set(table["row"].to_pylist())}
    for *values, bare, path, package, row in zip(*(table[name].to_pylist() for name in FUNCTIONS.names), strict=True):
        yield Function(*values, bare=tuple(bare), source=sources[row]), path, package
