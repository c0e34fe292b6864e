"""A lease that lets one build at a time use a place on an object store, which has no locks. Its holder renews it.

The object `lock` names its holder and counts the renewals. A build that finds a lock watches it. If the count changes, the
holder is alive, and the build is refused. If it does not change for _PATIENCE seconds, the holder was killed, and the
build takes the lease over. It does not wait for a holder on the same machine whose process is gone. The clocks of the
machines need not agree.

If two builds start within the same second, both write the lock. After _SETTLE seconds each reads it back, and the build
that it names has the lease. A holder that cannot reach the store for longer than _PATIENCE may lose the lease to another
build; it then stops. Both builds write complete results, named after everything they depend on. So in the worst case two
builds do the same work twice.
"""

import json
import os
import socket
import threading
import time
from uuid import uuid4

from codesage.errors import CodesageError
from codesage.remote.places import Remote

LOCK = "lock"
_BEAT = 5.0  # seconds between renewals
_PATIENCE = 20.0  # seconds without a renewal after which a lease is free
_SETTLE = 1.0  # seconds to wait before a new lease is read back


class Lease:
    """A lease on a place. Creating one takes the lease, and `release` ends it. CodesageError when another `user` has it.

    `option`: of the command line, which gives the place.
    """

    def __init__(self, place: Remote, *, user: str = "build", option: str = "--work") -> None:
        self._lock, self._name, self._beats = place / LOCK, uuid4().hex, 0
        self._user, self._option = user, option
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
        """CodesageError when another user has taken the lease over."""
        if self.lost:
            raise CodesageError(
                f"another {self._user} has taken over {self._lock.parent}: wait for it, or use another {self._option}"
            )

    def release(self, *, remove: bool) -> None:
        """Stop renewing. Either `remove` the lock, or mark it as that of a build that ended early: nobody waits for it."""
        self._stopped.set()
        self._thread.join()
        if self.lost:
            return
        if remove:
            self._lock.remove()
        else:
            self._write(ended=True)

    def _wait_for_others(self) -> None:
        holder = self._read()
        if holder is None or _is_dead(holder):
            return
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            time.sleep(min(_BEAT, _PATIENCE) / 4)
            if (now := self._read()) is None:
                return
            if now != holder:
                raise self._refusal()

    def _renew(self) -> None:
        while not self._stopped.wait(_BEAT):
            try:
                self.lost = not self._is_mine()
                if self.lost:
                    return
                self._write()
            except CodesageError:  # the store does not answer now; if that lasts, the units fail
                continue

    def _is_mine(self) -> bool:
        holder = self._read()
        return holder is not None and holder["name"] == self._name

    def _read(self) -> dict | None:
        try:
            holder = json.loads(self._lock.read())
            known = {key: holder[key] for key in ("name", "machine", "beats")}
            return {**known, "process": int(holder["process"]), "ended": bool(holder.get("ended"))}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise CodesageError(f"{self._lock} is not a lock of a {self._user}: choose another {self._option}") from None

    def _write(self, *, ended: bool = False) -> None:
        self._beats += 1
        holder = {
            "name": self._name,
            "machine": socket.gethostname(),
            "process": os.getpid(),
            "beats": self._beats,
            "ended": ended,
        }
        self._lock.write(json.dumps(holder).encode())

    def _refusal(self) -> CodesageError:
        return CodesageError(
            f"another {self._user} is using {self._lock.parent}: wait for it, or choose another {self._option}"
        )


def _is_dead(holder: dict) -> bool:
    """Whether the holder has said that it ended, or was a process on this machine that is gone."""
    if holder["ended"]:
        return True
    if holder["machine"] != socket.gethostname() or os.name != "posix":  # on Windows, signal 0 is Ctrl-C
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
