"""Comparison of keys on one machine and on a Ray cluster: documents a second, bytes a document, and what follows for more.

Run: python benchmarks/cluster.py [--large 1000000] [--small 100000] [--out FILE.json]; needs ray installed.
Keys are synthetic and seeded: one in five documents equals an earlier one, one in ten is near one (up to 15 of 128
entries differ), one in twenty shares a band with others and nothing else. They are written as units of 5,000 documents,
as a build leaves them, and every contender reads them from there. Each measurement runs in a process of its own, whose
peak memory is compared to that before it began. One cluster of 1 and one of 2 workers run on this machine: the ratio of
both is what a second worker gives. `table` is arithmetic from the rates: it says what was assumed.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from codesage.corpus.build.keys import read_keys, write_keys
from codesage.corpus.build.pool import Pool
from codesage.corpus.distinct.cluster import Cluster
from codesage.corpus.distinct.verdicts import OneMachine
from codesage.corpus.engine import RayEngine
from codesage.evaluate.reports import environment

UNIT = 5_000  # documents
EQUAL, NEAR, ALIKE = 0.2, 0.1, 0.05  # shares of documents
CORES = 64  # of a node in the table
KEPT = 20  # bytes a document in the process that builds: its verdict 1, the bands it shares 4, keys.npz 15


def main() -> None:
    """Measure and print; write JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in (arguments.small, arguments.large):
            _write(Path(folder) / str(rows), rows)
            measured[f"one machine, {rows:,}"] = _alone(_one_machine, Path(folder) / str(rows))
        for workers in (1, 2):
            place = Path(folder) / str(arguments.small)
            measured[f"cluster of {workers}, {arguments.small:,}"] = _alone(_cluster, place, workers)
    verdicts = {tuple(figures.pop("verdicts")) for name, figures in measured.items() if f"{arguments.small:,}" in name}
    if len(verdicts) != 1:
        raise SystemExit(f"verdicts differ: {verdicts}")
    measured[f"one machine, {arguments.large:,}"].pop("verdicts")
    record = {"date": date.today().isoformat(), **environment(), "measured": measured, "table": _table(measured, arguments)}
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write(folder: Path, rows: int) -> None:
    """Units of keys with planted duplicates, each of a row some units before."""
    chance, earlier = np.random.default_rng(0), None
    for number, start in enumerate(range(0, rows, UNIT)):
        size = min(UNIT, rows - start)
        signature = chance.integers(0, 1 << 32, (size, 128), dtype=np.uint32)
        digest = chance.integers(0, 256, (size, 32), dtype=np.uint8)
        draw = chance.random(size)
        if earlier is not None:
            other = chance.integers(0, UNIT, size)
            equal, near = draw < EQUAL, (draw >= EQUAL) & (draw < EQUAL + NEAR)
            digest[equal] = earlier[0][other[equal]]
            signature[equal | near] = earlier[1][other[equal | near]]
            edits = chance.integers(0, 128, (int(near.sum()), 15))
            signature[np.flatnonzero(near)[:, None], edits] = chance.integers(0, 1 << 32, edits.shape, dtype=np.uint32)
        signature[draw > 1 - ALIKE, :7] = chance.integers(0, 1_000, (int((draw > 1 - ALIKE).sum()), 1))
        if number % 7 == 0:
            earlier = digest.copy(), signature.copy()
        place = folder / f"{number:06}"
        place.mkdir(parents=True)
        write_keys(place, {"sha256": digest, "signature": signature, "held": np.zeros(size, bool)})


def _alone(measure, *arguments: object) -> dict:
    """`measure(*arguments)` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def _one_machine(folder: Path) -> dict:
    places, keys = _units(folder)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    verdicts = OneMachine().documents(places, keys)
    return _rates(verdicts, started, before)


def _cluster(folder: Path, workers: int) -> dict:
    places, keys = _units(folder)
    with RayEngine(workers) as engine:
        engine.judge.documents(places[:4], keys[:4])  # processes are started and modules are read
        judge, before = _Counting(engine.judge._pool), resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        verdicts = judge.documents(places, keys)
        return _rates(verdicts, started, before) | {"records": judge.records}


class _Counting(Cluster):
    """Says how many records each shuffle moves."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.records: list[int] = []

    def _brought(self, rows, read, bring, *, records, shared=None):
        self.records.append(records if shared is None else int(np.bitwise_count(shared).sum()))
        return super()._brought(rows, read, bring, records=records, shared=shared)


def _units(folder: Path) -> tuple[list[Path], list[dict]]:
    places = sorted(folder.iterdir())
    return places, list(map(read_keys, places))


def _rates(verdicts: list[np.ndarray], started: float, before: resource.struct_rusage) -> dict:
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    rows = sum(map(len, verdicts))
    return {
        "documents": rows,
        "seconds": round(seconds, 2),
        "documents_per_second": round(rows / seconds),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "bytes_a_document": round((after.ru_maxrss - before.ru_maxrss) * 1024 / rows),
        "verdicts": np.bincount(np.concatenate(verdicts), minlength=3).tolist(),
    }


def _table(measured: dict, arguments: argparse.Namespace) -> dict:
    """What the rates give for more documents, if time grows with their number."""
    alone = measured[f"one machine, {arguments.large:,}"]
    two = measured[f"cluster of 2, {arguments.small:,}"]
    moved = np.dot(two["records"], [8 + 3 * 8 + 8, 8 + 8 + 1, 8 + 2 + 8 + 512]) / two["documents"]
    rows = {}
    for documents in (10**6, 10**8, 10**9):
        rows[f"{documents:,}"] = {
            "one machine: GB": round(documents * alone["bytes_a_document"] / 1e9, 1),
            "one machine: minutes": round(documents / alone["documents_per_second"] / 60, 2),
            "cluster: GB in the process that builds": round(documents * KEPT / 1e9, 2),
            "cluster: GB shuffled": round(documents * moved / 1e9, 1),
            f"cluster: minutes of a node of {CORES} cores": round(documents / two["documents_per_second"] * 2 / CORES / 60, 2),
        }
    return rows


if __name__ == "__main__":
    main()
