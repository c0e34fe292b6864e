"""What a process may use of the machine it runs on: processors, and the user's folder for caches."""

import os
from pathlib import Path


def processors() -> int:
    """Number of processors that this process may use: a container or `taskset` may allow it only some of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder(name: str) -> Path:
    """Our folder of this name in the user's cache."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("codesage", appauthor=False)) / name
