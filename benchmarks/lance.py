"""A LanceDB store: rows a second and bytes a row, and what a question costs, exactly and with an index of vectors.

    python benchmarks/lance.py [--sets 10000:random 100000:clustered ...] [--queries 50] [--out FILE]

Rows are those of our own source files with vectors drawn at random, of unit length and of the bundled model's width, repeated
under other names until there are enough: speed does not depend on what is found. Random vectors are the hardest case for an
index of vectors, because nothing is near, so a second set is drawn around 1,000 centres. Every question is asked once,
the exact vectors, the index and the whole of a search in turn. Recall counts the ten nearest rows that the index finds too.
Needs the extra `lance`. The store lies in a temporary folder; an object store adds the time of its requests.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

import codesage
from codesage.evaluate.reports import environment
from codesage.search.filters import ALL
from codesage.search.store import table as tables
from codesage.search.store.query import search
from codesage.search.store.rows import Embedding, Unit
from codesage.search.store.table import Store
from codesage.search.store.words import ByWords
from codesage.search.terms import query_words

SOURCE = Path(codesage.__file__).parent
QUERIES = (
    "retry with backoff",
    "read a parquet file",
    "split identifiers into words",
    "gradient accumulation",
    "open a socket",
    "hash of a file",
    "parse a header",
    "nearest neighbours of a vector",
    "progress bar",
    "lock",
)
CENTRES, SPREAD = 1_000, 0.5  # of the second set: cosine 0.89 of a vector with its centre
TOP, WARM, ENCODED = 10, 3, 300


class Times(NamedTuple):
    """Seconds of the clock and of all processors."""

    wall: float
    cpu: float


class Drawn:
    """The bundled model for questions; drawn vectors for code."""

    def __init__(self, encoder) -> None:
        self._encoder = encoder
        self.width, self.max_tokens, self.fingerprint = encoder.width, encoder.max_tokens, "drawn:1"
        self.token_counts = encoder.token_counts

    def encode(self, texts, *, kind: str = "code") -> np.ndarray:
        """float32 (n, width)."""
        return self._encoder.encode(texts, kind=kind)


def main() -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sets", nargs="+", metavar="ROWS:KIND", default=["10000:random", "10000:clustered", "100000:clustered"]
    )
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    encoder = Drawn(codesage.load())
    cut, reading = own_rows(encoder)
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "rows of one chunk": round(reading["rows per chunk"], 3),
        "cut": reading,
        "sizes": [],
    }
    for rows, _, kind in (one.partition(":") for one in arguments.sets):
        with tempfile.TemporaryDirectory() as folder:
            figures = measured(folder, encoder, cut, int(rows), arguments.queries, clustered=kind == "clustered")
        record["sizes"].append(figures)
        print(json.dumps(figures, indent=1), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def own_rows(encoder: Drawn) -> tuple[pa.Table, dict]:
    """The rows of our own source files, with vectors of zeros, and how fast they were cut."""
    files = sorted(SOURCE.rglob("*.py"))
    unit = Unit("code", "run", tuple((str(file), file.relative_to(SOURCE).as_posix(), "") for file in files))
    embedding = Embedding(encoder, lambda texts: np.zeros((len(texts), encoder.width), np.float16), lambda keys: {})
    done, cutting = timed(lambda: embedding(unit))
    rows = done.rows
    texts = [text for text in rows["text"].to_pylist() if text]
    some = [texts[at] for at in np.random.default_rng(0).choice(len(texts), ENCODED, replace=False)]
    _, encoding = timed(lambda: encoder.encode(some))
    chunks = sum(text is not None for text in rows["text"].to_pylist())
    size = sum(file.stat().st_size for file in files)
    facts = {
        "files": len(files),
        "source_bytes": size,
        "chunks": chunks,
        "rows per chunk": len(rows) / chunks,
        "source bytes per chunk": round(size / chunks),
        "chunks per CPU second, cut": round(chunks / cutting.cpu),
        "texts per CPU second, encoded": round(len(some) / encoding.cpu, 1),
    }
    return rows.filter(rows["text"].is_valid()), facts


def measured(folder: str, encoder: Drawn, cut: pa.Table, count: int, queries: int, *, clustered: bool) -> dict:
    """The figures for a table of `count` rows."""
    tables.EXACT_UP_TO, tables._KEPT = 10**9, timedelta(0)  # the index of vectors is made below; no older versions are kept
    store = Store.open(f"lance://{folder}/store", encoder, create=True)
    vectors = drawn(count, encoder.width, clustered)
    _, writing = timed(lambda: written(store, cut, vectors))
    bare = bytes_of(folder)
    _, sorting = timed(store.finish)
    indexed = bytes_of(folder)
    chance = np.random.default_rng(1)
    asked = vectors[chance.choice(count, queries + WARM, replace=False)].astype(np.float32)
    asked += chance.normal(0, SPREAD / np.sqrt(encoder.width), asked.shape).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    exact, times = answered(store, encoder, asked)
    _, training = timed(lambda: train(store))
    near, faster = answered(store, encoder, asked)
    recall = np.mean([len(set(one) & set(other)) / TOP for one, other in zip(exact, near, strict=True)])
    return {
        "rows": count,
        "vectors": "around 1,000 centres" if clustered else "random",
        "rows written per second": round(count / writing.wall),
        "per CPU second": round(count / writing.cpu),
        "bytes per row": round(bare / count),
        "bytes per row with indexes of words and keys": round(indexed / count),
        "CPU seconds of the indexes of words and keys": round(sorting.cpu, 2),
        "CPU seconds of the index of vectors": round(training.cpu, 2),
        "bytes per row of the index of vectors": round((bytes_of(folder) - indexed) / count),
        "milliseconds": {"exact": times, "index of vectors": faster},
        "recall@10 of the index": round(float(recall), 4),
    }


def drawn(count: int, width: int, clustered: bool) -> np.ndarray:
    """float16 (count, width), rows of unit length."""
    chance = np.random.default_rng(0)
    rows = chance.standard_normal((count, width), np.float32)
    if clustered:
        centres = chance.standard_normal((CENTRES, width), np.float32)
        rows = centres[chance.integers(0, CENTRES, count)] + SPREAD * rows
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def written(store: Store, cut: pa.Table, vectors: np.ndarray) -> None:
    """Add rows with these vectors, 8,192 to a commit, as a run does."""
    for start in range(0, len(vectors), 8_192):
        some = vectors[start : start + 8_192]
        rows = cut.take(pa.array(np.arange(start, start + len(some)) % len(cut)))
        numbers = [f"{number:032x}" for number in range(start, start + len(some))]
        values = pa.FixedSizeListArray.from_arrays(pa.array(some.reshape(-1)), vectors.shape[1])
        for name, column in (("id", pa.array(numbers)), ("key", pa.array(numbers)), ("vector", values)):
            rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), column)
        store.add(rows)


def train(store: Store) -> None:
    """Make the index of vectors that a store makes above EXACT_UP_TO rows."""
    tables.EXACT_UP_TO = 0
    store.finish()


def answered(store: Store, encoder: Drawn, asked: np.ndarray) -> tuple[list[list[str]], dict]:
    """The nearest rows of each vector, and milliseconds of vectors, words and a whole search."""
    near, times = [], {"vectors": [], "words": [], "search": []}
    for number, vector in enumerate(asked):
        query = QUERIES[number % len(QUERIES)]
        parts: dict[str, Callable[[], Any]] = {
            "vectors": lambda vector=vector: store.by_vector(vector, 200, ""),
            "words": lambda query=query: ByWords(store, query_words(query)).best(""),
            "search": lambda query=query: search(store, encoder, query, ALL),
        }
        for name, part in parts.items():
            _, seconds = timed(part)
            if number >= WARM:
                times[name].append(seconds)
        rows, similarities, _ = store.by_vector(vector, 200, "")
        near.append([rows[at]["id"] for at in np.argsort(-similarities, kind="stable")[:TOP]])
    return near, {name: summary(ones) for name, ones in times.items()}


def summary(times: list[Times]) -> dict:
    """Milliseconds: percentiles of the clock, mean of the processors."""
    p50, p95 = np.percentile([1000 * one.wall for one in times], [50, 95])
    cpu = float(np.mean([1000 * one.cpu for one in times]))
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "cpu": round(cpu, 1)}


def timed(work: Callable[[], Any]) -> tuple[Any, Times]:
    """What a piece of work gives, and how long it takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Times(time.perf_counter() - wall, time.process_time() - cpu)


def bytes_of(folder: str) -> int:
    """Bytes of all files in a folder."""
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)


if __name__ == "__main__":
    main()
