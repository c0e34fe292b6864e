"""Tasks that harm the process they run in. Tests of the engines import them in other processes."""

import os
import signal
import sys
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from codesage.errors import CodesageError


@dataclass(frozen=True)
class Words:
    """A unit of words; `harm` says what each word does."""

    words: tuple[str, ...]
    weight: int = 1


def harm(unit, guard):
    """A task: returns each word with the reason why it was skipped, or ""."""
    results = []
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
        results.append((word, why))
    return results


def loads_pandas(unit, guard):
    """A task: whether a list as an array imports pandas, and whether pandas can be imported all the same."""
    pa.array(unit.words)
    loaded = "pandas" in sys.modules
    return loaded, pa.table({"word": unit.words}).to_pandas().shape


def kill_the_caller(unit, guard):
    """A task: kills the process that waits for it."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
