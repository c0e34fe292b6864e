"""Write pins into a recipe: the SHA-256 of every package. The comments and the order of the file stay as they are.

In: a recipe and a cache. Out: the recipe with a `sha256` for each [[package]], below its version. It is one hash, or a
list where machines get different files, such as the wheels of compiled packages.
"""

import re
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from codesage.artifacts import write_whole
from codesage.corpus.sources.digests import pin_of
from codesage.corpus.sources.packages import Package
from codesage.corpus.sources.recipe import read_recipe
from codesage.errors import CodesageError

_HEADER = re.compile(r"^[ \t]*\[")
_PACKAGE = re.compile(r"^[ \t]*\[\[[ \t]*package[ \t]*\]\]")
_VERSION = re.compile(r"^([ \t]*)version[ \t]*=")
_PIN = re.compile(r"^[ \t]*sha256[ \t]*=")
_DOWNLOADS = 4  # that run at a time


@dataclass(frozen=True, slots=True)
class Pinned:
    """The result of pinning: lists of packages as "name version"."""

    kept: list[str]  # already had the right pin
    added: list[str]
    changed: list[str]  # had another pin before


def pin(path: Path, cache: Path, *, others: str = "stop", on_fetched: Callable[[str], None] = lambda key: None) -> Pinned:
    """Fetch the packages of the recipe at `path` that are not in `cache`, and write their pins into it.

    `others` says what to do when a pin differs: "stop", "replace" it, or "add" another pin to it. `on_fetched` is called with
    the key of each package once it is fetched. CodesageError when it stops, when a package cannot be fetched, and when the
    layout of the file is such that it must be edited by hand.
    """
    packages = [source for source in read_recipe(path).sources() if isinstance(source, Package)]

    def fetch(package: Package) -> str:
        replace(package, sha256=()).fetch(cache)
        on_fetched(package.key)
        return pin_of(package.folder(cache), package.key)

    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        digests = list(pool.map(fetch, packages))
    result = Pinned([], [], [])
    pins = []
    for package, digest in zip(packages, digests, strict=True):
        kind = "kept" if digest in package.sha256 else "changed" if package.sha256 else "added"
        getattr(result, kind).append(f"{package.name} {package.version}")
        added = (*package.sha256, digest) if others == "add" else (digest,)
        pins.append(None if kind == "kept" else added)
    if result.changed and others == "stop":
        raise CodesageError(
            f"{path} pins {', '.join(result.changed)} to another SHA-256 than was fetched: check the published "
            "files, then pass --add (for this machine) or --update (for all)"
        )
    _write(path, pins)
    return result


def _write(path: Path, pins: list[tuple[str, ...] | None]) -> None:
    """Write the pins into the [[package]] tables, in order. None leaves a table as it is. The file is replaced atomically."""
    old = path.read_bytes().decode()
    new = _edited(old, pins)
    expected = tomllib.loads(old)
    for entry, digests in zip(expected.get("package", []), pins, strict=True):
        entry.update({"sha256": digests[0] if len(digests) == 1 else list(digests)} if digests else {})
    try:
        right = tomllib.loads(new) == expected
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        lines = "; ".join(f"{entry['name']} {entry['sha256']}" for entry in expected["package"])
        raise CodesageError(f"{path} cannot be edited line by line: add the pins by hand: {lines}")
    if new != old:
        write_whole(path, new)


def _edited(text: str, pins: list[tuple[str, ...] | None]) -> str:
    """The text of the recipe with each package's pins below its version. They replace the pins it had before."""
    lines, at, inside, old = [], -1, False, False
    for line in text.splitlines(keepends=True):
        if old:  # inside an old list of pins over several lines
            old = "]" not in line
            continue
        if _HEADER.match(line) and (inside or _PACKAGE.match(line)):
            inside = _PACKAGE.match(line) is not None
            at += inside
        pin = pins[at] if inside and at < len(pins) else None
        if pin and _PIN.match(line):
            old = "[" in line and "]" not in line
            continue
        lines.append(line)
        if pin and (version := _VERSION.match(line)):
            end = "\r\n" if line.endswith("\r\n") else "\n"
            lines[-1] = line.rstrip("\r\n") + end
            lines += [version.group(1) + pin_line + end for pin_line in _lines(pin)]
    return "".join(lines)


def _lines(pin: tuple[str, ...]) -> list[str]:
    if len(pin) == 1:
        return [f'sha256 = "{pin[0]}"']
    return ["sha256 = [", *(f'    "{digest}",' for digest in pin), "]"]
