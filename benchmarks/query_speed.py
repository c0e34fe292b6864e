"""One query in process, after the index is in memory, for 16,000 and 100,000 chunks; beside faiss and bm25s in the same run.

    python benchmarks/query_speed.py [--chunks 16000 100000] [--queries 200] [--out FILE]

Chunks come from the standard library and the installed packages. Vectors of queries are the encoder's. Those of the code are
drawn: 1,000 pieces are encoded, and every piece gets the vector of one of them with noise, since speed does not depend on what
is found. Queries are first sentences of docstrings and names of functions; each is asked once, every part and every peer in
turn. faiss is IndexFlatIP and IndexScalarQuantizer with 8 bits, each with one thread and with all; ratios are to the faster
IndexFlatIP. bm25s has the same words of the same chunks. Sizes are of the index, by table, and of the cache of vectors, which
all indexes share. Needs faiss-cpu and bm25s ("peers"). On a machine that others use, raise the priority (`nice -n -19`), or
look at processor time.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else threads of faiss keep a processor busy after each of its searches

import argparse
import json
import random
import shutil
import statistics
import sysconfig
import tempfile
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import bm25s
import faiss
import numpy as np

import codesage
from codesage.evaluate.reports import environment
from codesage.records import Document
from codesage.search.chunks import chunks
from codesage.search.index import Index
from codesage.search.query import search
from codesage.search.ranking import best
from codesage.search.terms import indexed_words, query_words
from codesage.search.vectors import key_of, vectors_folder
from codesage.search.view import View
from codesage.syntax import functions, parse
from codesage.walk import Text, read_text, walk

SAMPLE, WARM, TOP, DEPTH = 1_000, 10, 10, 200
WHOLE = "search, all of it"
_TABLES = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"
FLAT, QUANTISED = "vectors: faiss IndexFlatIP", "vectors: faiss 8 bits"


class Drawn:
    """The encoder for queries; drawn vectors for code."""

    def __init__(self, encoder, pieces: list[str]) -> None:
        self._encoder, self._sample = encoder, encoder.encode(pieces)
        self.width, self.max_tokens, self.fingerprint = encoder.width, encoder.max_tokens, "drawn:1"
        self.token_counts = encoder.token_counts

    def encode(self, texts, *, kind: str = "code") -> np.ndarray:
        """float32 (n, width), rows of unit length."""
        if kind == "text":
            return self._encoder.encode(texts, kind=kind)
        seeds = [int.from_bytes(key_of(text)[:8], "little") for text in texts]
        noise = np.stack([np.random.default_rng(seed).standard_normal(self.width, np.float32) for seed in seeds])
        rows = self._sample[[seed % len(self._sample) for seed in seeds]] + 0.04 * noise
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main() -> None:
    """Measure, print, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, nargs="+", default=[16_000, 100_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    record = {"date": date.today().isoformat(), **environment(), "sizes": []}
    for count in arguments.chunks:
        with tempfile.TemporaryDirectory() as folder:
            record["sizes"].append(measured(Path(folder), count, arguments.queries))
        print(json.dumps(record["sizes"][-1], indent=1), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measured(folder: Path, count: int, queries: int) -> dict:
    """The figures for an index of about `count` chunks."""
    texts, asked, size = lay_out(folder / "code", count)
    encoder = Drawn(codesage.load(), random.Random(0).sample(texts, SAMPLE))
    index = Index.open(folder / "code", folder=folder / "index", encoder=encoder)
    index.update(encoder)
    started = time.perf_counter()
    view = index.view()
    loading = time.perf_counter() - started
    started = time.perf_counter()
    index._checksums.fault(seconds=0.0)
    comparing = time.perf_counter() - started
    times, processor, recalls = asked_in_turn(index, view, encoder, random.Random(1).sample(asked, queries + WARM))
    milliseconds = {
        name: {"p50": round(float(np.percentile(ones, 50)), 2), "p95": round(float(np.percentile(ones, 95)), 2)}
        for name, ones in times.items()
    }
    flat = min(one["p50"] for name, one in milliseconds.items() if name.startswith(FLAT))
    return {
        "chunks": len(view.paths),
        "pieces": len(view.vectors_PD),
        "source_bytes": size,
        "index_bytes": sum(file.stat().st_size for file in (folder / "index").iterdir()),
        "index_bytes_by_table": dict(index.connection.execute(_TABLES).fetchall()),
        "cache_bytes": sum(file.stat().st_size for file in vectors_folder().glob(f"{encoder.fingerprint.replace(':', '-')}*")),
        "view_loaded_s": round(loading, 2),
        "checksums_compared_s": round(comparing, 3),
        "queries": queries,
        "milliseconds": milliseconds,
        "processor milliseconds of a search": {
            "p50": round(float(np.percentile(processor, 50)), 2),
            "p95": round(float(np.percentile(processor, 95)), 2),
        },
        "times as fast as faiss IndexFlatIP": {
            name: round(flat / one["p50"], 2) for name, one in milliseconds.items() if name.startswith("vectors")
        },
        "recall@10 beside IndexFlatIP": {name: round(statistics.mean(ones), 4) for name, ones in recalls.items()},
    }


def lay_out(root: Path, count: int) -> tuple[list[str], list[str], int]:
    """Copy files until they hold `count` chunks; returns texts of chunks, possible queries, and bytes."""
    texts, asked, size = [], [], 0
    for place in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for path in walk(place):
            name = path.relative_to(place).as_posix()
            read = read_text(path, name=name)
            if len(texts) >= count or path.suffix != ".py" or not isinstance(read, Text):
                continue
            texts += [chunk.text for chunk in chunks(Document(name, "python", read.text, read.sha256))]
            for function in functions(parse(read.text, "python")):
                sentence = function.docstring.partition(".")[0].strip()
                asked += [function.name] if len(function.name) > 5 and not function.name.startswith("_") else []
                asked += [sentence] if 3 <= len(sentence.split()) <= 12 else []
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / name)
            size += len(read.text)
    return texts, sorted(set(asked)), size


def asked_in_turn(index: Index, view: View, encoder, queries: list[str]) -> tuple[dict, list[float], dict]:
    """Of each query after the first few: milliseconds of each part and peer, those of processors, and recall beside faiss."""
    vectors = view.vectors_PD
    flat, quantised = (
        faiss.IndexFlatIP(encoder.width),
        faiss.IndexScalarQuantizer(encoder.width, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT),
    )
    quantised.train(vectors)
    for peer in (flat, quantised):
        peer.add(vectors)
    each = np.ones(len(vectors), bool)
    pieces = View(np.arange(len(vectors)), *[["x"] * len(vectors)] * 4, None, vectors, np.arange(len(vectors)), each, None)
    words = bm25s.BM25()
    words.index([indexed_words(chunk.text) for chunk in index.chunks_of(view.numbers_N.tolist())], show_progress=False)
    times, processor, recalls = defaultdict(list), [], defaultdict(list)
    for number, query in enumerate(queries):
        vector = encoder.encode([query], kind="text")[0]
        parts = {
            WHOLE: lambda query=query: search(index, encoder, query, top=TOP),
            "query encoded": lambda query=query: encoder.encode([query], kind="text"),
            "vectors: all compared": lambda vector=vector: best(pieces.similarities(vector), TOP),
            "vectors: 7 bits, then exactly": lambda vector=vector: pieces.nearest(vector, TOP),
            **{
                f"{name}, {threads} threads": lambda peer=peer, threads=threads, vector=vector: near(peer, threads, vector)
                for name, peer in ((FLAT, flat), (QUANTISED, quantised))
                for threads in (1, os.cpu_count())
            },
            "words: ours": lambda query=query: best(view.postings.scores(index.connection, query_words(query)), DEPTH),
            "words: bm25s": lambda query=query: words.retrieve([query_words(query)], k=DEPTH, show_progress=False),
        }
        results = {}
        for name, part in parts.items():
            started, used = time.perf_counter(), time.process_time()
            results[name] = part()
            if number >= WARM:
                times[name].append(1000 * (time.perf_counter() - started))
                processor += [1000 * (time.process_time() - used)] if name == WHOLE else []
        for name in ("vectors: all compared", "vectors: 7 bits, then exactly", f"{QUANTISED}, 1 threads"):
            recalls[name].append(len(set(results[name]) & set(results[f"{FLAT}, 1 threads"])) / TOP)
    return times, processor, recalls


def near(peer, threads: int, vector: np.ndarray) -> list[int]:
    """The nearest rows as faiss finds them."""
    faiss.omp_set_num_threads(threads)
    return peer.search(vector[None], TOP)[1][0].tolist()


if __name__ == "__main__":
    main()
