"""Bounds on processor time that hold although another test's garbage may be collected meanwhile."""

import time
from collections.abc import Callable


def takes_less(seconds: float, run: Callable[[], object], *, tries: int = 3) -> bool:
    """Whether one of the first `tries` calls of `run` takes less than so many seconds of processor time."""
    for _ in range(tries):
        started = time.process_time()
        run()
        if time.process_time() - started < seconds:
            return True
    return False
