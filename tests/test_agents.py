"""The server for agents, tested with the SDK's client in process, over standard input and output, and over HTTP."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import codesage
from codesage import CodesageError
from codesage.agents import install
from codesage.agents.commands import searched
from codesage.agents.folders import Folders
from codesage.search.database import Busy
from codesage.search.index import Index
from command_line import run
from plain_search import similar

pytestmark = pytest.mark.skipif(find_spec("mcp") is None, reason="the SDK is not installed")  # importing it takes seconds

CODE = {
    "files.py": "def read_text(path):\n    with open(path) as file:\n        return file.read()\n\n\n"
    "def total(numbers):\n    result = 0\n"
    "    for number in numbers:\n        result += number\n    return result\n",
    "sub/sums.go": "package sums\n\nfunc Total(numbers []int) int {\n\tresult := 0\n"
    "\tfor _, n := range numbers {\n\t\tresult += n\n\t}\n\treturn result\n}\n",
    "sub/notes.md": "# Notes\n\nHow totals are computed.\n",
}


@pytest.fixture(scope="module")
def encoder():
    return codesage.load()


@pytest.fixture
def tree(tmp_path):
    for name, text in CODE.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    return tmp_path / "tree"


@pytest.fixture
def folders(tree, encoder, tmp_path):
    return Folders([tree], lambda: encoder, index_dir=tmp_path / "index", fresh=0.0)


def server_of(folders):
    from codesage.agents import server

    return server.server_of(folders)


def client_of(server):
    import mcp

    return mcp.Client(server)


def call(server, tool, **arguments):
    async def ask():
        async with client_of(server) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(ask())


def test_tools_are_read_only_described_and_free_of_unions(folders):
    async def listed():
        async with client_of(server_of(folders)) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert set(tools) == {"search", "similar", "status"}
    for tool in tools.values():
        assert tool.annotations.read_only_hint and tool.description and tool.output_schema
        schema = json.dumps([tool.input_schema, tool.output_schema])
        assert "anyOf" not in schema and '"null"' not in schema
    assert tools["search"].input_schema["required"] == ["query"]
    assert all("description" in field for field in tools["search"].input_schema["properties"].values())


def test_an_answer_is_compact_text_and_the_same_structured(folders, tree):
    result = call(server_of(folders), "search", query="read the text of a file", limit=2, lines=2)
    text, answer = result.content[0].text, result.structured_content
    assert text.startswith(f"{tree}/files.py:1-3 read_text\n    def read_text(path):\n    ") and not result.is_error
    assert answer["root"] == str(tree) and answer["files_indexed"] == 3 and answer["partial"] == ""
    best = answer["results"][0]
    assert (best["path"], best["name"], best["start_line"], best["kind"]) == ("files.py", "read_text", 1, "function")
    assert best["text"].count("\n") == 1 and len(answer["results"]) == 2


def test_names_and_code_in_the_text_hold_no_control_characters(tree, folders):
    name = "a\x1b]0;b\x07\nc.py"
    (tree / name).write_text("def gallop():\n\treturn '\x1b[31m\u202e'\n")
    result = call(server_of(folders), "search", query="gallop", glob="a*.py")
    head, *lines = result.content[0].text.splitlines()
    assert head == rf"{tree}/a\x1b]0;b\x07\nc.py:1-2 gallop" and lines[1] == "    \treturn '\\x1b[31m\\u202e'"
    assert result.structured_content["results"][0]["path"] == name  # a program opens it


def test_filters_act_and_changes_are_seen(folders, tree):
    server = server_of(folders)
    names = [hit["path"] for hit in call(server, "search", query="total", path="sub").structured_content["results"]]
    assert set(names) == {"sub/sums.go", "sub/notes.md"}
    names = [hit["path"] for hit in call(server, "search", query="total", language="go").structured_content["results"]]
    assert set(names) == {"sub/sums.go"}
    none = call(server, "search", query="total", glob="*.rs", language="java")
    lines = ["glob *.rs matches none of the 3 indexed files", "language java matches none of the 3 indexed files"]
    assert none.content[0].text.split("\n") == [*lines, "nothing found"]
    assert none.structured_content["unused_filters"] == ["glob *.rs", "language java"]
    (tree / "new.py").write_text("def parse_colour(text):\n    return int(text, 16)\n")
    hits = call(server, "search", query="parse a colour", limit=1).structured_content["results"]
    assert hits[0]["name"] == "parse_colour"


def test_similar_finds_the_port_in_another_language(folders, encoder):
    results = call(server_of(folders), "similar", path="files.py", line=8).structured_content["results"]
    assert results[0]["path"] == "sub/sums.go" and results[0]["name"] == "Total"
    assert all(hit["name"] != "total" and hit["path"] != "sub/notes.md" for hit in results)
    index = folders.opened(folders.roots[0])
    hits = similar(index, "files.py", 8, top=5)
    assert [hit.chunk.path for hit in hits] == [hit["path"] for hit in results]
    assert np.diff([hit.score for hit in hits]).max() <= 0
    with pytest.raises(CodesageError, match="files.py:99 is after the last line of code"):
        similar(index, "files.py", 99)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {"query": "x", "path": ".."}, "not in a folder that may be searched"),
        ("search", {"query": "x", "path": "/etc"}, "not in a folder that may be searched"),
        ("search", {"query": "x", "path": "gone"}, "gone: no such file or folder: give a path that exists below /"),
        ("similar", {"path": "sub/gone.py", "line": 1}, "sub/gone.py: no such file or folder"),
        ("search", {"query": "x", "path": "link"}, "not in a folder that may be searched"),
        ("search", {"query": "x", "path": "a\0b"}, r"'a\x00b' is not in a folder that may be searched"),
        ("search", {"query": "x", "path": "~nosuchuser/x"}, "not in a folder that may be searched"),
        ("search", {"query": "x", "path": "x" * 300}, "not in a folder that may be searched"),
        ("search", {"query": "  "}, "the query is empty"),
        ("search", {"query": "x", "language": "cobol"}, "unknown language 'cobol'"),
        ("similar", {"path": "sub", "line": 1}, "sub is not a file"),
        ("similar", {"path": "files.py", "line": 999}, "files.py:999 is after the last line of code"),
    ],
)
def test_expected_errors_are_one_line_for_the_model(folders, tree, tmp_path, tool, arguments, message):
    (tmp_path / "outside").mkdir()
    (tree / "link").symlink_to(tmp_path / "outside")
    result = call(server_of(folders), tool, **arguments)
    assert result.is_error and message in result.content[0].text and "\n" not in result.content[0].text


@pytest.mark.parametrize(
    "arguments", [{"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "limit": 51}, {}, {"query": "x " * 5_001}]
)
def test_arguments_out_of_range_are_refused(folders, arguments):
    assert call(server_of(folders), "search", **arguments).is_error


def test_the_number_of_a_line_has_a_limit(folders):
    refused = call(server_of(folders), "similar", path="files.py", line=10**20)
    assert refused.is_error and "less than or equal to 2147483647" in refused.content[0].text


@pytest.fixture
def clones(tmp_path):
    """A folder with two repositories, one of them a level deeper, which hold a copy of one function."""
    for name in ("one/a.py", "group/two/dup.py"):
        file = tmp_path / "clones" / name
        (file.parent / ".git").mkdir(parents=True)
        file.write_text(CODE["files.py"])
    (tmp_path / "clones/group/two/gen.py").write_text("def made():\n    return 1\n")
    (tmp_path / "clones/group/two/.gitignore").write_text("gen.py\n")
    return tmp_path / "clones"


def test_repositories_in_a_folder_of_clones_are_searched(clones, encoder):
    folders = Folders([clones], lambda: encoder)
    files = {"one/a.py", "group/two/dup.py"}

    def paths(answer):
        assert answer.root == str(clones) and answer.partial == ""
        return {hit.chunk.path for hit in answer.hits}

    assert paths(folders.search("read a text file", language="python")) == files
    assert paths(folders.search("read a text file", path="one")) == {"one/a.py"}
    assert paths(folders.search("read a text file", path="group", language="python")) == {"group/two/dup.py"}
    assert paths(folders.search("read a text file", path=str(clones / "one/a.py"))) == {"one/a.py"}
    assert paths(folders.search("read a text file", glob="one/*.py")) == {"one/a.py"}
    best = folders.similar("one/a.py", 1, top=1).hits[0]
    assert (best.chunk.path, best.chunk.name) == ("group/two/dup.py", "read_text")
    states = {status.root: status.files for status, _ in folders.status()}
    assert states == {str(clones): 0, str(clones / "group/two"): 2, str(clones / "one"): 1}


def test_a_path_belongs_to_its_innermost_root(clones, encoder):
    folders = Folders([clones, clones / "one"], lambda: encoder)
    for path in (str(clones / "one/a.py"), "one", "a.py"):
        answer = folders.search("read a text file", path=path)
        assert answer.root == str(clones / "one") and {hit.chunk.path for hit in answer.hits} == {"a.py"}, path


@pytest.fixture
def two_roots(tree, tmp_path, encoder):
    """Folders of two roots. Both have the file `files.py`, and only the second has code about colours."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "files.py").write_text("def parse_colour(text):\n    return int(text, 16)\n\n\n" + CODE["files.py"])
    return Folders([tree, other], lambda: encoder, fresh=0.0)


def test_a_question_without_a_path_is_answered_from_all_roots(two_roots, tree):
    other = tree.parent / "other"
    answer = two_roots.search("parse a colour", top=50)
    assert answer.root == "" and answer.files == 4 and answer.hits[0].chunk.path == str(other / "files.py")
    paths = {hit.chunk.path for hit in two_roots.search("read text", top=50).hits}
    assert {str(tree / "files.py"), str(other / "files.py")} <= paths
    assert {hit.chunk.path for hit in two_roots.search("total", glob="sub/*.go").hits} == {str(tree / "sub/sums.go")}
    answer = two_roots.search("parse a colour", path=str(other))
    assert answer.root == str(other) and {hit.chunk.path for hit in answer.hits} == {"files.py"}
    assert two_roots.search("total", language="go").unused == ()  # only one of the roots has such files
    assert two_roots.search("total", language="ruby").unused == ("language ruby",)
    text = call(server_of(two_roots), "search", query="parse a colour", limit=1).content[0].text
    assert text.startswith(f"{other}/files.py:1-2 parse_colour\n")


def test_similar_code_and_the_map_are_of_all_roots(two_roots, tree):
    other = tree.parent / "other"
    best = two_roots.similar(str(other / "files.py"), 5, top=1).hits[0].chunk
    assert (best.path, best.name) == (str(tree / "files.py"), "read_text")
    shown = two_roots.map(100)
    assert shown["roots"] == [str(tree), str(other)]
    places = {(point["path"], point["name"]) for point in shown["points"]}
    assert (str(tree / "sub/sums.go"), "Total") in places and (str(other / "files.py"), "parse_colour") in places


def test_a_root_in_another_root_gives_no_result_twice(tree, encoder):
    folders = Folders([tree / "sub", tree], lambda: encoder, patience=60.0, fresh=0.0)
    (tree / "made").mkdir()
    (tree / "made" / "gen.py").write_text("def total_made(numbers):\n    return sum(numbers)\n")
    (tree / ".ignore").write_text("made/\n")
    ignored = Folders([tree, tree / "made"], lambda: encoder, patience=60.0, fresh=0.0)
    for several, own, line, name in ((folders, "sub/sums.go", 3, "Total"), (ignored, "made/gen.py", 1, "total_made")):
        hits = several.search("total", top=50).hits
        places = [(hit.chunk.path, hit.chunk.start_line) for hit in hits]
        assert len(places) == len(set(places)) and str(tree / own) in {path for path, _ in places}
        near = several.similar(str(tree / own), line).hits
        assert near and name not in {hit.chunk.name for hit in near}


def test_repositories_in_a_repository_are_named_and_answer_when_asked(tree, encoder):
    (tree / ".git").mkdir()
    for name in ("parser", "deep/lexer"):
        (tree / "lib" / name / ".git").mkdir(parents=True)
        (tree / "lib" / name / "code.py").write_text("def total(numbers):\n    return sum(numbers)\n")
    folders = Folders([tree], lambda: encoder)
    note = "nested repositories are not part of it (2), give one as path to search it: lib/deep/lexer, lib/parser"
    assert folders.search("total").partial == folders.search("total", path="lib").partial == note
    assert folders.search("total", path="sub").partial == ""
    answer = folders.search("total", path="lib/parser")
    assert [hit.chunk.path for hit in answer.hits] == ["lib/parser/code.py"] and answer.partial == ""
    assert "files.py" in [hit.chunk.path for hit in folders.similar("lib/parser/code.py", 1).hits]


def test_with_one_index_the_clones_in_a_folder_are_named(clones, encoder, tmp_path):
    folders = Folders([clones], lambda: encoder, index_dir=tmp_path / "index")
    assert folders.search("total").partial.endswith("give one as path to search it: group/two, one")


def test_a_path_that_is_not_indexed_is_named(clones, encoder):
    (clones / "one/data.bin").write_bytes(b"\0")
    folders = Folders([clones], lambda: encoder)
    for path, reason in (("group/two/gen.py", ": git ignores it, or it holds no files"), ("one/data.bin", " (binary)")):
        answer = folders.search("made", path=path)
        assert answer.hits == [] and answer.partial == f"{path} is not indexed{reason}"


def test_a_question_does_not_wait_for_the_whole_index(tree, encoder, tmp_path, monkeypatch):
    folders = Folders([tree], lambda: encoder, index_dir=tmp_path / "index", patience=0.5, fresh=0.0)
    proceed, update = threading.Event(), Index.update

    def slow(self, encoder, *, progress=lambda done, total: None, **options):
        progress(1, 3)
        proceed.wait(20)
        return update(self, encoder, progress=progress, **options)

    monkeypatch.setattr(Index, "update", slow)
    deadline = time.monotonic() + 20
    while (answer := folders.search("read a file")).partial == "indexing is under way, ask again later for all":
        assert time.monotonic() < deadline  # opening the index may take longer than `patience` on a busy machine
    assert answer.hits == [] and answer.partial == "indexing is under way: 1 of 3 files, ask again later for all"
    proceed.set()
    deadline = time.monotonic() + 20
    while (answer := folders.search("read a file")).partial and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answer.partial == "" and answer.hits[0].chunk.name == "read_text"

    def busy(self, encoder, **options):
        raise Busy("another process is indexing it")

    monkeypatch.setattr(Index, "update", busy)
    answer = folders.search("read a file")
    assert answer.hits and answer.partial.startswith("another process is indexing this folder")


def test_impossible_folders_are_one_line(tmp_path, encoder):
    with pytest.raises(CodesageError, match="none: no such folder"):
        Folders([tmp_path / "none"], lambda: encoder)
    with pytest.raises(CodesageError, match="the index of one root"):
        Folders([tmp_path, tmp_path.parent], lambda: encoder, index_dir=tmp_path / "i")


def command(tree, tmp_path, *more):
    return [sys.executable, "-m", "codesage", "mcp", "run", "--root", str(tree), "--index-dir", str(tmp_path / "index"), *more]


def test_an_agent_starts_the_server_over_standard_input_and_output(tree, tmp_path):
    program, *arguments = command(tree, tmp_path)

    from mcp import StdioServerParameters, stdio_client

    parameters = StdioServerParameters(command=program, args=arguments, env={**os.environ, "PYTHONWARNINGS": "ignore"})

    async def ask():
        async with client_of(stdio_client(parameters)) as client:
            result = await client.call_tool("search", {"query": "add up numbers", "language": "python"})
            state = await client.call_tool("status", {})
            return result, state

    result, state = asyncio.run(ask())
    assert "files.py:6-10 total" in result.content[0].text
    assert state.structured_content["folders"][0]["files"] == 3 and "3 files" in state.content[0].text


@contextmanager
def over_http(*start):
    """A server over HTTP in a process of its own; gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*start, "--http", "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def status_of(port, **headers):
    """The status of the answer to an agent's first request."""
    import httpx2

    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}
    headers = {"Accept": "application/json, text/event-stream"} | headers
    return httpx2.post(f"http://127.0.0.1:{port}/mcp", json=request, headers=headers).status_code


def test_over_http_foreign_hosts_are_refused(tree, tmp_path):
    with over_http(*command(tree, tmp_path)) as port:

        async def ask():
            async with client_of(f"http://127.0.0.1:{port}/mcp") as client:
                return await client.call_tool("search", {"query": "add up numbers", "limit": 1})

        assert asyncio.run(ask()).structured_content["results"]
        assert status_of(port) == status_of(port, Origin=f"http://localhost:{port}") == 200
        assert status_of(port, Host=f"evil.example:{port}") == 421
        assert status_of(port, Origin="http://evil.example") == 403


def test_over_http_other_machines_need_a_token(tree, tmp_path):
    done = run("mcp", "run", "--root", tree, "--http", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert done.stderr == "codesage: 0.0.0.0 can be reached from other machines: give --token, or set CODESAGE_TOKEN\n"
    options = ("--host", "0.0.0.0", "--token", "secret", "--name", "Box.example:8765")
    with over_http(*command(tree, tmp_path, *options)) as port:
        assert status_of(port, Host=f"localhost:{port}") == status_of(port, Authorization="Bearer x") == 401
        assert status_of(port, Authorization="Bearer secret", Host="box.example:8765") == 200
        assert status_of(port, Authorization="Bearer secret", Host=f"evil.example:{port}") == 421


def test_a_server_without_roots_searches_the_working_folder(tree, monkeypatch):
    monkeypatch.chdir(tree / "sub")
    assert searched(None, None, codesage.load, index_dir=None, patience=1.0).roots == ((tree / "sub").resolve(),)
    done = run("mcp", "run", "--root", "gone")
    assert done.returncode == 2 and done.stderr == "codesage: gone: no such folder: give folders that exist\n"


@pytest.mark.parametrize("agent", install.AGENTS)
def test_the_configuration_of_an_agent_keeps_what_is_in_it(agent, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    project = tmp_path / "project"
    project.mkdir()
    file = install.install(agent, project)
    key = install.AGENTS[agent].key
    held = json.loads(file.read_text())
    own = held[key]["codesage"]
    assert own["command"] == sys.executable and own["args"][-2:] == ["--root", str(project)]
    held[key]["other"] = {"command": "x"}
    file.write_text(json.dumps(held | {"theme": "dark"}))
    assert install.install(agent, project, model="general") == file
    again = json.loads(file.read_text())
    assert again["theme"] == "dark" and again[key]["other"] == {"command": "x"}
    assert again[key]["codesage"]["args"][-2:] == ["--model", "general"]
    for broken in ("{", "[]", json.dumps({key: []})):
        file.write_text(broken)
        with pytest.raises(CodesageError, match="by hand"):
            install.install(agent, project)
        assert file.read_text() == broken
    with pytest.raises(CodesageError, match="unknown agent 'emacs'"):
        install.install("emacs", project)


def test_a_second_installation_changes_nothing_else_in_the_file(tmp_path):
    file = install.install("cursor", tmp_path)
    written = file.read_text()
    assert install.install("cursor", tmp_path).read_text() == written
    own = json.loads(written)["mcpServers"]["codesage"]
    held = {
        "z": 1,
        "mcpServers": {"codesage": {"env": {"CODESAGE_TOKEN": "x"}, **own}, "other": {"url": "ä"}},
        "a": [1.5, None],
    }
    file.write_text(json.dumps(held, indent="\t", ensure_ascii=False) + "\n")
    written = file.read_text()
    install.install("cursor", tmp_path)
    assert file.read_text() == written
    file.write_text(json.dumps({"mcpServers": {"codesage": {"url": "http://127.0.0.1:8765/mcp"}}}))  # started by hand until now
    install.install("cursor", tmp_path)
    assert json.loads(file.read_text())["mcpServers"]["codesage"] == own


def test_the_configuration_keeps_its_permissions_and_new_ones_are_private(tmp_path):
    file = install.install("cursor", tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    for mode in (0o600, 0o644):
        file.chmod(mode)
        install.install("cursor", tmp_path)
        assert file.stat().st_mode & 0o777 == mode and [one.name for one in file.parent.iterdir()] == ["mcp.json"]


def test_a_link_to_a_configuration_stays_and_its_target_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    target, link = tmp_path / "dotfiles" / "mcp.json", install.AGENTS["windsurf"].file(tmp_path)
    link.parent.mkdir(parents=True)
    target.parent.mkdir()
    target.write_text('{"theme": "dark"}')
    link.symlink_to(target)
    assert install.install("windsurf", tmp_path) == target.resolve()
    assert link.is_symlink() and set(json.loads(target.read_text())) == {"theme", "mcpServers"}
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(CodesageError, match=r"mcp_config\.json is a link that leads nowhere"):
        install.install("windsurf", tmp_path)


def test_a_model_given_by_its_path_is_the_same_folder_for_the_agent(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    assert install.entry(tmp_path, model="./own")["args"][-2:] == ["--model", str(tmp_path.resolve() / "own")]
    with pytest.raises(CodesageError, match="onw: no such model: give its folder, or one of default, general"):
        install.entry(tmp_path, model="onw")


@pytest.mark.parametrize("agent", ["claude-code", "print"])
def test_a_project_that_is_no_folder_is_refused_and_not_created(tmp_path, agent):
    done = run("mcp", "install", agent, tmp_path / "gone" / "dir")
    assert done.returncode == 2 and "gone/dir: no such folder" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "gone").exists()


def test_a_configuration_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / ".cursor").write_text("")
    with pytest.raises(CodesageError, match=r"mcp\.json"):
        install.install("cursor", tmp_path)
    (tmp_path / ".mcp.json").write_text('{"theme": "\\ud800"}')  # half a character
    with pytest.raises(CodesageError, match="cannot be written"):
        install.install("claude-code", tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [".cursor", ".mcp.json"]


def test_the_installed_server_imports_nothing_from_the_project(tmp_path):
    (tmp_path / "mcp").mkdir()
    for name in ("pickle.py", "mcp/__init__.py", "codesage.py"):
        (tmp_path / name).write_text("raise SystemExit('a module of the project was imported')\n")
    own = install.entry(tmp_path)
    program = [own["command"], *own["args"], "--store", "lance://gone"]  # refused after the server's modules are imported
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "give a store or folders, not both" in done.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_says_that_an_update_ended_by_an_error_that_nobody_foresaw(folders, monkeypatch):
    def ends(*arguments, **options):
        raise MemoryError("no memory is left")

    monkeypatch.setattr(Index, "update", ends)
    assert folders.search("read a file").partial == "the index could not be brought up to date: no memory is left"
