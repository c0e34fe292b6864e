"""Checksums of a database file: they show damage that SQLite does not see, such as a flipped bit in a vector or in a text.

In: the file, and a name of the state that it holds. Out: a second file beside it with the CRC-32 of each MiB. `write` is called
at the end of an update, when the journal has been copied into the file, and `fault` before the file is read. Both are called
within a transaction that has read the state, so that no other process changes the file meanwhile. A file of another state than
its checksums was left by a killed run, or is being written.
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


@dataclass(slots=True)
class _Descriptor:
    """An open file, and how many Checksums of this process read it."""

    number: int
    users: int = 0


_OPEN: dict[tuple[int, int], _Descriptor] = {}  # by device and inode
_CHECKED: dict[tuple[int, int], tuple[str, float]] = {}  # the state that was found sound last, and time.monotonic() of it
_LOCK = threading.RLock()


class Checksums:
    """The checksums of the database `file`, for as long as `owner` lives, which has a connection to it."""

    def __init__(self, file: Path, owner: object) -> None:
        self._file, self._stored = file, file.with_name(NAME)
        self._inode = _hold(file)
        weakref.finalize(owner, _release, self._inode)

    def are_of(self, state: str) -> bool:
        """Whether there are checksums of this state."""
        return self._read(state) is not None

    def fault(self, state: str, *, seconds: float = float("inf")) -> str | None:
        """What is wrong with the file, "" for nothing, None where its checksums are those of another state.

        A file that this process found sound less than `seconds` ago is not read again.
        """
        checked = _CHECKED.get(self._inode)
        if checked is not None and checked[0] == state and time.monotonic() - checked[1] < seconds:
            return ""
        expected = self._read(state)
        if expected is None:
            return None
        for number, (found, wanted) in enumerate(zip(self._blocks(), [*expected, None], strict=False)):
            if found != wanted:
                return f"it differs from its checksums in the {_BLOCK >> 20} MiB from byte {number * _BLOCK:,} on"
        self.note(state)
        return ""

    def known(self) -> bool:
        """Whether this process has checked some state of the file."""
        return self._inode in _CHECKED

    def note(self, state: str) -> None:
        """Remember that this state is sound."""
        _CHECKED[self._inode] = (state, time.monotonic())

    def write(self, state: str) -> None:
        """Store the checksums of the file as it is. Without space for them there are none."""
        body = json.dumps({"state": state, "blocks": [*self._blocks()]})
        fresh = self._stored.with_name(f"{NAME}.new-{os.getpid()}-{threading.get_ident()}")
        try:
            fresh.write_text(f"{zlib.crc32(body.encode()):08x} {body}\n", encoding="ascii")
            fresh.chmod(0o600)
            fresh.replace(self._stored)
            self.note(state)
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)

    def _read(self, state: str) -> list[int] | None:
        try:
            check, _, body = self._stored.read_text(encoding="ascii").rstrip("\n").partition(" ")
            if f"{zlib.crc32(body.encode()):08x}" != check:
                return None
            stored = json.loads(body)
            return stored["blocks"] if stored["state"] == state else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _blocks(self) -> Iterator[int | None]:
        """The checksum of each block, then None."""
        descriptor = _OPEN[self._inode].number
        size = os.fstat(descriptor).st_size
        for start in range(0, size, _BLOCK):
            with _LOCK:
                os.lseek(descriptor, start, os.SEEK_SET)
                yield zlib.crc32(os.read(descriptor, _BLOCK))


def _hold(file: Path) -> tuple[int, int]:
    """Open a file beside SQLite, once for all its users in this process.

    To close any descriptor of a file takes away all locks that the process has on it (POSIX), those of SQLite too. So it stays
    open until no connection of this process uses the file.
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
        held = _OPEN[inode]
        held.users -= 1
        if not held.users:
            del _OPEN[inode]
            _CHECKED.pop(inode, None)  # a later file may get the same number
            os.close(held.number)
