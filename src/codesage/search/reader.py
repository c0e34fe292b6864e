"""A second process that reads files for an index (search.reading); requests and answers are pickles over its pipes.

It takes a while to start. `start_early` starts it before a first search loads its own modules and the model, and gives it the
first batches, so that it need not wait for these.
"""

import atexit
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from codesage.errors import CodesageError
from codesage.machine import processors
from codesage.search.defaults import NO_SPINNING

if TYPE_CHECKING:
    from codesage.search.files import File

FILES_A_BATCH = 16
FEWEST_BATCHES = 6  # batches, for a second process to pay
BATCHES_AHEAD = 2  # batches that the second process has been asked for


class Reader:
    """A second process that reads batches in the order of the requests. Its answer is None after it has failed."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self.ended = False
        self.asked: list[list[File]] = []  # before the update began
        command = [sys.executable, "-P", "-c", "from codesage.search.reading import serve; serve()"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"OPENBLAS_THREAD_TIMEOUT": NO_SPINNING, **os.environ, "PYTHONPATH": os.pathsep.join(_import_path())},
            )
        except OSError:
            self.ended = True
            return
        self._thread = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._thread.start()

    def _listen(self, answers: IO[bytes]) -> None:
        try:
            with suppress(Exception):  # half an answer can fail in any way, and the batch is then read here
                while True:
                    self._answers.put(pickle.load(answers))
        finally:
            self.ended = True
            self._answers.put(None)

    def ask(self, files: "list[File]") -> None:
        """Have files read: a list of search.files.File."""
        requests = cast(IO[bytes], cast(subprocess.Popen, self._process).stdin)
        with suppress(OSError):  # it has ended: its answer is None
            pickle.dump(files, requests)
            requests.flush()

    @property
    def has_answered(self) -> bool:
        """Whether an answer is there."""
        return not self._answers.empty()

    def answer(self) -> Any:
        """The next answer: a search.reading.Batch, or None if the process has ended."""
        received = self._answers.get()
        if received is None:
            self._answers.put(None)  # and so are all that follow
        return received

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._thread is not None:
            self._process.kill()
            self._thread.join()
            for pipe in filter(None, (self._process.stdin, self._process.stdout)):
                with suppress(OSError):
                    pipe.close()
            self._process.wait()


_STARTED: list[Reader] = []  # early, and not used yet
_LISTED: "list[tuple[Path, float, list[File]]]" = []  # early and not used yet: a root, time.monotonic() of it, its files
_FRESH = 5.0  # seconds for which such a list is used
_MANY = 100  # files of a folder that is likely to hold enough to read


def start_early(folder: str) -> None:
    """Start a second process for the next update in this process, if `folder` holds many files, and list these."""
    if processors() > 1 and not _STARTED and _holds_many(folder):
        helper = Reader()
        atexit.register(helper.close)
        _STARTED.append(helper)
        from codesage.search.files import in_order, stamped  # while the other process starts

        with suppress(CodesageError, OSError):  # the update says what is wrong
            files = in_order(stamped(Path(folder)))
            _LISTED[:] = [(Path(folder), time.monotonic(), files)]
            if len(files) > (FEWEST_BATCHES - 1) * FILES_A_BATCH and not helper.ended:
                helper.asked = [files[at : at + FILES_A_BATCH] for at in range(0, BATCHES_AHEAD * FILES_A_BATCH, FILES_A_BATCH)]
                for some in helper.asked:
                    helper.ask(some)


def listed(root: Path) -> "list[File] | None":
    """The files of `root`, if they were listed early, and just now. They are given once."""
    of, when, files = _LISTED.pop() if _LISTED else (None, 0.0, [])
    return files if of == root and time.monotonic() - when < _FRESH else None


def started(lists: "list[list[File]]") -> Reader | None:
    """The second process that was started early, if it was asked for the first of `lists`. It is given once, to be closed."""
    helper = _STARTED.pop() if _STARTED else None
    if helper is not None and helper.asked != lists[: len(helper.asked)]:
        helper.close()
        return None
    return helper


def _holds_many(folder: str) -> bool:
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        count += len(files)
        if count >= _MANY:
            return True
    return False


def _import_path() -> list[str]:
    """Where this process imports from, without the working folder: that may be a repository of strangers."""
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    foreign = {os.path.realpath(os.getcwd())} - {own}
    return [entry for entry in sys.path if entry and os.path.realpath(entry) not in foreign]
