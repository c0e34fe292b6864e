"""One builder at a time on an object store, which has no locks: a lease that its holder renews every few seconds.

The object `lock` names its holder and counts its beats. Who finds one watches it: when it beats, its holder lives, and
the place is refused; when it does not for _PATIENCE seconds, the holder was killed, and the lease is taken over. A holder
on this machine whose process is gone is not waited for. Nothing depends on clocks that agree.

Two builders that start within the same second both write; after _SETTLE seconds the one whose name stands has the lease.
A holder that was cut off from the store for longer than _PATIENCE may find another in its place: it stops then. Results
of both are whole and named after all they depend on, so the worst that two builders can do is work done twice.
"""

import json
import os
import socket
import threading
import time
from uuid import uuid4

from codesage.corpus.build.places import Remote
from codesage.errors import CodesageError

LOCK = "lock"
_BEAT = 5.0  # seconds from one renewal to the next
_PATIENCE = 20.0  # seconds without a beat until a lease is free
_SETTLE = 1.0  # seconds until a new lease is read back


class Lease:
    """A lease on a place, held from its making on; `release` ends it. CodesageError when another build has it."""

    def __init__(self, place: Remote) -> None:
        self._lock, self._name, self._beats = place / LOCK, uuid4().hex, 0
        self._stopped = threading.Event()
        self.lost = False
        self._wait_for_others()
        self._write()
        time.sleep(_SETTLE)
        if not self._is_mine():
            raise self._refusal()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """CodesageError when another build has taken the lease over."""
        if self.lost:
            raise CodesageError(f"another build has taken over {self._lock.parent}: let it end, or use another --work")

    def release(self, *, remove: bool) -> None:
        """Stop renewing; `remove` the lock, or leave it as that of a build that ended early, for which nobody waits."""
        self._stopped.set()
        self._thread.join()
        if self.lost:
            return
        if remove:
            self._lock.remove()
        else:
            self._write(ended=True)

    def _wait_for_others(self) -> None:
        found = self._read()
        if found is None or _is_dead(found):
            return
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            time.sleep(min(_BEAT, _PATIENCE) / 4)
            if (now := self._read()) is None:
                return
            if now != found:
                raise self._refusal()

    def _renew(self) -> None:
        while not self._stopped.wait(_BEAT):
            try:
                self.lost = not self._is_mine()
                if self.lost:
                    return
                self._write()
            except CodesageError:  # the store does not answer just now: the units say so if that lasts
                continue

    def _is_mine(self) -> bool:
        found = self._read()
        return found is not None and found["name"] == self._name

    def _read(self) -> dict | None:
        try:
            return json.loads(self._lock.read())
        except FileNotFoundError:
            return None
        except ValueError:
            raise CodesageError(f"{self._lock} is no lock of a build: choose another --work") from None

    def _write(self, *, ended: bool = False) -> None:
        self._beats += 1
        stated = {"name": self._name, "machine": socket.gethostname(), "process": os.getpid(), "beats": self._beats,
                  "ended": ended}  # fmt: skip
        self._lock.write(json.dumps(stated).encode())

    def _refusal(self) -> CodesageError:
        return CodesageError(f"another build is using {self._lock.parent}: wait for it, or choose another --work")


def _is_dead(holder: dict) -> bool:
    """Whether the holder said that it ends, or was a process of this machine that is gone."""
    if holder.get("ended"):
        return True
    if holder["machine"] != socket.gethostname():
        return False
    try:
        os.kill(int(holder["process"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
