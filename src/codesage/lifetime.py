"""End a child process when its parent dies, so that a killed command leaves no process behind."""

import os
import signal
import sys
import threading


def parent_of_children() -> int:
    """What a child passes to `die_with`: the id of this process, or 0 from a thread that may end before its children.

    Linux sends the signal when the thread that started the child ends.
    """
    return os.getpid() if threading.current_thread() is threading.main_thread() else 0


def die_with(parent: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """On Linux, send this process the signal `by` when its parent dies. Does nothing if `parent` is 0."""
    if parent and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, by)  # 1: PR_SET_PDEATHSIG
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)
