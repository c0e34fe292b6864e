"""Pins in a recipe: the SHA-256 of every package, written into the file, whose comments and order stay.

In: a recipe and a cache. Out: the recipe with one `sha256 = "..."` for each [[package]], below its version.
"""

import os
import re
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from codesage.corpus.sources.digests import pin_of
from codesage.corpus.sources.packages import Package
from codesage.corpus.sources.recipe import read_recipe
from codesage.errors import CodesageError

_HEADER = re.compile(r"^[ \t]*\[")
_PACKAGE = re.compile(r"^[ \t]*\[\[[ \t]*package[ \t]*\]\]")
_VERSION = re.compile(r"^([ \t]*)version[ \t]*=")
_PIN = re.compile(r"^[ \t]*sha256[ \t]*=")
_DOWNLOADS = 4  # at a time


@dataclass(frozen=True, slots=True)
class Pinned:
    """What pinning found, by "name version" of packages."""

    kept: list[str]  # pinned before, and right
    added: list[str]
    changed: list[str]  # pinned to another hash before


def pin(path: Path, cache: Path, *, update: bool = False, heard: Callable[[str], None] = lambda key: None) -> Pinned:
    """Fetch the packages of the recipe at `path` that are not in `cache`, and write their pins into it.

    `heard` gets the key of each package that is there. CodesageError when a pin of before is wrong, unless `update`, when
    a package cannot be fetched, and when the file is laid out so that it has to be edited by hand.
    """
    packages = [source for source in read_recipe(path).sources() if isinstance(source, Package)]

    def digest(package: Package) -> str:
        replace(package, sha256=()).fetch(cache)
        heard(package.key)
        return pin_of(package.folder(cache), package.key)

    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        found = list(pool.map(digest, packages))
    result = Pinned([], [], [])
    pins = []
    for package, digest in zip(packages, found, strict=True):
        kind = "kept" if digest in package.sha256 else "changed" if package.sha256 else "added"
        getattr(result, kind).append(f"{package.name} {package.version}")
        pins.append(None if kind == "kept" else digest)
    if result.changed and not update:
        raise CodesageError(f"{path} pins {', '.join(result.changed)} to another SHA-256 than the cache holds: "
                            "check what was published, then pass --update")  # fmt: skip
    _write(path, pins)
    return result


def _write(path: Path, pins: list[str | None]) -> None:
    """Put the pins into the [[package]] tables in order, None leaving one as it is; the file changes whole or not at all."""
    old = path.read_bytes().decode()
    new = _edited(old, pins)
    expected = tomllib.loads(old)
    for entry, digest in zip(expected.get("package", []), pins, strict=True):
        entry.update({"sha256": digest} if digest else {})
    try:
        right = tomllib.loads(new) == expected
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        lines = "; ".join(f'{entry["name"]} sha256 = "{entry["sha256"]}"' for entry in expected["package"])
        raise CodesageError(f"{path} cannot be edited line by line: add the pins by hand: {lines}")
    if new != old:
        staging = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        staging.write_bytes(new.encode())
        staging.replace(path)


def _edited(text: str, pins: list[str | None]) -> str:
    """The text with each pin as a line below the version of its package, in place of the pin it had."""
    lines, at, inside = [], -1, False
    for line in text.splitlines(keepends=True):
        if _HEADER.match(line) and (inside or _PACKAGE.match(line)):
            inside = _PACKAGE.match(line) is not None
            at += inside
        pin = pins[at] if inside and at < len(pins) else None
        if pin and _PIN.match(line):
            continue
        lines.append(line)
        if pin and (version := _VERSION.match(line)):
            end = "\r\n" if line.endswith("\r\n") else "\n"
            lines[-1] = line.rstrip("\r\n") + end
            lines.append(f'{version.group(1)}sha256 = "{pin}"{end}')
    return "".join(lines)
