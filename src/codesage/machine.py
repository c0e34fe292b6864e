"""What a process may use of the machine it runs on."""

import os


def processors() -> int:
    """Number of processors that this process may use: a container or `taskset` may allow it only some of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
