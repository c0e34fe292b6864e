"""Parses the documents of one row group into functions, pairs and tests.

Everything that needs a document's syntax tree happens here, so that each document is parsed at most once. A document that
cannot be parsed, or that shares text with a benchmark, is listed in the report and gives nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from codesage.corpus.build.keys import write_keys
from codesage.corpus.build.tables import Writer, records_of, schema_of, table_of
from codesage.corpus.build.work import result
from codesage.corpus.build.worker import Guard
from codesage.corpus.distinct.benchmarks import STRICT, USUAL, Benchmarks, read_benchmarks
from codesage.corpus.distinct.duplicates import digest, signatures
from codesage.corpus.documents.reading import CODES
from codesage.corpus.pairs.howto import articles_of, tagged_of
from codesage.corpus.pairs.parallel import numbered_solutions
from codesage.corpus.pairs.passages import examples_in_prose, passages_of
from codesage.corpus.pairs.rules import pairs_of
from codesage.corpus.pairs.tested import Tested, tested_of
from codesage.paths import is_test
from codesage.records import PAIR_KINDS, Document, Function, Pair
from codesage.remote.places import Place, parquet
from codesage.syntax import ParseRefused, functions, parse
from codesage.syntax.definitions import may_define
from codesage.syntax.tree import screen

_KIND_CODES = {kind: code for code, kind in enumerate(PAIR_KINDS)}
PAIRS = schema_of(Pair)
PAIRS_FILE = "pairs.parquet"
FUNCTIONS = schema_of(Function, without=("source",), path=str, package=str, row=int)  # row: of the document, in its row group
FUNCTIONS_FILE, HELD_FUNCTIONS_FILE = "functions.parquet", "held_functions.parquet"
TESTS = schema_of(Tested, without=("calls", "subjects"), calls=str, subjects=str)  # names, one per line
TESTS_FILE = "tests.parquet"


@dataclass(frozen=True, slots=True)
class ParseUnit:
    """One row group of a source's documents to parse."""

    documents: Place
    group: int
    rows: tuple[int, ...]  # numbers of the kept rows within the group
    held_out: bool  # whether everything is held out, whatever the package
    language: str  # main language of the source; used for examples in its documentation that name none
    folder: Place
    weight: int  # characters of text


@dataclass(slots=True)
class _Results:
    """The results of a row group, collected document by document."""

    functions: list[tuple] = field(default_factory=list)  # (Function, path, package, row)
    held_functions: list[tuple] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    tests: list[Tested] = field(default_factory=list)
    read: list[int] = field(default_factory=list)  # rows that go into the file shards
    held_read: list[int] = field(default_factory=list)  # rows that go into the shard of held-out files
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, reason)
    dropped: Counter = field(default_factory=Counter)
    counts: dict[str, Counter] = field(
        default_factory=lambda: {name: Counter() for name in ("functions", "documented", "benchmark files", "benchmark pairs")}
    )


@dataclass(frozen=True, slots=True)
class Parse:
    """Task: functions, pairs, tests and keys of a row group. Held-out documents are told apart, and give no functions."""

    held_out: frozenset[str]  # packages
    exclude: str  # folder of benchmark items, or ""

    def __call__(self, unit: ParseUnit, guard: Guard) -> str:
        """Write the results of the row group; returns the folder."""
        with parquet(unit.documents) as file:
            table = file.read_row_group(unit.group).take(pa.array(unit.rows, pa.int64()))
        results = _Results()
        documents = list(records_of(table, Document))
        copied = benchmarks_in(self.exclude, [document.text for document in documents])
        for index, document in enumerate(documents):
            why = guard.begin(index) or self._read(document, unit.rows[index], unit, copied[index], results)
            if why:
                results.skipped.append((document.path, why))
        guard.rest()
        with result(unit.folder) as (folder, report):
            for name, rows in ((FUNCTIONS_FILE, results.functions), (HELD_FUNCTIONS_FILE, results.held_functions)):
                definitions, paths, packages, numbers = zip(*rows, strict=True) if rows else ((),) * 4
                _write(folder / name, table_of(FUNCTIONS, definitions, path=paths, package=packages, row=numbers))
            names = {column: ["\n".join(getattr(test, column)) for test in results.tests] for column in ("calls", "subjects")}
            _write(folder / TESTS_FILE, table_of(TESTS, results.tests, **names))
            pairs = without_benchmarks(self.exclude, results.pairs, results.counts["benchmark pairs"])
            write_pairs(folder, pairs, self.held_out, everything=unit.held_out)
            report |= {
                "skipped": results.skipped,
                "dropped": results.dropped,
                "read": results.read,
                "held_read": results.held_read,
                "tests": len(results.tests),
                **results.counts,
            }
        return str(unit.folder)

    def _read(self, document: Document, row: int, unit: ParseUnit, copied: str, results: _Results) -> str:
        """Add the results of a document; returns why it was skipped, or "". `copied` is the benchmark set that it copies."""
        if copied:
            results.counts["benchmark files"][copied] += 1
            return "benchmark item"
        try:
            if not document.language:
                results.pairs += examples_in_prose(
                    document.text,
                    document.path,
                    language=unit.language,
                    package=document.package,
                    version=document.version,
                    licence=document.licence,
                )
                results.pairs += articles_of(document, results.dropped)
                return ""
            self._parse(document, row, unit.held_out or document.package in self.held_out, results)
        except ParseRefused as refused:
            return refused.reason
        except MemoryError:
            raise
        except RecursionError:
            return "recursion"
        except Exception as error:  # a bug must not stop a build of hours: the report lists it
            return f"error ({type(error).__name__})"
        return ""

    def _parse(self, document: Document, row: int, held: bool, results: _Results) -> None:
        definitions, dropped, tests, pairs = [], Counter(), [], []
        if may_define(document.text, document.language):
            tree = parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
            definitions = functions(tree)
            if is_test(document.path):
                tests = list(tested_of(tree, document, definitions=definitions))
            else:
                pairs = list(pairs_of(definitions, document, dropped))
            pairs += passages_of(tree, document, definitions=definitions)
        else:
            screen(document.text.encode("utf-8", "replace"))
        pairs += tagged_of(document, dropped)
        pairs += numbered_solutions(document, definitions)
        results.pairs += pairs
        results.tests += tests
        results.dropped.update(dropped)
        kept = results.held_functions if held else results.functions
        kept += [(function, document.path, document.package, row) for function in definitions]
        (results.held_read if held else results.read).append(row)
        if not held:
            results.counts["functions"][document.language] += len(definitions)
            results.counts["documented"][document.language] += sum(function.docstring != "" for function in definitions)


def without_benchmarks(exclude: str, pairs: Iterable[Pair], counts: Counter) -> list[Pair]:
    """`pairs` without those that share text with an item in the folder `exclude`; these are added to `counts` by set."""
    pairs = list(pairs)
    if not (exclude and pairs):
        return pairs
    names = [""] * len(pairs)
    for strict in (False, True):  # solutions of tasks are short, so is the text they share with a benchmark
        rows = [row for row, pair in enumerate(pairs) if (pair.kind in ("howto", "parallel")) == strict]
        sides = [
            benchmarks_in(exclude, [getattr(pairs[row], side) for row in rows], strict=strict)
            for side in ("code", "bare_body", "text")
        ]
        for row, *matches in zip(rows, *sides, strict=True):
            names[row] = next(filter(None, matches), "")
    counts.update(name for name in names if name)
    return [pair for pair, name in zip(pairs, names, strict=True) if not name]


def benchmarks_in(exclude: str, texts: Sequence[str], *, strict: bool = False) -> list[str]:
    """For each text, the benchmark set in the folder `exclude` that it shares an item with, or "". Without a folder, all "".

    With `strict`, 55 characters in common are enough; otherwise 135 are needed.
    """
    return _benchmarks(exclude, strict).match_all(texts) if exclude else [""] * len(texts)


@cache
def _benchmarks(folder: str, strict: bool) -> Benchmarks:
    return read_benchmarks(folder, STRICT if strict else USUAL)


def write_pairs(folder: Path, pairs: Sequence[Pair], held_out: frozenset[str], *, everything: bool) -> None:
    """Write pairs.parquet and the keys with which later steps choose and count pairs without reading their texts."""
    _write(folder / PAIRS_FILE, table_of(PAIRS, pairs))
    bodies = [pair.bare_body for pair in pairs]
    texts = [digest(pair.text.lower() or pair.bare_body) for pair in pairs]
    documented = [pair.kind in ("function", "class") for pair in pairs]  # the others have no key of their summary
    summaries = [text[:8] if one else bytes(8) for text, one in zip(texts, documented, strict=True)]
    write_keys(
        folder,
        {
            "body": np.frombuffer(b"".join(map(digest, bodies)), "<u8").reshape(-1, 2),
            "text": np.frombuffer(b"".join(texts), "<u8").reshape(-1, 2),
            "signature": signatures(bodies),
            "summary": np.frombuffer(b"".join(summaries), "<u8"),
            "held": np.array([everything or pair.package in held_out for pair in pairs], bool),
            "language": np.array([CODES[pair.language] for pair in pairs], np.uint8),
            "kind": np.array([_KIND_CODES[pair.kind] for pair in pairs], np.uint8),
            "side": np.array([side_of(pair) for pair in pairs], np.uint8),
            "group": np.frombuffer(b"".join(digest(pair.group)[:8] if pair.group else bytes(8) for pair in pairs), "<u8"),
            "words": np.array([len(pair.text.split()) for pair in pairs], np.uint32),
            "lines": np.array([pair.code.count("\n") + 1 for pair in pairs], np.uint32),
            "characters": np.array([len(pair.code) + len(pair.bare_body) for pair in pairs], np.uint32),
        },
    )


def side_of(pair: Pair) -> int:
    """Number of the set of pairs within which duplicate and near-duplicate code is dropped: the pairs of the same kind.

    For kinds that form groups, only pairs in the same language: the groups exist to show code in several languages.
    """
    kind = _KIND_CODES[pair.kind]
    return kind + len(PAIR_KINDS) * (1 + CODES[pair.language]) if pair.kind in ("howto", "parallel") else kind


def _write(file: Path, table: pa.Table) -> None:
    with Writer(file, table.schema, compression="lz4") as writer:
        writer.add(table)
