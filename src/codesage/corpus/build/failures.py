"""What goes wrong on a Ray cluster, as one line: a task's own error as it was raised, all else as a CodesageError."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from codesage.errors import CodesageError

_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Died|Exit|Interrupt)\b: ")


@contextmanager
def of_cluster() -> Iterator[None]:
    """Turn Ray's exceptions into the CodesageError that a task raised, or into one that says what became of the cluster."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise _known(error) or CodesageError(
            f"the Ray cluster failed ({_named(error)}): run the same command again, it resumes"
        ) from None


def _known(error: BaseException | None) -> CodesageError | None:
    """The CodesageError among the causes of `error`."""
    while error is not None and not isinstance(error, CodesageError):
        error = getattr(error, "cause", None) or error.__cause__
    return error


def _named(error: BaseException) -> str:
    """The last exception that the text of `error` names, since Ray puts tracebacks and advice around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if _EXCEPTION.match(line)]
    return (named or lines or [type(error).__name__])[-1]
