"""The folder of a build under way, beside its target: what is done stays done, whatever kills the build.

Each unit of a build leaves its result in a folder named after everything the result depends on: the unit's input, the
settings that matter to it, the program itself. It is filled under another name and renamed, so it is there whole or not
at all, and the same command run again finds it; a changed setting gives another name, and old results are passed over.
The folder is locked while a build runs and removed when its corpus is published.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from codesage.corpus.build.engine import Engine, Task, Unit
from codesage.errors import CodesageError

REPORT = "report.json"
KEYS = "keys.npz"
_PACKAGE = Path(__file__).parent.parent.parent
_PROGRAM = ("corpus", "syntax", "languages.py", "records.py", "walk.py")  # what decides on a unit's result


class Work:
    """An open work folder; `open_work` gives one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, kind: str, *inputs: object) -> Path:
        """Where the result that depends on `inputs` (JSON values) belongs, as one of its kind."""
        stated = json.dumps([_program(), kind, *inputs], sort_keys=True)
        return self.folder / kind / hashlib.sha256(stated.encode()).hexdigest()[:32]

    def run(self, engine: Engine, task: Task, units: Sequence[Unit], *, heard: Callable[[Unit, bool], None]) -> list[dict]:
        """The reports of all `units`, in order: units that are not done yet are run. Units have a `folder`, their place.

        `heard(unit, fresh)` is called for every unit that is done; fresh ones were run just now.
        """
        missing = []
        for unit in units:
            if (unit.folder / REPORT).is_file():
                heard(unit, False)
            else:
                missing.append(unit)
        by_place = {str(unit.folder): unit for unit in missing}
        for _ in engine.map(task, missing, heard=lambda place: heard(by_place[place], True)):
            pass
        return [read_report(unit.folder) for unit in units]


@contextmanager
def open_work(target: Path) -> Iterator[Work]:
    """The work folder of `target`, locked; removed when the block ends well. CodesageError when another build has it."""
    folder = target.parent / f"{target.name}.building"
    lock = _lock(folder)
    try:
        unfinished = [*folder.glob("*/*.*"), *target.parent.glob(f".{target.name}.tmp-*")]
        for stale in unfinished:  # of a build that was killed
            shutil.rmtree(stale, ignore_errors=True)
        yield Work(folder)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _lock(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(folder / "lock") and os.path.samestat(os.fstat(lock), os.stat(folder / "lock")):
                return lock  # else the build that had it has just removed the folder
        except BlockingIOError:
            os.close(lock)
            raise CodesageError(f"another build is writing {folder}: wait for it, or choose another --out") from None
        except OSError:
            os.close(lock)
            raise
        os.close(lock)


@contextmanager
def result(place: Path) -> Iterator[tuple[Path, dict]]:
    """An empty folder and an empty report to fill: renamed to `place` when the block ends well, else removed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    report: dict = {}
    try:
        yield folder, report
        (folder / REPORT).write_text(json.dumps(report, ensure_ascii=True), encoding="ascii")
        try:
            folder.rename(place)
        except OSError:
            if not (place / REPORT).is_file():  # else a worker of a killed build was as quick: its bytes are the same
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_report(place: Path) -> dict:
    """The report a unit left. CodesageError when it is damaged, which only a power cut can do."""
    try:
        return json.loads((place / REPORT).read_text(encoding="ascii"))
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
