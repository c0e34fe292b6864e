"""Import Ray, start it or join a running cluster, and turn its exceptions into one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codesage.errors import CodesageError


def load_ray() -> Any:
    """The module `ray`. CodesageError when it is not installed."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # read at import; else a line about each pool of workers
    try:
        import ray
    except ImportError:
        raise CodesageError("ray is not installed: run pip install 'codesage[ray]', or use --engine local") from None
    return ray


def start(ray: Any, workers: int) -> None:
    """Join the running cluster or start one here. Tries twice, since a busy machine can fail once; then CodesageError."""
    options = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers or None, "include_dashboard": False}
    for last in (False, True):
        try:
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as error:  # Ray raises bare Exceptions too
            ray.shutdown()
            if isinstance(error, ValueError):
                options = {}  # `ray start` has started a cluster here, and its size is already set
            if last:
                reason = " ".join(str(error).split())
                raise CodesageError(f"cannot start Ray: {reason}: try again, or use --engine local") from None


@contextmanager
def errors() -> Iterator[None]:
    """Turn Ray's exceptions into the CodesageError that a worker raised, or into one line that says what happened."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause: BaseException = error
        while inner := getattr(cause, "cause", None) or cause.__cause__:
            cause = inner
        if isinstance(cause, CodesageError):
            raise cause from None
        reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
        raise CodesageError(f"the Ray cluster failed ({reason}): run the same command again, it resumes") from None
