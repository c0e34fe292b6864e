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


def growth(make: Callable[[int], Callable[[], object]], size: int, *, tries: int = 5) -> float:
    """How many times as much processor time a call of `make(4 * size)` takes as one of `make(size)`, each the best of `tries`.

    4 in linear time, 16 in quadratic time.
    """
    least = []
    for each in (size, 4 * size):
        run, times = make(each), []
        for _ in range(tries):
            started = time.process_time()
            run()
            times.append(time.process_time() - started)
        least.append(min(times))
    return least[1] / least[0]
