"""Fingerprints of the present inputs of a build. If the files change, the fingerprint changes, and so does the corpus."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from codesage.corpus.sources.digests import digests_of
from codesage.corpus.sources.given import GitHead
from codesage.corpus.sources.packages import Package
from codesage.corpus.sources.trees import Source, StackParquet
from codesage.languages import language_of
from codesage.paths import is_prose


def state_of(source: Source, cache: Path) -> tuple[int, str]:
    """(approximate bytes to read, fingerprint). For local files it covers their names, sizes and times.

    Fetched sources have a pinned version, so only their key counts, and the fingerprint is "". For a repository that is
    read in place, it is the commit.
    """
    if isinstance(source, Package):
        return sum(file.stat().st_size for file in _archives(source, cache)), ""
    if isinstance(source, GitHead):
        return 0, source.commit
    size, digest = 0, hashlib.sha256()
    path = str(getattr(source, "path", ""))
    for file in map(str, source.files()) if isinstance(source, StackParquet) else _readable_files(path):
        status = os.stat(file, follow_symlinks=file == path)
        size += status.st_size
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return size, digest.hexdigest()


def archive_of(source: Source, cache: Path) -> dict[str, str]:
    """SHA-256 of each file that was fetched for a package, by name; {} for sources that are not packages."""
    return digests_of(source.folder(cache)) if isinstance(source, Package) else {}


def benchmarks_of(folder: str) -> str:
    """Fingerprint of the benchmark items in a folder. `folder` is "" when there is none."""
    digest = hashlib.sha256()
    for file in sorted(Path(folder).rglob("*.jsonl")) if folder else []:
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _archives(source: Package, cache: Path) -> list[Path]:
    return sorted(file for file in source.folder(cache).rglob("*") if file.is_file())


def _readable_files(path: str) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if language_of(name) or is_prose(name):  # ignores files that this build itself may be writing below the folder
                yield os.path.join(folder, name)
