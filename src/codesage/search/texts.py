"""The texts of chunks, compressed: those of neighbouring chunks of a file together in a block.

In: texts in the order of their chunks. Out: blocks, and the texts again. A block is known by the number of its first chunk, and
holds the texts of that chunk and of those numbered after it.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

TABLE = "CREATE TABLE texts (first INTEGER PRIMARY KEY, packed BLOB NOT NULL);"
_BLOCK = 8_000  # bytes of text of a block; one text may have more
_LEVEL = 6  # of compression
_MOST_KEPT = 2_000  # blocks


def packed(texts: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """Blocks of the texts of one file, each with the place of its first text among them."""
    encoded = [text.encode() for text in texts]
    start = size = 0
    for place, one in enumerate(encoded):
        if size and size + len(one) > _BLOCK:
            yield start, _block(encoded[start:place])
            start, size = place, 0
        size += len(one)
    if encoded:
        yield start, _block(encoded[start:])


def _block(texts: Sequence[bytes]) -> bytes:
    lengths = np.array([len(texts), *map(len, texts)], "<u4")
    return zlib.compress(lengths.tobytes() + b"".join(texts), _LEVEL)


def _unpacked(block: bytes) -> list[str]:
    """The texts of a block. sqlite3.DatabaseError when it is damaged."""
    try:
        raw = zlib.decompress(block)
        count = int.from_bytes(raw[:4], "little")
        ends = 4 + 4 * count + np.cumsum([0, *np.frombuffer(raw, "<u4", count, 4).tolist()])
        if ends[-1] != len(raw):
            raise ValueError("its parts do not fit together")
        return [raw[start:end].decode() for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    except (zlib.error, ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"a block of texts is damaged: {error}") from None


Blocks = dict[int, list[str]]  # by the number of the first chunk


def read(connection: sqlite3.Connection, numbers: Iterable[int], kept: Blocks | None = None) -> dict[int, str]:
    """The text of each of the chunks `numbers`; blocks that were read before are taken from `kept`, and new ones added."""
    kept = {} if kept is None else kept
    if len(kept) > _MOST_KEPT:
        kept.clear()
    text_by_number: dict[int, str] = {}
    first, texts = 0, []
    for number in sorted(numbers):
        if not first <= number < first + len(texts):
            first, texts = _holding(connection, number, kept)
        text_by_number[number] = texts[number - first]
    return text_by_number


def _holding(connection: sqlite3.Connection, number: int, kept: Blocks) -> tuple[int, list[str]]:
    """The block that holds the text of a chunk."""
    first = connection.execute("SELECT max(first) FROM texts WHERE first <= ?", (number,)).fetchone()[0]
    texts = kept.get(first)
    if texts is None:
        row = connection.execute("SELECT packed FROM texts WHERE first = ?", (first,)).fetchone()
        kept[first] = texts = _unpacked(row[0]) if row else []
    if first is None or number - first >= len(texts):
        raise sqlite3.DatabaseError(f"the text of chunk {number} is missing")
    return first, texts
