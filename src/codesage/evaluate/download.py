"""Download a file, verify it, and resume an interrupted download.

In: an address and the checksum of its content. Out: the file, or a CodesageError. Bytes go into a file with the suffix `.part`
beside the target. It is renamed to the target when it is complete and the checksum is right. So the target is always complete,
even if a process was killed. A file with the suffix `.revision` holds the commit that the hub says the bytes are of.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock

from codesage.artifacts import sha256_of
from codesage.errors import CodesageError

_BLOCK = 1 << 20
_TIMEOUT = 60.0  # seconds without an answer
_REVISION = "X-Repo-Commit"  # the header in which the Hugging Face hub names the commit behind an address
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a hub. `sha256`: of its bytes; `blob`: the object id that git gives it (SHA-1); "" where not known."""

    url: str
    sha256: str = ""
    blob: str = ""


def fetch(remote: Remote, target: Path, *, say: Callable[[str], None] = lambda line: None) -> str:
    """Fetch `remote` to `target`, unless it is there. `say` is called with a line about each file.

    Returns the commit that the hub named with the bytes, or "" where it named none.

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
            return _kept_revision(part)
    except (OSError, HTTPException, ValueError) as error:
        raise CodesageError(f"{remote.url} cannot be fetched ({_reason(error)})") from None


class _Redirects(HTTPRedirectHandler):
    """Keeps the commit that a hub names when it redirects to where the bytes are."""

    def __init__(self) -> None:
        self.headers = HTTPMessage()

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """As in urllib."""
        if _REVISION in headers:
            self.headers = headers
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(url: str, part: Path, say: Callable[[str], None]) -> None:
    """Append the missing bytes of `url` to `part`. OSError when the answer ends early.

    Bytes of another commit than those in `part` are not appended: all are received anew.
    """
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "codesage", **({"Range": f"bytes={start}-"} if start else {})})
    redirects = _Redirects()
    try:
        response = build_opener(redirects).open(request, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code != 416 or not start:  # 416: nothing comes after `start`
            raise
        revision = _revision(redirects.headers, error.headers)
        if error.headers.get("Content-Range", "").rpartition("/")[2] != str(start) or _is_another(revision, part):
            part.unlink()
            _receive(url, part, say)
        return
    with response:
        revision, resumed = _revision(redirects.headers, response.headers), getattr(response, "status", None) == 206
        if not (resumed and _is_another(revision, part)):
            length = response.headers.get("Content-Length")
            say(f"fetching {url}" + (f" ({int(length) / 1e6:,.1f} MB)" if length else ""))
            _store(response, part, revision, resumed=resumed)
            return
    part.unlink()
    _receive(url, part, say)


def _store(response: Any, part: Path, revision: str, *, resumed: bool) -> None:
    """Write the bytes of an answer, behind those in `part` if it is `resumed`."""
    with open(part, "ab") as out:
        if not resumed:
            out.truncate(0)
            _revision_file(part).write_text(revision, encoding="ascii")
        length = response.headers.get("Content-Length")
        missing = int(length or 0)
        while block := response.read(_BLOCK):
            out.write(block)
            missing -= len(block)
        out.flush()
        os.fsync(out.fileno())
        if length and missing > 0:
            raise OSError(f"the answer ends {missing:,} bytes early: run again to resume")


def _revision(*answers: Message) -> str:
    """The commit in the first of the headers that has one, or ""."""
    return next((found for headers in answers if _COMMIT.fullmatch(found := headers.get(_REVISION, ""))), "")


def _is_another(revision: str, part: Path) -> bool:
    """Whether a hub names another commit than for the bytes in `part`."""
    return revision not in ("", _kept_revision(part))


def _kept_revision(part: Path) -> str:
    file = _revision_file(part)
    return file.read_text(encoding="ascii") if file.is_file() else ""


def _revision_file(part: Path) -> Path:
    return part.with_suffix(".revision")


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
