"""Near duplicates: documents a second, recall and precision of codesage beside datasketch and rensa.

Run: python benchmarks/duplicates.py [--rows 20000] [--rounds 3] [--out FILE.json]; needs datasketch and rensa installed.
Rows are functions of the installed Python packages; after them come variants of one in ten, with planted edits and new
white space. The truth is exact: for every row the highest Jaccard similarity (token 5-grams, as sets) with any earlier
row. From 0.92 on a row is a duplicate, up to 0.75 it is none; between the two, where a threshold of 0.85 on 128
permutations is a matter of chance, the share that each contender drops is shown instead. All have 128 permutations and
verify their candidates; bands are 18 of 7, rensa's own 16 of 8.

"datasketch" and "rensa" are fed as their documentation says: shingles made in Python. "on our hashes" leaves that out
of the clock for them alone, which favours them. One thread each, contenders in turn, medians of the ratios of a round.
"""

import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # rensa's, read when it is imported

import argparse
import json
import random
import re
import statistics
import sysconfig
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import datasketch
import numpy as np
import rensa
from scipy import sparse

from codesage.corpus.distinct.duplicates import _batches, _shingles, near_duplicates, signatures
from codesage.evaluate.reports import environment
from codesage.syntax import ParseRefused, functions, parse

THRESHOLD, PERMUTATIONS, BANDS, WIDTH = 0.85, 128, 18, 7
LOW, HIGH = 0.75, 0.92
_TOKEN = re.compile(r"\w+|[^\w\s]")


def main() -> None:
    """Measure and print; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    bodies = _bodies(arguments.rows)
    texts = bodies + _variants(bodies)
    best = _truth(texts)
    hashes = _hashes(texts)
    contenders: dict[str, Callable[[], np.ndarray]] = {
        "codesage": lambda: near_duplicates(signatures(texts), threshold=THRESHOLD),
        "datasketch": lambda: _datasketch([_grams(text) for text in texts], None),
        "datasketch on our hashes": lambda: _datasketch(hashes, int),
        "rensa": lambda: _rensa([_grams(text) for text in texts]),
        "rensa's sketch, our bands": lambda: near_duplicates(_rensa_signatures(hashes), threshold=THRESHOLD),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    quality = {}
    for _ in range(arguments.rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            keep = run()
            seconds[name].append(time.perf_counter() - started)
            quality[name] = _quality(~keep, best, len(bodies))
    table = {
        name: {
            "documents_per_second": round(len(texts) / statistics.median(times)),
            "codesage_is_faster": round(statistics.median(np.divide(times, seconds["codesage"]).tolist()), 1),
            **quality[name],
        }
        for name, times in seconds.items()
    }
    peers = {name: version(name) for name in ("datasketch", "rensa")}
    record = {
        "date": date.today().isoformat(),
        **environment(),
        "peers": peers,
        "rows": len(texts),
        "megabytes": round(sum(map(len, texts)) / 1e6, 1),
        "threshold": THRESHOLD,
        "low": LOW,
        "high": HIGH,
        "table": table,
        "seconds": seconds,
    }
    print(json.dumps(table, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _bodies(count: int) -> list[str]:
    bodies: list[str] = []
    for file in sorted(Path(sysconfig.get_path("purelib")).rglob("*.py")):
        try:
            text = file.read_text(encoding="utf-8")
            if len(text) < 200_000:
                bodies += [f.signature + f.body for f in functions(parse(text, "python")) if f.kind == "function"]
        except (UnicodeDecodeError, ParseRefused):
            continue
        if len(bodies) >= count:
            break
    return bodies[:count]


def _variants(bodies: list[str]) -> list[str]:
    """One in ten bodies of 40 tokens and more, with 0.3 to 5 % of them replaced, dropped or doubled, and spaced anew."""
    chance = random.Random(0)
    variants = []
    for body in bodies[::10]:
        tokens = _TOKEN.findall(body)
        if len(tokens) < 40:
            continue
        for _ in range(max(1, round(len(tokens) * chance.choice((0.003, 0.006, 0.01, 0.02, 0.05))))):
            at = chance.randrange(len(tokens))
            tokens[at : at + 1] = chance.choice(([f"changed_{at}"], [], tokens[at : at + 1] * 2))
        variants.append("".join(token + chance.choice((" ", "\n    ")) for token in tokens))
    return variants


def _grams(text: str) -> list[bytes]:
    tokens = ["\0", *_TOKEN.findall(text), *"\0\0\0\0"]
    return [" ".join(tokens[at : at + 5]).encode() for at in range(len(tokens) - 4)]


def _hashes(texts: list[str]) -> list[list[int]]:
    hashes = []
    for _, batch in _batches(texts):
        shingles, sizes = _shingles(batch)
        hashes += [row.tolist() for row in np.split(shingles, np.cumsum(sizes)[:-1])]
    return hashes


def _truth(texts: list[str]) -> np.ndarray:
    """Highest exact Jaccard similarity of each row with an earlier one; 0 for the first."""
    numbers: dict[bytes, int] = {}
    rows = [sorted({numbers.setdefault(gram, len(numbers)) for gram in _grams(text)}) for text in texts]
    sizes = np.array([len(row) for row in rows])
    borders = np.concatenate(([0], np.cumsum(sizes)))
    matrix = sparse.csr_matrix((np.ones(borders[-1], np.int32), np.concatenate(rows), borders), (len(rows), len(numbers)))
    other, best = matrix.T.tocsr(), np.zeros(len(texts))
    for start in range(0, len(texts), 500):
        shared = (matrix[start : start + 500] @ other).tocoo()
        row, column = shared.row + start, shared.col
        earlier = column < row
        row, column, common = row[earlier], column[earlier], shared.data[earlier]
        np.maximum.at(best, row, common / (sizes[row] + sizes[column] - common))
    return best


def _datasketch(rows: list, hashfunc: Callable | None) -> np.ndarray:
    options = {} if hashfunc is None else {"hashfunc": hashfunc}
    first = datasketch.MinHash(PERMUTATIONS, **options)
    options |= {"permutations": first.permutations, "scheme": first.scheme}
    index = datasketch.MinHashLSH(THRESHOLD, PERMUTATIONS, params=(BANDS, WIDTH))
    kept: dict[int, datasketch.MinHash] = {}
    for number, row in enumerate(rows):
        sketch = datasketch.MinHash(PERMUTATIONS, **options)
        sketch.update_batch(row)
        if not any(sketch.jaccard(kept[other]) >= THRESHOLD for other in index.query(sketch)):
            index.insert(number, sketch)
            kept[number] = sketch
    keep = np.zeros(len(rows), bool)
    keep[list(kept)] = True
    return keep


def _rensa(rows: list[list[bytes]]) -> np.ndarray:
    index = rensa.RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True, 16)  # bands must divide the permutations
    return np.array(index.add_pairs((str(number), row) for number, row in enumerate(rows)), bool)


def _rensa_signatures(hashes: list[list[int]]) -> np.ndarray:
    flat = np.concatenate([np.array(row, np.uint64) for row in hashes])
    borders = np.concatenate(([0], np.cumsum([len(row) for row in hashes]))).astype(np.uint64)
    return np.array(rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, borders, PERMUTATIONS, 42).to_rows(), np.uint32)


def _quality(dropped: np.ndarray, best: np.ndarray, bodies: int) -> dict:
    """Recall and precision on the planted rows and on all, and what is dropped between `LOW` and `HIGH`."""
    figures = {}
    for name, rows in (("planted", slice(bodies, None)), ("all", slice(None))):
        drop, likeness = dropped[rows], best[rows]
        true, wrong = drop & (likeness >= HIGH), drop & (likeness <= LOW)
        figures[f"recall_{name}"] = round(float(true.sum() / (likeness >= HIGH).sum()), 4)
        figures[f"precision_{name}"] = round(float(true.sum() / max(1, true.sum() + wrong.sum())), 4)
        figures[f"rows_{name}"] = [int((likeness <= LOW).sum()), int((likeness >= HIGH).sum())]
    edges = (LOW, 0.8, THRESHOLD, 0.9, HIGH)
    for low, high in pairwise(edges):
        inside = (best > low) & (best < high)
        figures[f"dropped_{low}_to_{high}"] = round(float(dropped[inside].mean()), 3) if inside.any() else None
    return figures


if __name__ == "__main__":
    main()
