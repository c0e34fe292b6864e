"""Data sets from their hubs, over a local HTTP server: whole or not there, resumed, verified, and clear without a network."""

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from codesage import CodesageError
from codesage.artifacts import sha256_of
from codesage.evaluate import download, hubs, sets
from codesage.evaluate.commands import evaluate
from codesage.evaluate.download import Remote

CONTENT = bytes(range(256)) * 40


class Hub(ThreadingHTTPServer):
    """Serves `files` by path, with ranges. `cut`: how many bytes of a body are sent before the connection breaks."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.cut, self.ranges = {}, [], None, True
        self.commits, self.moved = {}, {}  # by path: the commit that the hub names, and where the bytes are
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        hub, wanted = self.server, self.headers.get("Range")
        hub.asked.append((self.path, wanted))
        if self.path in hub.moved:
            self.send_response(302)
            self.send_header("Location", hub.url + hub.moved[self.path])
            self.send_commit()
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = hub.files.get(self.path)
        if body is None:
            return self.send_error(404)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.ranges else 0
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_commit()
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_commit()
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: hub.cut])
        self.close_connection = True

    def send_commit(self):
        if self.path in self.server.commits:
            self.send_header("X-Repo-Commit", self.server.commits[self.path])

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "codesage" / "benchmarks"


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_a_file_is_fetched_once_and_verified(hub, tmp_path):
    hub.files["/a"] = CONTENT
    remote, lines = Remote(f"{hub.url}/a", blob=git_blob(CONTENT)), []
    for _ in range(2):
        download.fetch(remote, tmp_path / "f" / "a", say=lines.append)
    assert (tmp_path / "f" / "a").read_bytes() == CONTENT and hub.asked == [("/a", None)]
    assert lines == [f"fetching {hub.url}/a (0.0 MB)"]
    with pytest.raises(CodesageError, match="checksum is .*, expected 0000: the content differs from what was published"):
        download.fetch(replace(remote, blob="0000"), tmp_path / "b")
    assert not (tmp_path / "b").exists() and not (tmp_path / "b.part").exists()


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_broken_download_is_never_complete_and_goes_on(hub, tmp_path, ranges):
    hub.files["/a"], hub.cut, hub.ranges = CONTENT, 1000, ranges
    remote = Remote(f"{hub.url}/a", sha256=hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(CodesageError, match="ends 9,240 bytes early: run again to resume") as error:
        download.fetch(remote, tmp_path / "a")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a").exists() and (tmp_path / "a.part").stat().st_size == 1000
    hub.cut = None
    download.fetch(remote, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT and hub.asked[-1] == ("/a", "bytes=1000-")


@pytest.mark.parametrize("kept", [CONTENT, CONTENT + b"more"], ids=["whole", "too long"])
def test_a_process_killed_before_the_file_had_its_name(hub, tmp_path, kept):
    hub.files["/a"] = CONTENT
    (tmp_path / "a.part").write_bytes(kept)
    download.fetch(Remote(f"{hub.url}/a"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT and not (tmp_path / "a.part").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/a", "cannot be fetched (.*refused.*)"),
        ("{hub}/none", "HTTP status 404"),
        ("nonsense", "unknown url"),
    ],
)
def test_without_an_answer_there_is_one_line(hub, tmp_path, url, message):
    with pytest.raises(CodesageError, match=message) as error:
        download.fetch(Remote(url.format(hub=hub.url)), tmp_path / "a")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("moved", [False, True], ids=["here", "moved"])
def test_the_commit_that_the_hub_names_is_kept_with_the_bytes(hub, tmp_path, moved):
    """Also where the hub names it while it redirects to a store, which does not."""
    hub.files["/a"] = hub.files["/store/a"] = CONTENT
    hub.commits["/a"] = "1" * 40
    hub.moved |= {"/a": "/store/a"} if moved else {}
    remote = Remote(f"{hub.url}/a")
    assert download.fetch(remote, tmp_path / "a") == download.fetch(remote, tmp_path / "a") == "1" * 40
    assert download.fetch(Remote(f"{hub.url}/store/a"), tmp_path / "b") == ""
    hub.commits["/a"] = "main"  # no commit
    assert download.fetch(remote, tmp_path / "c") == ""


@pytest.mark.parametrize("moved", [False, True], ids=["here", "moved"])
@pytest.mark.parametrize("cut", [1000, len(CONTENT)], ids=["part", "whole"])
def test_bytes_of_two_commits_are_never_joined(hub, tmp_path, monkeypatch, moved, cut):
    hub.files["/a"] = hub.files["/store/a"] = CONTENT
    hub.moved |= {"/a": "/store/a"} if moved else {}
    hub.commits["/a"], hub.cut, remote = "1" * 40, cut, Remote(f"{hub.url}/a")
    with monkeypatch.context() as patch:
        patch.setattr(download.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(CodesageError):
            download.fetch(remote, tmp_path / "a")
    assert (tmp_path / "a.part").stat().st_size == cut
    hub.files["/a"] = hub.files["/store/a"] = new = CONTENT[::-1]
    hub.commits["/a"], hub.cut = "2" * 40, None
    assert download.fetch(remote, tmp_path / "a") == "2" * 40 and (tmp_path / "a").read_bytes() == new


def parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


def test_tables_of_the_hub_become_the_files_of_the_authors(hub, cache, monkeypatch):
    """The true addresses and columns; another hub, and fewer rows."""
    monkeypatch.setattr(
        hubs, "TABLE_ROWS", {"advtest": {"test": 3}, "poj104": {"test": 4}, "defect": {"train": 4, "valid": 2, "test": 2}}
    )
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    base, end = "/datasets/google/code_x_glue_", "-00000-of-00001.parquet"
    advtest = f"{base}tc_nl_code_search_adv/resolve/bad29ae02f4650dffac1bcaeaaad545bfbcc9ec1/data/test{end}"
    poj104 = f"{base}cc_clone_detection_poj104/resolve/main/data/test{end}"
    defect = f"{base}cc_defect_detection/resolve/a618859d5c7a7aed0c495d4b9578fd64b77475b4/data"
    hub.files[advtest] = parquet(
        [
            {"id": i, "repo": "", "code_tokens": ["def", f"Func{i}"], "url": f"u{i}", "docstring_tokens": ["text", str(i)]}
            for i in range(3)
        ]
    )
    hub.files[poj104] = parquet([{"id": i, "code": f"int main() {{ {i}; }}", "label": str(81 + i // 2)} for i in range(4)])
    for part, count in (("train", 4), ("validation", 2), ("test", 2)):
        rows = [{"id": i, "func": f"f{i}", "target": i % 2 == 0, "project": "", "commit_id": ""} for i in range(count)]
        hub.files[f"{defect}/{part}{end}"] = parquet(rows)
    hub.commits[poj104] = "c" * 40
    lines, revisions, again = [], {}, {}
    wanted = ["advtest", "poj104", "defect"]
    tasks = sets.read(None, None, wanted, say=lines.append, download=True, revisions=revisions)
    sets.read(None, None, wanted, say=lines.append, revisions=again)
    assert revisions == again == {"POJ-104": {"test.parquet": "c" * 40}}
    (searched,), (grouped,), (told,) = tasks.values()
    assert searched.candidates == ["def Func0", "def Func1", "def Func2"] and searched.queries[1] == "text 1"
    assert grouped.at_r and grouped.query_labels == ["81", "81", "82", "82"]
    assert told.labels[:4] == ["1", "0", "1", "0"] and told.parts == ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    assert len(lines) == 5 and sorted(file.name for file in (cache / "poj104").iterdir()) == ["manifest.json", "test.jsonl"]
    assert not list(cache.glob("*.downloads")), "what was fetched is removed"
    hub.files.clear()  # from now on the cache is enough, without --download
    assert len(sets.read(None, None, ["poj104"], say=pytest.fail)["POJ-104"][0].queries) == 4
    app = typer.Typer()
    app.command()(evaluate)
    done = CliRunner().invoke(app, ["static", "--task", "poj104", "--out", str(cache / "r.json")])
    assert json.loads((cache / "r.json").read_text())["revisions"] == revisions, done.output
    hub.files[poj104] = parquet([{"id": 1, "code": "", "label": "1"}])
    (cache / "poj104" / "test.jsonl").write_text("{}\n")  # damaged: fetched again
    with pytest.raises(CodesageError, match="test.jsonl has 1 rows, its authors say 4: the data on the hub has changed"):
        sets.read(None, None, ["poj104"], say=lines.append, download=True)
    shutil.rmtree(cache)
    hub.files[poj104] = parquet([{"id": 1, "label": "1"}])
    with pytest.raises(CodesageError, match="is not the table that was published"):
        sets.read(None, None, ["poj104"], say=lines.append, download=True)


def serve(hub, monkeypatch, name, contents):
    """Serve `contents` at the true paths of a data set, with their own checksums."""
    files = {}
    for file, remote in hubs.PUBLISHED[name].files.items():
        path = "/" + remote.url.split("/", 3)[3]
        hub.files[path] = contents[file]
        files[file] = Remote(
            hub.url + path,
            blob=git_blob(contents[file]) if remote.blob else "",
            sha256=hashlib.sha256(contents[file]).hexdigest() if remote.sha256 else "",
        )
    monkeypatch.setitem(hubs.PUBLISHED, name, replace(hubs.PUBLISHED[name], files=files))


def test_files_of_repositories_are_copied(hub, cache, monkeypatch):
    serve(
        hub,
        monkeypatch,
        "cosqa",
        {
            "code_idx_map.txt": json.dumps({"def f(): pass": 7}).encode(),
            "cosqa-retrieval-test-500.json": json.dumps([{"doc": "do nothing", "retrieval_idx": 7}]).encode(),
        },
    )
    serve(
        hub,
        monkeypatch,
        "bigclonebench",
        {
            "data.jsonl": b'{"func": "a", "idx": "1"}\n{"func": "b", "idx": "2"}\n',
            "valid.txt": b"1\t2\t1\n",
            "test.txt": b"2\t1\t1\n",
        },
    )
    programs = b"".join(
        b'{"src": "class A%d {}", "complexity": "%s", "problem": "x"}\n' % (i, [b"constant", b"linear"][i % 2])
        for i in range(10)
    )
    serve(hub, monkeypatch, "codecomplex", {"data.jsonl": programs})
    tasks = sets.read(None, None, ["cosqa", "bigclonebench", "codecomplex"], say=str, download=True)
    assert tasks["CoSQA"][0].candidates == ["def f(): pass"] and tasks["BigCloneBench"][0].test == [(1, 0, True)]
    assert tasks["CodeComplex"][0].labels == ["constant", "linear"] * 5
    (cache / "cosqa" / "code_idx_map.txt").write_text(json.dumps({"def g(): pass": 7}))  # of the same size
    assert hubs.cached("cosqa") is None and hubs.cached("bigclonebench") == cache / "bigclonebench"


def test_codesearchnet_is_filtered_and_keeps_its_order(hub, cache, monkeypatch):
    monkeypatch.setattr(hubs, "SEARCHNET_ROWS", {"go": (1, 3), "ruby": (2, 2)})
    monkeypatch.setitem(
        hubs.PUBLISHED,
        "codesearchnet",
        replace(
            hubs.PUBLISHED["codesearchnet"],
            files={
                name: remote
                for name, remote in hubs.PUBLISHED["codesearchnet"].files.items()
                if name in ("dataset.zip", "go.zip", "ruby.zip")
            },
        ),
    )
    contents = {
        "dataset.zip": zipped(
            {
                "dataset/preprocess.py": "",
                "dataset/go/test.txt": "u2\n",
                "dataset/go/codebase.txt": "u3\nu1\nu2\n",
                "dataset/ruby/test.txt": "u1\nu2\n",
                "dataset/ruby/codebase.txt": "u1\nu2\n",
            }
        )
    }
    for language in ("go", "ruby"):
        parts = {
            part: "".join(
                json.dumps({"url": f"u{i}", "code_tokens": [language, str(i)], "docstring_tokens": ["d", str(i)], "repo": "r"})
                + "\n"
                for i in numbers
            )
            for part, numbers in (("train", (1, 4)), ("test", (2, 3)))
        }
        contents[f"{language}.zip"] = zipped(
            {
                f"{language}_licenses.pkl": b"",
                **{
                    f"{language}/final/jsonl/{part}/{language}_{part}_0.jsonl.gz": gzip.compress(text.encode())
                    for part, text in parts.items()
                },
            }
        )
    serve(hub, monkeypatch, "codesearchnet", contents)
    go, ruby = sets.read(None, None, ["codesearchnet"], say=str, download=True)["CodeSearchNet"]
    assert go.candidates == ["go 3", "go 1", "go 2"] and go.queries == ["d 2"] and go.relevant == [2]
    assert ruby.relevant == [0, 1]


def tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return out.getvalue()


def test_codenet_takes_the_listed_programs_from_the_archive(hub, cache, monkeypatch):
    lists = {
        f"{language}.jsonl": "".join(
            json.dumps({"index": f"{index}{number}", "label": 3533, "func": ""}) + "\n" for index in "st"
        ).encode()
        for number, language in enumerate(("java", "python", "ruby"))
    }
    programs = {
        "Project_CodeNet/data/p03533/Java/s0.java": b"class A {}",
        "Project_CodeNet/data/p03533/Java/s9.java": b"no",
        "Project_CodeNet/data/p03533/Python/s1.py": b"a = '\xff'",
        "Project_CodeNet/data/p03533/Java/t0.java": b"class B {}",
        "Project_CodeNet/data/p03533/Python/t1.py": b"b = 1",
        "Project_CodeNet/data/p03533/Ruby/t2.rb": b"b",
        "Project_CodeNet/data/p03533/Ruby/s2.rb": b"a",
    }
    serve(hub, monkeypatch, "codenet", {**lists, "Project_CodeNet.tar.gz": tar(programs)})
    tasks = sets.read(None, None, ["codenet"], say=str, download=True)["CodeNet"]
    assert (
        len(tasks) == 9 and tasks[0].queries == ["class A {}", "class B {}"] and tasks[4].queries == ["a = '\ufffd'", "b = 1"]
    )
    shutil.rmtree(cache / "codenet")
    programs.popitem()
    serve(hub, monkeypatch, "codenet", {**lists, "Project_CodeNet.tar.gz": tar(programs)})
    with pytest.raises(CodesageError, match="ruby_with_func.jsonl has 1 rows, its authors say 2"):
        sets.read(None, None, ["codenet"], say=str, download=True)


def test_without_a_network_the_message_says_what_to_put_where(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    want = "cannot be fetched .*; without a network, put test.jsonl into FOLDER/poj104 and give --benchmarks FOLDER"
    with pytest.raises(CodesageError, match=want):
        sets.read(None, None, ["poj104"], say=str, download=True)
    with pytest.raises(CodesageError, match=rf"cosqa is not there: put .* into {tmp_path}/cosqa .*, or --download"):
        sets.read(None, tmp_path, ["cosqa"], say=str)
    with pytest.raises(CodesageError, match="cannot be fetched: its authors publish tokens .* put train_balanced"):
        sets.read(None, None, ["runtime-error"], say=str, download=True)
    with pytest.raises(CodesageError, match="--download fetches the data sets of --task: name one or more of cosqa, advtest"):
        sets.read(None, tmp_path, [], say=str, download=True)


def test_every_data_set_is_published_or_says_why_not():
    assert sorted([*hubs.PUBLISHED, *hubs.UNPUBLISHED]) == sorted(sets.SETS)
    remotes = [remote for one in hubs.PUBLISHED.values() for remote in one.files.values()]
    assert all(remote.url.startswith("https://") for remote in remotes)
    for remote in (one for one in remotes if one.url.startswith(hubs.GITHUB)):
        assert re.fullmatch("[0-9a-f]{40}", remote.blob) and re.search("/[0-9a-f]{40}/", remote.url)


def test_git_ids_are_those_of_git(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    assert download.blob_of(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    assert sha256_of(tmp_path / "a").startswith("5891b5b5")
