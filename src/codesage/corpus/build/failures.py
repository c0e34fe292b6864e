"""What goes wrong on a Ray cluster, as one line: a task's own error as it was raised, all else as a CodesageError."""

from collections.abc import Iterator
from contextlib import contextmanager

from codesage.errors import CodesageError


@contextmanager
def of_cluster() -> Iterator[None]:
    """Turn Ray's exceptions into the CodesageError that a task raised, or into one that says what became of the cluster."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise _known(error) or CodesageError(
            f"the Ray cluster failed ({type(error).__name__}: {_last_line(error)}): run the same command again, it resumes"
        ) from None


def _known(error: BaseException | None) -> CodesageError | None:
    """The CodesageError among the causes of `error`."""
    while error is not None and not isinstance(error, CodesageError):
        error = getattr(error, "cause", None) or error.__cause__
    return error


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else ""
