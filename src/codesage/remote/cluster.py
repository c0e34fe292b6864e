"""Start Ray, or join a cluster that runs."""

import os
from typing import Any

from codesage.errors import CodesageError


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
