"""What a process may use of the machine it runs on: processors, memory, and the user's folder for caches."""

import os
from contextlib import suppress
from pathlib import Path


def processors() -> int:
    """Number of processors that this process may use: a container or `taskset` may allow it only some of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Where Linux tells the limit of a container, for both versions of its control groups.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory() -> int:
    """Bytes of memory that this process may use: those of the machine, or fewer in a container with a limit. 0: not known."""
    try:
        known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 0
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # "max" is no limit
            known.append(int(limit.read_text()))
    return max(0, min(known))


def cache_folder(name: str) -> Path:
    """Our folder of this name in the user's cache."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("codesage", appauthor=False)) / name
