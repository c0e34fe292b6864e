"""The work folder of a running build. Finished units are kept when the build is killed.

Each unit of a build writes its result to a place whose name depends on everything the result depends on: the unit's input,
the settings that matter to it, and the program itself. A result is either complete or absent, and the same command finds
it when it runs again. A changed setting gives another name, so old results are ignored. The work folder lies beside its
target or at any address (places.py). It is locked while a build runs, and removed when its corpus is published.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from codesage.corpus.build.units import Runner, U
from codesage.corpus.build.worker import Task
from codesage.errors import CodesageError
from codesage.remote.lease import LOCK, Lease
from codesage.remote.places import Place, Remote, committed, place_of

REPORT = "report.json"
_REQUESTS = 16  # sent to an object store at a time
_PACKAGE = Path(__file__).parent.parent.parent
# The code that a unit's result depends on.
_PROGRAM = ("corpus", "syntax", "languages.py", "paths.py", "records.py", "walk.py", "words.py")


class Work:
    """An open work folder. `open_work` returns one."""

    def __init__(self, folder: Place, check: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self._check = check  # raises when another build has taken the folder over

    def place(self, kind: str, *inputs: object) -> Place:
        """The place for the result of this `kind` that depends on `inputs` (JSON values)."""
        key = json.dumps([_program(), kind, *inputs], sort_keys=True)
        return self.folder / kind / hashlib.sha256(key.encode()).hexdigest()[:32]

    def run(self, engine: Runner, task: Task[U], units: Sequence[U], *, on_done: Callable[[U, bool], None]) -> list[dict]:
        """Run the units that are not done yet; returns the reports of all `units` in order.

        `on_done(unit, fresh)` is called for every unit that is done; `fresh` is true when the unit was run just now.
        """
        done = committed([unit.folder for unit in units], REPORT)
        missing = []
        for unit in units:
            if str(unit.folder) in done:
                on_done(unit, False)
            else:
                missing.append(unit)
        by_place = {str(unit.folder): unit for unit in missing}
        for _ in engine.map(task, missing, on_result=lambda place: on_done(by_place[place], True)):
            self._check()
        return self.each(read_report, [unit.folder for unit in units])

    def each(self, read: Callable[[Place], dict[str, Any]], places: Sequence[Place]) -> list[dict[str, Any]]:
        """Call `read` for each place; returns the results in order. On an object store, several calls run at a time."""
        if not isinstance(self.folder, Remote):
            return list(map(read, places))
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(read, places))


@contextmanager
def open_work(target: Path, address: str = "") -> Iterator[Work]:
    """Open and lock the work folder of `target`. It is removed when the block ends without an error.

    It lies beside the target, or at `address`, which must be empty or the work folder of a build that was killed.
    CodesageError when it is neither, when another build is using it, or when it cannot be reached.
    """
    beside = target.parent / f"{target.name}.building"
    with _locked(beside):
        for stale in target.parent.glob(f".{target.name}.tmp-*"):  # left by a build that was killed
            shutil.rmtree(stale, ignore_errors=True)
        place = place_of(address) if address else beside
        if isinstance(place, Remote):
            with _leased(place) as work:
                yield work
        elif place == beside:
            yield _swept(place)
        else:
            if place.exists() and not (place / LOCK).is_file() and (not place.is_dir() or any(place.iterdir())):
                raise CodesageError(f"{place} exists and is not a work folder: choose another --work or remove it")
            with _locked(place):
                yield _swept(place)


def _swept(folder: Path) -> Work:
    for stale in folder.glob("*/*.*"):  # unfinished units of a build that was killed
        shutil.rmtree(stale, ignore_errors=True)
    return Work(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the local `folder`. It is created if it is missing, and removed when the block ends without an error."""
    lock = _lock(folder)
    try:
        yield
        for inside in folder.iterdir():
            if inside.name != LOCK:  # removed last: the lock marks the folder as a work folder
                shutil.rmtree(inside, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def _leased(place: Remote) -> Iterator[Work]:
    """Take the lease on the remote `place`. All objects below it are removed when the block ends without an error."""
    inside = place.below()
    if inside and LOCK not in inside:
        raise CodesageError(f"{place} is not empty and is not a work folder: choose another --work or remove it")
    lease, done = Lease(place), False
    try:
        yield Work(place, lease.check)
        lease.check()
        for kind in sorted({name.split("/")[0] for name in place.below()} - {LOCK}):
            (place / kind).remove()
        done = True
    finally:
        lease.release(remove=done)


def _lock(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(folder / LOCK) and os.path.samestat(os.fstat(lock), os.stat(folder / LOCK)):
                return lock  # otherwise the build that held the lock has just removed the folder
        except BlockingIOError:
            os.close(lock)
            raise CodesageError(f"another build is writing {folder}: wait for it, or choose another --out") from None
        except OSError:
            os.close(lock)
            raise
        os.close(lock)


@contextmanager
def result(place: Place) -> Iterator[tuple[Path, dict]]:
    """Gives an empty local folder and an empty report to fill.

    When the block ends without an error, both are put at `place`. Otherwise they are removed.
    """
    report: dict = {}
    with _attempt(place) as folder:
        yield folder, report
        (folder / REPORT).write_text(json.dumps(report, ensure_ascii=True), encoding="ascii")
        if isinstance(place, Remote):
            place.commit(folder)
            return
        try:
            folder.rename(place)
        except OSError:
            if not (place / REPORT).is_file():  # otherwise a worker of a killed build wrote it first, with the same bytes
                raise


@contextmanager
def _attempt(place: Place) -> Iterator[Path]:
    """An empty folder. It lies beside a local place so that it can be renamed, and is removed at the end if it still exists."""
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent if isinstance(place, Path) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_report(place: Place) -> dict:
    """The report that a unit wrote. CodesageError when it is damaged, which only a power failure can cause."""
    try:
        with (place / REPORT).open() as file:
            return json.loads(file.read())
    except (OSError, ValueError) as error:
        raise CodesageError(f"{place / REPORT} is damaged ({error}): remove {place.parent.parent} and build again") from None


@cache
def _program() -> str:
    """A hash of the modules that a result depends on, so that another version never uses the results of this one."""
    digest = hashlib.sha256()
    for name in _PROGRAM:
        path = _PACKAGE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
