"""Addresses of stores, the connection behind an address, and the right to write there.

In: `lance://FOLDER`, or `lance://` before the address of an object store, as in `lance://s3://bucket/code`. Out: a connection
of LanceDB, whose client takes credentials from the usual AWS variables and files. The client also knows `gs://` and `az://`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from codesage.errors import CodesageError

if TYPE_CHECKING:
    from lancedb import DBConnection

SCHEME = "lance://"
_PATIENCE = 0.5  # seconds to wait for another writer in a local folder
_RETRIES = {"client_max_retries": "3", "client_retry_timeout": "30", "connect_timeout": "5s"}


def location_of(address: str) -> str:
    """The folder, as an absolute path, or the address in an object store. CodesageError when `address` is that of no store."""
    rest = address.removeprefix(SCHEME).rstrip("/")
    if rest == address.rstrip("/") or not rest:
        raise CodesageError(f"{address} is not the address of a store: expected lance://FOLDER, or lance://s3://BUCKET/FOLDER")
    return rest if is_remote(rest) else os.path.abspath(os.path.expanduser(rest))


def is_remote(location: str) -> bool:
    """Whether a location lies in an object store."""
    return "://" in location


def connected(address: str) -> "DBConnection":
    """A connection to a store; a local folder is made. CodesageError when the store is out of reach."""
    os.environ.setdefault("LANCE_LOG", "error")  # read at import: warnings of the library do not concern a user
    import lancedb

    location = location_of(address)
    with store_errors(address):
        if not is_remote(location):
            Path(location).mkdir(parents=True, exist_ok=True, mode=0o700)
        return lancedb.connect(location, storage_options=_options(location))


def _options(location: str) -> dict[str, str] | None:
    """What the client of an object store is told beside the environment, of which it does not read all."""
    if not is_remote(location):
        return None
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if not location.startswith("s3://") or not endpoint:
        return dict(_RETRIES)
    return {**_RETRIES, "aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}


@contextmanager
def store_errors(address: str) -> Iterator[None]:
    """Turn what LanceDB raises into one line. Only calls of LanceDB belong in the block."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        from codesage.remote.places import reason_of

        message = str(error).partition(", location: Location")[0]
        raise CodesageError(f"cannot use {address}: {reason_of(message)[:300]}") from None


@contextmanager
def one_writer(address: str) -> Iterator[Callable[[], None]]:
    """The right to write a store, for the block; the function that it gives raises when the right has been lost.

    A lock in a local folder, a lease in an object store. CodesageError when another process has the right.
    """
    location = location_of(address)
    if is_remote(location):
        from codesage.remote.lease import Lease
        from codesage.remote.places import Remote

        lease, done = Lease(Remote(location), user="process", option="--store"), False
        try:
            yield lease.check
            done = True
        finally:
            lease.release(remove=done)
        return
    lock = FileLock(Path(location) / "lock")
    try:
        Path(location).mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire(timeout=_PATIENCE, poll_interval=0.02)
    except Timeout:
        raise CodesageError(f"another process is using {address}: wait for it, or choose another --store") from None
    except OSError as error:
        raise CodesageError(f"cannot use {address}: {error}") from None
    try:
        yield lambda: None
    finally:
        lock.release()
