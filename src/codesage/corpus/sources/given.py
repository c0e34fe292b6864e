"""Find out what kind of source a given path is: a folder, an archive, Parquet, or a git repository read at its HEAD."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codesage.corpus.sources import clients
from codesage.corpus.sources.archives import DamagedArchive, Member, is_archive, members
from codesage.corpus.sources.others import Others
from codesage.corpus.sources.trees import (
    Entry,
    Folder,
    GitRepository,
    Source,
    StackParquet,
    committed,
    document,
    readable,
    tails,
)
from codesage.errors import CodesageError
from codesage.languages import language_of
from codesage.walk import text_of

_BUNDLE = re.compile(rb"# v\d git bundle\n")


def source_at(path: Path | str, *, held_out: bool = False, any_licence: bool = False) -> Source:
    """The source for `path`. CodesageError when it is a git bundle without a commit.

    The suffix of a file tells whether it is an archive or Parquet, and its first bytes tell whether it is a git bundle. A
    git directory (a bare repository, a .git folder, or the .git file of a worktree) is recognised by the files in it. A
    folder with .parquet files and no source file is Parquet. Any other folder, also a working tree, is a folder of source
    files.
    """
    path = Path(path)
    if is_git_directory(path):
        return GitHead(str(path), held_out)
    if path.is_file() and is_archive(path):
        return Archive(str(path), held_out)
    if path.is_file() and _is_bundle(path):
        return GitRepository(str(path), _head_of_bundle(path), held_out)
    if path.suffix == ".parquet" or (path.is_dir() and _is_parquet_folder(path)):
        return StackParquet(str(path), any_licence=any_licence, held_out=held_out)
    return Folder(str(path), held_out)


def is_git_directory(path: Path) -> bool:
    """Whether `path` is a git directory, or the file in a worktree that points to one."""
    if path.is_file():
        return path.name == ".git"
    return (path / "HEAD").is_file() and (
        ((path / "objects").is_dir() and (path / "refs").is_dir()) or (path / "commondir").is_file()
    )


@dataclass(frozen=True, slots=True)
class Archive:
    """The source files in a local archive. The package is named like the archive, without its suffix."""

    path: str
    held_out: bool = False
    package: str = ""

    @property
    def key(self) -> str:
        """The identity of the source."""
        return f"archive:{Path(self.path).resolve()}"

    @property
    def names(self) -> list[str]:
        """The possible names of the package, the shortest first."""
        path = Path(self.path).resolve()
        stem = re.sub(r"(\.tar)?\.\w+$", "", path.name)
        return [*tails([*path.parts[:-1], stem]), path.as_posix()]

    def fetch(self, cache: Path) -> None:
        """Nothing to fetch. CodesageError when the archive does not exist."""
        if not Path(self.path).is_file():
            raise CodesageError(f"{self.path}: no such file: give an archive that exists")

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The members in the order of the archive."""
        origin, others = {"package": self.package or self.names[0]}, Others()
        try:
            for member in members(Path(self.path), lambda name: readable(name) or others.add(name)):
                if isinstance(member, Member):
                    yield document(text_of(member.data, name=member.name), origin, any_licence=True)
                else:
                    yield member
        except DamagedArchive as error:
            raise CodesageError(f"{error}: give a complete copy") from None
        except OSError as error:
            raise CodesageError(f"{self.path} cannot be read: {error.strerror or error}") from None
        yield from others.counts()


@dataclass(frozen=True, slots=True)
class GitHead:
    """The HEAD commit of a repository on this machine, read in place. Nothing is fetched or checked out."""

    path: str  # the git directory, or the .git file of a worktree
    held_out: bool = False
    package: str = ""

    @property
    def key(self) -> str:
        """The identity of the source."""
        return f"git:{Path(self.path).resolve()}@HEAD"

    @property
    def names(self) -> list[str]:
        """The possible names of the package, the shortest first."""
        path = Path(self.path).resolve()
        path = path.parent if path.name == ".git" else path.with_name(path.name.removesuffix(".git"))
        return [*tails(path.parts), Path(self.path).resolve().as_posix()]

    @property
    def commit(self) -> str:
        """The full hash of the commit. When there is none, CodesageError with the existing branches."""
        try:
            return self._git("rev-parse", "--verify", "HEAD^{commit}").strip()
        except CodesageError as error:
            if "not installed" in str(error):
                raise
            raise CodesageError(f"{self.path}: {self._explain_no_commit()}") from None

    def fetch(self, cache: Path) -> None:
        """Nothing to fetch. CodesageError when there is no commit to read."""
        _ = self.commit

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The files of the commit in the order of their paths."""
        yield from committed(Path(self.path), self.commit, self.package or self.names[0], self.path, self._cure)

    @property
    def _cure(self) -> str:
        return f"run 'git --git-dir={self.path} fsck', and give a complete copy of the repository"

    def _git(self, *arguments: str) -> str:
        return clients.run([*clients.git_at(Path(self.path)), *arguments], what="", more=clients.GIT_ALONE, cure="")

    def _explain_no_commit(self) -> str:
        try:
            branches = self._git("for-each-ref", "--format=%(refname)", "--count=5", "refs/heads").split()
        except CodesageError as error:
            return f"git cannot read this repository ({str(error).strip(' :')}): give a complete copy"
        with suppress(CodesageError):
            return f"commit {self._git('rev-parse', '--verify', 'HEAD').strip()} is missing or damaged: {self._cure}"
        if not branches:
            return "the repository has no commit: commit something first, or give its working folder"
        names = ", ".join(name.removeprefix("refs/heads/") for name in branches)
        cure = f"run 'git --git-dir={self.path} symbolic-ref HEAD {branches[0]}'"
        return f"HEAD points to no commit, the branches are {names}: {cure}"


def _is_bundle(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _BUNDLE.match(file.read(20)) is not None
    except OSError:
        return False


def _head_of_bundle(path: Path) -> str:
    listed = clients.run(["git", "bundle", "list-heads", str(path.resolve())], what=str(path), cure="give a complete copy")
    heads = [line.partition(" ")[::2] for line in listed.splitlines()]
    commits = [commit for commit, name in heads if name == "HEAD"] or [commit for commit, name in heads if "heads/" in name]
    if not commits:
        raise CodesageError(f"{path}: the bundle has no branch: create it with 'git bundle create {path.name} HEAD'")
    return commits[0]


def _is_parquet_folder(path: Path) -> bool:
    """Whether a folder holds Parquet and no source file. The search stops at the first source file."""
    holds_parquet = False
    for _, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(language_of(name) for name in names):
            return False
        holds_parquet = holds_parquet or any(name.endswith(".parquet") for name in names)
    return holds_parquet
