"""Artifacts: folders with a manifest, which pass results from one stage to the next.

In: a block that fills an empty folder. Out: a complete and verified folder, or nothing. Files are written into a temporary
folder beside the target and synced. The manifest (sizes and SHA-256) is written last, and then the folder is renamed into
place. A reader accepts a folder only if its manifest names the expected kind and every file matches the size and, by
default, the hash in the manifest. If the process is killed at any moment, either the old or the new folder exists;
`open_artifact` restores the old one if it had been moved aside.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codesage.errors import CodesageError

MANIFEST = "manifest.json"
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


@dataclass(frozen=True, slots=True)
class Artifact:
    """An opened artifact: its folder, its kind ("corpus", "tokenizer", "model", ...), settings and facts."""

    path: Path
    kind: str
    settings: dict
    facts: dict
    fingerprint: str  # SHA-256 over the files' hashes: artifacts with equal content have equal fingerprints


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(file: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write `content` to `file` by one rename: readers, and what a kill leaves, have the old content or the new one.

    `mode`: the permissions of the file, of which the process's umask takes some away.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as opened:
            opened.write(data)
        os.replace(beside, file)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def check_target(target: Path | str, kind: str) -> Path:
    """`target`, absolute. CodesageError when anything but an artifact of this kind is there, or its folder cannot be written.

    `publish` checks this too. Commands that work for minutes before they publish check it first.
    """
    target = Path(os.path.abspath(target))
    if (there := _kind_of(target)) not in ("", kind):
        raise CodesageError(f"{target} is a {there} folder, which a {kind} folder would replace: choose another --out")
    if target.exists() and not (target / MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise CodesageError(f"{target} exists and holds no {MANIFEST}: choose another --out or remove it")
    nearest = next(one for one in target.parents if one.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        reason = "must not be written" if nearest.is_dir() else "is a file"
        raise CodesageError(f"cannot write {target}: {nearest} {reason}: choose another --out")
    return target


def _kind_of(target: Path) -> str:
    """The kind of the artifact at `target`; "" without one, and where its manifest is damaged."""
    try:
        return str(json.loads((target / MANIFEST).read_text(encoding="utf-8"))["kind"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


@contextmanager
def publish(target: Path | str, kind: str, *, settings: dict, facts: dict | None = None) -> Iterator[Path]:
    """Yield an empty folder beside `target`. If the block succeeds, add a manifest and rename the folder to `target`.

    The block may fill `facts` (counts, reasons for skips). An existing artifact of this kind is replaced only at the end. A
    `target` that is anything else is never changed. Raises CodesageError when it is, or when the disk is full. Other errors of
    the block are passed on, and the temporary folder is removed.
    """
    target = check_target(target, kind)
    facts = {} if facts is None else facts
    staging = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.tmp-", dir=target.parent))
        staging.chmod(0o755)
        yield staging
        _seal(staging, kind, settings, facts)
        _swap(staging, target)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise CodesageError(
            f"cannot write {target}: {error.strerror or error}: free some space or choose another --out"
        ) from error
    finally:
        if staging is not None and staging.exists():
            shutil.rmtree(staging, ignore_errors=True)


def open_artifact(path: Path | str, kind: str, *, verify: bool = True) -> Artifact:
    """Open the artifact at `path` and check its kind and its files (sizes always, hashes if `verify`).

    Raises CodesageError when the folder is missing, truncated, corrupt, of another kind or not an artifact. The message says
    what was found, what was expected and how to fix it.
    """
    path = Path(path)
    previous = _previous(path)
    if not path.exists() and previous.exists():  # killed between the two renames of _swap
        previous.rename(path)
    if not path.is_dir():
        raise CodesageError(f"{path}: no such folder: expected a {kind} folder written by codesage")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        actual, files = manifest["kind"], manifest["files"]
        entries = [(name, int(entry["bytes"]), str(entry["sha256"])) for name, entry in sorted(files.items())]
        settings, facts = ({**manifest.get(name, {})} for name in ("settings", "facts"))
    except FileNotFoundError:
        raise CodesageError(f"{path} holds no {MANIFEST}: expected a {kind} folder written by codesage") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CodesageError(f"{path / MANIFEST} is not readable ({error}): make the {kind} again") from None
    if actual != kind:
        raise CodesageError(f"{path} is a {actual} folder, expected a {kind} folder")
    for name, size, digest in entries:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise CodesageError(f"{path / MANIFEST} names {name!r}, outside its folder: make the {kind} again")
        _check_file(path / name, size, digest if verify else None, kind)
    fingerprint = hashlib.sha256("".join(digest for _, _, digest in entries).encode()).hexdigest()
    return Artifact(path, kind, settings, facts, fingerprint)


def open_any(path: Path, kind: str, *, verify: bool = True) -> Artifact:
    """As `open_artifact`. A folder without a manifest, which another program wrote, has no settings, facts and fingerprint."""
    return open_artifact(path, kind, verify=verify) if (path / MANIFEST).is_file() else Artifact(path, kind, {}, {}, "")


def _check_file(file: Path, size: int, digest: str | None, kind: str) -> None:
    if not file.is_file():
        raise CodesageError(f"{file} is missing: the {kind} is incomplete, make it again")
    actual = file.stat().st_size
    if actual != size:
        raise CodesageError(f"{file} has {actual} bytes, its manifest says {size}: make the {kind} again")
    if digest is not None and sha256_of(file) != digest:
        raise CodesageError(f"{file} does not match the SHA-256 in its manifest: make the {kind} again")


def _seal(folder: Path, kind: str, settings: dict, facts: dict) -> None:
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        _sync(file)
        files[file.relative_to(folder).as_posix()] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    manifest = {"kind": kind, "settings": settings, "facts": facts, "files": files}
    out = folder / MANIFEST
    out.write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    _sync(out)
    _sync(folder)


def _swap(staging: Path, target: Path) -> None:
    previous = _previous(target)
    if target.exists():
        if previous.exists():
            shutil.rmtree(previous)
        target.rename(previous)
    staging.rename(target)
    _sync(target.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _previous(target: Path) -> Path:
    return target.parent / f".{target.name}.previous"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
