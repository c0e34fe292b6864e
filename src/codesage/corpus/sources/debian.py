"""Download Debian source and binary packages with apt, without changing the machine's own apt state.

In: the name and version of a package. Out: the .dsc of a source package and the tarballs that it lists, or the .deb of a
binary package, with hashes verified. Apt runs with separate lists, caches and sources under the cache folder. The sources
are copied from the machine, in both of apt's formats; for source packages "deb" is replaced by "deb-src". Keyrings,
proxies and credentials are those of the machine.
"""

import gzip
import hashlib
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codesage.corpus.sources.archives import Member, members
from codesage.corpus.sources.clients import run
from codesage.errors import CodesageError


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a .dsc: the source name, the version, and the SHA-256 of each file by name."""

    source: str
    version: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Contents:
    """What can be read of a source package: each tarball with the folder it unpacks to, and debian/copyright."""

    archives: tuple[tuple[Path, str], ...]  # the folder is "" for the main tarball, "cli/" for orig-cli.tar.xz
    copyright: str


def download(name: str, version: str, folder: Path, state: Path) -> None:
    """Download one source package into `folder` and verify every hash. Apt keeps its own files in `state`."""
    what = f"debian {name}={version}"
    _ask(["source", "--download-only", "--only-source", "-qq", f"{name}={version}"], "deb-src", folder, state, what)
    verify(folder, what)


def download_binary(name: str, version: str, folder: Path, state: Path) -> None:
    """Download the .deb of one binary package into `folder`. Apt verifies its hash against the signed lists.

    Only packages for all architectures are accepted. Other packages contain machine code and differ between machines.
    """
    what = f"debian {name}={version}"
    _ask(["download", "-qq", f"{name}={version}"], "deb", folder, state, what)
    package_of(folder, what)


def package_of(folder: Path, what: str) -> Path:
    """The only .deb in a folder. CodesageError when there is not exactly one, or when it is for a single architecture."""
    packages = sorted(folder.glob("*.deb"))
    if len(packages) != 1:
        raise CodesageError(f"{what}: {folder} holds {len(packages)} .deb files, expected one: remove the folder, run again")
    if not packages[0].name.endswith("_all.deb"):
        raise CodesageError(f"{what}: {packages[0].name} is for one architecture, expected one for all: choose another package")
    return packages[0]


def _ask(request: list[str], kind: str, folder: Path, state: Path, what: str) -> None:
    """Run one apt-get request in a scratch folder, and copy the files it leaves to `folder`."""
    with _locked(state):
        options = _options(state, kind, what)
        if not any((state / "lists").glob("*Sources*" if kind == "deb-src" else "*Packages*")):
            _update(options, what)
        command = ["apt-get", *options, *request]
        with tempfile.TemporaryDirectory(prefix="codesage-apt-", dir=state) as scratch:
            try:
                run(command, what=what, cwd=Path(scratch))
            except CodesageError:  # the lists may be older than the package
                _update(options, what)
                run(command, what=what, cwd=Path(scratch))
            for file in sorted(Path(scratch).iterdir()):
                shutil.copyfile(file, folder / file.name)  # may be a link to a source on this machine: copy its content


def verify(folder: Path, what: str) -> Description:
    """Check the files of a source package against its .dsc. CodesageError when a file is missing or differs."""
    descriptions = sorted(folder.glob("*.dsc"))
    if len(descriptions) != 1:
        raise CodesageError(
            f"{what}: {folder} holds {len(descriptions)} .dsc files, expected one: remove the folder, run again"
        )
    description = read_description(descriptions[0])
    if not description.files:
        raise CodesageError(f"{what}: {descriptions[0].name} lists no SHA-256: remove {folder} and run again")
    for name, digest in description.files.items():
        path = folder / name
        if not path.is_file():
            raise CodesageError(f"{what}: {name} is missing from {folder}: remove the folder and run again")
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise CodesageError(f"{what}: {name} does not match its .dsc: remove {folder} and run again")
    return description


def read_description(path: Path) -> Description:
    """Read a .dsc: its fields, and one file per line under Checksums-Sha256. Apt checks its signature."""
    text, files = path.read_text(encoding="utf-8", errors="replace"), {}
    section = re.search(r"^Checksums-Sha256:[ \t]*\n((?:[ \t]+\S.*\n?)+)", text, re.MULTILINE)
    for line in section.group(1).splitlines() if section else []:
        digest, _, name = line.split()[:3]
        if re.fullmatch(r"[\w.+~%:-]+", name) and not name.startswith("."):  # accept names only, no paths
            files[name] = digest.lower()
    fields = dict(re.findall(r"^(Source|Version):[ \t]*(\S+)", text, re.MULTILINE))
    return Description(fields.get("Source", ""), fields.get("Version", ""), files)


def contents(folder: Path, what: str) -> Contents:
    """The tarballs to read, the main one first, and the text of debian/copyright ("" when there is none).

    debian/copyright is in the debian tarball (format 3.0 quilt), in the only tarball (native), or in a patch (format 1.0).
    """
    names = sorted(verify(folder, what).files)
    orig = [(folder / n, m.group(1)) for n in names if (m := re.search(r"\.orig(?:-([\w-]+))?\.tar\.\w+$", n))]
    tars = [folder / n for n in names if re.search(r"\.tar\.\w+$", n)]
    packaging = [path for path in tars if ".debian.tar." in path.name]
    native = [(path, None) for path in tars if path not in packaging] if not orig else []
    archives = sorted(((path, f"{part}/" if part else "") for path, part in orig or native), key=lambda pair: pair[1])
    if not archives:
        raise CodesageError(f"{what}: {folder} has no source tarball: remove the folder and run again")
    patches = [folder / n for n in names if n.endswith(".diff.gz")]
    if patches and not packaging:
        return Contents(tuple(archives), _added(patches[0], "debian/copyright"))
    depth = "" if packaging else "[^/]+/"
    for path in packaging or [archives[0][0]]:
        for member in members(path, lambda name: re.fullmatch(depth + "debian/copyright", name) is not None):
            if isinstance(member, Member):
                return Contents(tuple(archives), member.data.decode("utf-8", "replace"))
    return Contents(tuple(archives), "")


def _added(patch: Path, name: str) -> str:
    """The text of a file that a gzipped patch adds."""
    lines, inside = [], False
    try:
        with gzip.open(patch, "rt", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("+++ "):
                    inside = line.split()[1].partition("/")[2] == name
                elif inside and line.startswith("--- "):
                    break
                elif inside and line.startswith("+"):
                    lines.append(line[1:])
    except (OSError, EOFError, zlib.error):
        pass  # the hash is right, so the patch was published like this: its copyright file cannot be read
    return "".join(lines)


def one_line_sources(text: str, kind: str = "deb-src") -> str:
    """The lines of a sources.list, each with its type replaced by `kind`: "deb" or "deb-src"."""
    lines = (re.match(r"\s*deb(?:-src)?\s+(\S.*)", line.split(" #")[0]) for line in text.splitlines())
    return "".join(f"{kind} {line.group(1).strip()}\n" for line in dict.fromkeys(filter(None, lines)))


def stanza_sources(text: str, kind: str = "deb-src") -> str:
    """The enabled stanzas of a .sources file (deb822), each with its type replaced by `kind`: "deb" or "deb-src"."""
    out = []
    for part in re.split(r"\n[ \t]*\n", text):
        lines = [line for line in part.splitlines() if line.strip() and not line.startswith("#")]
        fields = "\n".join(lines)
        if re.search(r"^Enabled:[ \t]*(no|false|0|off|without|disable)\b", fields, re.MULTILINE | re.IGNORECASE):
            continue
        kinds = re.search(r"^Types:(.*(?:\n[ \t].*)*)", fields, re.MULTILINE | re.IGNORECASE)
        if kinds and "deb" in kinds.group(1).replace("deb-src", "deb").split():
            out.append(fields[: kinds.start()] + f"Types: {kind}" + fields[kinds.end() :])
    return "\n\n".join(out) + "\n" if out else ""


def _options(state: Path, kind: str, what: str) -> list[str]:
    """Write apt's configuration and sources under `state`. Its lists are deleted when the sources have changed."""
    places = dict(
        re.findall(
            r"^(\w+)='(.*)'$",
            run(["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"], what=what),
            re.MULTILINE,
        )
    )
    main, parts = Path(places.get("LIST", "/nowhere")), Path(places.get("PARTS", "/nowhere"))
    lists = [main] if main.is_file() else []
    lists += sorted(parts.glob("*.list")) if parts.is_dir() else []
    stanzas = sorted(parts.glob("*.sources")) if parts.is_dir() else []
    read = [[file.read_text(encoding="utf-8", errors="replace") for file in files] for files in (lists, stanzas)]
    one_line = "".join(one_line_sources(text, kind) for text in read[0])
    deb822 = "\n".join(filter(None, (stanza_sources(text, kind) for text in read[1])))
    if not one_line and not deb822:
        raise CodesageError(f"{what}: apt has no sources on this machine: add a deb or deb-src line to its sources")
    for folder in ("lists/partial", "archives/partial", "sources"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    texts = {"sources/machine.list": one_line, "sources/machine.sources": deb822, "apt.conf": _configuration(state)}
    for name, text in texts.items():
        file = state / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            shutil.rmtree(state / "lists")
            (state / "lists/partial").mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
    return ["-c", str(state / "apt.conf")]


def _configuration(state: Path) -> str:
    state = state.resolve()
    return (
        "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n"
        f'Dir::State "{state}";\nDir::State::lists "{state}/lists";\nDir::State::status "{state}/status";\n'
        f'Dir::Cache "{state}";\nDir::Cache::archives "{state}/archives";\n'
        f'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
        f'Dir::Etc::sourcelist "{state}/sources/none";\nDir::Etc::sourceparts "{state}/sources";\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAPT::Get::List-Cleanup "true";\n'
    )


def _update(options: list[str], what: str) -> None:
    """Fetch the package lists. If some repositories fail, apt only warns; if all fail, this fails."""
    run(["apt-get", *options, "update", "-qq"], what=what)


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Lock apt's folders, so that one process at a time uses them. Others wait."""
    import fcntl

    state.mkdir(parents=True, exist_ok=True)
    with open(state / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
