"""Read files into chunks and their words, half of the work of an index; in a second process if there is much to read.

In: files in batches. Out: for each batch, in order, what an index stores of it. The second process (search.reader) runs this
module. If it cannot start, or ends, this process reads all files itself, with the same result.
"""

import gc
import pickle
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from codesage.machine import processors
from codesage.records import sound
from codesage.search.chunks import chunks
from codesage.search.defaults import OBJECTS_BETWEEN_COLLECTIONS
from codesage.search.fields import Words, words_in
from codesage.search.files import File, read
from codesage.search.postings import Segment, segments_of
from codesage.search.reader import BATCHES_AHEAD, FEWEST_BATCHES, Reader, started
from codesage.search.texts import packed

_LEAST_BYTES = 1_500_000  # to read, for a second process to pay
_MOST_WAITING = 6  # batches that are begun and not written


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that was read: the number of its chunks, and the reason if it was not read completely."""

    name: str
    stamp: str
    reason: str
    language: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read of some files, as an index keeps it, the chunks numbered from 0."""

    files: list[ReadFile]
    spans: list[tuple[str, str, int, int]]  # kind, name, first and last line of each chunk
    texts: list[tuple[int, bytes]]  # see search.texts
    words: Words
    segments: list[Segment]  # see search.postings


def read_batch(files: list[File]) -> Batch:
    """Read files, cut them into chunks, take their words."""
    states, spans, blocks, fields = [], [], [], []
    for path, name, stamp in files:
        source = read(path, name)
        file_chunks = chunks(source.document) if source.document is not None else []
        language = source.document.language if source.document is not None else ""
        states.append(ReadFile(name, stamp, source.reason, language, len(file_chunks)))
        texts = [sound(chunk.text) for chunk in file_chunks]
        blocks += [(len(spans) + place, block) for place, block in packed(texts)]
        spans += [(chunk.kind, sound(chunk.name), chunk.start_line, chunk.end_line) for chunk in file_chunks]
        path_text = sound(name)
        for chunk, text in zip(file_chunks, texts, strict=True):
            fields += [sound(chunk.name), path_text, text]
    words = words_in(fields)
    return Batch(states, spans, blocks, words, segments_of(words))


def batches(files: list[File], size: int) -> Iterator[Batch]:
    """What is read of `files`, `size` at a time and in order."""
    lists = [files[start : start + size] for start in range(0, len(files), size)]
    helper, many = started(lists), len(lists) >= FEWEST_BATCHES
    if helper is None and many and processors() > 1 and sum(map(_bytes_of, files)) >= _LEAST_BYTES:
        helper = Reader()
    try:
        yield from _shared(lists, helper) if helper is not None and many else map(read_batch, lists)
    finally:
        if helper is not None:
            helper.close()


def _shared(lists: list[list[File]], helper: Reader) -> Iterator[Batch]:
    """Batches in order; each is read by whoever is free first."""
    read: dict[int, Batch | None] = {}
    given = deque(range(len(helper.asked)))  # to the helper
    begun = len(given)
    for place in range(len(lists)):
        while place not in read:
            while len(given) < BATCHES_AHEAD and begun < len(lists) and not helper.ended:
                helper.ask(lists[begun])
                given.append(begun)
                begun += 1
            if given and (begun == len(lists) or begun - place > _MOST_WAITING or helper.has_answered):
                number = given.popleft()
                read[number] = helper.answer()
            else:
                read[begun] = read_batch(lists[begun])
                begun += 1
        batch = read.pop(place)
        yield read_batch(lists[place]) if batch is None else batch


def _bytes_of(file: File) -> int:
    size = file[2].partition(":")[0]
    return int(size) if size else 0


def serve() -> None:
    """The second process: read the batches that it is given, and end."""
    import codesage.syntax  # noqa: F401 - before the first batch comes

    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pickle.dump(read_batch(pickle.load(sys.stdin.buffer)), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
            sys.stdout.buffer.flush()
