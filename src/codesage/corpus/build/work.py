"""The work folder of a build under way: what is done stays done, whatever kills the build.

Each unit of a build leaves its result at a place named after everything the result depends on: the unit's input, the
settings that matter to it, the program itself. A result is there whole or not at all, and the same command run again finds
it; a changed setting gives another name, and old results are passed over. The work folder lies beside its target or at any
address (places.py). It is locked while a build runs, and removed when its corpus is published.
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

from codesage.corpus.build.engine import Engine, Task, Unit
from codesage.corpus.build.lease import LOCK, Lease
from codesage.corpus.build.places import Place, Remote, committed, place_of
from codesage.errors import CodesageError

REPORT = "report.json"
_REQUESTS = 16  # to an object store at a time
_PACKAGE = Path(__file__).parent.parent.parent
_PROGRAM = ("corpus", "syntax", "languages.py", "records.py", "walk.py")  # what decides on a unit's result


class Work:
    """An open work folder; `open_work` gives one."""

    def __init__(self, folder: Place, check: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self._check = check  # raises when the folder is no longer ours

    def place(self, kind: str, *inputs: object) -> Place:
        """Where the result that depends on `inputs` (JSON values) belongs, as one of its kind."""
        stated = json.dumps([_program(), kind, *inputs], sort_keys=True)
        return self.folder / kind / hashlib.sha256(stated.encode()).hexdigest()[:32]

    def run(self, engine: Engine, task: Task, units: Sequence[Unit], *, heard: Callable[[Unit, bool], None]) -> list[dict]:
        """The reports of all `units`, in order: units that are not done yet are run. Units have a `folder`, their place.

        `heard(unit, fresh)` is called for every unit that is done; fresh ones were run just now.
        """
        done = committed([unit.folder for unit in units], REPORT)
        missing = []
        for unit in units:
            if str(unit.folder) in done:
                heard(unit, False)
            else:
                missing.append(unit)
        by_place = {str(unit.folder): unit for unit in missing}
        for _ in engine.map(task, missing, heard=lambda place: heard(by_place[place], True)):
            self._check()
        return self.each(read_report, [unit.folder for unit in units])

    def each(self, read: Callable[[Place], dict], places: Sequence[Place]) -> list[dict]:
        """`read` of each place, in order; several at a time where each is a request."""
        if not isinstance(self.folder, Remote):
            return list(map(read, places))
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(read, places))


@contextmanager
def open_work(target: Path, address: str = "") -> Iterator[Work]:
    """The work folder of `target`, locked; removed when the block ends well.

    It lies beside the target, or at `address`, which must be empty or the work folder of a build that was killed.
    CodesageError when it is neither, when another build has it, when it cannot be reached.
    """
    beside = target.parent / f"{target.name}.building"
    with _locked(beside):
        for stale in target.parent.glob(f".{target.name}.tmp-*"):  # of a build that was killed
            shutil.rmtree(stale, ignore_errors=True)
        place = place_of(address) if address else beside
        if isinstance(place, Remote):
            with _leased(place) as work:
                yield work
        elif place == beside:
            yield _swept(place)
        else:
            if place.exists() and not (place / LOCK).is_file() and (not place.is_dir() or any(place.iterdir())):
                raise CodesageError(f"{place} exists and is no work folder: choose another --work or remove it")
            with _locked(place):
                yield _swept(place)


def _swept(folder: Path) -> Work:
    for stale in folder.glob("*/*.*"):  # attempts of a build that was killed
        shutil.rmtree(stale, ignore_errors=True)
    return Work(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the local `folder`, which is made where there is none, and removed when the block ends well."""
    lock = _lock(folder)
    try:
        yield
        for inside in folder.iterdir():
            if inside.name != LOCK:  # it goes last: what has a lock is known as a work folder
                shutil.rmtree(inside, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def _leased(place: Remote) -> Iterator[Work]:
    """Hold the remote `place`; all objects below it are removed when the block ends well."""
    inside = place.below()
    if inside and LOCK not in inside:
        raise CodesageError(f"{place} is not empty and is no work folder: choose another --work or remove it")
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
                return lock  # else the build that had it has just removed the folder
        except BlockingIOError:
            os.close(lock)
            raise CodesageError(f"another build is writing {folder}: wait for it, or choose another --out") from None
        except OSError:
            os.close(lock)
            raise
        os.close(lock)


@contextmanager
def result(place: Place) -> Iterator[tuple[Path, dict]]:
    """An empty local folder and an empty report to fill: put at `place` when the block ends well, else removed."""
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
            if not (place / REPORT).is_file():  # else a worker of a killed build was as quick: its bytes are the same
                raise


@contextmanager
def _attempt(place: Place) -> Iterator[Path]:
    """An empty folder, beside a local place so that it can be renamed; removed if it is still there at the end."""
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent if isinstance(place, Path) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_report(place: Place) -> dict:
    """The report a unit left. CodesageError when it is damaged, which only a power cut can do."""
    try:
        with (place / REPORT).open() as file:
            return json.loads(file.read())
    except (OSError, ValueError) as error:
        raise CodesageError(f"{place / REPORT} is damaged ({error}): remove {place.parent.parent} and build again") from None


@cache
def _program() -> str:
    """A hash over the modules that decide on a result: another version never takes over the results of this one."""
    digest = hashlib.sha256()
    for name in _PROGRAM:
        path = _PACKAGE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
