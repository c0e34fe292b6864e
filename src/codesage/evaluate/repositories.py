"""Questions about whole repositories, whose answers are files, and the repositories at the revisions that they are about.

In: a folder with `repositories.jsonl` and `queries.jsonl` (the public benchmark of MinishLab/semble as JSON lines), and a cache
folder. Out: a task, each repository laid out as files at its revision. Below the cache, `clones/OWNER+NAME` may be any clone,
which is only read; what is fetched goes to a repository of its own beside it, one commit without history. Files are read from
git's objects, without checkout, filters or hooks, and appear in `trees` all together or not at all.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from codesage.corpus.sources import clients
from codesage.errors import CodesageError
from codesage.evaluate.hubs import CACHE
from codesage.evaluate.rows import held, read_rows, unique
from codesage.evaluate.tasks import Question, Repository, RepositoryTask, Target
from codesage.machine import cache_folder
from codesage.walk import Skipped

_GITHUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NEEDED = ("repo", "github", "language", "root", "revision")


def repositories_folder() -> Path:
    """Where clones, laid out revisions and their indexes are kept."""
    return cache_folder(CACHE) / "repositories"


def read(folder: Path) -> list[RepositoryTask]:
    """The questions and repositories in `folder`, one task; no repository is looked for. CodesageError names file and line."""
    file, queries = held(folder, "repositories.jsonl"), held(folder, "queries.jsonl")
    rows = list(read_rows(file, *_NEEDED))
    line_of = unique(rows, "repo", file)
    questions: dict[str, list[Question]] = {name: [] for name in line_of}
    for line, row in enumerate(read_rows(queries, "repo", "query", "relevant"), start=1):
        name = str(row["repo"])
        if name not in questions:
            raise CodesageError(f"{queries}:{line}: repo {name[:60]} is not among the {len(rows):,} of {file.name}")
        questions[name].append(_question(row, f"{queries}:{line}"))
    repositories = [_repository(row, questions[str(row["repo"])], f"{file}:{line}") for line, row in enumerate(rows, start=1)]
    return [RepositoryTask("repository search", repositories)]


def _repository(row: dict, questions: list[Question], where: str) -> Repository:
    values = [row[field] for field in _NEEDED]
    if not all(isinstance(value, str) and value for value in values):
        raise CodesageError(f"{where}: expected text for {', '.join(_NEEDED)}")
    name, github, _, root, revision = values
    if not _GITHUB.fullmatch(github):
        raise CodesageError(f"{where}: github is {github[:60]!r}, expected OWNER/NAME")
    if not _REVISION.fullmatch(revision):
        raise CodesageError(f"{where}: revision is {revision[:60]!r}, expected the whole hash of a commit")
    if not _is_below(root):
        raise CodesageError(f"{where}: root is {root[:60]!r}, expected a folder within the repository")
    if not questions:
        raise CodesageError(f"{where}: no query is about {name}")
    published = row.get("published_ndcg10")
    return Repository(*values, questions=questions, published=published if isinstance(published, dict) else {})


def _is_below(path: str) -> bool:
    """Whether a path stays within its folder and outside what is git's own."""
    return path == "." or not (path.startswith("/") or {"", ".", "..", ".git"} & set(path.lower().split("/")) or "\0" in path)


def _question(row: dict, where: str) -> Question:
    sides = [row["relevant"], row.get("secondary") or []]
    if not isinstance(row["query"], str) or not row["query"].strip() or not all(isinstance(side, list) for side in sides):
        raise CodesageError(f"{where}: expected a query in words, and lists of relevant and secondary targets")
    targets = [_target(one, where) for side in sides for one in side]
    if not targets:
        raise CodesageError(f"{where}: the query has no target: expected one or more")
    if len(set(targets)) < len(targets):
        raise CodesageError(f"{where}: a target is listed twice: expected each once")
    return Question(row["query"], targets)


def _target(given: object, where: str) -> Target:
    fields: dict[str, Any] = given if isinstance(given, dict) else {"path": given}
    path, lines = fields.get("path"), [fields[name] for name in ("start_line", "end_line") if name in fields]
    sound = not lines or (len(lines) == 2 and all(type(one) is int for one in lines) and 1 <= lines[0] <= lines[1])
    if not isinstance(path, str) or not path or not sound:
        raise CodesageError(f"{where}: {str(given)[:60]!r} is not a target: expected a path, or path, start_line and end_line")
    return Target(path, (lines[0], lines[1]) if lines else None)


def laid_out(task: RepositoryTask, cache: Path, *, download: bool, say: Callable[[str], None]) -> RepositoryTask:
    """`task` with the folders of the repositories that are there, and why the others are not.

    `say` is called with a line about each that is not. `download`: fetch what no clone in `cache` has. CodesageError when no
    repository is there.
    """
    folders, missing = {}, {}
    for one in task.repositories:
        try:
            folders[one.name] = lay_out(one, cache, download=download, say=say)
        except CodesageError as error:
            missing[one.name] = str(error)
    if not folders:
        reason = next(iter(missing.values())) if download else "--task repository-search --download fetches them"
        raise CodesageError(f"{task.name}: none of the {len(missing):,} repositories is in {cache}: {reason}")
    for name, reason in missing.items():
        say(f"{task.name}: {name} is left out: {reason}")
    return replace(task, folders=folders, missing=missing)


def lay_out(
    repository: Repository, cache: Path, *, download: bool = False, say: Callable[[str], None] = lambda line: None
) -> Path:
    """The folder with the files below the repository's root at its revision, made where it is not there.

    CodesageError when no clone has the revision and it is not fetched, when it has no such root, or when a clone is damaged.
    """
    name, revision = repository.github.replace("/", "+"), repository.revision
    key = hashlib.sha256(f"{revision}:{repository.root}".encode()).hexdigest()[:8]
    tree = cache / "trees" / f"{name}-{revision[:12]}-{key}"
    if not tree.is_dir():
        own = cache / "clones" / f"{name}-{revision[:12]}"
        clone = next((one for one in _clones(cache / "clones" / name, own) if _has(one, revision)), None)
        if clone is None:
            clone = _fetched(repository, own, download, say)
        clients.once(tree, lambda folder: _write(repository, clone, folder), repository.github)
    return tree


def _clones(*folders: Path) -> Iterator[Path]:
    """The git directories of clones, with or without a working tree."""
    for folder in folders:
        yield from (one for one in (folder / ".git", folder) if (one / "objects").is_dir())


def _has(clone: Path, revision: str) -> bool:
    try:
        clients.run([*clients.git_at(clone), "cat-file", "-e", f"{revision}^{{commit}}"], what="", more=clients.GIT_ALONE)
    except CodesageError:
        return False
    return True


def _fetched(repository: Repository, own: Path, download: bool, say: Callable[[str], None]) -> Path:
    what = f"{repository.github} at {repository.revision[:12]}"
    if not download:
        raise CodesageError(f"no clone in the cache has {what}")
    address = f"https://github.com/{repository.github}"
    say(f"fetching {address} at {repository.revision[:12]}")
    clients.once(own, lambda folder: clients.git_fetch(address, repository.revision, folder, what), what)
    return own


def _write(repository: Repository, clone: Path, folder: Path) -> None:
    """The files below the root, into `folder`."""
    within = "" if repository.root == "." else f"{repository.root}/"
    what, cure = f"{repository.github} at {repository.revision[:12]}", "remove that clone"
    blobs = clients.git_blobs(clone, repository.revision, lambda name: name.startswith(within), what, cure)
    for file in blobs:
        if isinstance(file, Skipped):
            continue
        if not _is_below(file.name):
            raise CodesageError(f"{what}: the path {file.name!r} leaves the repository")
        target = folder / PurePosixPath(file.name.removeprefix(within))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    if not any(folder.iterdir()):
        raise CodesageError(f"{what} holds no files in {repository.root}")
