"""Units and a task that hurt the process they run in: for tests of the engines, which import them in other processes."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from codesage.errors import CodesageError


@dataclass(frozen=True)
class Words:
    """A unit: what each word does is in `harm`."""

    words: tuple[str, ...]
    weight: int = 1


def harm(unit, guard):
    """A task: words back, and why one was stepped around."""
    told = []
    for index, word in enumerate(unit.words):
        why = guard.begin(index)
        if not why and word == "sleep":
            time.sleep(60)
        if not why and word == "spin":
            while True:
                pass
        if not why and word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if not why and word == "eat":
            np.ones(1 << 40)
        if not why and word == "raise":
            raise CodesageError("the words are wrong")
        told.append((word, why))
    return told


def kill_the_caller(unit, guard):
    """A task: the process that waits for it dies."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
