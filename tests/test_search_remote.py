"""Addresses of git repositories and named workspaces as paths."""

import subprocess
import threading

import pytest
from filelock import FileLock

from codesage import CodesageError
from codesage.search import remote
from codesage.search.maintenance import kept_indexes
from codesage.search.remote import cloned, clones_folder, is_url, set_workspace, workspaces
from command_line import run
from test_search import HashingEncoder
from test_search_commands import root

__all__ = ["root"]  # the fixture


@pytest.fixture
def origin(root, tmp_path, monkeypatch):
    """The address of a repository with one commit."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "someone")
    folder = tmp_path / "origin"
    folder.mkdir()
    (folder / "code.py").write_text("def quagga():\n    return 1\n")
    commit(folder, "init", "-q")
    return f"file://{folder}", folder


def commit(folder, *before):
    for arguments in (before, ("add", "."), ("commit", "-qm", "more")):
        if arguments:
            subprocess.run(["git", *arguments], cwd=folder, check=True)


def test_a_repository_elsewhere_is_cloned_once_and_searched(origin):
    url, folder = origin
    answer = run("search", "quagga", url, "src", "-l", "-t", "py", "-k", 1)
    (clone,) = [path for path in clones_folder().iterdir()]
    assert answer.stdout == f"{clone}/code.py\n", answer.stderr
    (folder / "late.py").write_text("def okapi():\n    return 2\n")
    commit(folder)
    assert "late.py" not in run("search", "okapi", url, "-l").stdout  # as it was
    assert run("index", url).returncode == 0  # fetches
    assert f"{clone}/late.py\n" in run("search", "okapi", url, "-l").stdout
    assert "clones: " in run("clear", "--all").stdout and not clones_folder().exists()


def test_addresses_and_workspaces_are_maintained_like_paths(origin, root, monkeypatch):
    monkeypatch.setattr(HashingEncoder, "max_tokens", 64, raising=False)
    url, _ = origin
    for command in ("status", "doctor", "clear"):
        refused = run(command, url)
        assert refused.returncode == 2 and f"{url} has no clone here: 'codesage index {url}'" in refused.stderr
        assert refused.stderr.count("\n") == 1 and not clones_folder().exists()
    assert run("workspace", "add", "both", "src", url).returncode == 0 and run("index", "@both").returncode == 0
    (clone,) = clones_folder().iterdir()
    assert f"root: {clone}\n" in run("status", url).stdout and "state: complete" in run("status", url).stdout
    assert run("status", "@both").stdout.count("root: ") == 2
    parts = run("doctor", "@both").stdout
    assert f"ok    {clone}, index, state: complete" in parts and f"ok    {root / 'src'}, index, state: complete" in parts
    assert run("doctor", url).returncode == 0
    assert {kept.root for kept in kept_indexes()} == {str(root / "src"), str(clone)}
    assert run("clear", url).returncode == 0 and [kept.root for kept in kept_indexes()] == [str(root / "src")]
    assert run("index", "@both").returncode == 0 and run("clear", "@both").returncode == 0 and kept_indexes() == []


@pytest.mark.parametrize("url", ["file:///nowhere/at/all", "ext::sh -c 'touch owned'", "file://user:secret@/nowhere"])
def test_an_address_that_leads_nowhere_is_one_line(root, url):
    refused = run("search", "x", url)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "secret" not in refused.stderr
    assert not (root / "owned").exists() and not any(path for path in clones_folder().glob("*"))


def test_why_a_repository_cannot_be_cloned_is_what_git_says_first(root):
    refused = run("search", "x", "file:///nowhere/at/all")
    said = "(fatal: '/nowhere/at/all' does not appear to be a git repository)"
    assert refused.stderr.startswith(f"codesage: file:///nowhere/at/all cannot be cloned {said}: "), refused.stderr


def test_a_cache_or_configuration_that_cannot_be_written_is_one_line(origin, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    refused = run("workspace", "add", "mine", "src")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "workspaces.json cannot be written (" in refused.stderr and "Error" not in refused.stderr
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    refused = run("search", "x", origin[0])
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "clones cannot be written (" in refused.stderr and "set XDG_CACHE_HOME" in refused.stderr


def test_passwords_in_the_addresses_of_workspaces_stay_private(origin, tmp_path):
    assert run("workspace", "add", "mine", "https://me:hushhush@host/a.git").returncode == 0
    assert run("workspace", "list").stdout == "@mine: https://host/a.git\n"
    file = tmp_path / "config/codesage/workspaces.json"
    assert "hushhush" in file.read_text() and file.stat().st_mode & 0o777 == 0o600


def test_what_is_missing_does_not_stop_the_work_on_other_paths(origin, root, tmp_path):
    (tmp_path / "gone").mkdir()
    assert run("workspace", "add", "mine", "src", tmp_path / "gone", "file:///nowhere/at/all").returncode == 0
    (tmp_path / "gone").rmdir()
    first = f"codesage: {tmp_path}/gone of the workspace @mine: no such file or folder: 'codesage workspace add mine PATH...'"
    for command in (("index",), ("search", "retry", "-l"), ("similar", "src/retry.py:4", "-l"), ("clones", "--min-lines", "1")):
        done = run(*command, "@mine")
        assert done.returncode == 2, command
        said = [line for line in done.stderr.splitlines() if line.startswith("codesage: ")]
        assert len(said) == 2 and said[0].startswith(first) and "file:///nowhere/at/all cannot be cloned" in said[1]
    assert run("search", "retry", "@mine", "-l").stdout.splitlines()[0] == str(root / "src/retry.py")
    done = run("search", "retry", "src", "nowhere", "-l", "-t", "py")
    assert (done.returncode, done.stdout) == (2, "src/retry.py\n")
    assert done.stderr.splitlines()[-1] == "codesage: nowhere: no such file or folder: give a path that exists"
    done = run("search", "retry", "nowhere", "@other", "-l")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("codesage: nowhere: no such file")


def test_a_bare_repository_is_named_and_its_address_is_searched(origin, tmp_path, monkeypatch):
    url, folder = origin
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", url, bare], check=True)
    for path in (bare, folder / ".git"):
        refused = run("search", "quagga", path)
        said = f"{path} is a bare repository, which holds no files: give {path.as_uri()} to search a clone"
        assert (refused.returncode, refused.stderr) == (2, f"codesage: {said}\n")
    assert run("search", "quagga", bare.as_uri(), "-l", "-k", 1).stdout.endswith("/code.py\n")
    (tmp_path / "like" / "objects").mkdir(parents=True)  # code may have folders of these names
    (tmp_path / "like" / "refs").mkdir()
    (tmp_path / "like" / "HEAD").write_text("# The head\n")
    (tmp_path / "like" / "code.py").write_text("def quagga():\n    return 1\n")
    assert run("search", "quagga", tmp_path / "like", "-l").stdout.startswith(f"{tmp_path}/like/code.py\n")


def test_workers_without_ray_are_refused(root):
    refused = run("index", "--workers", 3)
    assert (refused.returncode, refused.stderr) == (
        2,
        "codesage: --workers goes with --engine ray: this process encodes alone\n",
    )


def test_addresses_are_told_from_paths(root):
    assert all(map(is_url, ("https://host/a/b.git", "git@host:a/b", "ssh://host/a", "file:///a")))
    assert not any(map(is_url, ("src", "./a:b", "C:\\code", "ext::sh", "https:/host", "@name")))
    with pytest.raises(CodesageError):
        cloned("file:///nowhere")


def test_workspaces_name_several_paths(origin, root, tmp_path, monkeypatch):
    url, _ = origin
    assert run("workspace", "add", "mine", "src", url).returncode == 0
    assert run("workspace", "list").stdout == f"@mine: {root / 'src'} {url}\n"
    monkeypatch.chdir(tmp_path)
    paths = run("search", "quagga retry", "@mine", "-l", "-t", "py").stdout.splitlines()
    assert str(root / "src/retry.py") in paths and any(path.endswith("/code.py") for path in paths)
    for wrong in (
        ("search", "x", "@other"),
        ("workspace", "add", "a/b", "."),
        ("workspace", "add", "new", "nowhere"),
        ("workspace", "remove", "other"),
    ):
        refused = run(*wrong)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    set_workspace("@mine", [])
    assert workspaces() == {}
    (tmp_path / "config/codesage/workspaces.json").write_text("[1]")
    assert "workspaces.json cannot be read" in run("workspace", "list").stderr


def test_workspaces_that_are_added_at_the_same_time_are_all_kept(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    other, write = threading.Thread(target=set_workspace, args=("other", ["docs"])), remote.write_whole

    def write_late(*arguments, **options):
        if not other.ident:
            other.start()
            other.join(0.3)
        write(*arguments, **options)

    monkeypatch.setattr(remote, "write_whole", write_late)
    set_workspace("mine", ["src"])
    other.join()
    assert workspaces() == {"mine": [str(root / "src")], "other": [str(root / "docs")]}
    monkeypatch.setattr(remote, "_PATIENCE", 0.0)
    with FileLock(tmp_path / "config/codesage/workspaces.json.lock"):
        refused = run("workspace", "remove", "mine")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "another process is writing" in refused.stderr and len(workspaces()) == 2
