"""Chunks, index and command line: results, stored state, and bad input."""

import codecs
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import zlib
from itertools import product
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from filelock import FileLock

import codesage.walk
from codesage import CodesageError
from codesage.languages import LANGUAGES, language_of
from codesage.records import Chunk, Document
from codesage.search import database, files
from codesage.search import index as indexes
from codesage.search.chunks import chunks
from codesage.search.filters import filter_of
from codesage.search.folders import other_model_indexes
from codesage.search.index import Index
from codesage.search.pieces import pieces
from codesage.search.query import search
from codesage.search.ranking import Rules, holds_name, identifiers, is_meant_exactly, joined, reciprocal_rank_fusion
from codesage.search.terms import indexed_words, parts_of, query_words
from codesage.walk import Skipped, name_of, read_text, text_of, walk
from codesage.words import split_names, split_words
from command_line import run


class HashingEncoder:
    """A hashed bag of words: deterministic, and similar texts are near."""

    width, fingerprint = 64, "hashing:1"

    def encode(self, texts, *, kind="code"):
        rows = np.full((len(texts), self.width), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for word in split_words(text):
                rows[row, hashlib.sha256(word.encode()).digest()[0] % self.width] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


ENCODER = HashingEncoder()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "shapes.py").write_text(
        textwrap.dedent('''
        import math

        class Circle:
            """A round shape."""
            sides = 0

            def area(self, radius):
                """Area of the circle."""
                return math.pi * radius ** 2

        def parse_http_header(line):
            name, _, value = line.partition(":")
            return name.strip(), value.strip()
    ''')
    )
    (root / "notes.md").write_text("# Notes\n\nThe zebra crossing protocol.\n")
    (root / "server.go").write_text(
        "package server\n\n// Listen waits for clients.\nfunc Listen(port int) error {\n\treturn nil\n}\n"
    )
    return root


def opened(root, tmp_path, **options):
    return Index.open(root, folder=tmp_path / "index", encoder=ENCODER, **options)


def names(index, query, **options):
    return [hit.chunk.name for hit in search(index, ENCODER, query, **options)]


def vectors_in(index):
    return index.connection.execute("SELECT count(*) FROM vectors").fetchone()[0]


def content(index):
    columns = "id, path, kind, name, start_line, end_line"
    rows = index.connection.execute(f"SELECT {columns} FROM chunks ORDER BY 2, 5, 6").fetchall()
    texts = index.texts_of(row[0] for row in rows)
    return [(*row[1:], texts[row[0]]) for row in rows]


def test_code_comes_before_its_tests_unless_the_query_asks_for_tests(root, tmp_path):
    (root / "tests").mkdir()
    (root / "tests" / "test_http.py").write_text("def parse_http_header_test():\n    return 'parse http header'\n")
    index = opened(root, tmp_path)
    index.update(ENCODER)
    assert names(index, "parse http header")[:2] == ["parse_http_header", "parse_http_header_test"]
    assert names(index, "test parse http header")[0] == "parse_http_header_test"
    scores = [hit.score for hit in search(index, ENCODER, "parse http header")]
    assert scores == sorted(scores, reverse=True)


def test_a_language_in_the_query_is_a_hint_and_not_a_filter(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    body = "({0}) {{\n  const table = open({0});\n  return table.rows;\n}}\n"
    (project / "a.js").write_text("function readTable" + body.format("path"))
    (project / "b.py").write_text("def read_table(path):\n    table = open(path)\n    return table.rows\n")
    index = opened(project, tmp_path)
    index.update(ENCODER)

    def paths(query: str) -> list[str]:
        return [hit.chunk.path for hit in search(index, ENCODER, query, top=9)]

    assert paths("read table in python")[0] == paths("python read table")[0] == "b.py"
    assert paths("read table in javascript")[0] == paths("how to read table with js")[0] == "a.js"
    assert sorted(paths("read table in python")) == ["a.js", "b.py"]
    assert sorted(paths("read table in ruby")) == ["a.js", "b.py"]  # a language that is not in the index


def test_finds_by_words_and_by_filters(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    assert names(index, "parse http header")[0] == "parse_http_header"
    assert names(index, "parse http header")[0] == "parse_http_header"
    assert search(index, ENCODER, "zebra crossing")[0].chunk.path == "notes.md"
    assert set(names(index, "parse http header", where=filter_of(["go"]))) == {"Listen", ""}
    assert {hit.chunk.path for hit in search(index, ENCODER, "circle", where=filter_of(globs=["pkg/*"]))} == {"pkg/shapes.py"}
    assert search(index, ENCODER, "   ") == [] and search(index, ENCODER, "x", where=filter_of(["ruby"])) == []
    assert len(search(index, ENCODER, "circle", top=1)) == 1


def test_every_line_is_in_a_chunk():
    text = (
        "import os\n\n\ndef f():\n    return 1\n\nx = 2\n\nclass A:\n    y = 1\n\n    def g(self):\n        pass\n"
        + "z = 1\n" * 100
    )
    pieces = chunks(Document("a.py", "python", text, ""))
    covered = "\n".join(chunk.text for chunk in pieces)
    assert all(line in covered for line in text.splitlines())
    assert [(c.kind, c.name) for c in pieces if c.kind != "window"] == [("function", "f"), ("class", "A"), ("function", "A.g")]
    assert "def g" not in next(c.text for c in pieces if c.kind == "class")
    assert all(c.end_line - c.start_line < 120 for c in pieces)


def test_only_what_changed_is_read_again(root, tmp_path):
    index = opened(root, tmp_path)
    assert index.update(ENCODER)["read"] == 3
    assert index.update(ENCODER) == {"read": 0, "gone": 0}
    rows = vectors_in(index)
    (root / "other" / "pkg").mkdir(parents=True)
    (root / "other" / "pkg" / "shapes.py").write_text((root / "pkg" / "shapes.py").read_text())
    (root / "notes.md").unlink()
    assert index.update(ENCODER) == {"read": 1, "gone": 1}
    assert vectors_in(index) == rows - 1  # equal texts are embedded once, and removed texts lose their row
    assert "notes.md" not in {path for path, *_ in content(index)}


def test_updated_index_equals_a_fresh_one(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    (root / "pkg" / "shapes.py").write_text("def other():\n    x = 1\n    return x\n")
    index.update(ENCODER)
    fresh = Index.open(root, folder=tmp_path / "fresh", encoder=ENCODER)
    fresh.update(ENCODER)
    assert content(index) == content(fresh)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[5])
from test_search import ENCODER, Index
import codesage.search.index as station
from pathlib import Path
station._FILES_A_BATCH = station._CHUNKS_A_BATCH = 1
index = Index.open(Path(sys.argv[1]), folder=Path(sys.argv[2]), encoder=ENCODER)
calls, step = 0, getattr(index, sys.argv[3])
def counted(*arguments):
    global calls
    result = step(*arguments)
    calls += 1
    if calls == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)  # the transaction has not ended
    return result
setattr(index, sys.argv[3], counted)
index.update(ENCODER)
"""


@pytest.mark.parametrize(("step", "at"), [("_add", 1), ("_add", 3), ("_new_vectors", 1), ("_new_vectors", 4)])
def test_killed_while_indexing_resumes_where_it_left_off(root, tmp_path, step, at):
    here = os.path.dirname(__file__)
    arguments = [sys.executable, "-c", KILLED, str(root), str(tmp_path / "index"), step, str(at), here]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    index = opened(root, tmp_path)
    chunks = index.status().chunks
    assert index.unencoded == chunks - (at - 1 if step == "_new_vectors" else 0)
    assert index.update(ENCODER)["read"] == (3 - (at - 1) if step == "_add" else 0)
    fresh = Index.open(root, folder=tmp_path / "fresh", encoder=ENCODER)
    fresh.update(ENCODER)
    assert content(index) == content(fresh) and index.unencoded == 0
    assert names(index, "area of circle") == names(fresh, "area of circle")


def test_an_index_of_another_model_or_a_damaged_one_is_refused(root, tmp_path):
    opened(root, tmp_path).update(ENCODER)
    other = HashingEncoder()
    other.fingerprint = "hashing:2"
    with pytest.raises(CodesageError, match="hashing:1.*hashing:2.*--index-dir .*--rebuild"):
        Index.open(root, folder=tmp_path / "index", encoder=other)
    with pytest.raises(CodesageError, match="is the index of .*project, not of .*pkg"):
        Index.open(root / "pkg", folder=tmp_path / "index", encoder=ENCODER)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "index" / f"index.sqlite{suffix}").unlink(missing_ok=True)
    (tmp_path / "index" / "index.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(CodesageError, match="is damaged.*--rebuild"):
        opened(root, tmp_path)
    index = opened(root, tmp_path, rebuild=True)
    index.update(ENCODER)
    assert names(index, "parse http header")[0] == "parse_http_header"


def test_in_the_cache_each_model_has_its_own_index(root, tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    first, newer = HashingEncoder(), HashingEncoder()
    newer.fingerprint = "hashing:2"
    folders = []
    for encoder, read in ((first, 3), (newer, 3), (first, 0)):
        index = Index.open(root, folder=None, encoder=encoder)
        assert index.update(encoder)["read"] == read
        folders.append(index.folder)
    assert other_model_indexes(index.folder, first.fingerprint) == [folders[1]]


def written_by_version(index: Index, version: str) -> Path:
    """Close an index and make it that of another version, whose tables nobody here can read."""
    with index.connection:
        index.connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (version,))
        index.connection.execute("ALTER TABLE spans RENAME TO passages")
    index.connection.close()
    return index.folder


def test_an_index_of_an_older_version_is_built_anew(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    folder = written_by_version(index, "2")
    with pytest.raises(CodesageError, match=f"has version 2, expected .* --index-dir {folder} --rebuild'"):
        Index.open(root, folder=folder, encoder=ENCODER, upgrade=False)  # as --no-update and doctor do
    with pytest.raises(CodesageError, match=r"has version 2, expected|is the index of"):
        Index.open(root / "pkg", folder=folder, encoder=ENCODER)  # it is the index of another root
    command = [sys.executable, "-m", "codesage", "search", "area of the circle", str(root), "--index-dir", str(tmp_path / "i")]
    subprocess.run(command, check=True, capture_output=True)
    clean = subprocess.run(command, check=True, capture_output=True).stdout
    with sqlite3.connect(tmp_path / "i" / "index.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
        connection.execute("DROP TABLE spans")
    connection.close()
    searches = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [search.communicate() for search in searches]
    assert [out for out, _ in answers] == [clean.decode()] * 2, answers
    assert (tmp_path / "i" / "index.sqlite").stat().st_mode & 0o777 == 0o600


def test_an_index_of_a_newer_version_is_left_alone(root, tmp_path):
    folder = written_by_version(opened(root, tmp_path), "999")
    with pytest.raises(CodesageError, match="has version 999, expected"):
        Index.open(root, folder=folder, encoder=ENCODER)


def test_a_folder_that_is_not_an_index_is_never_removed(root, tmp_path):
    with pytest.raises(CodesageError, match="not an index"):
        Index.open(root, folder=root / "pkg", encoder=ENCODER, rebuild=True)
    assert (root / "pkg" / "shapes.py").exists()


def test_searches_at_once_share_the_first_index(root, tmp_path):
    command = [sys.executable, "-m", "codesage", "search", "area of the circle", str(root), "--index-dir", str(tmp_path / "i")]
    searches = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [search.communicate() for search in searches]
    assert [search.returncode for search in searches] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1


def test_an_index_that_another_process_just_created_is_kept(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    database.create(tmp_path / "index" / "index.sqlite", root, ENCODER)
    assert opened(root, tmp_path).status().files == 3
    assert not list((tmp_path / "index").glob("*.new-*"))


def test_a_rebuild_deletes_the_index_and_nothing_else_in_its_folder(root, tmp_path):
    opened(root, tmp_path).update(ENCODER)
    (tmp_path / "index" / "thesis.txt").write_text("mine")
    index = opened(root, tmp_path, rebuild=True)
    assert (tmp_path / "index" / "thesis.txt").read_text() == "mine" and index.status().files == 0


def test_an_index_opened_before_a_rebuild_neither_reads_nor_writes_the_new_one(root, tmp_path):
    before = opened(root, tmp_path)
    before.update(ENCODER)
    opened(root, tmp_path, rebuild=True).update(ENCODER)
    for act in (lambda: before.update(ENCODER), lambda: search(before, ENCODER, "area of the circle")):
        with pytest.raises(CodesageError, match="rebuilt meanwhile"):
            act()


def test_a_search_sees_one_state_of_the_index(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)

    class Meanwhile(HashingEncoder):
        def encode(self, texts, *, kind):
            (root / "pkg" / "shapes.py").unlink(missing_ok=True)
            opened(root, tmp_path).update(ENCODER)
            return super().encode(texts, kind=kind)

    assert "Circle.area" in [hit.chunk.name for hit in search(index, Meanwhile(), "area of the circle")]
    assert "Circle.area" not in names(index, "area of the circle")


def test_lines_are_counted_as_editors_count_them(root, tmp_path):
    text = b"import os\n\x0c\ndef first(a):\n    return a\n\x0c\n\x0c\ndef on_line_seven(b):\r\n    return b\n"
    (root / "pkg" / "pages.py").write_bytes(text)
    index = opened(root, tmp_path)
    index.update(ENCODER)
    (chunk,) = [hit.chunk for hit in search(index, ENCODER, "on line seven") if hit.chunk.name == "on_line_seven"]
    assert (chunk.start_line, chunk.end_line) == (7, 8)


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(root, monkeypatch):
    import rignore

    class Walker:
        def __init__(self, *arguments, **options):
            self.entries = iter([root, OSError("IO error: Permission denied"), root / "pkg" / "shapes.py"])

        def __next__(self):
            if isinstance(entry := next(self.entries), OSError):
                raise entry
            return entry

    monkeypatch.setattr(rignore, "Walker", Walker)
    assert [path.name for path in walk(root)] == ["shapes.py"]


def test_answers_reach_a_terminal_that_cannot_show_them(root, tmp_path):
    (root / "sizes.py").write_text("def größe():\n    return 1\n", encoding="utf-8")
    done = run("search", "größe", root, "--index-dir", tmp_path / "i", terminal=True, encoding="ascii", text=False)
    assert done.returncode == 0 and b"sizes.py:1" in done.stdout


def test_loading_a_model_asks_its_library_to_send_nothing():
    program = "import os, codesage; codesage.load(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "1\n"


def test_an_unknown_language_is_refused(root, tmp_path):
    unknown = run("search", "x", root, "--index-dir", tmp_path / "i", "--language", "cobol")
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1 and "javascript" in unknown.stderr
    assert run("search", "listen", root, "--index-dir", tmp_path / "i", "--language", "Go").returncode == 0


def test_similar_takes_a_place_as_people_type_it(root, tmp_path):
    (root / "one.py").write_text(
        "def total(numbers):\n    result = 0\n    for n in numbers:\n        result += n\n    return result\n"
    )
    (root / "two.go").write_text(
        "package p\n\nfunc Sum(ns []int) int {\n\tr := 0\n\tfor _, n := range ns {\n\t\tr += n\n\t}\n\treturn r\n}\n"
    )
    for place in (f"{root}/../project/one.py:3", root / "one.py:3"):
        answer = run("similar", place, root, "--index-dir", tmp_path / "i", "--top", 1)
        assert answer.returncode == 0 and answer.stdout.startswith(f"{root}/two.go:3: Sum"), answer.stderr
    for place, message in (
        ("one.py", "is not a place: expected FILE:LINE"),
        ("one.py:x", "is not a place: expected FILE:LINE"),
        (root / "one.py:99", "is after the last line of code"),
        ("one.py:3", "is in none of the folders"),
    ):
        wrong = run("similar", place, root, "--index-dir", tmp_path / "i")
        assert wrong.returncode == 2 and message in wrong.stderr and wrong.stderr.count("\n") == 1


def test_a_second_writer_is_refused(root, tmp_path):
    index = opened(root, tmp_path)
    with FileLock(tmp_path / "index" / "lock"), pytest.raises(CodesageError, match="another process"):
        index.update(ENCODER)


def test_walk_reads_ignore_files_and_follows_no_link(root):
    (root / ".gitignore").write_text("*.log\n/build/\n")
    (root / "pkg" / ".gitignore").write_text("*\n!keep.py\n")
    (root / "pkg" / "keep.py").write_text("x = 1")
    (root / "a.log").write_text("x")
    for folder in ("build", ".git", "node_modules", "nested/.git"):
        (root / folder).mkdir(parents=True)
        (root / folder / "file.py").write_text("x = 1")
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(root / "nowhere")
    assert [path.relative_to(root).as_posix() for path in walk(root)] == [".gitignore", "notes.md", "pkg/keep.py", "server.go"]


def test_names_that_are_not_utf8_are_read_like_others(root):
    (root / os.fsdecode(b"caf\xe9")).mkdir()
    for name in (b"caf\xe9/inner.py", b"p\xe4r.py"):
        (root / os.fsdecode(name)).write_text("def twice(x): return 2 * x")
    (root / os.fsdecode(b"d\xff")).symlink_to(root)
    files = {name_of(path, root): path for path in walk(root)}
    assert sorted(files) == ["caf\\xe9/inner.py", "notes.md", "p\\xe4r.py", "pkg/shapes.py", "server.go"]
    assert read_text(files["p\\xe4r.py"], name="p\\xe4r.py").text.startswith("def twice")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\x01binary", "binary"),
        ("straße".encode("latin-1"), "encoding"),
        (b"x" * 1_000_001, "huge"),
        (b"x" * 10_000, "minified"),
        (b" \n", "empty"),
        (b"\xff\xfe\x00", "binary"),
        (codecs.BOM_UTF32_LE + "x = 1\n".encode("utf-32-le"), "binary"),
        (codecs.BOM_UTF32_BE + "x = 1\n".encode("utf-32-be"), "binary"),
    ],
)
def test_unreadable_texts_have_a_reason(tmp_path, data, reason):
    (tmp_path / "f.py").write_bytes(data)
    assert read_text(tmp_path / "f.py", name="f.py") == Skipped("f.py", reason)


def test_special_secret_unreadable_and_utf16_files(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.py")
    assert read_text(tmp_path / "pipe.py", name="pipe.py").reason == "special"
    (tmp_path / ".env").write_text("KEY=1")
    assert read_text(tmp_path / ".env", name=".env").reason == "secret"
    (tmp_path / "wide.py").write_text("x = 'ü'", encoding="utf-16")
    assert read_text(tmp_path / "wide.py", name="wide.py").text == "x = 'ü'"

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(codesage.walk, "open", refuse, raising=False)
    assert read_text(tmp_path / "wide.py", name="wide.py").reason == "unreadable"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("a/.env", True),
        (".env.local", True),
        ("certs/server.pem", True),
        ("a/.pem", True),
        (".key", True),
        ("id_rsa", True),
        ("a.pem/b.py", False),
        ("pem", False),
        ("key.py", False),
        ("environment.py", False),
        ("a/credentials.py", False),
        (".kube/config", True),
        ("home/.docker/config.json", True),
        ("docker/config.json", False),
        ("prod.tfstate", True),
        ("prod.tfstate.backup", True),
        (".env_prod", True),
        (".env-local", True),
        (".vault-token", True),
        (".env.example", False),
        (".env.sample.local", False),
        (".env-dist", False),
        (".env.samples", True),
        ("home/.ftpconfig", True),
        ("ann_accessKeys.csv", True),
        ("etc/shadow", True),
        ("ui/shadow", False),
        ("vault-token.md", False),
        (".envrc.local", True),
        ("id_rsa.bak", True),
        (".netrc~", True),
        ("#.env#", True),
        ("server.key.2.old", True),
        ("terraform.tfstate.1700000000.backup", True),
        ("id_rsa_github", True),
        ("ID_ED25519-work", True),
        ("id_rsa.pub", False),
        ("id_rsa_test.go", False),
        ("key.py.orig", False),
        ("client_secret_1.apps.googleusercontent.com.json", True),
        ("client_secret.py", False),
        ("serviceAccountKey.json", True),
        ("home/.ssh/config", True),
        ("ssh/config", False),
        (".aws/config", True),
        (".aws/task-definition.json", False),
        (".dev.vars", True),
        (".bash_history", True),
        ("history.py", False),
        ("vpn/office.ovpn", True),
        ("AuthKey.p8", True),
    ],
)
def test_secrets_are_known_by_their_names(name, secret):
    assert (text_of(b"x = 1", name=name) == Skipped(name, "secret")) == secret


def test_a_file_that_becomes_a_pipe_or_a_link_while_it_is_read_is_skipped(tmp_path, monkeypatch):
    file, pipe, link = tmp_path / "a.py", tmp_path / "pipe.py", tmp_path / "link.py"
    file.write_text("x = 1\n")
    os.mkfifo(pipe)
    link.symlink_to(file)
    before = os.lstat(file)
    monkeypatch.setattr(os, "lstat", lambda path: before)  # as it was when it was listed
    signal.alarm(20)  # a pipe without a writer keeps its reader waiting for ever
    try:
        reasons = [read_text(path, name=path.name) for path in (pipe, link)]
    finally:
        signal.alarm(0)
    assert reasons == [Skipped("pipe.py", "special"), Skipped("link.py", "unreadable")]
    assert read_text(file, name="a.py").text == "x = 1\n"


@pytest.mark.parametrize("name", [".gitignore", ".codesageignore", ".ignore", "deep/.gitignore"])
@pytest.mark.parametrize("target", ["/dev/zero", "../outside", None])
def test_an_ignore_file_that_is_a_pipe_or_a_device_is_named(tmp_path, name, target):
    os.mkfifo(tmp_path / "outside")
    root = tmp_path / "tree"
    (root / "deep").mkdir(parents=True)
    (root / "a.py").write_text("x = 1\n")
    (root / "deep" / "rules").write_text("a.py\n")
    file = root / name
    if target is None:
        os.mkfifo(file)
    else:
        file.symlink_to(tmp_path / "outside" if target == "../outside" else target)
    signal.alarm(20)
    try:
        with pytest.raises(CodesageError, match=rf"{re.escape(str(file))} is a pipe or a device, "):
            list(walk(root, ignore_file=".codesageignore"))
    finally:
        signal.alarm(0)
    file.unlink()
    file.symlink_to("nowhere")
    assert [path.name for path in walk(root, ignore_file=".codesageignore") if path.suffix] == ["a.py"]
    file.unlink()
    (tmp_path / "rules").write_text("a.py\n")
    for rules in (root / "deep" / "rules", tmp_path / "rules"):  # a link to a file is read as the file
        file.symlink_to(rules)
        assert [path.name for path in walk(root, ignore_file=".codesageignore") if path.suffix] == ["a.py"] * ("deep" in name)
        file.unlink()


def test_a_long_line_is_found_anywhere_with_any_line_end():
    pieces = ["", "\n", "x\n" * 3_000, "x" * 4_999 + "\n", "x" * 5_000, "x" * 5_001, "\r", "\u2028" + "x" * 2_500]
    for parts in product(pieces, repeat=3):
        text = "y" + "".join(parts)
        longest = max(map(len, text.splitlines()))
        assert (text_of(text.encode(), name="f.py") == Skipped("f.py", "minified")) == (longest > 5_000)


def test_languages_are_known_by_suffixes_as_paths_have_them():
    for name in ("a.py", "A.PY", ".py", "a/.py", "a.py/b", "a.b.py", "a.", "py", "", "a/", "é.rb", "a.d.ts"):
        suffix = PurePosixPath(name).suffix.lower()
        assert language_of(name) == next((item.name for item in LANGUAGES.values() if suffix in item.suffixes), "")


def test_pieces_are_of_equal_length_and_hold_words():
    body = "".join(f"  x{number}();\n" for number in range(121))
    text = f"let a = 1;\nfunction f() {{\n{body}}}\n}}\nfunction g() {{\n  return 1;\n}}\n" + "c();\n" * 41
    parts = chunks(Document("a.js", "javascript", text, ""))
    lengths = [(chunk.name, chunk.end_line - chunk.start_line + 1) for chunk in parts]
    assert lengths == [("", 1), ("f", 30), ("f", 31), ("f", 31), ("f", 31), ("g", 3), ("", 21), ("", 20)]
    assert chunks(Document("b.txt", "", "\n}\n);\n\n", "")) == []


def test_hostile_files_are_counted_and_the_rest_is_found(root, tmp_path):
    (root / "line.py").write_text("x" * 10_000_000)
    (root / "deep.py").write_text("(\n" * 10_000 + "deep\n" + ")\n" * 10_000)
    (root / "latin.py").write_bytes("straße".encode("latin-1"))
    index = opened(root, tmp_path)
    index.update(ENCODER)
    assert index.status().skipped == {"huge": 1, "encoding": 1}
    assert "deep.py" in {path for path, *_ in content(index)}  # in windows
    assert names(index, "parse http header")[0] == "parse_http_header"


def test_a_file_of_comments_alone_ranks_lower(tmp_path):
    texts = {
        "bees/__init__.py": '"""Count the bees of the hive."""\n',
        "wasps/__init__.py": '"""Count the bees of the hive."""\n\nfrom wasps.count import count\n',
        "notes.js": "// Count the bees of the hive.\n\n/* Of one\n   or of all. */\n",
        "hive.c": "#include <bees.h>\n",
        "bees.md": "Count the bees of the hive.\n",
        "open.py": '"""Count the bees',
        "many.py": '"""a"""\n' * 2_000 + "bees = 1\n",
    }
    for name, text in texts.items():
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(text)
    index = opened(tmp_path / "code", tmp_path)
    index.update(ENCODER)
    shares = {hit.chunk.path: hit.parts.get("share of its kind", 1.0) for hit in search(index, ENCODER, "count bees", top=200)}
    low = {"bees/__init__.py": 0.6, "notes.js": 0.6, "bees.md": 0.8}
    assert shares == {name: low.get(name, 1.0) for name in texts}


def test_fusion_is_reciprocal_rank():
    fused = reciprocal_rank_fusion([["a", "b"], ["b", "c"]])
    assert [key for key, _ in fused] == ["b", "a", "c"]
    assert dict(fused)["b"] == pytest.approx(1 / 62 + 1 / 61)


def test_joined_rankings_give_the_first_of_all_one():
    assert joined([["a", "b"]], 2.0) == pytest.approx({"a": 1, "b": 61 / 62})
    fused = joined([["a", "b"], ["b", "c"]], 0.5)
    assert list(fused) == ["b", "a", "c"]
    assert fused == pytest.approx({"b": (61 / 62 + 0.5) / 1.5, "a": 1 / 1.5, "c": 0.5 * 61 / 62 / 1.5})


def test_words_choose_the_file_and_vectors_its_chunk(tmp_path):
    """The words of a question are in the comment of another function of the right file."""
    marks = {"first": 0.9, "second": 1.0, "third": 0.8, "fourth": 0.7, "fifth": 0.6}

    class Near(HashingEncoder):
        """Vectors whose similarity with every query is that of the mark in the text."""

        def encode(self, texts, *, kind="code"):
            rows = np.zeros((len(texts), self.width), np.float32)
            for row, text in enumerate(texts):
                near = 1.0 if kind == "text" else max([own for mark, own in marks.items() if f'"{mark}"' in text], default=0.0)
                rows[row, :2] = near, (1 - near**2) ** 0.5
            return rows

    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x.py").write_text(
        'def f():\n    return "first"\n\n\ndef g():\n    return "third"\n\n\ndef h():\n    return "fourth"\n\n\n'
        'def i():\n    # convert the price of a basket to euros\n    return "fifth"\n'
    )
    (tmp_path / "code" / "y.py").write_text('def j():\n    return "second"\n')
    index = Index.open(tmp_path / "code", folder=tmp_path / "index", encoder=Near())
    index.update(Near())
    hits = search(index, Near(), "convert the price of a basket to euros", rules=Rules(literal=0.0))
    assert [hit.chunk.name for hit in hits][:2] == ["f", "j"]
    for hit in hits:
        assert set(hit.parts) <= {"words and vectors", "file", "words in file"}
    assert hits[0].score == pytest.approx(sum(hits[0].parts.values()))
    alone = search(index, Near(), "convert the price of a basket to euros", dense_weight=0.0, rules=Rules(literal=0.0))
    assert alone[0].chunk.name == "i"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("where is retryLimit read", ["retryLimit"]),
        ("how has_many and MAX_SIZE are used", ["has_many", "MAX_SIZE"]),
        ("Session.get, ActiveRecord::Base and this->next", ["Session.get", "ActiveRecord::Base", "this->next"]),
        ("how use() and retryLimit mount retryLimit", ["use", "retryLimit"]),
        ("ClientSession of the HTTP client, e.g. of version 2.0", ["ClientSession"]),
        ("parse http headers in Go", []),
        ("größeNeu und _eins", ["größeNeu"]),
    ],
)
def test_identifiers_of_a_query_are_known_by_their_form(query, found):
    assert identifiers(query) == found


def test_a_text_holds_a_name_as_it_stands():
    assert holds_name("x = retryLimit + 1", "retryLimit") and holds_name("app.set('a')", "app.set")
    assert not holds_name("x = retryLimits", "retryLimit") and not holds_name("x = $retryLimit", "retryLimit")
    assert not holds_name("x = retrylimit", "retryLimit")


def test_code_with_an_identifier_of_the_query_comes_first(tmp_path):
    (tmp_path / "code").mkdir()
    for number in range(12):
        text = f"def load{number}(limit):\n    # where the limit of a retry is read\n    return limit.retry + {number}\n"
        (tmp_path / "code" / f"part{number}.py").write_text(text)  # no name holds a word of the query: names count apart
    (tmp_path / "code" / "other.py").write_text("def opened(options):\n    return max(options.retryLimit, 3)\n")
    index = opened(tmp_path / "code", tmp_path)
    index.update(ENCODER)
    hits = search(index, ENCODER, "where is retryLimit read")
    assert hits[0].chunk.path == "other.py" and hits[0].parts["identifiers"] == pytest.approx(0.3)
    assert not any("identifiers" in hit.parts for hit in hits[1:])


def test_words_are_split_at_case_and_underscores():
    assert split_words("parseHTTPResponse_v2 größteZahl x1") == ["parse", "http", "response", "v2", "größte", "zahl", "x1"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("getURLs", "get urls"),
        ("IPs", "ips"),
        ("userIDsByName", "user ids by name"),
        ("CPUsAllowed", "cpus allowed"),
        ("IPv6Address", "ipv6 address"),
        ("POJOAsArray", "pojo as array"),
        ("JSONIsEmpty", "json is empty"),
        ("parseHTTPResponse_v2", "parse http response v2"),
        ("HTTPServer", "http server"),
    ],
)
def test_a_plural_or_version_of_an_acronym_is_one_word_of_a_name(name, words):
    assert split_names(name) == words.split()


def test_command_line_answers_with_the_bundled_model(root, tmp_path):
    answer = run("search", "area of the circle", root, "--index-dir", tmp_path / "i", "-k", 2)
    assert answer.returncode == 0, answer.stderr
    assert re.match(f"{root}/pkg/shapes.py:(4: Circle|8: Circle.area)  ", answer.stdout)
    assert "3 files indexed" in answer.stderr and "\x1b" not in answer.stdout
    lines = run("search", "area of the circle", root, "--index-dir", tmp_path / "i", "--jsonl").stdout.splitlines()
    assert json.loads(lines[0])["path"] == f"{root}/pkg/shapes.py" and len(lines) > 1
    assert run("status", root, "--index-dir", tmp_path / "i").stdout.count("\n") == 7


def test_a_search_beside_a_writer_sees_committed_state(root, tmp_path):
    folder = tmp_path / "i"
    assert run("index", root, "--index-dir", folder).returncode == 0
    (root / "pkg" / "late.py").write_text("def very_late():\n    return 1\n")
    with FileLock(folder / "lock"):
        done = run("search", "area of the circle", root, "--index-dir", folder)
        for again in (run("index", root, "--index-dir", folder), run("index", root, "--index-dir", folder, "--rebuild")):
            assert again.returncode == 2 and "another process is indexing" in again.stderr
    assert done.returncode == 0 and "Circle" in done.stdout
    assert "another process is indexing" in done.stderr and "3 files indexed so far" in done.stderr
    assert "very_late" in run("search", "very late", root, "--index-dir", folder).stdout


@pytest.mark.parametrize("command", [("search", "area", "--no-update"), ("status",)])
def test_not_indexed_is_distinguished_from_not_found(root, tmp_path, command):
    missing = run(*command, root, "--index-dir", tmp_path / "i")
    assert missing.returncode == 2 and "has no index" in missing.stderr and f"--index-dir {tmp_path / 'i'}" in missing.stderr


@pytest.mark.parametrize("command", ["index", "search", "status"])
def test_command_line_errors_are_one_line(tmp_path, command):
    query = ["query"] if command == "search" else []
    missing = run(command, *query, tmp_path / "nowhere", "--index-dir", tmp_path / "i")
    assert missing.returncode == 2 and missing.stderr.count("\n") == 1 and missing.stderr.startswith("codesage: ")


def test_empty_folder_and_foreign_model(tmp_path):
    (tmp_path / "empty").mkdir()
    nothing = run("search", "query", tmp_path / "empty", "--index-dir", tmp_path / "i")
    assert nothing.returncode == 1 and "holds no text file" in nothing.stderr and not nothing.stdout
    foreign = run("search", "query", tmp_path / "empty", "--index-dir", tmp_path / "i", "--model", tmp_path / "empty")
    assert foreign.returncode == 2 and foreign.stderr.count("\n") == 1 and "config.json" in foreign.stderr


def test_names_are_found_as_people_type_them(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    for name in ("GitHubClient", "readOAuth2Token", "getURLs", "parseIPv6", "WebSocketFrame"):
        (project / f"{name}.py").write_text(f"def {name}(a):\n    return a\n")
    (project / "other.py").write_text("".join(f"def {name}(a):\n    return a\n\n\n" for name in ("git", "hub", "web")))
    index = opened(project, tmp_path)
    index.update(ENCODER)
    for query, wanted in {
        "github": "GitHubClient",
        "oauth2": "readOAuth2Token",
        "urls": "getURLs",
        "ipv6": "parseIPv6",
        "websocket": "WebSocketFrame",
        "githubclient": "GitHubClient",
    }.items():
        assert names(index, query)[0] == wanted, query


def test_words_of_all_scripts_are_found(tmp_path):
    texts = {
        "chinese.md": "错误处理失败",
        "japanese.md": "日本語のテスト",
        "thai.md": "ภาษาไทยง่าย",
        "hindi.md": "यह हिन्दी है",
        "accent.md": "ein cafe\u0301 hier",
        "greek.md": "η Λέξη μας",
        "other.md": "处错 理误 न",
        "git.md": "Git, hub",
        "ascii.md": "plain words",
    }
    project = tmp_path / "project"
    project.mkdir()
    for name, text in texts.items():
        (project / name).write_text(text + "\n", encoding="utf-8")
    index = opened(project, tmp_path)
    index.update(ENCODER)
    queries = {
        "错误": "chinese",
        "处理": "chinese",
        "テスト": "japanese",
        "ไทย": "thai",
        "हिन्दी": "hindi",
        "café": "accent",
        "λέξη": "greek",
        '"误处理失"': "chinese",
        '"café hier"': "accent",
        "PLAIN WORDS": "ascii",
    }
    for query, wanted in queries.items():
        for weight in (0.0, 2.0):
            best = search(index, ENCODER, query, dense_weight=weight)[0]
            assert best.chunk.path == f"{wanted}.md", query
        assert (best.parts.get("literal", 0) > 0) == query.startswith('"'), query


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("错误处理", "错误 误处 处理"),
        ("错误code处理", "错误 code 处理"),
        ("错", "错"),
        ("हिन्दी", "हिन्दी"),
        ("cafe\u0301", "café"),
        ("x\u0302_y", "x\u0302 y"),
        ("größteZahl", "größte zahl größtezahl"),
        ("GitHub", "git hub github"),
        ("OAuth2", "o auth2 oauth2"),
        ("IPv6", "i pv6 ipv6"),
        ("WebSocket", "web socket websocket"),
        ("getURLs", "get urls geturls"),
        ("userIDs", "user ids userids"),
    ],
)
def test_words_are_those_that_people_type(text, words):
    assert indexed_words(text) == query_words(text) == words.split()
    assert set(parts_of(text)) <= set(words.split())


def test_names_are_found_in_other_case_and_in_part(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    body = "class HttpSession:\n    def send_request(self, data):\n        return data\n\n\n"
    (project / "a.py").write_text(body + "def request_of(send, data):\n    return send\n")
    other = "class Other:\n    def send_request(self):\n        return 1\n\n\n"
    (project / "b.py").write_text(other + "def session():\n    return 2\n")
    index = opened(project, tmp_path)
    index.update(ENCODER)
    for query in (
        "HttpSession.send_request",
        "HttpSession::send_request",
        "httpsession.send_request",
        "HTTPSESSION.SEND_REQUEST",
        "httpSession#sendRequest",
    ):
        assert names(index, query)[0] == "HttpSession.send_request", query
    for query in ("HttpSession", "httpsession", "HTTP_SESSION", "httpSess"):
        assert names(index, query)[0] == "HttpSession", query
    for query in ("send_req", "SendRequest", "sendrequest"):
        assert names(index, query)[0].endswith("send_request"), query


def test_a_name_is_found_first_in_the_file_of_that_name(tmp_path):
    """Partial classes of C# and reopened modules of Ruby have several files."""
    project = tmp_path / "project"
    project.mkdir()
    part = "partial class {name}\n{{\n    int {field} = 1; // {name} {name} mapper of SQL\n}}\n"
    for file in ("SqlMapper.Settings.cs", "SqlMapper+Cache.cs", "SqlMapperOptions.cs"):
        (project / file).write_text(part.format(name="SqlMapper", field="mapper") * 2)
    (project / "sql_mapper.cs").write_text("partial class SqlMapper\n{\n    void Open() { }\n}\n")
    index = opened(project, tmp_path)
    index.update(ENCODER)
    for query in ("SqlMapper", "sqlmapper", "Dapper.SqlMapper"):
        best = search(index, ENCODER, query)[0]
        assert best.chunk.path == "sql_mapper.cs" and "file of that name" in best.parts, query
    assert all("file of that name" not in hit.parts for hit in search(index, ENCODER, "mapper of SQL"))


def test_capitals_in_a_name_are_meant(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "base.rb").write_text(
        "module Sinatra\n  module Helpers\n    def halt\n      1\n    end\n  end\n\n"
        "  def self.helpers(*extensions)\n    helpers Sinatra helpers\n  end\nend\n"
    )
    index = opened(project, tmp_path)
    index.update(ENCODER)
    of_names = {hit.chunk.name: hit.parts.get("name") for hit in search(index, ENCODER, "Sinatra::Helpers")}
    assert (of_names["Sinatra.Helpers"], of_names["Sinatra.helpers"]) == (1.0, 0.4)
    of_names = {hit.chunk.name: hit.parts.get("name") for hit in search(index, ENCODER, "sinatra::helpers")}
    assert of_names["Sinatra.Helpers"] == of_names["Sinatra.helpers"] == 0.7


def test_a_literal_string_and_a_qualified_name_come_first(root, tmp_path):
    fail = "def fail():\n    raise ValueError('no such zebra, try again')\n"
    (root / "a.py").write_text(fail + "\n\ndef zebra():\n    return 'try'\n")
    (root / "zebra.py").write_text("class Zebra:\n    def area(self):\n        return 'zebra such again try no'\n")
    index = opened(root, tmp_path)
    index.update(ENCODER)
    best = search(index, ENCODER, '"no such zebra, try again"')[0]
    assert best.chunk.name == "fail" and best.parts["literal"] > 0
    assert names(index, "Circle.area")[0] == "Circle.area" and names(index, "circle")[0] == "Circle"
    assert names(index, "Zebra.area")[0] == "Zebra.area"


def test_a_name_that_is_typed_exactly_comes_before_the_same_in_another_case(tmp_path):
    (tmp_path / "builder").mkdir()
    (tmp_path / "tests").mkdir()
    comment = "".join(f"  # Adds has_many number {line} to the class, for readers.\n" for line in range(150))
    method = "  def has_many(name)\n    add(name)\n  end\n"
    (tmp_path / "associations.rb").write_text(f"module Associations\n{comment}{method}end\n")
    (tmp_path / "builder" / "has_many.rb").write_text("class HasMany\n  # has_many\n  def has_many?\n    true\n  end\nend\n")
    (tmp_path / "tests" / "test_a.rb").write_text("class TestA\n  def has_many(name)\n    name\n  end\nend\n")
    index = opened(tmp_path, tmp_path)
    index.update(ENCODER)
    first, *others = search(index, ENCODER, "has_many")
    assert first.chunk.name == "Associations.has_many" and "def has_many" in first.chunk.text
    assert "HasMany" in {hit.chunk.name for hit in others[:3]}
    assert names(index, "HasMany")[0] == names(index, "hasmany")[0] == "HasMany"


def test_only_names_that_are_more_than_a_word_are_meant_exactly():
    assert all(map(is_meant_exactly, ("has_many", "_start", "readAll", "Session.get", "Rails::Engine", "empty?", "sha256")))
    assert not any(map(is_meant_exactly, ("session", "Session", "SqlMapper", "HTTP")))


def test_a_query_without_words_finds_code_that_holds_it(tmp_path):
    method = "  def <=>(other)\n    size <=> other.size\n  end\n"
    question = "  def first?(other)\n    (self <=> other) == -1\n  end\n"
    (tmp_path / "order.rb").write_text(f"class Order\n{method}\n{question}end\n")
    (tmp_path / "other.rb").write_text("def other\n  'a smile: \U0001f600'\nend\n")
    index = opened(tmp_path, tmp_path)
    index.update(ENCODER)
    assert names(index, " <=> ")[:2] == ["Order.<=>", "Order.first?"]
    assert names(index, "'<=>'", top=1) == ["Order.<=>"] and names(index, "\U0001f600") == ["other"]
    assert names(index, "...") == names(index, "\U0001f601") == []
    assert len(search(index, ENCODER, "...", rules=Rules(floor=False))) > 0
    assert search(index, ENCODER, "<=>", where=filter_of(["py"])) == []


def test_quoted_text_comes_before_all_other_code(root, tmp_path):
    (root / "tests").mkdir()
    (root / "tests" / "test_events.py").write_text(
        "".join(f"def test_{word}():\n    attr_accessor = events({word})\n\n\n" for word in ("a", "b", "c"))
        + "def test_last():\n    call(attr_accessor, ':events')\n    assert 'attr_accessor :events'\n"
    )
    (root / "events.py").write_text(
        "class AttrAccessor:\n    events = 'attr_accessor events'\n\n    def events(attr_accessor): pass\n"
    )
    index = opened(root, tmp_path)
    index.update(ENCODER)
    for query in ('"attr_accessor :events"', "events of an attr accessor 'attr_accessor :events'"):
        hits = search(index, ENCODER, query)
        held = ["attr_accessor :events" in hit.chunk.text for hit in hits]
        assert held == [True] + [False] * (len(hits) - 1) and len(hits) > 3, query
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_equal_texts_are_one_hit_that_counts_the_others(root, tmp_path):
    for name in ("one", "two", "three"):
        (root / f"{name}.py").write_text("def quagga(a):\n    return a + 17\n")
    index = opened(root, tmp_path)
    index.update(ENCODER)
    hits = [hit for hit in search(index, ENCODER, "quagga") if hit.chunk.name == "quagga"]
    assert [hit.alike for hit in hits] == [2]


def test_every_token_of_a_long_function_is_in_some_piece():
    class Counting(HashingEncoder):
        max_tokens = 64

        def token_counts(self, texts):
            return [len(text.split()) for text in texts]

    lines = [f"    word{line} = other{line} + 1" for line in range(100)]
    body = "\n".join([*lines, "    " + " ".join(f"w{n}" for n in range(150))])
    chunk = Chunk("a/b/c.py", "python", "function", "long", 1, 101, "def long(a):\n" + body)
    (parts,) = pieces([chunk], Counting())
    assert len(parts) > 8 and all(len(piece.split()) < 64 for piece in parts)
    assert all(piece.startswith("b/c.py\nlong\ndef long(a):") for piece in parts)
    assert set(body.split()) <= set(" ".join(parts).split())


def test_a_clone_and_a_second_index_encode_nothing_again(root, tmp_path):
    opened(root, tmp_path).update(ENCODER)

    class Refusing(HashingEncoder):
        def encode(self, texts, *, kind="code"):
            raise AssertionError(texts)

    shutil.copytree(root, tmp_path / "clone")
    clone = Index.open(tmp_path / "clone", folder=tmp_path / "second", encoder=ENCODER)
    assert clone.update(Refusing())["read"] == 3 and vectors_in(clone) > 3


def test_a_change_that_keeps_size_and_time_is_seen(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    file = root / "notes.md"
    before = file.stat()
    file.write_text(file.read_text().replace("zebra", "quoll"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index.update(ENCODER)["read"] == 1


def test_secrets_stay_out_and_an_index_is_its_owners(root, tmp_path):
    for name in ("ID_RSA", "prod.env", ".git-credentials"):
        (root / name).write_text("hunter2 = 1")
    (root / "deploy.txt").write_text("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n")
    index = opened(root, tmp_path)
    index.update(ENCODER)
    assert index.status().skipped == {"secret": 4}
    assert (tmp_path / "index").stat().st_mode & 0o77 == 0


def test_an_update_erases_what_later_rules_take_for_secret(root, tmp_path, monkeypatch):
    """As if an earlier version without these rules had written the index."""
    (root / "prod.tfvars").write_text('db_password = "Zebra4Quoll9"\n')
    (root / ".env.example").write_text("DB_PASSWORD=\nwombat=1\n")
    with monkeypatch.context() as earlier:
        earlier.setattr(files, "holds_secret", lambda name, text: False)
        earlier.setattr(codesage.walk, "is_example", lambda name: False)
        index = opened(root, tmp_path)
        index.update(ENCODER)
    held = index.status()
    (block,) = index.connection.execute(
        "SELECT packed FROM texts JOIN spans ON first = spans.id JOIN files ON file = files.id WHERE path = 'prod.tfvars'"
    ).fetchone()
    assert index.update(ENCODER) == {"read": 0, "gone": 0} and search(index, ENCODER, "Zebra4Quoll9", top=1)
    index.connection.execute("DELETE FROM meta WHERE key = 'secrets'")
    index.connection.commit()
    assert index.update(ENCODER) == {"read": 1, "secret": 1}
    assert index.status().files == held.files and index.status().skipped == {"secret": 1} == held.skipped
    assert not [hit for hit in search(index, ENCODER, "Zebra4Quoll9") if "tfvars" in hit.chunk.path]
    assert search(index, ENCODER, "wombat", top=1)[0].chunk.path == ".env.example"
    words = b"".join(zlib.decompress(packed) for (packed,) in index.connection.execute("SELECT packed FROM words"))
    assert b"wombat" in words and b"zebra4" not in words and b"quoll9" not in words
    index.close()
    assert block not in (tmp_path / "index" / "index.sqlite").read_bytes()
    assert opened(root, tmp_path).update(ENCODER) == {"read": 0, "gone": 0}


def test_a_killed_update_leaves_no_words_of_secrets_behind(root, tmp_path, monkeypatch):
    (root / "prod.tfvars").write_text('db_password = "Zebra4Quoll9"\n')
    with monkeypatch.context() as earlier:
        earlier.setattr(files, "holds_secret", lambda name, text: False)
        earlier.setattr(database, "rules_name", lambda: "of an earlier version")
        earlier.setattr(indexes, "rules_name", lambda: "of an earlier version")
        index = opened(root, tmp_path)
        index.update(ENCODER)

    def killed(connection):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(indexes.postings, "join_all", killed)
        index.update(ENCODER)
    index.update(ENCODER)
    words = b"".join(zlib.decompress(packed) for (packed,) in index.connection.execute("SELECT packed FROM words"))
    assert b"area" in words and b"quoll9" not in words


def test_a_search_says_how_many_files_were_erased(root, tmp_path, monkeypatch):
    (root / "prod.tfvars").write_text('db_password = "Zebra4Quoll9"\n')
    with monkeypatch.context() as earlier:
        earlier.setattr(files, "holds_secret", lambda name, text: False)
        earlier.setattr(database, "rules_name", lambda: "of an earlier version")
        earlier.setattr(indexes, "rules_name", lambda: "of an earlier version")
        assert run("index", root, "--index-dir", tmp_path / "index").returncode == 0
    lines = run("search", "password", root, "--index-dir", tmp_path / "index").stderr.splitlines()
    assert lines == ["erased from the index, because today's rules take them for secret: 1 file"]


def test_a_search_without_an_update_hides_what_todays_rules_take_for_secret(root, tmp_path, monkeypatch):
    (root / "prod.tfvars").write_text('db_password = "Zebra4Quoll9"\n')
    (root / "deploy.py").write_text(
        "def deploy(host):\n    return connect(host, KEY)\n\n\n"
        "def other(key):\n    key = '-----BEGIN RSA PRIVATE KEY-----\\n' + key\n    return key + key\n\n\n"
        f"KEY = '-----BEGIN RSA PRIVATE KEY-----\\n{'MIIEow8B' * 8}'\n"
    )
    (root / "id_rsa").write_text("quagga = 4\n")
    with monkeypatch.context() as earlier:
        earlier.setattr(files, "holds_secret", lambda name, text: False)
        earlier.setattr(codesage.walk, "is_secret", lambda name: False)
        earlier.setattr(database, "rules_name", lambda: "of an earlier version")
        earlier.setattr(indexes, "rules_name", lambda: "of an earlier version")
        assert run("index", root, "--index-dir", tmp_path / "index").returncode == 0
    old = ("--index-dir", tmp_path / "index", "--no-update")
    line = "hidden, because today's rules take them for secret: 3 files; 'codesage index"
    for query in ("Zebra4Quoll9", "deploy to a host", "quagga", "'Quoll9'", "id_rsa"):
        answer = run("search", query, root, "--weak", *old, "--json")
        assert line in answer.stderr and json.loads(answer.stdout)["results"]
        for secret in ("Quoll9", "tfvars", "deploy", "MIIE", "quagga", "id_rsa"):
            assert secret not in answer.stdout
    assert run("search", "circle", root, *old, "-e", "quagga|Quoll|MIIE").returncode == 1
    groups = run("clones", root, *old, "--threshold", "0.3", "--min-lines", "1")
    assert line in groups.stderr and "deploy" not in groups.stdout
    refused = run("similar", f"{root}/deploy.py:1", root, *old)
    assert refused.returncode == 2 and "deploy.py is not compared: today's rules take it for secret" in refused.stderr
    assert line not in run("search", "circle", root, "--index-dir", tmp_path / "index").stderr
    assert line not in run("search", "circle", root, *old).stderr


def test_search_starts_without_fcntl_and_prints_no_control_characters(root, tmp_path):
    program = "import sys; sys.modules['fcntl'] = None; import codesage.search.index, codesage.search.query"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    (root / "evil.py").write_text("def evil():\n    return '\x1b]0;owned\x07 \u202e'\n")
    answer = run("search", "evil", root, "--index-dir", tmp_path / "i", "--explain")
    assert answer.returncode == 0 and "\x1b" not in answer.stdout and "\u202e" not in answer.stdout
    assert "evil.py:1" in answer.stdout and "words and vectors" in answer.stdout
    (root / "empty\x1b]0;owned\x07").mkdir()
    for arguments in (["search", "evil", root / "empty\x1b]0;owned\x07"], ["search", "evil", root / "gone\x1b]0;x\x07"]):
        assert "\x1b" not in (said := run(*arguments).stderr) and "\\x1b]0;" in said
    assert run("search", "evil", root, "--index-dir", tmp_path / "i", "-l").stdout.splitlines()[0] == f"{root}/evil.py"


def test_an_update_of_an_unchanged_index_opens_no_cache_of_vectors(root, tmp_path, monkeypatch):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    monkeypatch.setattr(indexes, "Vectors", None)
    assert index.update(ENCODER) == {"read": 0, "gone": 0}


def test_an_interrupted_update_says_so(root, tmp_path, monkeypatch):
    index = opened(root, tmp_path)

    def broken(*arguments):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(index, "_add", broken)
        with pytest.raises(RuntimeError):
            index.update(ENCODER)
    assert opened(root, tmp_path).pending == 3
    index.update(ENCODER)
    assert index.pending == 0
