"""The sources of files: folders, the standard library, installed packages, repositories and Parquet.

A source is a small frozen value. It has a `key` (stable, unique). Its `fetch(cache)` downloads what it needs: this is the
only step that uses a network, and it is safe to repeat and all-or-nothing. Its `documents(cache)` streams a Document for
each file that is read, a Skipped for each file that is left out, and at the end an OtherFiles for each kind of file that no
source reads. The order depends only on the source. A source is picklable, so a worker process can read it.

`names` are the possible names of its package, the shortest first. `package` is the name to use; naming.py sets it where two
sources would have the same name. Sources without `names` take package names from what they read.

Sources read files of the nine languages and documentation (`recognise.is_prose`, language ""). They also read tests, which
give separate pairs; `recognise.is_test` recognises them later. By default packages and Parquet rows are read only when
every licence of a file is permissive. The user's own folders, archives and repositories are read completely.
"""

import platform
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from codesage.corpus.sources import clients, licences, recognise
from codesage.corpus.sources.archives import Member
from codesage.corpus.sources.others import OtherFiles, Others
from codesage.errors import CodesageError
from codesage.languages import language_of
from codesage.records import Document
from codesage.walk import Skipped, Text, name_of, read_text, text_of, walk

if TYPE_CHECKING:
    from codesage.corpus.sources.stack import Row

Entry = Document | Skipped | OtherFiles


@runtime_checkable
class Source(Protocol):
    """The methods of every source."""

    @property
    def held_out(self) -> bool:
        """Whether the source gives evaluation pairs only."""
        ...

    @property
    def key(self) -> str:
        """The identity of the source, such as "pip:numpy==2.4.6"."""
        ...

    def fetch(self, cache: Path) -> None:
        """Download what `documents` reads into `cache`. CodesageError of one line when that fails."""
        ...

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The documents and what was left out. CodesageError when the source was not fetched, is damaged or is missing."""
        ...


def limits_of(source: Source) -> dict[str, int]:
    """The number of training pairs that a source may give at most, by kind; a kind without a limit is missing."""
    return dict(getattr(source, "most", ()))


@runtime_checkable
class NamedSource(Source, Protocol):
    """A source that is one package. It is a dataclass with a field `package` where it can be renamed."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def names(self) -> Sequence[str]:
        """The possible names of the package, the shortest first."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """The files in a local folder, without ignored files, or one file. The package is named like the folder or file."""

    path: str
    held_out: bool = False
    package: str = ""

    @property
    def key(self) -> str:
        """The identity of the source."""
        return f"folder:{Path(self.path).resolve()}"

    @property
    def names(self) -> list[str]:
        """The possible names of the package, the shortest first."""
        return tails(Path(self.path).resolve().parts)

    def fetch(self, cache: Path) -> None:
        """Nothing to fetch. CodesageError when the folder does not exist."""
        if not Path(self.path).exists():
            raise CodesageError(f"{self.path}: no such file or folder: give a path that exists")

    def documents(self, cache: Path) -> Iterator[Entry]:
        """Files of the nine languages and documentation, sorted by path, then submodules and other nested repositories."""
        root = Path(self.path)
        origin = {"package": self.package or self.names[0]}
        others, nested = Others(), []
        for path in walk(root, nested=nested):
            name = name_of(path, root)
            if readable(name):
                real = path.resolve() if path == root else path  # links are followed only where the user gives one
                yield document(read_text(real, name=name), origin, any_licence=True)
            elif name.endswith(".parquet"):
                yield Skipped(name, "Parquet beside source files")  # it is read when its own path is given
            else:
                others.add(name)
        yield from _nested(root, nested)
        yield from others.counts()


def _nested(root: Path, nested: list[Path]) -> Iterator[Skipped]:
    """The outermost repositories below `root`: submodules, even if they were not checked out, and nested repositories."""
    modules = root / ".gitmodules"
    text = modules.read_text(encoding="utf-8", errors="replace") if modules.is_file() else ""
    submodules = set(re.findall(r"^[ \t]*path[ \t]*=[ \t]*(.+?)[ \t]*$", text, re.MULTILINE))
    names = {name_of(path, root) for path in nested} | {name for name in submodules if (root / name).is_dir()}
    for name in sorted(names):
        if not any(parent.as_posix() in names for parent in PurePosixPath(name).parents):
            yield Skipped(name, "submodule" if name in submodules else "nested repository")


@dataclass(frozen=True, slots=True)
class StandardLibrary:
    """The Python standard library of the running interpreter, without its tests and bundled packages."""

    names: ClassVar[tuple[str, ...]] = ("python",)
    _LEFT_OUT: ClassVar[tuple[str, ...]] = ("site-packages/", "ensurepip/", "test/", "lib2to3/", "idlelib/", "config-")

    @property
    def held_out(self) -> bool:
        """The standard library always gives training pairs."""
        return False

    @property
    def key(self) -> str:
        """The identity of the source."""
        return f"python:{platform.python_version()}"

    def fetch(self, cache: Path) -> None:
        """Nothing to fetch: the standard library is installed."""

    def documents(self, cache: Path) -> Iterator[Entry]:
        """Its files, sorted by path."""
        root = Path(sysconfig.get_path("stdlib"))
        origin, others = {"package": "python", "version": platform.python_version(), "licence": "PSF-2.0"}, Others()
        for path in walk(root):
            name = name_of(path, root)
            if not name.startswith(self._LEFT_OUT) and (language_of(name) or others.add(name)):
                yield document(read_text(path, name=f"python/{name}"), origin, any_licence=True)
        yield from others.counts()


@dataclass(frozen=True, slots=True)
class SitePackages:
    """The distributions installed in a site-packages folder, in the order of their names."""

    path: str
    any_licence: bool = False

    @property
    def held_out(self) -> bool:
        """Installed packages always give training pairs."""
        return False

    @property
    def key(self) -> str:
        """The identity of the source."""
        return f"site-packages:{Path(self.path).resolve()}"

    def fetch(self, cache: Path) -> None:
        """Nothing to fetch. CodesageError when no package is installed there."""
        if not self._distributions():
            raise CodesageError(f"{self.path} holds no installed package: give a site-packages folder")

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The files of each package, sorted by path."""
        self.fetch(cache)
        others = Others()
        for name, distribution in sorted(self._distributions().items()):
            licence = licences.of_distribution(distribution.metadata)
            if not self.any_licence and not licences.is_permissive(licence):
                yield Skipped(f"{name} ({licence or 'none stated'})", "licence")
                continue
            origin = {"package": name, "version": distribution.version, "licence": licence}
            for file in sorted({str(file) for file in distribution.files or [] if ".." not in file.parts}):
                path = Path(self.path) / file
                if (readable(file) or others.add(file)) and path.is_file() and not path.is_symlink():
                    read = read_text(path, name=PurePosixPath(file).as_posix())
                    yield document(read, origin, any_licence=self.any_licence)
        yield from others.counts()

    def _distributions(self) -> dict:
        return {d.metadata["Name"].lower(): d for d in distributions(path=[str(self.path)]) if d.metadata["Name"]}


@dataclass(frozen=True, slots=True)
class GitRepository:
    """One commit of a git repository, given by its full hash. Files are read as committed, without a checkout.

    With a `licence`, files are under it unless a licence file in a folder above them states another one. Files whose
    licence is not permissive or not recognised are left out. Without a `licence`, the whole repository is read.
    """

    url: str  # or a path, also that of a bundle
    commit: str
    held_out: bool = False
    licence: str = ""
    include: tuple[str, ...] = ()  # globs of paths, as for packages
    exclude: tuple[str, ...] = ()
    package: str = ""
    most: tuple[tuple[str, int], ...] = field(default=(), repr=False)  # see limits_of; what is read does not depend on it

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", self.commit):
            raise CodesageError(f"{self.commit!r} is not a full commit hash: give the 40 digits that git rev-parse prints")
        if not self.url or self.url.startswith("-"):
            raise CodesageError(f"{self.url!r} is not the address of a repository: give a URL or a path")

    @property
    def name(self) -> str:
        """The shortest possible name of the package."""
        return self.names[0]

    @property
    def names(self) -> list[str]:
        """The last part of the address, then also with its owner, its host, and the commit."""
        address = re.sub(r"^\w+://([^/@]*@)?|\.(git|bundle)/?$", "", self.url.rstrip("/"))
        parts = [re.sub(r"[^\w.+-]", "_", part) for part in re.split(r"[/:]", address) if part not in ("", ".", "..")]
        endings = tails(parts or ["repository"])
        return [*endings, f"{endings[-1]}@{self.commit}"]

    @property
    def key(self) -> str:
        """The identity of the source."""
        return f"git:{re.sub('(?<=://)[^/@]*@', '', self.url)}@{self.commit}"  # without a password

    def fetch(self, cache: Path) -> None:
        """Fetch the commit into `cache`, unless it is there."""
        address = str(Path(self.url).resolve()) if Path(self.url).exists() else self.url
        clients.once(self._folder(cache), lambda folder: clients.git_fetch(address, self.commit, folder, self.key), self.key)

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The files in the order of their paths."""
        folder = fetched(self._folder(cache), self.key)
        cure = f"remove {folder} and run again to fetch it anew"
        licence_of = self._licences(folder, cure) if self.licence else None
        yield from committed(
            folder, self.commit, self.package or self.name, self.key, cure, chosen=self._chosen, licence_of=licence_of
        )

    def _chosen(self, path: str) -> bool:
        if self.include and not any(matches(path, glob) for glob in self.include):
            return False
        return not any(matches(path, glob) for glob in self.exclude)

    def _licences(self, folder: Path, cure: str) -> Callable[[str], str]:
        """A function that maps a path to its licence.

        The nearest licence file in a folder above it decides; "" when that file is not recognised. A licence file in the
        root does not count.
        """

        def below_the_root(path: str) -> bool:
            return "/" in path and licences.is_licence_file(path)

        files = clients.git_blobs(folder, self.commit, below_the_root, self.key, cure)
        stated = {
            file.name.rpartition("/")[0]: licences.of_file(file.data.decode("utf-8", "replace"))
            for file in files
            if isinstance(file, Member)
        }
        return lambda path: next((stated[above] for above in _folders_above(path) if above in stated), self.licence)

    def _folder(self, cache: Path) -> Path:
        return Path(cache) / "git" / f"{self.name}-{self.commit}"


@dataclass(frozen=True, slots=True)
class StackParquet:
    """Source files as rows of Parquet, in the layout of The Stack or a similar one: a file, a folder, or a data set on a hub.

    `columns` gives the names of the columns (content, path, repository, licences, commit) that stack.ALIASES does not know.
    A row is read when its licences are permissive or, if `licences` are given, when all of its licences are among them.
    """

    name: str  # a path, or the name of a data set on a hub
    languages: tuple[str, ...] = ()  # languages to read; empty: all
    any_licence: bool = False
    held_out: bool = False
    licences: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    subset: str = ""  # the folder to read of a data set on a hub, such as "data/python"

    @property
    def key(self) -> str:
        """The identity of the source."""
        name = Path(self.name).resolve() if Path(self.name).exists() else self.name
        return f"stack:{name}{f':{self.subset}' if self.subset else ''}"

    def files(self) -> list[Path]:
        """The Parquet files on this machine, sorted."""
        from codesage.corpus.sources.stack import files

        return files(self.name)

    def fetch(self, cache: Path) -> None:
        """Nothing to fetch. CodesageError when there is no Parquet or a column is missing."""
        from codesage.corpus.sources.stack import check

        check(self.name, dict(self.columns), licensed=not self.any_licence)

    def documents(self, cache: Path) -> Iterator[Entry]:
        """The rows in the order of the files."""
        from codesage.corpus.sources.stack import rows

        others = Others()
        for row in rows(self.name, dict(self.columns), subset=self.subset, licensed=not self.any_licence):
            language = language_of(row.path)
            if not language:
                others.add(row.path)
            elif not self.languages or language in self.languages:
                yield self._document(row)
        yield from others.counts()

    def _document(self, row: "Row") -> Entry:
        if not self._accepts([licences.expression(stated) for stated in row.licences]):
            return Skipped(row.path, "licence")
        licence = licences.every(row.licences)
        origin = {"package": row.repository or Path(self.name).stem, "version": row.commit, "licence": licence}
        return document(text_of(row.content, name=row.path), origin, any_licence=self.any_licence)

    def _accepts(self, stated: list[str]) -> bool:
        """Whether a row under each of the `stated` expressions is read."""
        if self.any_licence:
            return True
        if not self.licences:
            return bool(stated) and all(map(licences.is_permissive, stated))
        given = set(map(licences.expression, self.licences))
        return any(stated) and all(one in given or given.issuperset(one.split(" AND ")) for one in stated)


def committed(
    folder: Path,
    commit: str,
    package: str,
    key: str,
    cure: str,
    *,
    chosen: Callable[[str], bool] = lambda path: True,
    licence_of: Callable[[str], str] | None = None,
) -> Iterator[Entry]:
    """The documents of one commit in the git directory `folder`, sorted by path.

    Only paths for which `chosen` is true are read. With `licence_of`, files whose licence is not permissive are left out.
    When the repository is damaged, CodesageError whose message ends in `cure`.
    """
    others = Others()

    def wanted(path: str) -> bool:
        return chosen(path) and (readable(path) or others.add(path))

    for member in clients.git_blobs(folder, commit, wanted, key, cure):
        if isinstance(member, Skipped):
            yield member
            continue
        licence = licence_of(member.name) if licence_of else ""
        if licence_of and not licences.is_permissive(licence):
            yield Skipped(member.name, "licence")
            continue
        origin = {"package": package, "version": commit, "licence": licence}
        yield document(text_of(member.data, name=member.name), origin, any_licence=licence_of is None)
    yield from others.counts()


def tails(parts: Sequence[str]) -> list[str]:
    """The last part, the last two parts joined by "/", and so on. A leading "/" does not count as a part."""
    parts = [part for part in parts if part != "/"] or ["root"]
    return ["/".join(parts[-length:]) for length in range(1, len(parts) + 1)]


def _folders_above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def matches(path: str, glob: str) -> bool:
    """Whether a glob of a recipe matches `path`. `*` also matches slashes, and "x/" matches everything below x."""
    return fnmatchcase(path, glob + "*" if glob.endswith("/") else glob)


def readable(path: str) -> bool:
    """Whether sources read a file with this name: one of the nine languages, or documentation."""
    return bool(language_of(path)) or recognise.is_prose(path)


def document(read: Text | Skipped, origin: dict, *, any_licence: bool, judged: str = "") -> Entry:
    """The Document of a file, or a Skipped with the reason to leave it out.

    `judged` is the part of its path that the rules look at; default: the whole path.
    """
    if isinstance(read, Skipped):
        return read
    reason = recognise.reason(judged or read.path, read.text)
    if reason and reason != "test" and not (any_licence and reason == "copyleft header"):
        return Skipped(read.path, reason)
    return Document(read.path, language_of(read.path), read.text, read.sha256, **origin)


def fetched(folder: Path, key: str) -> Path:
    """The folder of a source in the cache. CodesageError when it is missing."""
    if not folder.is_dir():
        raise CodesageError(f"{key} is not in the cache: fetch it first, which needs a network")
    return folder
