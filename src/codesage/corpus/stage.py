"""Sources to a corpus: documents, functions and (text, code) pairs as Parquet, with every skip and drop counted.

The corpus is an artifact of kind "corpus": documents.parquet, functions.parquet, pairs.parquet, and, when packages
are held out for evaluation, held_out_pairs.parquet. Equal inputs give equal bytes: rows keep the order of the
sources, and worker processes only parse.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from codesage.artifacts import Artifact, open_artifact, publish
from codesage.corpus.benchmarks import Benchmarks, read_benchmarks
from codesage.corpus.pairs import pairs_of
from codesage.corpus.sources import Found
from codesage.errors import CodesageError
from codesage.records import Document, Function, Pair
from codesage.syntax import ParseRefused, functions, parse
from codesage.walk import Skipped

_BATCH = 64  # documents a worker takes at a time
_ROWS = 2_000  # a row group: bounds memory


@dataclass(frozen=True, slots=True)
class Settings:
    """What goes into a corpus."""

    held_out: tuple[str, ...] = ()  # packages that only give evaluation pairs
    exclude: str = ""  # folder of benchmark items that must not be in the corpus
    classes: bool = False  # pairs of classes too, as V2 of the published models
    workers: int = 0  # 0: all cores


@dataclass(slots=True)
class _Read:
    """What became of one document."""

    document: Document
    functions: list[Function]
    pairs: list[Pair]
    drops: Counter
    skipped: str = ""


def build(
    settings: Settings, sources: Iterable[Found], out: Path | str, *, progress: Callable[[int], None] = lambda n: None
) -> Artifact:
    """Build a corpus from `sources` and publish it at `out`; `progress` hears the number of documents done.

    facts: documents, functions and pairs per language, skips and drops by reason, packages with version and licence.
    Raises CodesageError when the sources hold no file that can be read, or a worker process dies.
    """
    counts = {name: Counter() for name in ("skipped", "dropped", "documents", "functions", "pairs", "held_out_pairs")}
    licences: dict[str, list[str]] = {}
    facts: dict = {}
    stated = asdict(settings) | {"exclude": bool(settings.exclude), "workers": None}
    with publish(out, "corpus", settings=stated, facts=facts) as folder:
        tables = {"documents": _Table(folder, "documents", Document), "functions": _Table(folder, "functions", Function),
                  "pairs": _Table(folder, "pairs", Pair), "held_out_pairs": _Table(folder, "held_out_pairs", Pair)}  # fmt: skip
        pairs: list[Pair] = []
        held: list[Pair] = []
        for done, read in enumerate(_read_all(settings, _distinct(sources, counts["skipped"])), start=1):
            progress(done)
            document = read.document
            if read.skipped:
                counts["skipped"][read.skipped] += 1
                continue
            counts["dropped"] += read.drops
            if document.package in settings.held_out:
                held += read.pairs
                continue
            licences.setdefault(document.package or "(folder)", [document.version, document.licence])
            tables["documents"].add([document])
            tables["functions"].add(read.functions, path=document.path, package=document.package)
            counts["documents"][document.language] += 1
            counts["functions"][document.language] += len(read.functions)
            pairs += read.pairs
        if not counts["documents"]:
            raise CodesageError(
                f"no source file of the nine languages to read ({_listed(counts['skipped']) or 'nothing found'}): "
                "give folders that hold code"
            )
        held = _distinct_pairs(held, [], counts["dropped"])
        kept = _distinct_pairs(pairs, held, counts["dropped"])
        for name, rows in (("pairs", kept), ("held_out_pairs", held)):
            tables[name].add(rows)
            counts[name].update(pair.language for pair in rows)
        for table in tables.values():
            table.close()
        facts |= {name: dict(sorted(counter.items())) for name, counter in counts.items()}
        facts["packages"] = licences
        facts["held_out_packages"] = dict(sorted(Counter(pair.package for pair in held).items()))
    return open_artifact(out, "corpus")


def _distinct(sources: Iterable[Found], skipped: Counter) -> Iterator[Document]:
    seen: set[str] = set()
    for found in sources:
        if isinstance(found, Skipped):
            skipped[found.reason] += 1
        elif found.sha256 in seen:
            skipped["equal to another"] += 1
        else:
            seen.add(found.sha256)
            yield found


def _distinct_pairs(pairs: list[Pair], held: list[Pair], dropped: Counter) -> list[Pair]:
    """One pair a bare body, and none whose text or bare body is held out."""
    texts = {_key(pair.text) for pair in held}
    bodies = {_key(pair.bare_body) for pair in held}
    kept = []
    for pair in pairs:
        body = _key(pair.bare_body)
        if _key(pair.text) in texts:
            dropped["text is held out"] += 1
        elif body in bodies:
            dropped["equal body"] += 1
        else:
            bodies.add(body)
            kept.append(pair)
    return kept


def _key(text: str) -> bytes:
    return hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "replace"), digest_size=12).digest()


def _read_all(settings: Settings, documents: Iterator[Document]) -> Iterator[_Read]:
    """Parse in worker processes, in the order of the documents, with a bounded number of batches under way."""
    workers = settings.workers or os.cpu_count() or 1
    benchmarks = read_benchmarks(settings.exclude) if settings.exclude else None
    batches = iter(lambda: tuple(islice(documents, _BATCH)), ())
    if workers == 1:
        _start(benchmarks, settings.classes)
        for batch in batches:
            yield from _work(batch)
        return
    context = get_context("spawn")  # no fork: the caller may have threads
    with ProcessPoolExecutor(workers, context, _start, (benchmarks, settings.classes)) as pool:
        pending = [pool.submit(_work, batch) for batch in islice(batches, 2 * workers)]
        try:
            while pending:
                yield from pending.pop(0).result()
                pending += [pool.submit(_work, batch) for batch in islice(batches, 1)]
        except BrokenProcessPool:
            raise CodesageError("a worker process died while parsing: run again with --workers 1 to see where") from None


_STATE: dict = {}


def _start(benchmarks: Benchmarks | None, classes: bool) -> None:
    _STATE.update(benchmarks=benchmarks, classes=classes)


def _work(batch: tuple[Document, ...]) -> list[_Read]:
    return [_read_one(document) for document in batch]


def _read_one(document: Document) -> _Read:
    read, benchmarks = _Read(document, [], [], Counter()), _STATE["benchmarks"]
    if benchmarks is not None and benchmarks.contain(document.text):
        read.skipped = "benchmark item"
        return read
    try:
        tree = parse(document.text, document.language, tsx=document.path.endswith(".tsx"))
    except ParseRefused as refused:
        read.skipped = refused.reason
        return read
    read.functions = functions(tree)
    for pair in pairs_of(read.functions, document, read.drops, classes=_STATE["classes"]):
        if benchmarks is not None and (benchmarks.contain(pair.code) or benchmarks.contain(pair.bare_body)):
            read.drops["benchmark item"] += 1
        else:
            read.pairs.append(pair)
    return read


class _Table:
    """One Parquet file, written in row groups of bounded size; columns are the fields of a record, in order."""

    def __init__(self, folder: Path, name: str, record: type) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {int: pa.int32(), str: pa.string()}
        columns = [(field.name, kinds[field.type]) for field in fields(record)]
        if record is Function:
            columns += [("path", pa.string()), ("package", pa.string())]
        self._schema, self._rows = pa.schema(columns), []
        self._writer = pq.ParquetWriter(folder / f"{name}.parquet", self._schema, compression="zstd")

    def add(self, records: Iterable, **more: str) -> None:
        for record in records:
            self._rows.append({field.name: getattr(record, field.name) for field in fields(record)} | more)
            if len(self._rows) >= _ROWS:
                self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            rows = [{k: _storable(v) for k, v in row.items()} for row in self._rows]
            self._writer.write_table(pa.Table.from_pylist(rows, self._schema))
            self._rows = []


def _storable(value: str | int) -> str | int:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value  # lone surrogates


def _listed(counter: Counter) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counter.most_common())
