"""Find the files of a folder and read their text, for corpus and search.

In: a path. Out: files in sorted order, each either read as text or skipped for one of a fixed set of reasons. Nested
.gitignore files are respected (through rignore, ripgrep's walker). Those above the folder count only up to the root of the git
repository that holds it. Links are never followed. Pipes, sockets and devices are never opened.
"""

import codecs
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codesage.errors import CodesageError

MAX_BYTES = 1_000_000
MAX_LINE = 5_000  # characters; longer lines are data or minified code
_FOLDERS = {
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    ".venv",
    "venv",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".tox",
    ".idea",
    ".gradle",
}
_METADATA = {".git", ".hg", ".svn"}  # of version control
_SECRETS = {
    ".env",
    ".envrc",
    ".esmtprc",
    ".fetchmailrc",
    ".ftpconfig",
    ".msmtprc",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".git-credentials",
    ".htpasswd",
    ".my.cnf",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "credentials",
    "kubeconfig",
    ".dockercfg",
    ".vault-token",
    ".s3cfg",
    ".terraformrc",
    "terraform.rc",
    "credentials.tfrc.json",
    ".boto",
    ".databrickscfg",
    ".dev.vars",
    ".dockerconfigjson",
    ".mylogin.cnf",
    ".passwd-s3fs",
    "pgpass.conf",
    "rclone.conf",
    ".rclone.conf",
    ".vault_pass",
    ".vault_pass.txt",
    "accesskeys.csv",
    "application_default_credentials.json",
    "credentials.json",
    "credentials.toml",
    "service-account.json",
    "serviceaccountkey.json",
    "recentservers.xml",
    "rootkey.csv",
    "secring.gpg",
    "sftp-config.json",
    "sitemanager.xml",
    ".bash_history",
    ".mysql_history",
    ".node_repl_history",
    ".psql_history",
    ".python_history",
    ".rediscli_history",
    ".sh_history",
    ".sqlite_history",
    ".zsh_history",
}
_SECRET_PATHS = (
    "/.kube/config",
    "/.docker/config.json",
    "/.streamlit/secrets.toml",
    "/.composer/auth.json",
    "/.config/gh/hosts.yml",
    "/.m2/settings.xml",
    "/.oci/config",
    "/.aws/config",
    "/.azure/accesstokens.json",
    "/.azure/msal_token_cache.json",
    "/.vscode/sftp.json",
    "/.dbt/profiles.yml",
    "/.snowflake/config",
    "/.snowflake/config.toml",
    "/etc/shadow",
)
_SECRET_FOLDERS = ("/.ssh/", "/.gnupg/")
_SECRET_SUFFIXES = (
    ".pem",
    ".key",
    ".p12",
    ".pfx",
    ".keystore",
    ".jks",
    ".env",
    ".kubeconfig",
    ".ppk",
    ".tfstate",
    ".p8",
    ".kdbx",
    ".ovpn",
    ".psafe3",
)
_SECRET_PREFIXES = (".env.", ".env-", ".env_", ".envrc.")
_SECRET_FORMS = re.compile(
    r"id_(?:rsa|dsa|ecdsa|ed25519|xmss)(?:[_-][\w-]+)?|client_secret[\w.-]*\.json|[\w.@+-]+_accesskeys\.csv"
)
_EXAMPLE = re.compile(r"(?:^|[._-])(?:example|sample|template|dist)(?=[._-]|$)")  # a file that shows how to write one
_COPY = re.compile(
    r"(?:[~#]|\.~?\d+~?|[._-](?:backup|bak|old|orig|save|sav|tmp|copy))+$"
)  # endings that editors and people give


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read.

    `reason`: "binary", "encoding", "huge", "minified", "unreadable", "empty", "special" or "secret". Sources have further ones.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Text:
    """A file that was read: its text and the SHA-256 of its bytes."""

    path: str
    text: str
    sha256: str


def walk(
    root: Path | str,
    *,
    nested: list[Path] | None = None,
    unreadable: list[Path] | None = None,
    links: list[Path] | None = None,
    ignore_file: str = "",
    within: Path | None = None,
) -> Iterator[Path]:
    """Sorted paths under `root` (or `root` itself if it is a file), except folders and links.

    Ignored files and the folders of version control, dependencies and caches are left out. Nested repositories are left out
    too, because a worktree inside a checkout would give every result twice; their folders are added to `nested`. Folders that
    cannot be listed are added to `unreadable`, symbolic links to `links`. Files named `ignore_file` overrule .gitignore
    files, each for its folder; the one in `root` can also let in a folder that is left out by default, by a line such as
    `!node_modules/`. Of the files below `root`, only those in `within` are wanted, which is such a file or folder; others may
    be among them. Raises CodesageError when `root` does not exist.
    """
    root = Path(root)
    if not root.exists():
        raise CodesageError(f"{root}: no such file or folder: give a path that exists")
    if not root.is_dir():
        yield root
        return
    entries, all_utf8, all_listed = _entries(root, ignore_file, within)
    kinds = {path: _kind(path) for path in entries}
    folders = [path for path, kind in kinds.items() if kind == stat.S_IFDIR]
    if not all_utf8:
        kinds |= {path: _kind(path) for folder in (str(root), *folders) for path in _not_utf8(folder)}
    repositories = tuple(folder + os.sep for folder in folders if os.path.lexists(os.path.join(folder, ".git")))
    if nested is not None:
        nested += sorted(Path(folder) for folder in repositories)
    if unreadable is not None and not all_listed:
        unreadable += sorted(Path(folder) for folder in folders if not os.access(folder, os.R_OK | os.X_OK))
    if links is not None:
        links += sorted(Path(path) for path in kinds if kinds[path] == stat.S_IFLNK and not path.startswith(repositories))
    for path in sorted(kinds):
        if kinds[path] not in (stat.S_IFLNK, stat.S_IFDIR) and not path.startswith(repositories):
            yield Path(path)


def _kind(path: str) -> int:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except OSError:  # it was deleted meanwhile; reading it will report that
        return 0


def _entries(root: Path, ignore_file: str, within: Path | None = None) -> tuple[list[str], bool, bool]:
    """All paths under `root` that are not ignored, folders included; whether all names are UTF-8; whether all could be listed.

    Paths whose names are not UTF-8 are missing from the list.
    """
    import rignore

    if not _is_utf8(str(root.absolute())):
        with tempfile.TemporaryDirectory(prefix="codesage-") as folder:  # a name that the library can read
            link = Path(folder) / "root"
            link.symlink_to(root.resolve())
            paths, all_utf8, all_listed = _entries(link, ignore_file)
            return [str(root) + path.removeprefix(str(link)) for path in paths], all_utf8, all_listed
    top = repository_of(root)
    _require_plain(os.path.join(root, ignore_file))
    left_out = _FOLDERS - _let_in(root / ignore_file) if ignore_file else _FOLDERS
    _require_plain_ignore_files(root, (top or root).resolve(), {".gitignore", ".ignore", ignore_file}, left_out)
    walker = rignore.Walker(
        root,
        ignore_hidden=False,
        read_ignore_files=True,
        read_parents_ignores=top not in (None, root.resolve()),
        read_git_ignore=True,
        read_global_git_ignore=False,
        read_git_exclude=True,
        require_git=top is not None,
        follow_links=False,
        additional_ignore_paths=[ignore_file] if ignore_file else [],
        overrides=[f"!{name}" for name in sorted(left_out)],
        should_exclude_entry=None if within is None else lambda path: not _are_on_one_line(Path(path), within),
    )
    paths, all_utf8, all_listed = [], True, True
    while True:
        try:
            paths.append(str(next(walker)))
        except StopIteration:
            return paths[1:], all_utf8, all_listed  # the first is `root`
        except ValueError:
            all_utf8 = False
        except OSError:  # a folder that cannot be read or was deleted meanwhile: continue with the others
            all_listed = False


def _require_plain_ignore_files(root: Path, top: Path, names: set[str], left_out: set[str]) -> None:
    """CodesageError for an ignore file that the library must not read: a pipe, a device, or a link to one.

    The library would wait for ever, or fill the memory; a repository from elsewhere can hold a link to /dev/zero. The folders
    that are `left_out` are not entered.
    """
    folders, above = [str(root)], root.resolve()
    while above != top and above.is_relative_to(top):  # whose ignore files are read too
        above = above.parent
        for name in names:
            _require_plain(os.path.join(above, name))
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:  # what cannot be listed has no ignore file to read
            for entry in entries:
                if entry.name in names:
                    _require_plain(entry.path)
                elif entry.name not in left_out and entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)


def _require_plain(file: str) -> None:
    try:
        kind = stat.S_IFMT(os.stat(file).st_mode)
    except OSError:  # it is missing, or a link to nothing
        return
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise CodesageError(f"{file} is a pipe or a device, or a link to one, which no ignore file may be: remove it")


def _are_on_one_line(one: Path, other: Path) -> bool:
    """Whether one of two paths holds the other, or they are equal."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def repository_of(folder: Path) -> Path | None:
    """The root of the git repository that holds `folder`, or None."""
    real = folder.resolve()
    return next((above for above in (real, *real.parents) if (above / ".git").exists()), None)


def _let_in(file: Path) -> set[str]:
    """The folders that are left out by default and that an ignore file lets in."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {name for line in lines if line.startswith("!") and (name := line[1:].strip().strip("/")) in _FOLDERS - _METADATA}


def _not_utf8(folder: str) -> Iterator[str]:
    """Files in `folder` whose names are not UTF-8 or that are below such a folder. Ignore files do not apply to them."""
    for place, folders, files in os.walk(folder):
        below = place != folder
        yield from (os.path.join(place, name) for name in files if below or not _is_utf8(name))
        folders[:] = [name for name in folders if name not in _FOLDERS and (below or not _is_utf8(name))]


def name_of(path: Path, root: Path) -> str:
    """The path of a file relative to `root`, with forward slashes. Bytes that are not UTF-8 are escaped."""
    name = path.relative_to(root).as_posix() if path != root else path.name
    return name if _is_utf8(name) else os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_utf8(name: str) -> bool:
    return name.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in name)  # Python's surrogates for other bytes


def read_text(path: Path, *, name: str, max_bytes: int = MAX_BYTES, max_line: int = MAX_LINE) -> Text | Skipped:
    """Read one file as `name` (its path relative to the root). Never raises because of a file's content.

    UTF-8 and UTF-16 with a byte order mark are read. Other encodings are skipped, because a wrong guess would silently give
    wrong text. Line breaks become line feeds.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return Skipped(name, "special")
        if is_secret(name):
            return Skipped(name, "secret")
        if status.st_size > max_bytes:
            return Skipped(name, "huge")
        with open(path, "rb", opener=_opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Skipped(name, "special")
            data = file.read(max_bytes + 1)
    except OSError:
        return Skipped(name, "unreadable")
    return text_of(data, name=name, max_bytes=max_bytes, max_line=max_line)  # it may have grown since


def _opener(path: str, flags: int) -> int:
    """Open a file that may have become a link or a pipe since it was listed: never follow the one nor wait for the other."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def why_unread(file: Path, reason: str, *, max_bytes: int = MAX_BYTES) -> str:
    """Why a file that was given could not be read as code, and what to do. `reason`: of its Skipped."""
    if os.path.islink(file):
        return f"{file} is a link: give the file that it leads to"
    if os.path.isdir(file):
        return f"{file} is a folder: give a file"
    try:
        os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return f"{file}: no such file: give a file that exists"
    except OSError:
        pass
    expected = {
        "huge": f"at most {max_bytes / 1e6:.0f} MB: split the file",
        "minified": f"lines of at most {MAX_LINE:,} characters: break its lines",
        "empty": "code, but the file is empty",
        "secret": "code, but this is a name of files with passwords or keys: rename the file",
        "special": "a file, not a pipe, socket or device",
        "unreadable": "a file that you may read",
    }
    return f"{file} cannot be read ({reason}): expected {expected.get(reason, 'code in UTF-8')}"


def text_of(data: bytes, *, name: str, max_bytes: int = MAX_BYTES, max_line: int = MAX_LINE) -> Text | Skipped:
    """The text of a file `name` with content `data`, such as a member of an archive, by the rules of read_text.

    All files, archive members, rows and blobs are decoded here.
    """
    if is_secret(name):
        return Skipped(name, "secret")
    if len(data) > max_bytes:
        return Skipped(name, "huge")
    text = _decode(data)
    if text is None:
        return Skipped(name, "binary" if b"\0" in data else "encoding")
    if not text or text.isspace():
        return Skipped(name, "empty")
    if _has_long_line(text, max_line):
        return Skipped(name, "minified")
    return Text(name, text, hashlib.sha256(data).hexdigest())


def _has_long_line(text: str, most: int) -> bool:
    """Whether a line is longer than `most`. All lines are measured only if a stretch of that length has no line feed."""
    start = 0
    while len(text) - start > most:
        start = text.rfind("\n", start, start + most + 1) + 1
        if not start:
            return max(map(len, text.splitlines())) > most
    return False


def _decode(data: bytes) -> str | None:
    try:
        if is_utf16(data):
            return with_line_feeds(data.decode("utf-16"))
        return None if b"\0" in data else with_line_feeds(data.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError:
        return None


def is_utf16(data: bytes) -> bool:
    """Whether a text begins with the byte order mark of UTF-16. That of UTF-32 begins with the same bytes."""
    return data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not data.startswith(codecs.BOM_UTF32_LE)


def with_line_feeds(text: str) -> str:
    """`text` with a line feed for each line break that editors count: CR LF, a lone CR, LF. Form feeds are kept."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def is_example(name: str) -> bool:
    """Whether a file shows how to write one with secrets, by its name in small letters: `.env.example`."""
    return _EXAMPLE.search(name) is not None


def secret_rules() -> list[str]:
    """All that the rules on names of secret files are made of, so that an index can tell whether they have changed."""
    names = (*sorted(_SECRETS), *_SECRET_PATHS, *_SECRET_FOLDERS, *_SECRET_SUFFIXES, *_SECRET_PREFIXES)
    return [*names, _SECRET_FORMS.pattern, _COPY.pattern, _EXAMPLE.pattern]


def is_secret(name: str) -> bool:
    """Whether a name, or that of which it is a copy, is one of files with passwords or keys."""
    path = _COPY.sub("", f"/{name.lower()}").replace("/#", "/")
    name = path.rpartition("/")[2]
    if (
        name in _SECRETS
        or (name.startswith(_SECRET_PREFIXES) and not is_example(name))
        or name.endswith(_SECRET_SUFFIXES)
        or _SECRET_FORMS.fullmatch(name)
    ):
        return True
    return path.endswith(_SECRET_PATHS) or any(folder in path for folder in _SECRET_FOLDERS)
