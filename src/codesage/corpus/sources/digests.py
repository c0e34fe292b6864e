"""SHA-256 of downloaded packages: what was fetched, what a recipe pins, and what lies in the cache now.

Beside the folder of each package lies FOLDER.sha256, in the format of sha256sum, with what its client fetched. So a
file that was damaged later, or removed, is found at the next build, before anything is read.
"""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from codesage.artifacts import sha256_of
from codesage.errors import CodesageError

_SHAPE = re.compile(r"[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Whether `text` is a SHA-256 in small hexadecimal digits."""
    return isinstance(text, str) and _SHAPE.fullmatch(text) is not None


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below `folder` by its path there, sorted; {} when there is no such folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def record(files: Path, folder: Path) -> None:
    """Write down what was fetched for the package at `folder`; it lies in `files` still."""
    lines = [f"{digest}  {name}\n" for name, digest in digests_of(files).items()]
    recorded(folder).write_text("".join(lines), encoding="utf-8")


def recorded(folder: Path) -> Path:
    """The file that says what was fetched for the package at `folder`."""
    return folder.with_name(f"{folder.name}.sha256")


def pin_of(folder: Path, key: str) -> str:
    """What a recipe pins of a package: the SHA-256 of its archive, or of its .dsc, which lists the tarballs' own."""
    found = digests_of(folder)
    names = [name for name in found if name.endswith(".dsc")] or list(found)
    if len(names) != 1:
        raise CodesageError(f"{key}: {folder} holds {len(names)} files, expected one archive: remove it and run again")
    return found[names[0]]


def check(folder: Path, pins: Sequence[str], key: str) -> None:
    """CodesageError when files at `folder` are not those that were fetched, or match none of `pins` (if there are any)."""
    found, cure = digests_of(folder), f"remove {folder} and run again, it is fetched anew"
    for name, expected in _fetched(folder).items():
        if found.get(name) != expected:
            raise CodesageError(
                f"{key}: {folder / name} was damaged after it was fetched "
                f"(SHA-256 {found.get(name) or 'none, the file is missing'}, expected {expected}): {cure}"
            )
    if pins and (pin := pin_of(folder, key)) not in pins:
        raise CodesageError(
            f"{key}: SHA-256 is {pin}, the recipe expects {' or '.join(pins)}: {cure}; "
            "if another file is published for this machine, check it and run 'codesage corpus pin RECIPE --add'"
        )


def _fetched(folder: Path) -> dict[str, str]:
    try:
        lines = recorded(folder).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # fetched by an earlier version
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _digest(file: Path) -> str:
    status = os.stat(file)
    return _digest_at(str(file), status.st_size, status.st_mtime_ns, status.st_ino)


@functools.cache  # a build asks when it fetches and when it reports
def _digest_at(file: str, size: int, time: int, number: int) -> str:
    return sha256_of(Path(file))
