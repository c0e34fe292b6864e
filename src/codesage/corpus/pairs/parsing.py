"""Documents to functions, pairs and tests: what a worker does with one row group.

Everything that reads a document's tree is done here, while it is there. A document that cannot be parsed, or shares
text with a benchmark, is named in the report and leaves nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from codesage.corpus.build.keys import write_keys
from codesage.corpus.build.places import Place, parquet
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
from codesage.corpus.sources.recognise import is_test
from codesage.records import PAIR_KINDS, Document, Function, Pair
from codesage.syntax import ParseRefused, functions, parse

_KIND_CODES = {kind: code for code, kind in enumerate(PAIR_KINDS)}
PAIRS = schema_of(Pair)
PAIRS_FILE = "pairs.parquet"
FUNCTIONS = schema_of(Function, without=("source",), path=str, package=str, row=int)  # row: of the document, in its group
FUNCTIONS_FILE, HELD_FUNCTIONS_FILE = "functions.parquet", "held_functions.parquet"
TESTS = schema_of(Tested, without=("calls", "subjects"), calls=str, subjects=str)  # names, one a line
TESTS_FILE = "tests.parquet"


@dataclass(frozen=True, slots=True)
class ParseUnit:
    """One row group of a source's documents to parse."""

    documents: Place
    group: int
    rows: tuple[int, ...]  # within the group: those that are kept
    held_out: bool  # all of it, whatever the package
    language: str  # of most of the source: that of an example in its documentation that does not say
    folder: Place
    weight: int  # characters of text


@dataclass(slots=True)
class _Found:
    """What the documents of a row group gave, as it is gathered."""

    functions: list[tuple] = field(default_factory=list)  # (Function, path, package, row)
    held_functions: list[tuple] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    tests: list[Tested] = field(default_factory=list)
    read: list[int] = field(default_factory=list)  # rows that belong into the shards of files
    skipped: list[tuple[str, str]] = field(default_factory=list)
    dropped: Counter = field(default_factory=Counter)
    counts: dict[str, Counter] = field(default_factory=lambda: {
        name: Counter() for name in ("functions", "documented", "benchmark files", "benchmark pairs")
    })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parse:
    """Task: functions, pairs, tests and keys of a row group. What is held out gives no files and no functions."""

    held_out: frozenset[str]  # packages
    exclude: str  # folder of benchmark items, or ""

    def __call__(self, unit: ParseUnit, guard: Guard) -> str:
        """Fill the unit's place; its name is the answer."""
        with parquet(unit.documents) as file:
            table = file.read_row_group(unit.group).take(pa.array(unit.rows, pa.int64()))
        found = _Found()
        documents = list(records_of(table, Document))
        copied = benchmarks_in(self.exclude, [document.text for document in documents])
        for index, document in enumerate(documents):
            why = guard.begin(index) or self._read(document, unit.rows[index], unit, copied[index], found)
            if why:
                found.skipped.append((document.path, why))
        guard.rest()
        with result(unit.folder) as (folder, report):
            for name, rows in ((FUNCTIONS_FILE, found.functions), (HELD_FUNCTIONS_FILE, found.held_functions)):
                definitions, paths, packages, numbers = zip(*rows, strict=True) if rows else ((),) * 4
                _write(folder / name, table_of(FUNCTIONS, definitions, path=paths, package=packages, row=numbers))
            names = {column: ["\n".join(getattr(test, column)) for test in found.tests] for column in ("calls", "subjects")}
            _write(folder / TESTS_FILE, table_of(TESTS, found.tests, **names))
            pairs = without_benchmarks(self.exclude, found.pairs, found.counts["benchmark pairs"])
            write_pairs(folder, pairs, self.held_out, everything=unit.held_out)
            report |= {"skipped": found.skipped, "dropped": found.dropped, "read": found.read, "tests": len(found.tests),
                       **found.counts}  # fmt: skip
        return str(unit.folder)

    def _read(self, document: Document, row: int, unit: ParseUnit, copied: str, found: _Found) -> str:
        """Add what a document gives; the answer is why it is skipped, or ""; `copied`: the benchmark set it copies."""
        if copied:
            found.counts["benchmark files"][copied] += 1
            return "benchmark item"
        try:
            if not document.language:
                found.pairs += examples_in_prose(
                    document.text, document.path, language=unit.language, package=document.package,
                    version=document.version, licence=document.licence,
                )  # fmt: skip
                found.pairs += articles_of(document)
                return ""
            self._parse(document, row, unit.held_out or document.package in self.held_out, found)
        except ParseRefused as refused:
            return refused.reason
        except MemoryError:
            raise
        except RecursionError:
            return "recursion"
        except Exception as error:  # a mistake of ours, which a build of hours must survive: it is counted and named
            return f"error ({type(error).__name__})"
        return ""

    def _parse(self, document: Document, row: int, held: bool, found: _Found) -> None:
        tree = parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
        definitions = functions(tree)
        dropped, tests, pairs = Counter(), [], []
        if is_test(document.path):
            tests = list(tested_of(tree, document, found=definitions))
        else:
            pairs = list(pairs_of(definitions, document, dropped, classes=True))
        pairs += passages_of(tree, document, found=definitions)
        pairs += tagged_of(document)
        pairs += numbered_solutions(document, definitions)
        found.pairs += pairs
        found.tests += tests
        found.dropped.update(dropped)
        functions_found = found.held_functions if held else found.functions
        functions_found += [(function, document.path, document.package, row) for function in definitions]
        if not held:
            found.read.append(row)
            found.counts["functions"][document.language] += len(definitions)
            found.counts["documented"][document.language] += sum(function.docstring != "" for function in definitions)


def without_benchmarks(exclude: str, pairs: Iterable[Pair], counts: Counter) -> list[Pair]:
    """`pairs` but for those that share text with an item of the folder `exclude`, which are counted by set."""
    pairs = list(pairs)
    if not (exclude and pairs):
        return pairs
    names = [""] * len(pairs)
    for strict in (False, True):  # solutions of tasks are short, and so is what they share with a benchmark
        rows = [row for row, pair in enumerate(pairs) if (pair.kind in ("howto", "parallel")) == strict]
        sides = [benchmarks_in(exclude, [getattr(pairs[row], side) for row in rows], strict=strict)
                 for side in ("code", "bare_body", "text")]  # fmt: skip
        for row, *found in zip(rows, *sides, strict=True):
            names[row] = next(filter(None, found), "")
    counts.update(name for name in names if name)
    return [pair for pair, name in zip(pairs, names, strict=True) if not name]


def benchmarks_in(exclude: str, texts: Sequence[str], *, strict: bool = False) -> list[str]:
    """The benchmark set under the folder `exclude` that each text shares an item with, or ""; "" for all without a folder.

    `strict`: 55 characters in common count, not 135.
    """
    return _benchmarks(exclude, strict).match_all(texts) if exclude else [""] * len(texts)


@cache
def _benchmarks(folder: str, strict: bool) -> Benchmarks:
    return read_benchmarks(folder, STRICT if strict else USUAL)


def write_pairs(folder: Path, pairs: Sequence[Pair], held_out: frozenset[str], *, everything: bool) -> None:
    """pairs.parquet, and the keys that decide on pairs, and count them, without their texts."""
    _write(folder / PAIRS_FILE, table_of(PAIRS, pairs))
    bodies = [pair.bare_body for pair in pairs]
    write_keys(folder, {
        "body": np.frombuffer(b"".join(map(digest, bodies)), "<u8").reshape(-1, 2),
        "text": np.frombuffer(b"".join(digest(pair.text.lower() or pair.bare_body) for pair in pairs), "<u8").reshape(-1, 2),
        "signature": signatures(bodies),
        "summary": np.frombuffer(b"".join(map(_summary_key, pairs)), "<u8"),
        "held": np.array([everything or pair.package in held_out for pair in pairs], bool),
        "language": np.array([CODES[pair.language] for pair in pairs], np.uint8),
        "kind": np.array([_KIND_CODES[pair.kind] for pair in pairs], np.uint8),
        "side": np.array([side_of(pair) for pair in pairs], np.uint8),
        "group": np.frombuffer(b"".join(digest(pair.group)[:8] if pair.group else bytes(8) for pair in pairs), "<u8"),
        "words": np.array([len(pair.text.split()) for pair in pairs], np.uint32),
        "lines": np.array([pair.code.count("\n") + 1 for pair in pairs], np.uint32),
        "characters": np.array([len(pair.code) + len(pair.bare_body) for pair in pairs], np.uint32),
    })  # fmt: skip


def _summary_key(pair: Pair) -> bytes:
    """Equal for documented definitions with equal texts; zeros for other pairs."""
    return digest(pair.text.lower())[:8] if pair.kind in ("function", "class") else bytes(8)


def side_of(pair: Pair) -> int:
    """Number of the set of pairs among which equal and nearly equal code is dropped: pairs of its kind.

    For kinds that form groups it is those of its language too: code carried over to another language is their point.
    """
    kind = _KIND_CODES[pair.kind]
    return kind + len(PAIR_KINDS) * (1 + CODES[pair.language]) if pair.kind in ("howto", "parallel") else kind


def _write(file: Path, table: pa.Table) -> None:
    with Writer(file, table.schema, compression="lz4") as writer:
        writer.add(table)
