"""Fetch packages with the usual clients (pip, npm, apt and git), without running any code of a package.

In: a name and a pinned version. Out: the published files in a folder of the cache, either complete or absent: a download
goes to a folder beside it, which is then renamed. The error message of a client becomes one line of a CodesageError.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from codesage.corpus.sources.archives import Member
from codesage.errors import CodesageError
from codesage.walk import MAX_BYTES, Skipped

_MINUTES = 20  # a client that runs longer is stopped
_TELLING = re.compile(
    r"No matching (distribution|version)|not in this registry|Not Found - GET|Unable to (find a source|locate) package"
    r"|Version .* was not found|Cannot install|not our ref|not appear to be a git|ENOSPC|No space left|No module named pip"
)
_ANSWER = Path(__file__).with_name("metadata_only.py")


def once(folder: Path, fill: Callable[[Path], None], what: str) -> None:
    """Create `folder` with `fill(empty folder beside it)` unless it exists already. It appears complete or not at all."""
    if folder.is_dir() and any(folder.iterdir()):
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name[:80]}.tmp-", dir=folder.parent))
        try:
            staging.chmod(0o755)
            fill(staging)
            if not any(staging.iterdir()):
                raise CodesageError(f"{what}: nothing was downloaded: check the name and the version")
            try:
                staging.rename(folder)
            except OSError:  # another process was faster, and its result is just as good
                if not (folder.is_dir() and any(folder.iterdir())):
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise CodesageError(f"{what}: cannot write {folder}: {error.strerror or error}: free some space") from None


def run(
    command: Sequence[str],
    *,
    what: str,
    cwd: Path | None = None,
    more: dict[str, str] | None = None,
    cure: str = "check the name and the version",
) -> str:
    """Run a client and return its standard output. On failure, CodesageError with the line that says why."""
    environment = os.environ | {"LC_ALL": "C.UTF-8", "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0"} | (more or {})
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60 * _MINUTES,
            check=False,
        )
    except FileNotFoundError:
        raise CodesageError(f"{what}: {command[0]} is not installed: install it to read this source") from None
    except subprocess.TimeoutExpired:
        raise CodesageError(f"{what}: {command[0]} took over {_MINUTES} minutes: try again") from None
    if done.returncode:
        raise CodesageError(f"{what}: {_failure_line(done.stderr or done.stdout)}: {cure}")
    return done.stdout


def _failure_line(output: str) -> str:
    """The line of a client's output that best explains a failure, without the addresses of servers."""
    lines = [re.sub(r"^((ERROR|error|E|fatal|npm err(or|!))\b:?\s*)+", "", line.strip()) for line in output.splitlines()]
    lines = [re.sub(r"\s*\b\w+://\S+", "", line).rstrip(" :.") for line in lines if line]
    telling = [line for line in lines if _TELLING.search(line)]
    return (telling or lines[-1:] or ["no reason given"])[0][:300]


def pip_download(name: str, version: str, kind: str, folder: Path) -> None:
    """Download the wheel or source distribution of one version into `folder` with `pip download`. Nothing is built.

    For a source distribution pip asks the package's build backend for metadata, which would run the package's code. It
    starts the backend with `sys.executable`. So `sys.executable` is set to a stand-in that returns the name and version.
    """
    what, formats = f"pip {name}=={version}", {"wheel": ["--only-binary", ":all:"], "sdist": ["--no-binary", name]}
    with tempfile.TemporaryDirectory(prefix="codesage-pip-") as scratch:
        stand_in = Path(scratch) / "python"
        stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{_ANSWER}" "$@"\n', encoding="utf-8")
        stand_in.chmod(0o755)
        start = f"import runpy, sys; sys.executable = {str(stand_in)!r}; runpy.run_module('pip', run_name='__main__')"
        run(
            [sys.executable, "-c", start, "download", "--no-deps", "--no-build-isolation", "--use-pep517",
             "--ignore-requires-python", "--disable-pip-version-check", "--no-input", "--quiet", "--progress-bar", "off",
             *formats.get(kind, []), "--dest", str(folder), f"{name}=={version}"],
            what=what, cwd=Path(scratch), more={"CODESAGE_NAME": name, "CODESAGE_VERSION": version},
        )  # fmt: skip


def npm_pack(name: str, version: str, folder: Path) -> None:
    """Download the published archive of one version into `folder` with `npm pack`. Scripts do not run."""
    with tempfile.TemporaryDirectory(prefix="codesage-npm-") as scratch:  # away from the caller's .npmrc and workspace
        run(
            [
                "npm",
                "pack",
                f"{name}@{version}",
                "--ignore-scripts",
                "--pack-destination",
                str(folder),
                "--silent",
                "--no-update-notifier",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ],
            what=f"npm {name}@{version}",
            cwd=Path(scratch),
        )


GIT = (
    "git", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol.https.allow=always",
    "-c", "protocol.http.allow=always", "-c", "protocol.ssh.allow=always", "-c", "protocol.git.allow=always",
    "-c", "protocol.file.allow=always", "-c", "fetch.recurseSubmodules=false", "-c", "gc.auto=0",
)  # fmt: skip


def git_fetch(address: str, commit: str, folder: Path, what: str) -> None:
    """Fetch one commit into the bare repository `folder`: shallow, without tags, hooks or submodules."""
    cure = "check the address and the commit"
    run([*GIT, "init", "--quiet", "--bare", "--template=", str(folder)], what=what)
    run(
        [
            *GIT,
            "-C",
            str(folder),
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--end-of-options",
            address,
            commit,
        ],
        what=what,
        cure=cure,
    )
    run([*GIT, "-C", str(folder), "update-ref", "--no-deref", "refs/heads/codesage", commit], what=what)


def git_blobs(folder: Path, commit: str, wanted: Callable[[str], bool], what: str, cure: str) -> Iterator[Member | Skipped]:
    """The wanted files of one commit in the git directory `folder`, as committed, in the order of their paths.

    Files are read directly from the object store, without a checkout, attributes, filters or hooks. Nothing is fetched.
    The hash of every file is verified. When the repository is damaged, CodesageError whose message ends in `cure`.
    """
    command = git_at(folder)
    listed = run([*command, "ls-tree", "-r", "-z", "-l", "--full-tree", commit], what=what, more=GIT_ALONE, cure=cure)
    reader = subprocess.Popen(
        [*command, "cat-file", "--batch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | GIT_ALONE,
    )
    requests, answers = cast(IO[bytes], reader.stdin), cast(IO[bytes], reader.stdout)  # both are pipes
    try:
        for entry in filter(None, listed.split("\0")):
            facts, _, name = entry.partition("\t")
            mode, kind, digest, size = facts.split()
            if mode == "120000":
                yield Skipped(name, "link")
            elif kind == "commit":
                yield Skipped(name, "submodule")
            elif kind == "blob" and wanted(name):
                if size != "BAD" and int(size) > MAX_BYTES:
                    yield Skipped(name, "huge")
                    continue
                data = _blob(requests, answers, digest)
                if data is None:
                    raise CodesageError(f"{what}: {name} is missing or damaged in {folder}: {cure}")
                yield Member(name, data)
    finally:
        reader.kill()
        reader.communicate()


def git_at(folder: Path) -> list[str]:
    """The start of a git command that reads the git directory `folder`. Run it with GIT_ALONE as environment."""
    return [*GIT, f"--git-dir={folder}"]


GIT_ALONE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}


def _blob(requests: IO[bytes], answers: IO[bytes], digest: str) -> bytes | None:
    """The bytes of a blob; None when it is missing or does not match its hash."""
    try:
        requests.write(digest.encode() + b"\n")
        requests.flush()
        header = answers.readline().split()
    except BrokenPipeError:
        return None
    if len(header) != 3 or header[1] != b"blob":
        return None
    size = int(header[2])
    data = answers.read(size)
    answers.read(1)  # the line break after the blob
    actual = hashlib.new("sha1" if len(digest) == 40 else "sha256", b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return data if actual.hexdigest() == digest else None
