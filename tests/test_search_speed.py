"""Fast search gives the same answers: ranking and words equal plain code, views are shared, segments merge."""

import random
import sqlite3
import subprocess
import sys
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from codesage.encoder.centring import without_language
from codesage.search import index as index_station
from codesage.search import partial, postings, reader, reading
from codesage.search import view as view_station
from codesage.search.files import in_order, stamped
from codesage.search.filters import filter_of
from codesage.search.index import Index
from codesage.search.query import search
from codesage.search.ranking import Rules, best, content_words, words_in_name, words_in_path
from codesage.search.reader import Reader
from codesage.search.terms import parts_of, query_words, stem
from codesage.search.vectors import Vectors
from codesage.search.view import View
from command_line import run
from plain_search import plain_search, rows_of, similar, words_ranked
from test_search import ENCODER, HashingEncoder

WORDS = [
    "open",
    "file",
    "parse",
    "http",
    "header",
    "socket",
    "reader",
    "table",
    "config",
    "rows",
    "the",
    "of",
    "größe",
    "Token",
]
QUERIES = [
    "open the file",
    "parse http header",
    "Reader",
    "reader.openFile",
    "ConfigTable",
    "LIMIT",
    "tests of the socket",
    "of",
    "read a table in go",
    '"return parse(file)"',
    "return the rows of config",
    "docs config",
    "größe",
    "nothing like it",
    "the of",
    "where is 'open the header' said",
    "Table.open",
    "the reader of v1",
    "how open_file and Table.open are used by read()",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def written(root, *, files=60, seed=0):
    """A project of random files in several languages, kinds and folders, some with equal texts."""
    random.seed(seed)
    for number in range(files):
        folder = random.choice(["src", "tests", "docs", "src/v1", "src/v2", "legacy", "vendor/reader"])
        name, suffix = random.choice(WORDS), random.choice([".py", ".py", ".go", ".md", ".toml"])
        text = "".join(map(function if suffix == ".py" else line, range(random.randint(1, 9))))
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name.lower()}{number}{suffix}").write_text(text, encoding="utf-8")
    return root


def function(number):
    name, words = random.choice(WORDS) + random.choice(["", "File", "_rows"]), random.choices(WORDS, k=4)
    if random.random() < 0.2:
        own = f"    {words[0]} = 1\n\n    def open(self):\n        return 2\n\n\n"
        return f"LIMIT = {number}\nclass {name.title()}Table(Reader):\n{own}"
    return f"def {name}({words[0]}):\n    # {' '.join(words)}\n    return {words[1]}({words[2]})\n\n\n"


def line(number):
    return " ".join(random.choices(WORDS, k=6)) + ("\n" if number % 3 else "\nconst LIMIT = 1\n")


def summarised(hits):
    return [
        (
            hit.chunk.path,
            hit.chunk.start_line,
            hit.chunk.name,
            round(hit.score, 9),
            {rule: round(value, 9) for rule, value in hit.parts.items()},
            hit.alike,
        )
        for hit in hits
    ]


TWINS = (3, 17, 28)
PARTS = ("file", "whole", "name", "home", "path", "part", "identifier", "literal")


@pytest.fixture
def index(tmp_path):
    index = Index.open(written(tmp_path / "code"), folder=tmp_path / "index", encoder=ENCODER)
    index.update(ENCODER)
    return index


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top": 60},
        {"language": "python"},
        {"glob": "src/**"},
        {"dense_weight": 0.0},
        {"dense_weight": 1e6},
        {"rules": Rules(**dict.fromkeys(PARTS, 0.0), later=1.0, kinds={})},
        {"rules": Rules(later=0.3)},
    ],
)
def test_ranking_equals_the_plain_one(index, options):
    names = {"language": "types", "glob": "globs"}
    filters = {names[name]: [value] for name, value in options.items() if name in names}
    others = {name: value for name, value in options.items() if name not in names}
    others["rules"] = replace(others.get("rules", Rules()), floor=False)
    for query in QUERIES:
        hits = search(index, ENCODER, query, where=filter_of(**filters), **others)
        assert summarised(hits) == plain_search(index, ENCODER, query, **options), query


def test_words_rank_as_those_of_fts5_after_changes_and_merges(index, tmp_path, monkeypatch):
    def ranked(query):
        view = index.view()
        scores_N = view.postings.scores(index.connection, query_words(query))
        return [int(view.numbers_N[place]) for place in best(scores_N, int(np.count_nonzero(scores_N)))]

    monkeypatch.setattr(postings, "FEW_SEGMENTS", 100)
    for number, file in enumerate(sorted((tmp_path / "code").rglob("*.*"))):
        if number % 3 == 0:
            file.unlink()
    written(tmp_path / "code", files=20, seed=1)
    index.update(ENCODER)
    segments = "SELECT count(*) FROM segments"
    for merged in (False, True):
        assert (index.connection.execute(segments).fetchone()[0] == 1) == merged
        for query in QUERIES:
            assert ranked(query) == words_ranked(rows_of(index), query), query
        monkeypatch.setattr(postings, "_MOST_SEGMENTS", 0)
        with index._writing():
            postings.merge(index.connection)


def test_segments_hold_chunks_far_apart(index, monkeypatch):
    monkeypatch.setattr(postings, "_SPAN", 100)
    monkeypatch.setattr(postings, "_MOST_SEGMENTS", -100)
    before = [summarised(search(index, ENCODER, query)) for query in QUERIES]
    with index._writing():
        postings.merge(index.connection)
        assert index.connection.execute("SELECT count(*) FROM segments").fetchone()[0] == 3
    assert [summarised(search(index, ENCODER, query)) for query in QUERIES] == before


def test_damaged_blocks_are_errors_of_the_database(index):
    for table, message in (("words", "a block of words is damaged"), ("texts", "a block of texts is damaged")):
        (number, packed) = index.connection.execute(f"SELECT rowid, packed FROM {table}").fetchone()
        raw = zlib.decompress(packed)
        for damaged in (
            packed[:-2],
            b"\xff" + packed[1:],
            zlib.compress(raw[:-3]),
            zlib.compress(b""),
            zlib.compress(b"\xff" * 40),
        ):
            index.connection.execute(f"UPDATE {table} SET packed = ? WHERE rowid = ?", (damaged, number))
            with pytest.raises(sqlite3.DatabaseError, match=f"{message}|the text of chunk"):
                postings.words_in(index.connection) if table == "words" else index.texts_of([1])
        index.connection.rollback()
    assert postings.words_in(index.connection) and index.texts_of([1])


def test_best_of_equal_scores_are_the_first():
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0, -np.inf])
    assert best(scores, 4) == [1, 3, 2, 4] and best(scores, 0) == [] and best(scores, 7) == [1, 3, 2, 4, 5, 0, 6]
    assert best(np.array([]), 5) == []


def meets(word: str, part: str) -> bool:
    return word == part or (len(part) > 2 and word.startswith(part)) or (len(word) > 3 and part.startswith(word))


def share(ones, others, meets) -> float:
    return sum(any(meets(one, other) for other in others) for one in ones) / max(1, len(ones))


def test_names_are_compared_by_their_stems():
    names = ["readTable", "routing_table", "HTTPServer", "größen_Tabelle", "x", "", "Running.tests", "IPv6Address", "a/http"]
    for query in QUERIES + names + ["router", "run test", "ipv6", "tabelle", "reading tables"]:
        words = content_words(query)
        for name in names:
            own = {stem(part) for part in parts_of(name)}
            expected = (share(own, words, lambda part, word: meets(word, part)) + share(words, own, meets)) / 2
            assert words_in_name(words, name) == pytest.approx(expected)
            if "/" not in name:
                bare = {stem(part) for part in parts_of(name.partition(".")[0])}
                held = [
                    one for one in words if share([one], bare, meets) or one in own or (len(one) > 3 and one in name.lower())
                ]
                of_name = share(bare, words, lambda part, word: meets(word, part))
                expected = (len(held) / len(words) + of_name) / 2 if words else 0.0
                assert words_in_path(words, name) == pytest.approx(expected)


def test_words_of_one_stem():
    assert [*map(stem, ("routes", "routing", "router", "route"))] == ["rout"] * 4
    assert [*map(stem, ("utility", "utilities", "utils", "util", "helper", "helpers"))] == ["util"] * 6
    assert stem("help") == stem("helps") == "help"
    assert stem("security") == stem("secure") and stem("activity") == stem("active")
    assert [*map(stem, ("city", "cities", "unity"))] == ["cit", "cit", "unit"]


def test_names_match_by_what_both_hold_and_what_each_lacks():
    words = content_words("array utility operations and safe type conversion")
    assert len(words) == 6
    assert words_in_name(words, "ArrayUtils.toArray") == pytest.approx((2 / 3 + 2 / 6) / 2)  # array and util of array, util, to
    assert words_in_name(words, "Conversion") == pytest.approx((1 / 1 + 1 / 6) / 2)
    assert words_in_path(words, "src/lang/Conversion.java") == pytest.approx((1 / 6 + 1 / 1) / 2)
    assert words_in_path(words, "src/array/Streams.java") == pytest.approx(0.5 / 6 / 2)
    assert words_in_path(words, "src/lang/Streams.java") == 0.0 and words_in_name([], "Conversion") == 0.0
    assert words_in_path(["java"], "Streams.java") == pytest.approx(1 / 2)  # its ending is no part of its name


def test_an_abbreviation_in_a_name_or_a_query_meets_the_whole_word():
    words = content_words("is the connection authenticated")
    assert words_in_name(words, "conn_auth") == words_in_path(words, "src/conn_auth.c") == 1.0
    assert words_in_name(words, "conn_close") == pytest.approx(1 / 2)
    assert words_in_path(words, "conn/pool.c") == pytest.approx(0.5 / 2 / 2)  # a folder counts half
    assert words_in_path(["javascript"], "Reader.java") == 0.0  # an ending is no abbreviation
    assert words_in_name(["auth"], "AuthenticationFilter") == pytest.approx((1 / 2 + 1) / 2)
    assert words_in_name(content_words("initialization"), "initialize") == 1.0  # initial and initializ
    assert words_in_name(words, "co") == 0.0 and words_in_name(["web"], "WebhookSender") == 0.0  # too short to be meant


def test_helpers_and_utilities_are_the_same_in_names():
    words = content_words("boolean parsing helpers")
    assert words_in_name(words, "BooleanUtils") == pytest.approx((2 / 3 + 1) / 2)
    assert words_in_path(words, "lang/BooleanUtils.java") == pytest.approx((2 / 3 + 1) / 2)
    assert words_in_name(words, "Utils") == pytest.approx((1 / 3 + 1) / 2)
    words = content_words("string utilities")
    assert words_in_name(words, "StringHelper") == words_in_path(words, "StringHelper.cs") == 1.0
    assert words_in_name(words, "Helpers") == pytest.approx((1 / 2 + 1) / 2)
    assert words_in_name(content_words("show the help"), "ShowUtils") == pytest.approx((1 / 2 + 1 / 2) / 2)  # show alone


def test_a_view_is_loaded_once_per_state_and_shared(index, tmp_path):
    other = Index.open(tmp_path / "code", folder=tmp_path / "index", encoder=ENCODER)
    view = index.view()
    assert other.view() is view and view.centred_PD is view.centred_PD
    (tmp_path / "code" / "late.py").write_text("def very_late():\n    return 1\n")
    other.update(ENCODER)
    assert index.view() is not view and index.view() is other.view() and "very_late" in index.view().names
    Index.open(tmp_path / "code", folder=tmp_path / "index", encoder=ENCODER, rebuild=True)
    fresh = Index.open(tmp_path / "code", folder=tmp_path / "index", encoder=ENCODER)
    assert fresh.view().names == []


@pytest.mark.parametrize("spread", [0.02, 0.3, 3.0])
def test_the_scan_in_7_bits_finds_the_same_nearest(monkeypatch, spread):
    """With vectors close together nearly all may be among the nearest: then all are compared."""
    random, pieces = np.random.default_rng(0), 6_000
    centres = random.standard_normal((40, 64))
    vectors = (centres[random.integers(40, size=pieces)] + spread * random.standard_normal((pieces, 64))).astype(np.float32)
    vectors[random.integers(pieces, size=500)] = vectors[7]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = np.unique(np.append(0, random.integers(pieces, size=4_000)))
    columns = [["x"] * len(starts)] * 4
    view = View(np.arange(len(starts)), *columns, None, vectors, starts, np.ones(len(starts), bool), None)
    for depth, allowed in ((10, None), (200, None), (200, random.random(len(starts)) < 0.1), (3, np.arange(len(starts)) < 2)):
        asked = vectors[3] + 0.1 * random.standard_normal(64).astype(np.float32)
        monkeypatch.setattr(view_station, "_SCAN_QUERIES", 1_000)
        plain = view.nearest(asked, depth, allowed)
        monkeypatch.setattr(view_station, "_SCAN_QUERIES", 0)
        scores = view.similarities(asked)
        assert scores[view.nearest(asked, depth, allowed)] == pytest.approx(scores[plain], abs=1e-6)
        rough, error = view._scan.approximate(asked)
        assert np.abs(rough - vectors @ asked).max() < error < 0.2


def test_code_is_compared_without_the_mean_of_its_language(index):
    view = index.view()
    place = view.languages.index("go")
    line = index.chunks_of([int(view.numbers_N[place])])[0].start_line
    pieces_N = np.diff([*view.starts_N, len(view.vectors_PD)])
    plain = without_language(view.vectors_PD, np.repeat(view.languages, pieces_N).tolist())
    best = [float(max(plain[start:end] @ plain[view.starts_N[place]])) for start, end in pairwise([*view.starts_N, len(plain)])]
    hits = similar(index, view.paths[place], line, top=20)
    numbers = {(hit.chunk.path, hit.chunk.start_line): hit.score for hit in hits}
    for other, chunk in enumerate(index.chunks_of(view.numbers_N.tolist())):
        if (chunk.path, chunk.start_line) in numbers:
            assert numbers[chunk.path, chunk.start_line] == pytest.approx(best[other], abs=1e-5)
    assert len(hits) == 20


class Leaning(HashingEncoder):
    """Vectors of Go lean one way and those of Python another, more than what the code does tells them apart."""

    fingerprint = "leaning:1"

    def encode(self, texts, *, kind="code"):
        rows = super().encode(texts, kind=kind)
        rows[:, 0] = [0.7 if "func " in text else 0.0 for text in texts]
        rows[:, 1] = [0.7 if "def " in text else 0.0 for text in texts]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_similar_code_of_another_language_is_found_while_the_index_is_partial(tmp_path):
    (tmp_path / "code").mkdir()
    for number in range(30):
        words = " ".join("".join(random.Random(f"{number}/{part}").choices("abcdefgh", k=9)) for part in range(20))
        (tmp_path / f"code/a{number}.py").write_text(f"def f{number}(a):\n    return '{words}'\n")
        (tmp_path / f"code/b{number}.go").write_text(f'func G{number}() string {{\n\treturn "{words}"\n}}\n')
    encoder = Leaning()
    index = Index.open(tmp_path / "code", folder=tmp_path / "index", encoder=encoder)
    index.update(encoder)

    def twins():
        """What is most similar to some functions of Python."""
        return [similar(index, f"a{number}.py", 1, top=1, encoder=encoder)[0].chunk.path for number in TWINS]

    assert twins() == [f"b{number}.go" for number in TWINS]
    view, cache = index.view(), Vectors(encoder)
    vector_D = view.centred_PD[0]
    whole = view.best_pieces(view.centred_PD @ vector_D)
    some = [view.paths.index(f"b{number}.go") for number in TWINS]
    chunks, languages = index.chunks_of(view.numbers_N[some].tolist()), [view.languages[place] for place in some]
    now = partial._encoded(encoder, cache, chunks, languages, view.means, vector_D)  # as chunks that are not encoded yet
    assert now == pytest.approx(whole[some], abs=2e-3)
    cache.close()
    with index._writing():
        own = "SELECT id FROM chunks WHERE path IN ('a3.py', 'a17.py', 'a28.py')"
        index.connection.execute(f"DELETE FROM pieces WHERE chunk IN ({own})")
    assert not index.view().complete and twins() == [f"b{number}.go" for number in TWINS]


@pytest.mark.parametrize("helper", ["works", "is missing", "ends at once", "ends later"])
def test_a_second_process_reads_the_same(index, tmp_path, monkeypatch, helper):
    """`index` was read by one process, as it is small."""
    monkeypatch.setattr(reading, "_LEAST_BYTES", 0)
    monkeypatch.setattr(reading, "processors", lambda: 2)
    monkeypatch.setattr(index_station, "_FILES_A_BATCH", 4)
    started = []

    class Process(subprocess.Popen):
        def __init__(self, command, **options):
            broken = "import codesage.search.reading as r; r._PRIVATE_KEY = None; " + command[-1]
            program = {
                "is missing": ["/nowhere/python"],
                "ends at once": [sys.executable, "-c", "raise SystemExit"],
                "ends later": [*command[:-1], broken],
                "works": command,
            }[helper]
            started.append(program)
            super().__init__(program, **options)

    monkeypatch.setattr(subprocess, "Popen", Process)
    other = Index.open(tmp_path / "code", folder=tmp_path / "other", encoder=ENCODER)
    assert other.update(ENCODER)["read"] == index.status().files and len(started) == 1
    for query in ("SELECT * FROM chunks ORDER BY id", "SELECT path, reason FROM files ORDER BY path"):
        assert other.connection.execute(query).fetchall() == index.connection.execute(query).fetchall()
    for query in QUERIES:
        assert summarised(search(other, ENCODER, query)) == summarised(search(index, ENCODER, query))


def test_the_second_process_imports_nothing_from_the_working_folder(tmp_path, monkeypatch):
    """That may be a repository of strangers."""
    for name in ("pickle.py", "queue.py", "codesage/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    (tmp_path / "code.py").write_text("def f():\n    return 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    helper = Reader()
    helper.ask([(tmp_path / "code.py", "code.py", "")])
    batch = helper.answer()
    helper.close()
    assert batch is not None and [file.name for file in batch.files] == ["code.py"] and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("many", [True, False])
def test_a_first_search_starts_the_second_process_early(tmp_path, monkeypatch, many):
    """And it starts none where there is an index, or where there is little to read."""
    processes, code = [], tmp_path / "code"

    class Process(subprocess.Popen):
        def __init__(self, command, **options):
            processes.append(command)
            super().__init__(command, **options)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("codesage.encoder.runtime.load", lambda model=None, **options: ENCODER)
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(reader, "processors", lambda: 2)
    monkeypatch.setattr(reading, "processors", lambda: 1)  # none is started later
    monkeypatch.setattr(reading, "FEWEST_BATCHES", 1)
    if many:
        monkeypatch.setattr(reader, "_MANY", 7)
    code.mkdir()
    for number in range(7):
        (code / f"a{number}.py").write_text(f"def read_{number}(path):\n    return open(path).read()\n")
    for _ in range(2):
        assert "read_3" in run("search", "read 3", code, "-k", "9").stdout and len(processes) == many
    assert reader.started([]) is None


@pytest.fixture
def many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "processors", lambda: 2)
    for number in range(120):
        (tmp_path / f"a{number}.py").write_text(f"def read_{number}(path):\n    return open(path).read()\n")
    reader.start_early(str(tmp_path))
    yield in_order(stamped(tmp_path))
    for helper in reader._STARTED:
        helper.close()
    reader._STARTED.clear()
    reader._LISTED.clear()


def test_the_second_process_reads_the_first_batches_before_the_update_asks(many_files, tmp_path):
    assert reader.listed(tmp_path) == many_files and reader.listed(tmp_path) is None
    lists = [many_files[start : start + 16] for start in range(0, 120, 16)]
    helper = reader.started(lists)
    assert helper is not None and reader.started(lists) is None
    for own in lists[:2]:
        assert [file.name for file in helper.answer().files] == [name for _, name, _ in own]
    helper.close()


def test_what_was_listed_early_is_not_used_late_or_for_another_folder(many_files, tmp_path, monkeypatch):
    assert reader.listed(tmp_path / "other") is None
    reader._LISTED.append((tmp_path, reader.time.monotonic() - 6, many_files))
    assert reader.listed(tmp_path) is None
    other = [many_files[start : start + 8] for start in range(0, 120, 8)]
    assert reader.started(other) is None and not reader._STARTED  # it has read what nobody asks for
    assert sum(len(batch.files) for batch in reading.batches(many_files, 8)) == 120
