"""SIGKILL an indexing process at random moments: its index must open, hold old or new files, and go on to the right answers.

    python benchmarks/kill_index.py [--kills 500] [--seed 0] [--out FILE.json]

A process makes an index of a small random tree, or updates one after files were written, removed and renamed, and is killed at
a random moment of the time that this takes. It is forked from one that has all modules in memory. Then the index is opened as
any search opens it. SQLite must find it consistent, its checksums must be those of the file, every path must hold all chunks of
the old or of the new file, and a search must answer. After one more update chunks and answers must be those of an index that
nobody killed.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

from codesage.evaluate.reports import environment
from codesage.search import index as station
from codesage.search.index import Index
from small_trees import Hashed, answers, change_tree, write_tree

ENCODER = Hashed()
_FILES, _TREES = 40, 6


def main() -> None:
    """Kill, check, count; exit code 1 when a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        outcome = killed_often(Path(folder), arguments.kills, arguments.seed)
    record = {"date": date.today().isoformat(), **environment(), "seed": arguments.seed, "files": _FILES, **outcome}
    print(json.dumps(record, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(outcome["failures"]))


def killed_often(folder: Path, kills: int, seed: int, *, trees: int = _TREES) -> dict:
    """Counts of kills and of what they left, and a line for each failure. The user's cache must be a folder in `folder`."""
    station._FILES_A_BATCH = station._CHUNKS_A_BATCH = 4  # more commits
    rng = random.Random(seed)
    cases = [_Case(folder / f"{number}", rng, files=_FILES) for number in range(trees)]
    counts, failures = defaultdict(int), []
    for number in range(kills):
        case = cases[number % len(cases)]
        try:
            counts[case.killed(rng)] += 1
        except Exception as error:
            failures.append(f"kill {number}: {type(error).__name__}: {error}")
    return {"kills": kills, "left": dict(counts), "failures": failures}


class _Case:
    """A tree before and after a change, the index before, and what it must hold and answer after."""

    def __init__(self, folder: Path, rng: random.Random, *, files: int) -> None:
        self._root, self._before, self._work = folder / "tree", folder / "before", folder / "index"
        write_tree(self._root, rng, files=files)
        first = rng.random() < 0.3  # nothing is indexed before
        self._old = {} if first else self._updated(self._before)[0]
        if not first:
            change_tree(self._root, rng)
        self._prepare()
        started = time.perf_counter()
        self._new, self._right = self._updated(self._work)
        self._seconds = time.perf_counter() - started

    def killed(self, rng: random.Random) -> str:
        """Kill an update; what it had done. AssertionError when the index is not as it must be."""
        self._prepare()
        child = os.fork()
        if not child:
            self._update_and_exit()
        time.sleep(rng.uniform(0.0, 1.1) * self._seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        self._check()
        return "it had ended" if os.WIFEXITED(status) else self._left

    def _prepare(self) -> None:
        for folder in (self._work, Path(os.environ["XDG_CACHE_HOME"])):
            shutil.rmtree(folder, ignore_errors=True)
        if self._before.exists():
            shutil.copytree(self._before, self._work)

    def _update_and_exit(self) -> None:
        try:
            Index.open(self._root, folder=self._work, encoder=ENCODER).update(ENCODER)
        finally:
            os._exit(0)

    def _updated(self, folder: Path) -> tuple[dict, list]:
        index = Index.open(self._root, folder=folder, encoder=ENCODER)
        try:
            index.update(ENCODER)
            return _content(index), answers(index, ENCODER)
        finally:
            index.connection.close()

    def _check(self) -> None:
        index = Index.open(self._root, folder=self._work, encoder=ENCODER)
        try:
            assert index.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "SQLite finds a fault"
            assert index._is_sealed(), "the checksums are not those of the file"
            chunks = _content(index)
            torn = [path for path in chunks if chunks[path] not in (self._old.get(path), self._new.get(path))]
            assert not torn, f"{torn[0]} is neither old nor new"
            assert all(path in chunks for path in self._old.keys() & self._new.keys()), "a file is missing"
            answers(index, ENCODER)
            self._left = "nothing new" if chunks == self._old else "all files" if chunks == self._new else "some files"
        finally:
            index.connection.close()
        content, right = self._updated(self._work)
        assert content == self._new, "the files of the resumed index differ"
        assert right == self._right, "the answers of the resumed index differ"


def _content(index: Index) -> dict[str, list]:
    """The chunks of each path, with their vectors where they are encoded."""
    chunks = defaultdict(list)
    rows = index.connection.execute("SELECT id, path, kind, name, start_line, end_line FROM chunks ORDER BY id").fetchall()
    texts = index.texts_of(number for number, *_ in rows)
    for number, path, *chunk in rows:
        chunks[path].append([*chunk, texts[number]])
    return dict(chunks)


if __name__ == "__main__":
    main()
