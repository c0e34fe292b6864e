"""Download a file, verify it, and resume an interrupted download.

In: an address and the checksum of its content. Out: the file, or a CodesageError. Bytes go into a file with the suffix `.part`
beside the target. It is renamed to the target when it is complete and the checksum is right. So the target is always complete,
even if a process was killed.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock

from codesage.artifacts import sha256_of
from codesage.errors import CodesageError

_BLOCK = 1 << 20
_TIMEOUT = 60.0  # seconds without an answer


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a hub. `sha256`: of its bytes; `blob`: the object id that git gives it (SHA-1); "" where not known."""

    url: str
    sha256: str = ""
    blob: str = ""


def fetch(remote: Remote, target: Path, *, say: Callable[[str], None] = lambda line: None) -> None:
    """Fetch `remote` to `target`, unless it is there. `say` is called with a line about each file.

    CodesageError when the network fails, the answer ends early, or the bytes are not those that were published. Received bytes
    are kept, and the next call resumes after them. Bytes with a wrong checksum are removed.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{part}.lock"):
            if not target.is_file():
                _receive(remote.url, part, say)
                _verify(remote, part)
                os.replace(part, target)
    except (OSError, HTTPException, ValueError) as error:
        raise CodesageError(f"{remote.url} cannot be fetched ({_reason(error)})") from None


def _receive(url: str, part: Path, say: Callable[[str], None]) -> None:
    """Append the missing bytes of `url` to `part`. OSError when the answer ends early."""
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "codesage", **({"Range": f"bytes={start}-"} if start else {})})
    try:
        response = urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code != 416 or not start:  # 416: nothing comes after `start`
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] != str(start):
            part.unlink()
            _receive(url, part, say)
        return
    with response, open(part, "ab") as out:
        if getattr(response, "status", None) != 206:
            out.truncate(0)
        length = response.headers.get("Content-Length")
        say(f"fetching {url}" + (f" ({int(length) / 1e6:,.1f} MB)" if length else ""))
        missing = int(length or 0)
        while block := response.read(_BLOCK):
            out.write(block)
            missing -= len(block)
        out.flush()
        os.fsync(out.fileno())
        if length and missing > 0:
            raise OSError(f"the answer ends {missing:,} bytes early: run again to resume")


def _verify(remote: Remote, part: Path) -> None:
    actual = sha256_of(part) if remote.sha256 else blob_of(part) if remote.blob else ""
    expected = remote.sha256 or remote.blob
    if actual != expected:
        part.unlink()
        raise OSError(f"its checksum is {actual[:12]}, expected {expected[:12]}: the content differs from what was published")


def blob_of(file: Path) -> str:
    """The object id that git gives a file: SHA-1 of "blob", its size and its bytes, hexadecimal."""
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(file, "rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP status {error.code}"
    return str(getattr(error, "reason", "") or error).strip() or type(error).__name__
