"""Read files into chunks and their words, half of the work of an index; in a second process if there is much to read.

In: files in batches. Out: for each batch, in order, what an index stores of it. The second process runs this module; requests
and answers are pickles over its standard input and output. If it cannot start, or ends, this process reads all files itself,
with the same result.
Shapes: N chunks, W words of all of them end to end.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, cast

import numpy as np

from codesage.records import Chunk
from codesage.search.chunks import chunks
from codesage.search.files import read
from codesage.search.terms import indexed_words

File = tuple[Path, str, str]  # where it is, its name in the index, its stamp
FIELDS = 3  # of a chunk that have words: its name, its path, its text
_LEAST_BYTES = 1_500_000  # to read, for a second process to pay
_SHARE = 5  # of so many batches this process reads one, because it also writes the index
_MOST_WAITING = 4  # batches of the second process that wait to be written


@dataclass(frozen=True, slots=True)
class Words:
    """The words of N chunks: word i is vocabulary[numbers_W[i]]; field f of chunk n has sizes[n * FIELDS + f] of them."""

    vocabulary: list[str]
    numbers_W: np.ndarray
    sizes: np.ndarray

    @property
    def chunks(self) -> int:
        """How many chunks they are of."""
        return len(self.sizes) // FIELDS

    def lengths(self) -> np.ndarray:
        """Words of each chunk, (N,)."""
        return self.sizes.reshape(-1, FIELDS).sum(axis=1)


def words_of(fields: list[list[str]]) -> Words:
    """Words from the lists of all fields of all chunks."""
    numbers: dict[str, int] = defaultdict(lambda: len(numbers))
    sizes = np.fromiter(map(len, fields), np.int64, len(fields))
    numbers_W = np.fromiter(map(numbers.__getitem__, chain.from_iterable(fields)), np.int32, sizes.sum())
    return Words(list(numbers), numbers_W, sizes)


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read of some files: name, stamp and reason for a skip ("" for none) of each; the chunks and their words."""

    files: list[tuple[str, str, str]]
    chunks: list[Chunk]
    words: Words


def read_batch(files: list[File]) -> Batch:
    """Read files, cut them into chunks, take their words."""
    found: list[Chunk] = []
    states = []
    for path, name, stamp in files:
        source = read(path, name)
        states.append((name, stamp, source.reason))
        if source.document is not None:
            found += chunks(source.document)
    fields = [indexed_words(storable(field)) for chunk in found for field in (chunk.name, chunk.path, chunk.text)]
    return Batch(states, found, words_of(fields))


def storable(text: str) -> str:
    """`text` without what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def batches(files: list[File], size: int) -> Iterator[Batch]:
    """What is read of `files`, `size` at a time and in order."""
    lists = [files[start : start + size] for start in range(0, len(files), size)]
    worth_it = len(lists) > _SHARE and _processors() > 1 and sum(map(_bytes_of, files)) >= _LEAST_BYTES
    helper = _Helper([some for at, some in enumerate(lists) if at % _SHARE]) if worth_it else None
    try:
        for at, some in enumerate(lists):
            batch = helper.answer() if helper is not None and at % _SHARE else None
            yield read_batch(some) if batch is None else batch
    finally:
        if helper is not None:
            helper.close()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bytes_of(file: File) -> int:
    size = file[2].partition(":")[0]
    return int(size) if size else 0


class _Helper:
    """A second process that reads some batches in order; its answer is None where it cannot."""

    def __init__(self, lists: list[list[File]]) -> None:
        self._answers: queue.SimpleQueue = queue.SimpleQueue()
        self._room = threading.Semaphore(_MOST_WAITING)
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        path = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-c", "from codesage.search.reading import serve; serve()"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
        except OSError:
            self._answers.put(None)
            return
        self._thread = threading.Thread(target=self._listen, args=(self._process, lists), daemon=True)
        self._thread.start()

    def _listen(self, process: subprocess.Popen[bytes], lists: list[list[File]]) -> None:
        """Hand over what to read, then take answers, a few more than are needed yet."""
        requests, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)  # both are pipes
        try:
            pickle.dump(lists, requests)
            requests.flush()
            for _ in lists:
                self._room.acquire()
                self._answers.put(pickle.load(answers))
        except (EOFError, OSError, pickle.UnpicklingError):
            self._answers.put(None)

    def answer(self) -> Batch | None:
        """The next batch."""
        found = self._answers.get()
        if found is None:
            self._answers.put(None)  # and so are all that follow
        self._room.release()
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._thread is not None:
            self._process.kill()
            self._room.release()
            self._thread.join()
            for pipe in filter(None, (self._process.stdin, self._process.stdout)):
                with suppress(OSError):
                    pipe.close()
            self._process.wait()


def serve() -> None:
    """The second process: read the batches that it is given, and end."""
    with suppress(EOFError, OSError, KeyboardInterrupt):
        for files in pickle.load(sys.stdin.buffer):
            pickle.dump(read_batch(files), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
            sys.stdout.buffer.flush()
