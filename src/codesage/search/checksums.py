"""Checksums of a database file. They detect damage that SQLite does not detect, such as a flipped bit in a vector or a text.

A second file beside the database holds the CRC-32 of each MiB. It is removed before SQLite's journal is copied into the
database, written after that, and compared before the database is read. In between, changes are in the journal, which has
checksums of its own. So the files of a killed run are checked too. Checksums belong to one version of the file, a number that
each commit increases (PRAGMA user_version, in the header). The number alone does not tell them apart: while a reader uses an
older state, SQLite copies only a part of the journal, which may be without the header.
"""

import json
import os
import threading
import time
import weakref
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NAME = "index.checksums"
_BLOCK = 1 << 20  # bytes
_VERSION_AT = 60  # in the header of the file (sqlite.org/fileformat.html)


@dataclass(slots=True)
class _Descriptor:
    """An open file, and how many Checksums of this process read it."""

    number: int
    users: int = 0


_OPEN: dict[tuple[int, int], _Descriptor] = {}  # by device and inode
_CHECKED: dict[tuple[int, int], tuple[tuple[int, int], float]] = {}  # the state that was found sound last, and when
_LOCK = threading.RLock()


class Checksums:
    """The checksums of the database `file`, for as long as `owner` lives, which has a connection to it."""

    def __init__(self, file: Path, owner: object) -> None:
        self._stored = file.with_name(NAME)
        self._inode = _hold(file)
        weakref.finalize(owner, _release, self._inode)

    def are_current(self) -> bool:
        """Whether they belong to the present version of the file."""
        return self._read(self._version()) is not None

    def fault(self, *, seconds: float) -> str | None:
        """What is wrong with the file, "" for nothing, None where its checksums are missing or of another version.

        A state that this process found sound less than `seconds` ago is not read again, also by a later connection.
        """
        checked, when = _CHECKED.get(self._inode, (None, 0.0))
        if checked == self._state() and time.monotonic() - when < seconds:
            return ""
        expected = self._read(self._version())
        if expected is None:
            return None
        blocks = list(self._blocks())
        if blocks != expected:  # a journal may have been copied meanwhile
            return _difference(blocks, expected) if self._read(self._version()) == expected else None
        self.note()
        return ""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(_OPEN[self._inode].number).st_size

    def remove(self) -> None:
        """Remove the checksums until they are written again."""
        self._stored.unlink(missing_ok=True)

    def note(self) -> None:
        """Remember that the file is sound."""
        _CHECKED[self._inode] = (self._state(), time.monotonic())

    def write(self) -> None:
        """Store the checksums of the file. If the disk has no space for them, there are none."""
        body = json.dumps({"version": self._version(), "blocks": list(self._blocks())})
        fresh = self._stored.with_name(f"{NAME}.new-{os.getpid()}-{threading.get_ident()}")
        try:
            fresh.write_text(f"{zlib.crc32(body.encode()):08x} {body}\n", encoding="ascii")
            fresh.chmod(0o600)
            fresh.replace(self._stored)
            self.note()
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)

    def _read(self, version: int) -> list[int] | None:
        try:
            check, _, body = self._stored.read_text(encoding="ascii").rstrip("\n").partition(" ")
            if f"{zlib.crc32(body.encode()):08x}" != check:
                return None
            stored = json.loads(body)
            return stored["blocks"] if stored["version"] == version else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _state(self) -> tuple[int, int]:
        """The version of the file and the time of its last change, as a later file may get the same inode."""
        return self._version(), os.fstat(_OPEN[self._inode].number).st_mtime_ns

    def _version(self) -> int:
        return int.from_bytes(self._bytes(_VERSION_AT, 4), "big")

    def _blocks(self) -> Iterator[int]:
        """The checksum of each block."""
        for start in range(0, self.size, _BLOCK):
            yield zlib.crc32(self._bytes(start, _BLOCK))

    def _bytes(self, start: int, size: int) -> bytes:
        with _LOCK:
            os.lseek(_OPEN[self._inode].number, start, os.SEEK_SET)
            return os.read(_OPEN[self._inode].number, size)


def _difference(blocks: list[int], expected: list[int]) -> str:
    if len(blocks) != len(expected):
        return f"it has {len(blocks):,} MiB, expected {len(expected):,}"
    block = next(block for block, pair in enumerate(zip(blocks, expected, strict=True)) if pair[0] != pair[1])
    return f"the bytes from {block * _BLOCK:,} to {(block + 1) * _BLOCK:,} differ from their checksum"


def _hold(file: Path) -> tuple[int, int]:
    """Open a file beside SQLite, once for all its users in this process.

    Closing any descriptor of a file releases all locks of the process on it (POSIX), including SQLite's. So the descriptor
    stays open until no connection of this process uses the file.
    """
    with _LOCK:
        status = os.stat(file)
        inode = status.st_dev, status.st_ino
        if inode not in _OPEN:
            _OPEN[inode] = _Descriptor(os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        _OPEN[inode].users += 1
        return inode


def _release(inode: tuple[int, int]) -> None:
    with _LOCK:
        descriptor = _OPEN[inode]
        descriptor.users -= 1
        if not descriptor.users:
            del _OPEN[inode]
            os.close(descriptor.number)
