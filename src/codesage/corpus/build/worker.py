"""A worker process that can be killed. It runs tasks and skips items that make it crash or hang.

In: a task (a picklable callable), a unit of work. Out: the task's result. The task reports through its Guard which item of
the unit it is working on. The Guard writes this to shared memory. So when the process hangs, runs out of memory or crashes
inside a C library, the parent knows which item is the cause. A new process then does the unit again without that item. (A
timer inside the process would not work: the parser holds the interpreter lock, and no code runs after a stack overflow.)
"""

import gc
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from ctypes import Array, c_double
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeVar

from codesage.errors import CodesageError
from codesage.lifetime import die_with, parent_of_children

_PATIENCE = 30  # limit on elapsed time, as a multiple of the limit on processor time: an item may wait for the disk
MOST_UNCOLLECTED = 50_000  # new objects between two garbage collections: tasks make many records and hardly any cycles
_STARTS = 3  # crashes in a row outside any item, after which the build gives up
_CHILD = get_context("spawn")  # not fork, since the caller may have threads


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on one item."""

    seconds: float = 20.0  # processor time; the limit on elapsed time is 30 times as long
    memory: int = 4 << 30  # bytes of address space for the whole process; 0: no limit


@dataclass(slots=True)
class Guard:
    """Tells the parent which item a task is working on, and tells the task which items to skip."""

    at: "Array[c_double]"  # shared: processor seconds, clock, item
    avoid: dict[int, str] = field(default_factory=dict)  # item -> "time", "memory", "crash" or "recursion"
    end: int = sys.maxsize  # this item cannot even be read: the unit ends before it

    def begin(self, item: int) -> str:
        """Announce that work on `item` begins (numbered from 0). Returns why it must be skipped, or ""."""
        self.at[0] = time.process_time()
        self.at[1] = time.monotonic()
        self.at[2] = item  # written last: a parent that reads in between sees the new times with the old item: harmless
        return self.avoid.get(item, "")

    def rest(self) -> None:
        """Announce that the task is not working on an item, so the time is not limited from here."""
        self.at[2] = -1


T = TypeVar("T")
Task = Callable[[T, Guard], Any]


@dataclass(frozen=True, slots=True)
class _Child:
    """A running process, the channel to it, and the memory that its Guard writes."""

    process: SpawnProcess
    channel: Connection
    at: "Array[c_double]"

    def reason_of_death(self) -> str:
        """Wait for the end of the process; returns "memory" or "crash"."""
        self.process.join()
        return "memory" if self.process.exitcode == -signal.SIGKILL else "crash"  # the kernel sends SIGKILL only for memory

    def overdue(self, seconds: float) -> bool:
        """Whether the present item has taken more than `seconds` of processor time."""
        waited = time.monotonic() - self.at[1]
        if waited <= seconds:
            return False
        used = _processor_seconds(self.process.pid)
        return used is None or used - self.at[0] > seconds or waited > _PATIENCE * seconds

    def kill(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.channel.close()


class Worker:
    """A separate process that runs one unit at a time. `start` gives it a unit, and `answer` checks whether it is done."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._child: _Child | None = None
        self._deaths = 0

    @property
    def channel(self) -> Connection:
        """A connection that becomes readable when there is an answer or the process has died."""
        return self._running().channel

    def start(self, task: Task[T], unit: T) -> None:
        """Start `task(unit, guard)`."""
        self._job, self._avoid, self._end = (task, unit), {}, sys.maxsize
        self._send()

    def answer(self) -> tuple[object] | None:
        """(result,) when the unit is done, None while it runs. After a crash it starts the unit again without the bad item.

        Raises what the task raised, or CodesageError when the process dies repeatedly outside any item.
        """
        child = self._running()
        if child.channel.poll():
            try:
                kind, value, item = child.channel.recv()
            except (EOFError, OSError):
                return self._blame(child.reason_of_death(), int(child.at[2]))
            if kind == "failed":
                raise value
            if kind == "hurt":
                return self._blame(value, item)
            self._deaths = 0
            return (value,)
        if not child.process.is_alive():
            return self._blame(child.reason_of_death(), int(child.at[2]))
        item = int(child.at[2])
        if item >= 0 and child.overdue(self._limits.seconds):
            return self._blame("time", item)
        return None

    def run(self, task: Task[T], unit: T) -> Any:
        """Run `task(unit, guard)` and wait for its result."""
        self.start(task, unit)
        while (answer := self.answer()) is None:
            self.channel.poll(0.2)
        return answer[0]

    def close(self) -> None:
        """Kill the process."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _running(self) -> _Child:
        """The process, which is started if there is none."""
        if self._child is None:
            at = _CHILD.RawArray("d", [0.0, 0.0, -1.0])
            ours, theirs = _CHILD.Pipe()
            arguments = (theirs, at, self._limits, parent_of_children())
            process = _CHILD.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._child = _Child(process, ours, at)
        return self._child

    def _send(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the process died meanwhile; answer() notices it
            self._running().channel.send((*self._job, self._avoid, self._end))

    def _blame(self, reason: str, item: int) -> None:
        self.close()
        if item < 0:
            self._deaths += 1
            if self._deaths >= _STARTS:
                raise CodesageError(
                    f"worker processes keep dying ({reason}), and no single file is the cause: free some memory; "
                    "in a script of your own, call build under if __name__ == '__main__'"
                )
        elif item in self._avoid:
            self._end = item
        else:
            self._avoid[item] = reason
        self._send()


def _processor_seconds(process: int | None) -> float | None:
    """Processor time that a process has used; None where /proc does not have it."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(channel: Connection, at: "Array[c_double]", limits: Limits, parent: int) -> None:
    """Main function of the process: receive tasks and send answers until the channel closes."""
    os.environ["OMP_NUM_THREADS"] = "1"  # set before Arrow and numpy read it: each process uses one core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    die_with(parent)
    _limit_memory(limits.memory)
    _spare_pandas()
    gc.set_threshold(MOST_UNCOLLECTED)
    while True:
        try:
            task, unit, avoid, end = channel.recv()
        except (EOFError, OSError):
            return
        at[2] = -1
        answer = _answer(task, unit, Guard(at, avoid, end))
        at[2] = -1
        channel.send(answer)


class _NoPandas:
    """A finder for `sys.meta_path` that finds no pandas, and leaves other modules to the next finder."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _spare_pandas() -> None:
    """Let Arrow find no pandas in this process. It looks once, to tell lists from series, and the import takes 0.15 s."""
    import pyarrow as pa  # not before OMP_NUM_THREADS is set

    sys.meta_path.insert(0, _NoPandas)
    pa.array([0])
    sys.meta_path.remove(_NoPandas)  # a source may need pandas


def _answer(task: Task[T], unit: T, guard: Guard) -> tuple[str, object, int]:
    try:
        return "done", task(unit, guard), -1
    except MemoryError:
        return "hurt", "memory", int(guard.at[2])
    except RecursionError:
        return "hurt", "recursion", int(guard.at[2])
    except Exception as error:
        return "failed", _sendable(error), int(guard.at[2])


def _sendable(error: Exception) -> Exception:
    """`error` with its traceback as a note, or a RuntimeError with its message when `error` cannot be pickled."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _limit_memory(limit: int) -> None:
    if not limit:
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with suppress(ValueError, OSError):  # macOS refuses
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
