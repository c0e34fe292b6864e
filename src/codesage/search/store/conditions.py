"""The filters of a query as SQL conditions for a store, and the paths of its rows on this machine.

In: filters and paths, as on the command line. Out: conditions that LanceDB checks. In: rows. Out: paths relative to the
working folder.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.search.files import read
from codesage.search.filters import TYPES, Filter
from codesage.search.folders import command
from codesage.search.remote import is_url, public
from codesage.search.secrets import holds_secret
from codesage.search.store.table import EXACT_UP_TO, Store, all_of, listed, quoted
from codesage.walk import is_secret


def conditions_of(where: Filter) -> list[str]:
    """What LanceDB can check of a filter."""
    types = " OR ".join(map(_of_type, where.types))
    return [f"({types})" if types else "", f"content = {quoted(where.content)}" if where.content != "all" else ""]


def _of_type(name: str) -> str:
    if name in LANGUAGES:
        return f"language = {quoted(name)}"
    return f"(ending IN ({listed(TYPES[name].split())}) AND (ending <> 'h' OR language <> 'c'))"


def passing(where: Filter, rows: Iterable[dict]) -> list[dict]:
    """The rows that pass what LanceDB does not check of a filter, and hold no secret by today's rules.

    A store may have been filled by the rules of an earlier version.
    """
    globs = where.globs
    allowed = [row for row in rows if globs is None or globs.allow(row["path"])]
    kept = [row for row in allowed if not (is_secret(row["path"]) or holds_secret(row["path"], row["text"]))]
    if not where.patterns:
        return kept
    return [kept[at] for at in where.patterns.found_in((at, row["text"]) for at, row in enumerate(kept))]


def below(store: Store, paths: Sequence[str]) -> str:
    """The condition that a row lies below one of `paths`. CodesageError when no row does."""
    conditions = []
    for path in paths:
        condition = f"root = {quoted(public(path))}" if is_url(path) else _in_folder(path)
        if not store.count(condition):
            name = path if path.isprintable() else ascii(path)
            fill = command("index", "--store", store.address, name if is_url(path) else Path(name))
            raise CodesageError(f"{store.address} has no files of {name}: run '{fill}'")
        conditions.append(condition)
    return f"({' OR '.join(conditions)})" if conditions else ""


def _in_folder(path: str) -> str:
    try:
        folder = Path(path).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a null byte
        return "false"
    whole = folder.as_posix()
    conditions = [f"root = {quoted(whole)}", f"starts_with(root, {quoted(whole.rstrip('/') + '/')})"]
    for above in folder.parents:
        part = folder.relative_to(above).as_posix()
        conditions.append(
            f"(root = {quoted(above.as_posix())} AND (path = {quoted(part)} OR starts_with(path, {quoted(part + '/')})))"
        )
    return f"({' OR '.join(conditions)})"


def unused_of(store: Store, where: Filter, folder: str) -> list[str]:
    """The options of a filter, as they are typed, that no file passes; patterns for paths are tried on EXACT_UP_TO files."""
    options = {f"-t {name}": _of_type(name) for name in where.types}
    if where.content != "all":
        options[f"--content {where.content}"] = f"content = {quoted(where.content)}"
    unused = [option for option, condition in options.items() if not store.holds(all_of(folder, condition))]
    if where.globs is None:
        return unused
    paths = [row["path"] for row in store.rows(all_of("at = 0 AND piece = 0", folder), ["path"], most=EXACT_UP_TO)]
    return sorted([*unused, *(f"-g {glob}" for glob in where.globs.unused(paths) if len(paths) < EXACT_UP_TO)])


def at_line(store: Store, place: str, line: int) -> str:
    """The condition that a row holds a line of a file, which `place` names as answers do. CodesageError when none does."""
    name = place if place.isprintable() else ascii(place)
    if os.path.exists(place):
        file = Path(place).resolve()
        roots = [f"root = {quoted(file.as_posix())}"]
        roots += [
            f"(root = {quoted(above.as_posix())} AND path = {quoted(file.relative_to(above).as_posix())})"
            for above in file.parents
        ]
    else:
        held = [one.root for one in store.roots() if place.startswith(f"{one.root}/")]
        roots = [f"(root = {quoted(root)} AND path = {quoted(place[len(root) + 1 :])})" for root in held]
    of_file = f"({' OR '.join(roots)})" if roots else "false"
    if not store.count(of_file):
        raise CodesageError(f"{store.address} has no files of {name}: run '{command('index', '--store', store.address)} PATH'")
    condition = f"{of_file} AND start_line <= {line} AND end_line >= {line}"
    if not store.count(condition):
        raise CodesageError(f"{place}:{line} is in no chunk of {store.address}: give a line of code")
    return condition


def whole(row: dict) -> str:
    """The path of a row's file, or its address, for the file of a repository elsewhere."""
    return row["root"] if os.path.isfile(row["root"]) else os.path.join(row["root"], row["path"])


def shown(row: dict) -> str:
    """The path of a row's file as it opens from here, if this machine has it."""
    return whole(row).removeprefix(os.path.join(os.getcwd(), ""))


def changed(row: dict) -> bool:
    """Whether the file of a row is here, and is gone from its root or differs from what was indexed."""
    if not os.path.exists(row["root"]):
        return False
    document = read(Path(whole(row)), row["path"]).document
    return document is None or document.sha256 != row["file"]
