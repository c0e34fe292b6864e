"""Addresses of git repositories and names of workspaces, which commands take instead of folders.

In: an argument of a command. Out: folders. A repository is cloned once, without its history, into the user's cache; `fetch`
updates the clone. A workspace is a name for several paths. It is stored in the user's configuration and typed as `@NAME`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from codesage.artifacts import write_whole
from codesage.errors import CodesageError
from codesage.machine import cache_folder
from codesage.search.folders import command

_URL = re.compile(r"(https?|ssh|git|file)://\S+|[\w.-]+@[\w.-]+:\S+")
_NAME = re.compile(r"[\w.-]+")
_PATIENCE = 5.0  # seconds: to write the workspaces takes a moment
_SAFE = ("-c", "protocol.ext.allow=never", "-c", f"core.hooksPath={os.devnull}", "-c", "core.symlinks=false")


def is_url(text: str) -> bool:
    """Whether the text is the address of a git repository."""
    return _URL.fullmatch(text) is not None and not os.path.exists(text)


def clones_folder() -> Path:
    """Where repositories are cloned to."""
    return cache_folder("clones")


def clone_folder(url: str) -> Path:
    """Where the clone of `url` is, or will be."""
    name = re.sub(r"[^\w.-]", "-", url.rstrip("/").removesuffix(".git").rpartition("/")[2]).strip("-.") or "repository"
    return clones_folder() / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def cloned(url: str, *, fetch: bool = False) -> Path:
    """The folder of the clone of `url`, which is cloned first if needed. CodesageError when git is missing or fails."""
    folder = clone_folder(url)
    if folder.is_dir():
        if fetch:
            _git(url, "-C", str(folder), "fetch", "--quiet", "--depth", "1", "origin", "HEAD")
            _git(url, "-C", str(folder), "reset", "--quiet", "--hard", "FETCH_HEAD")
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as staging:
            _git(url, "clone", "--quiet", "--depth", "1", "--no-tags", "--", url, f"{staging}/clone")
            os.rename(f"{staging}/clone", folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was first
            remedy = "make it writable, or set XDG_CACHE_HOME to another folder"
            raise CodesageError(f"{folder.parent} cannot be written ({error.strerror or error}): {remedy}") from None
    return folder


def _git(url: str, *arguments: str) -> None:
    if shutil.which("git") is None:
        raise CodesageError(f"{public(url)} needs git, which is not installed: install it, or give a folder")
    done = subprocess.run(
        ["git", *_SAFE, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
    )
    if done.returncode:
        raise CodesageError(
            f"{public(url)} cannot be cloned ({_reason(done.stderr, url)}): check the address and your access to it"
        )


def _reason(stderr: str, url: str) -> str:
    """Why git failed: its first fatal line, else its last line."""
    lines = stderr.replace(url, public(url)).strip().splitlines() or ["git failed"]
    return next((line for line in lines if line.startswith("fatal: ")), lines[-1])


def public(url: str) -> str:
    """An address without its password."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", url)


def _file() -> Path:
    from platformdirs import user_config_dir

    return Path(user_config_dir("codesage", appauthor=False)) / "workspaces.json"


def workspaces() -> dict[str, list[str]]:
    """The paths of each workspace. CodesageError when the file that holds them is damaged."""
    try:
        saved = json.loads(_file().read_text(encoding="utf-8"))
        return {str(name): [str(path) for path in paths] for name, paths in saved.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CodesageError(f"{_file()} cannot be read ({error}): repair or remove it") from None


def set_workspace(name: str, paths: list[str]) -> None:
    """Set the paths of a workspace, or remove it if there are none. CodesageError for an invalid name or path."""
    from filelock import FileLock, Timeout

    name = name.removeprefix("@")
    if not _NAME.fullmatch(name):
        raise CodesageError(f"{name!r} is not a valid name of a workspace: expected letters, digits, '.', '-' and '_'")
    if not paths and name not in workspaces():
        raise CodesageError(f"there is no workspace {name}: 'codesage workspace list' lists them")
    for path in paths:
        if not is_url(path) and not os.path.exists(path):
            raise CodesageError(f"{path}: no such file or folder: give a path that exists")
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=_PATIENCE):  # else a workspace that another process adds meanwhile would be lost
            held = workspaces()
            held[name] = [path if is_url(path) else str(Path(path).resolve()) for path in paths]
            write_whole(file, json.dumps({key: value for key, value in held.items() if value}, indent=1) + "\n", mode=0o600)
    except Timeout:
        raise CodesageError(f"another process is writing {file}: run the command again") from None
    except OSError as error:
        raise CodesageError(f"{file} cannot be written ({error.strerror or error}): make its folder writable") from None


def folders_of(text: str, *, fetch: bool = False, clone: bool = True) -> list[str]:
    """The folders and files that a path, an address or the name of a workspace stands for.

    A repository is cloned if it is not yet; without `clone` that is a CodesageError.
    """
    return [folder_of(member, fetch=fetch, clone=clone) for member in members_of(text)]


def members_of(text: str) -> list[str]:
    """The paths and addresses of a workspace; anything else stands for itself. CodesageError for an unknown workspace."""
    if not text.startswith("@") or os.path.exists(text):
        return [text]
    held = workspaces()
    if text[1:] not in held:
        raise CodesageError(f"there is no workspace {text[1:]}: 'codesage workspace add {text[1:]} PATH...' makes it")
    return held[text[1:]]


def folder_of(text: str, *, fetch: bool = False, clone: bool = True) -> str:
    """The folder that a path or an address stands for; `fetch` and `clone` as in `folders_of`."""
    if not clone and is_url(text) and not clone_folder(text).is_dir():
        raise CodesageError(f"{public(text)} has no clone here: '{command('index', public(text))}' makes and indexes one")
    return str(cloned(text, fetch=fetch)) if is_url(text) else text
