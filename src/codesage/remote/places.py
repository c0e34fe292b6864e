"""Places where units write their results: a local folder, or a prefix of an object store.

In: an address: a path or `scheme://...`. Out: a place that can be joined with `/` and opened for reading. Local places are
`pathlib.Path`; all others are `Remote`. Arrow itself reads S3, with the credentials from the usual environment variables
and files, at AWS_ENDPOINT_URL if that is set. Every other scheme goes through fsspec and its driver.

An object store cannot rename. So an attempt at a unit uploads its files under a unique name and then writes one small
object, `committed`, that holds this name. Readers look there first. So a unit is either complete or absent, and the files
of a killed attempt are never read.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as arrow_fs
import pyarrow.parquet as pq

from codesage.errors import CodesageError

COMMITTED = "committed"
_ATTEMPTS = 4  # of the S3 client at one request
_CONNECT = 5.0  # timeout in seconds
_COPIED = 8 << 20  # bytes copied at a time


@dataclass(frozen=True, slots=True)
class Remote:
    """An address in an object store, with the methods of `pathlib.Path` that a build needs. Picklable."""

    address: str

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.address.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self.address.rsplit("/", 1)[1]

    @property
    def parent(self) -> "Remote":
        """The address up to the last slash."""
        return Remote(self.address.rsplit("/", 1)[0])

    def open(self) -> pa.NativeFile:
        """Open a file of the committed attempt for reading. FileNotFoundError when there is none."""
        attempt = (self.parent / COMMITTED).read().decode("ascii")
        return (self.parent / attempt / self.name)._opened()

    def download(self, target: Path) -> None:
        """Copy a file of the committed attempt to the local file `target`."""
        with self.open() as source, open(target, "wb") as file:
            while data := self._read_part(source):
                file.write(data)

    def read(self) -> bytes:
        """All bytes of the object at exactly this address. FileNotFoundError when there is none."""
        with _store_errors(self), self._opened() as file:
            return file.read()

    def write(self, data: bytes) -> None:
        """Write one object, completely or not at all."""
        system, path = _system(self.address)
        with _store_errors(self), system.open_output_stream(path) as file:
            file.write(data)

    def commit(self, folder: Path) -> None:
        """Upload the files of `folder` as one attempt at this unit. If another attempt was committed first, that one stays."""
        attempt = uuid4().hex
        system, path = _system(self.address)
        with _store_errors(self):
            for file in sorted(folder.iterdir()):
                _make_folder(system, f"{path}/{attempt}")
                arrow_fs.copy_files(
                    str(file),
                    f"{path}/{attempt}/{file.name}",
                    source_filesystem=arrow_fs.LocalFileSystem(),
                    destination_filesystem=system,
                )
        if not self.committed():
            (self / COMMITTED).write(attempt.encode("ascii"))

    def committed(self) -> bool:
        """Whether an attempt at this unit is complete."""
        system, path = _system(f"{self.address}/{COMMITTED}")
        with _store_errors(self):
            return system.get_file_info(path).type == arrow_fs.FileType.File

    def below(self) -> list[str]:
        """Names of all objects below this address, relative to it; [] when there are none."""
        system, path = _system(self.address)
        with _store_errors(self):
            infos = system.get_file_info(arrow_fs.FileSelector(path, recursive=True, allow_not_found=True))
        return [info.path.removeprefix(path).lstrip("/") for info in infos if info.type == arrow_fs.FileType.File]

    def remove(self) -> None:
        """Delete the object at this address, or all objects below it."""
        system, path = _system(self.address)
        with _store_errors(self):
            kind = system.get_file_info(path).type
            if kind == arrow_fs.FileType.File:
                system.delete_file(path)
            elif kind == arrow_fs.FileType.Directory:
                system.delete_dir(path)

    def _read_part(self, source: pa.NativeFile) -> bytes:
        with _store_errors(self):
            return source.read(_COPIED)

    def _opened(self) -> pa.NativeFile:
        system, path = _system(self.address)
        with _store_errors(self):
            return system.open_input_file(path)


Place = Path | Remote


def place_of(address: str | Path) -> Place:
    """The place at `address`: `scheme://...` is remote, `file://` and all else are local."""
    address = str(address).removeprefix("file://")
    return Remote(address.rstrip("/")) if "://" in address else Path(os.path.abspath(address))


@contextmanager
def parquet(place: Place) -> Iterator[pq.ParquetFile]:
    """Open the Parquet file at `place`."""
    with pq.ParquetFile(place if isinstance(place, Path) else place.open(), pre_buffer=not isinstance(place, Path)) as file:
        yield file


def committed(places: Iterable[Place], mark: str) -> set[str]:
    """Addresses of those `places` that are complete. A local place is complete when it holds a file `mark`.

    On an object store, each parent folder is listed once.
    """
    names, parents = set(), {}
    for place in places:
        if isinstance(place, Remote):
            parents.setdefault(str(place.parent), place.parent)
        elif (place / mark).is_file():
            names.add(str(place))
    for address, parent in parents.items():
        units = (name.rpartition("/") for name in parent.below())
        names.update(f"{address}/{unit}" for unit, _, last in units if last == COMMITTED)
    return names


@contextmanager
def _store_errors(place: Remote) -> Iterator[None]:
    """Turn the errors of a store into one line. FileNotFoundError passes through, since it says that one object is missing."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise CodesageError(f"cannot use {place}: {reason_of(str(error))}") from None
    except Exception as error:  # fsspec's drivers raise their own exceptions
        raise CodesageError(f"cannot use {place}: {type(error).__name__}: {reason_of(str(error))}") from None


def reason_of(message: str) -> str:
    """What an error of a store means, and how to fix it."""
    for sign, meaning in _MEANINGS.items():
        if sign.lower() in message.lower():
            return meaning
    return " ".join(message.split())


_MEANINGS = {
    "NO_SUCH_BUCKET": "there is no such bucket: create it first",
    "NoSuchBucket": "there is no such bucket: create it first",
    "INVALID_ACCESS_KEY": "the store does not know the access key: check AWS_ACCESS_KEY_ID",
    "InvalidAccessKeyId": "the store does not know the access key: check AWS_ACCESS_KEY_ID",
    "SIGNATURE": "the store refuses the secret key: check AWS_SECRET_ACCESS_KEY",
    "ACCESS_DENIED": "the store denies access: check the credentials and their rights on the bucket",
    "FORBIDDEN": "the store denies access: check the credentials and their rights on the bucket",
    "HTTP response code 403": "the store denies access: check the credentials and their rights on the bucket",
    "NETWORK_CONNECTION": "the store does not answer: check AWS_ENDPOINT_URL and the network",
    "ConnectError": "the store does not answer: check AWS_ENDPOINT_URL and the network",
    "curlCode": "the store does not answer: check AWS_ENDPOINT_URL and the network",
}


def _system(address: str) -> tuple[arrow_fs.FileSystem, str]:
    """The file system of an address, and the path in it."""
    scheme, _, path = address.partition("://")
    return (_s3(), path) if scheme == "s3" else _other(address)


@cache
def _s3() -> arrow_fs.FileSystem:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""  # Arrow reads neither
    scheme, _, host = endpoint.rpartition("://")
    return arrow_fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or None,
        connect_timeout=_CONNECT,
        retry_strategy=arrow_fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


def _other(address: str) -> tuple[arrow_fs.FileSystem, str]:
    """The file system of any address that fsspec knows. CodesageError when it knows none or the driver is not installed."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError:
        raise CodesageError(f"{address} needs fsspec: run pip install 'codesage[ray]'") from None
    try:
        system, path = url_to_fs(address)  # fsspec caches the file systems
    except Exception as error:  # its drivers raise their own exceptions
        raise CodesageError(f"cannot use {address}: {reason_of(str(error))}") from None
    return arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(system)), path


def _make_folder(system: arrow_fs.FileSystem, path: str) -> None:
    """Create a folder if the store has folders; S3 has none."""
    if not isinstance(system, arrow_fs.S3FileSystem):
        system.create_dir(path, recursive=True)
