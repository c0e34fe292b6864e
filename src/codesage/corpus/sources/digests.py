"""SHA-256 of downloaded packages: of the fetched files, in the pins of a recipe, and of the files in the cache now.

Beside the folder of each package lies FOLDER.sha256, in the format of sha256sum, with the hashes of the fetched files. So
the next build notices a file that was damaged or removed later, before it reads anything.
"""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from codesage.artifacts import sha256_of
from codesage.errors import CodesageError

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Whether `text` is a SHA-256 in lower-case hexadecimal digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below `folder`, by its path relative to `folder`, sorted; {} when the folder does not exist."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def record(files: Path, folder: Path) -> None:
    """Record the hashes of the files fetched for the package at `folder`. The files are still in `files`."""
    lines = [f"{digest}  {name}\n" for name, digest in digests_of(files).items()]
    recorded(folder).write_text("".join(lines), encoding="utf-8")


def recorded(folder: Path) -> Path:
    """The file with the hashes of the files fetched for the package at `folder`."""
    return folder.with_name(f"{folder.name}.sha256")


def pin_of(folder: Path, key: str) -> str:
    """The hash that a recipe pins for a package: the SHA-256 of its archive, or of its .dsc, which lists its tarballs'."""
    digests = digests_of(folder)
    names = [name for name in digests if name.endswith(".dsc")] or list(digests)
    if len(names) != 1:
        raise CodesageError(f"{key}: {folder} holds {len(names)} files, expected one archive: remove it and run again")
    return digests[names[0]]


def check(folder: Path, pins: Sequence[str], key: str) -> None:
    """Check the files at `folder`. CodesageError when they differ from the fetched files or match none of `pins` (if any)."""
    digests, cure = digests_of(folder), f"remove {folder} and run again to fetch it anew"
    for name, expected in _recorded_digests(folder).items():
        if digests.get(name) != expected:
            raise CodesageError(
                f"{key}: {folder / name} was damaged after it was fetched "
                f"(SHA-256 {digests.get(name) or 'none, the file is missing'}, expected {expected}): {cure}"
            )
    if pins and (pin := pin_of(folder, key)) not in pins:
        raise CodesageError(
            f"{key}: SHA-256 is {pin}, the recipe expects {' or '.join(pins)}: {cure}; "
            "if this machine gets another file, check that file and run 'codesage corpus pin RECIPE --add'"
        )


def _recorded_digests(folder: Path) -> dict[str, str]:
    try:
        lines = recorded(folder).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # fetched by an earlier version
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _digest(file: Path) -> str:
    status = os.stat(file)
    return _digest_at(str(file), status.st_size, status.st_mtime_ns, status.st_ino)


@functools.cache  # a build needs it twice: when it fetches and when it reports
def _digest_at(file: str, size: int, time: int, number: int) -> str:
    return sha256_of(Path(file))
