"""Answers before everything is encoded: words and static vectors find code, and a complete index answers as usual."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import codesage
from codesage.encoder.folders import BUNDLED, BUNDLED_MODELS
from codesage.encoder.unit import directions
from codesage.errors import CodesageError
from codesage.records import Chunk, Hit, Pair
from codesage.search import database, floor, partial
from codesage.search import index as index_station
from codesage.search.fields import words_in, words_of
from codesage.search.folders import default_folder
from codesage.search.index import Index
from codesage.search.learned import Settings, _beginning, bags_of, learned
from codesage.search.places import places_of
from codesage.search.query import search
from codesage.search.searcher import Searcher, merged
from codesage.search.statics import TABLE, StaticVectors, read_table, statics_of, table_name, write_table
from codesage.search.terms import indexed_words, parts_of
from codesage.search.vectors import restored
from codesage.tokenizer import load as load_tokenizer
from command_line import run
from plain_search import similar
from test_search import HashingEncoder

TEXTS = {
    "files.py": "def read_text(path):\n    with open(path) as file:\n        return file.read()\n",
    "sums.py": "def total(numbers):\n    result = 0\n    for number in numbers:\n        result += number\n    return result\n",
    "net.py": "def connect(host, port):\n    sock = socket.create_connection((host, port))\n    return sock\n",
    "colours.py": "def parse_colour(text):\n    return int(text, 16)\n",
    "notes.md": "# Notes\n\nHow the zebra crosses the road.\n",
}


class Tokens(HashingEncoder):
    """An encoder that gives its tokens: one per part of a word."""

    fingerprint = "tokens:1"

    def __init__(self):
        self.encoded = 0

    def word_ids(self, words):
        return [[sum(part.encode()) % 256 for part in parts_of(word)] or [0] for word in words]

    def encode(self, texts, *, kind="code"):
        self.encoded += len(texts) if kind == "code" else 0
        return super().encode(texts, kind=kind)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def encoder():
    return Tokens()


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


def opened(code, tmp_path, encoder, name="index"):
    return Index.open(code, folder=tmp_path / name, encoder=encoder)


def read_only(index, encoder, monkeypatch):
    """Read all files without encoding anything."""
    with monkeypatch.context() as patch:
        patch.setattr(Index, "_encode", lambda *arguments, **options: None)
        index.update(encoder)


def answers(index, encoder, query, **options):
    return [(hit.chunk.path, round(hit.score, 9), hit.tier) for hit in search(index, encoder, query, top=20, **options)]


def test_unencoded_chunks_are_found_and_name_their_evidence(code, tmp_path, encoder, monkeypatch):
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)
    assert index.unencoded == index.status().unencoded == index.status().chunks == 5 and index.pending == 0
    monkeypatch.setattr(partial, "_MOST", 0)
    assert answers(index, encoder, "zebra")[0][::2] == ("notes.md", "static")
    assert {tier for _, _, tier in answers(index, encoder, "read the text of a file")} == {"static"}
    assert {tier for _, _, tier in answers(index, encoder, "read the text", dense_weight=0.0)} == {"words"}
    assert encoder.encoded == 0
    assert answers(index, encoder, "read the text of a file")[0][0] == "files.py"


def test_hits_of_an_unencoded_place_stand_beside_those_of_an_encoded_one(code, tmp_path, encoder, monkeypatch):
    """A place counts by its nearest hit, which is known or estimated while its index has no vectors."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "windows.py").write_text("def open_window(window):\n    window.open()\n")
    Index.open(other, folder=None, encoder=encoder).update(encoder)
    index = Index.open(code, folder=None, encoder=encoder)
    read_only(index, encoder, monkeypatch)
    query = "read the text of a file"
    alike = {hit.chunk.path: hit.similarity for hit in search(index, encoder, query)}
    index.update(encoder)
    assert alike["files.py"] == pytest.approx(search(index, encoder, query)[0].similarity, abs=1e-3) != 0
    shutil.rmtree(default_folder(code, encoder.fingerprint))
    index = Index.open(code, folder=None, encoder=encoder)
    read_only(index, encoder, monkeypatch)
    answer = Searcher(places_of([other, code], encoder), encoder).search(query)
    assert Path(answer.hits[0].chunk.path).name == "files.py" and answer.partial
    assert {hit.similarity for hit in search(index, encoder, query, dense_weight=0.0)} == {0.0}


def test_places_without_hits_or_vectors_are_joined():
    hit = Hit(Chunk("a.py", "python", "function", "f", 1, 1, "x"), 2.0, similarity=0.4)
    assert merged([[], [hit]]) == [hit] and merged([[], []]) == []
    far = replace(hit, similarity=0.35)
    assert [one.score for one in merged([[far], [hit]])] == pytest.approx([2.0, 2.0 / np.e])


def test_the_best_hits_are_encoded_in_time_and_not_again_by_the_update(code, tmp_path, encoder, monkeypatch):
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)
    monkeypatch.setattr(partial, "_AT_ONCE", 1)
    tiers = [tier for _, _, tier in answers(index, encoder, "read the text of a file", seconds=0.0)]
    assert encoder.encoded == 1 and tiers.count("encoder") == 1
    tiers = [tier for _, _, tier in answers(index, encoder, "read the text of a file", seconds=60.0)]
    assert set(tiers) == {"encoder"} and encoder.encoded == 5
    assert index.unencoded == 5  # a search does not write to the index
    index.update(encoder)
    assert index.unencoded == 0 and encoder.encoded == 5


def test_the_cache_is_closed_where_a_question_cannot_be_encoded(code, tmp_path, encoder, monkeypatch):
    index, caches = opened(code, tmp_path, encoder), []
    read_only(index, encoder, monkeypatch)

    def fails(encoder, cache, *others):
        caches.append(cache)
        raise KeyboardInterrupt

    monkeypatch.setattr(partial, "_encoded", fails)
    with pytest.raises(KeyboardInterrupt):
        search(index, encoder, "read the text of a file")
    assert [cache._cache for cache in caches] == [None]


@pytest.mark.parametrize(("pace", "sizes"), [(0.001, [8, 22]), (0.01, [8, 21, 1]), (0.05, [8, 8]), (0.2, [8])])
def test_a_question_has_as_many_chunks_encoded_at_once_as_half_of_the_time_left_allows(
    tmp_path, encoder, monkeypatch, pace, sizes
):
    """`pace`: seconds for a chunk, of 0.5 s in all."""
    code, now, encoded = tmp_path / "many", [0.0], []
    code.mkdir()
    for number in range(30):
        (code / f"a{number}.py").write_text(f"def read_file_{number}(path):\n    return open(path).read()\n")
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)

    def encode(encoder, cache, chunks, *others):
        encoded.append(len(chunks))
        now[0] += pace * len(chunks)
        return np.zeros(len(chunks), np.float32)

    monkeypatch.setattr(partial, "_encoded", encode)
    monkeypatch.setattr(partial.time, "monotonic", lambda: now[0])
    search(index, encoder, "read the text of a file", seconds=0.5)
    assert encoded == sizes


@pytest.mark.parametrize(("most", "encoded"), [(1, 1), (4 * 48, 4), (5 * 48 - 1, 4), (16_000, 20)])
def test_a_question_has_so_many_characters_encoded(tmp_path, encoder, monkeypatch, most, encoded):
    """The first chunk is encoded whatever its length: each has 48 characters."""
    code = tmp_path / "alike"
    code.mkdir()
    for number in range(20):
        (code / f"a{number}.py").write_text(f"def read_file_{number:02}(path):\n    return open(path)  #\n")
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)
    assert {len(chunk.text) for chunk in index.chunks_of(range(1, 21))} == {48}
    monkeypatch.setattr(partial, "_MOST_CHARACTERS", most)
    search(index, encoder, "read the text of a file", seconds=60.0)
    assert encoder.encoded == encoded


def test_an_update_out_of_time_resumes_and_equals_a_fresh_index(code, tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(index_station, "_HURRIED", 1)
    index = opened(code, tmp_path, encoder)
    counts = [(index.update(encoder, seconds=0.0)["read"], index.unencoded) for _ in range(5)]
    assert counts == [(5, 5), (0, 4), (0, 3), (0, 2), (0, 1)] and index.update(encoder, seconds=0.0)["read"] == 0
    assert index.connection.execute("SELECT count(*) FROM statics").fetchone()[0] == 0
    fresh = opened(code, tmp_path, encoder, "fresh")
    fresh.update(encoder)
    for query in ("read the text of a file", "total", "zebra", "open a socket to a host", "parse_colour"):
        assert answers(index, encoder, query) == answers(fresh, encoder, query)
        assert {tier for _, _, tier in answers(index, encoder, query)} == {"encoder"}
    files = [hit.chunk.path for hit in similar(index, "sums.py", 2)]
    assert files == [hit.chunk.path for hit in similar(fresh, "sums.py", 2)]


@pytest.mark.parametrize("quick", [4, 5])
def test_a_first_update_with_a_limit_encodes_few_chunks_or_none(code, tmp_path, encoder, monkeypatch, quick):
    monkeypatch.setattr(index_station, "_QUICK", quick)
    index = opened(code, tmp_path, encoder)
    assert index.update(encoder, seconds=100.0)["read"] == 5
    assert index.unencoded == (5 if quick < 5 else 0)
    index.update(encoder, seconds=100.0)
    assert index.unencoded == 0


def test_partly_encoded_indexes_rank_all_of_it(code, tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(index_station, "_HURRIED", 2)
    monkeypatch.setattr(partial, "_MOST", 0)
    index = opened(code, tmp_path, encoder)
    for _ in range(2):  # the first encodes nothing, as it read files
        index.update(encoder, seconds=0.0)
    hits = answers(index, encoder, "read text total number connect host colour zebra")
    assert len(hits) == 5 and sorted(tier for _, _, tier in hits) == ["encoder"] * 2 + ["static"] * 3
    assert index.view().encoded_N.sum() == 2 and not index.view().complete
    (code / "late.py").write_text("def very_late(clock):\n    return clock.now() - 1\n")
    index.update(encoder, seconds=0.0)
    assert answers(index, encoder, "very late")[0][0] == "late.py"


def test_a_small_edit_is_encoded_whatever_the_time(code, tmp_path, encoder):
    index = opened(code, tmp_path, encoder)
    index.update(encoder)
    (code / "late.py").write_text("def very_late(clock):\n    return clock.now() - 1\n")
    assert index.update(encoder, seconds=0.0)["read"] == 1 and not index.unencoded


def test_nonsense_gets_no_answer_while_an_edit_is_not_encoded(code, tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(floor, "_FEWEST", 0)
    monkeypatch.setattr(index_station, "_HURRIED", 1)
    index = opened(code, tmp_path, encoder)
    index.update(encoder)
    for name in ("late", "slow"):
        (code / f"{name}.py").write_text(f"def very_{name}(clock):\n    return clock.{name}() - 1\n")
    index.update(encoder, seconds=0.0)
    assert index.unencoded == 2
    assert not answers(index, encoder, "xqzv blorptang") and answers(index, encoder, "very late")
    monkeypatch.setattr(floor, "_COVERED", 2.0)  # so that the vectors decide
    assert answers(index, encoder, "return the clock late, minus 1")[0][0] == "late.py"


def test_an_encoder_without_tokens_leaves_words(code, tmp_path, monkeypatch):
    plain = HashingEncoder()
    index = opened(code, tmp_path, plain)
    read_only(index, plain, monkeypatch)
    monkeypatch.setattr(partial, "_MOST", 0)
    assert answers(index, plain, "zebra")[0][::2] == ("notes.md", "words") and statics_of(plain) is None


def test_similar_code_is_found_before_it_is_encoded(code, tmp_path, encoder, monkeypatch):
    (code / "more.py").write_text(TEXTS["sums.py"].replace("total", "add_up").replace("result", "sum_of_all"))
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)
    best = similar(index, "sums.py", 2)[0]
    assert (best.chunk.path, best.tier) == ("more.py", "static") and encoder.encoded == 0
    best = similar(index, "sums.py", 2, encoder=encoder)[0]
    assert (best.chunk.path, best.tier) == ("more.py", "encoder") and encoder.encoded > 0


def test_unknown_similarities_equal_those_of_similar_known_ones():
    static = np.linspace(-0.2, 0.8, 20).astype(np.float32)
    scores = 0.5 * static + 0.1
    known = np.arange(20) % 2 == 0
    assert partial._estimated(np.where(known, scores, 0), static, known) == pytest.approx(scores, abs=1e-6)
    assert partial._estimated(np.zeros(20), static, np.zeros(20, bool)) == pytest.approx(0.5 * static)


def test_estimates_keep_the_order_of_static_vectors_where_a_fit_falls():
    """Of a few promising chunks the nearest by static vectors need not be the nearest."""
    static = np.array([0.1, 0.2, *np.linspace(0.3, 0.6, 8)], np.float32)
    known = np.arange(10) >= 2
    scores = np.where(known, 0.9 - static, 0.0)  # mean 0.45, where the mean of the static ones is 0.45 too
    assert partial._estimated(scores, static, known)[~known] == pytest.approx(np.array([0.275, 0.325]))
    falling = partial._estimated(np.where(known, -scores, 0), static, known)
    assert (np.diff(falling[~known]) > 0).all()  # a higher similarity never gives a lower estimate


def test_static_vectors_are_sums_of_weighted_words(encoder):
    statics = StaticVectors(encoder.word_ids, np.random.default_rng(1).standard_normal((256, 9)).astype(np.float32))
    texts = [indexed_words(text) for text in TEXTS.values()] + [[], ["read"] * 40_000]
    words = words_of([field for text in texts for field in (text[:1], text[1:3], text[3:])])
    plain = [sum((statics._table_VD[encoder.word_ids([word])[0]].sum(0) for word in text), np.zeros(9)) for text in texts]
    vectors = statics.encode_words(words)
    assert np.array_equal(statics.encode(texts), vectors)
    assert vectors[:-2] == pytest.approx(np.stack([row / np.linalg.norm(row) for row in plain[:-2]]), abs=1e-5)
    assert not vectors[-2].any() and np.linalg.norm(vectors[-1]) == pytest.approx(1)


@pytest.mark.parametrize("name", BUNDLED_MODELS)
def test_every_model_has_the_same_static_vectors(name, encoder):
    text = [indexed_words("Read the lines of a file")]
    bundled, other = statics_of(codesage.load(name)), statics_of(encoder)
    assert np.array_equal(bundled.encode(text), other.encode(text)) and other.width == 96
    assert not list(codesage.load(name).folder.glob("static-*"))


def test_the_table_is_that_of_the_bundled_tokenizer():
    """After a change of the tokenizer: python scripts/static_table.py CORPUS."""
    tokenizer = load_tokenizer(BUNDLED)
    with np.load(TABLE) as stored:
        assert str(stored["tokenizer"]) == tokenizer.fingerprint and stored["rows"].shape == (tokenizer.vocab_size, 96)
    assert not {TABLE.name} & set(json.loads((BUNDLED / "manifest.json").read_text())["files"])  # the fingerprint leaves it out


def test_a_table_is_written_and_read_again(tmp_path):
    tokenizer, file = load_tokenizer(BUNDLED), tmp_path / "static.npz"
    table = np.random.default_rng(2).standard_normal((tokenizer.vocab_size, 96)).astype(np.float32)
    write_table(table, tokenizer, file)
    assert read_table(file.read_bytes()) == pytest.approx(table, abs=0.03)
    for damaged in (b"", file.read_bytes()[:1000], b"x" * 1000):
        with pytest.raises(CodesageError, match="install codesage again"):
            read_table(damaged)
    np.savez(file, rows=np.zeros((5, 8), np.int8), scales=np.zeros((5, 1), np.float16))
    with pytest.raises(CodesageError, match=r"rows are int8 \(5, 8\)"):
        read_table(file.read_bytes())
    with pytest.raises(ValueError, match="expected"):
        write_table(table[1:], tokenizer, file)
    with pytest.raises(ValueError, match="not finite"):
        write_table(table * np.nan, tokenizer, file)


def test_static_vectors_of_another_table_are_replaced(code, tmp_path, encoder, monkeypatch):
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)
    monkeypatch.setattr(partial, "_MOST", 0)
    stored = index.connection.execute("SELECT * FROM statics ORDER BY chunk").fetchall()
    expected = answers(index, encoder, "zebra")
    with index._writing():  # as an earlier version left them: it kept no name of the table
        index.connection.execute("UPDATE statics SET vector = ?", (np.full(96, 99, np.int8).tobytes(),))
        index.connection.execute("DELETE FROM meta WHERE key = 'statics'")
    assert {tier for _, _, tier in answers(index, encoder, "zebra")} == {"words"}  # nothing is compared with them
    assert not any(hit.similarity for hit in similar(index, "sums.py", 2))
    read_only(index, encoder, monkeypatch)
    assert index.connection.execute("SELECT * FROM statics ORDER BY chunk").fetchall() == stored
    assert database.meta_of(index.connection)["statics"] == table_name()
    assert answers(index, encoder, "zebra") == expected and index.unencoded == 5


def pair(text, code, **values):
    return Pair(text, code, code, "", "python", "f", values.pop("kind", "function"), "a.py", 1, **values)


def test_a_learned_table_joins_words_that_go_with_each_other():
    """Words of texts and of code that never occur together in one of them are near if they are in the same pairs."""
    meanings = [("open", "fopen"), ("add", "plus"), ("send", "socket"), ("colour", "rgb"), ("sort", "quick"), ("wait", "sleep")]
    pairs = [
        pair(f"{text} the {other}", f"{code} {more}") for text, code in meanings for other, more in meanings if other != text
    ]
    pairs.append(pair("", "group(); of(); parallel(); code()", kind="parallel"))  # without a text: left out
    tokenizer = load_tokenizer(BUNDLED)
    settings = Settings(batch=16, steps=120, learning_rate=0.05)
    table = learned(pairs, tokenizer.encode_words, tokenizer.vocab_size, settings=settings)
    assert table.shape == (tokenizer.vocab_size, 96) and table.dtype == np.float32
    statics = StaticVectors(tokenizer.encode_words, table)
    texts, codes = (statics.encode([[word] for word in side]) for side in zip(*meanings, strict=True))
    assert (texts @ codes.T).argmax(1).tolist() == list(range(6))
    untaught = StaticVectors(
        tokenizer.encode_words,
        _beginning(bags_of(words_in([]), tokenizer.encode_words), tokenizer.vocab_size, np.random.default_rng(0)).numpy(),
    )
    texts, codes = (untaught.encode([[word] for word in side]) for side in zip(*meanings, strict=True))
    assert (texts @ codes.T).argmax(1).tolist() != list(range(6))
    again = learned(pairs, tokenizer.encode_words, tokenizer.vocab_size, settings=settings)
    assert np.array_equal(again, table)


def test_a_table_needs_pairs():
    for pairs in ([], [pair("one", "f()")], [pair("", "f()"), pair("", "g()")]):
        with pytest.raises(CodesageError, match="expected many"):
            learned(pairs, load_tokenizer(BUNDLED).encode_words, load_tokenizer(BUNDLED).vocab_size)


def test_tokens_of_texts_are_counted():
    bags = bags_of(
        words_in(["read a read", "", "", "", "", "", "a", "", "b"]), lambda words: [[ord(word[0]), 7] for word in words]
    )
    assert bags.starts.tolist() == [0, 3, 3, 6]
    assert bags.tokens_T.tolist() == [7, ord("a"), ord("r"), 7, ord("a"), ord("b")]
    assert bags.counts_T.tolist() == [3, 1, 2, 2, 1, 1]
    some = bags.of(np.array([2, 1]))
    assert (some.starts.tolist(), some.counts_T.tolist()) == ([0, 3, 3], [2, 1, 1])


def test_vectors_are_kept_as_directions():
    vectors = np.random.default_rng(3).standard_normal((200, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = directions(vectors)
    assert kept.dtype == np.int8 and (np.abs(kept).max(axis=1) == 127).all()
    again = restored(kept)
    assert (vectors * again).sum(1).min() > 0.9999 and np.allclose(np.linalg.norm(again, axis=1), 1, atol=1e-6)
    assert np.array_equal(directions(again), kept)  # so a vector that is kept twice stays the same
    assert not restored(np.zeros((1, 256), np.int8)).any()


def test_the_bundled_model_finds_by_meaning_without_its_encoder(tmp_path, monkeypatch):
    code, encoder = tmp_path / "project", codesage.load()
    code.mkdir()
    for number in range(30):
        (code / f"other{number}.py").write_text(f"def other{number}(a, b):\n    return a.pop(b, {number})\n")
    (code / "a.py").write_text("def fetch(url):\n    return urllib.request.urlopen(url).read()\n")
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)
    monkeypatch.setattr(partial, "_MOST", 0)
    best = search(index, encoder, "download web page")[0]
    assert (best.chunk.path, best.tier) == ("a.py", "static")


def test_answers_do_not_depend_on_what_was_encoded_together(tmp_path, monkeypatch):
    """An index that was made in many runs has the vectors of one that was made in one."""
    code, encoder = tmp_path / "project", codesage.load()
    code.mkdir()
    for name in ("sample.py", "sample.go"):
        shutil.copy(Path(__file__).parent / "samples" / name, code)
    for name, text in TEXTS.items():
        (code / name).write_text(text)
    monkeypatch.setattr(index_station, "_HURRIED", 5)
    vectors, answered = [], []
    for seconds in (None, 0.0):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache {seconds}"))
        index = opened(code, tmp_path, encoder, f"index {seconds}")
        index.update(encoder, seconds=seconds)
        while index.unencoded:
            index.update(encoder, seconds=seconds)
        vectors.append(index.view().vectors_PD)
        queries = ("read the text of a file", "sum of numbers", "connect to a host", "parse_colour")
        hits = [search(index, encoder, query) for query in queries]
        answered.append([[(hit.chunk.path, hit.chunk.start_line) for hit in own] for own in hits])
    assert np.array_equal(*vectors)
    assert answered[0] == answered[1] and all(len(own) == 10 for own in answered[0])


def test_the_command_line_says_when_an_answer_is_partial(code, tmp_path, monkeypatch):
    encoder = codesage.load()
    place = [code, "--index-dir", tmp_path / "index"]
    index = opened(code, tmp_path, encoder)
    read_only(index, encoder, monkeypatch)
    answer = run("search", "read the text of a file", *place, "--jsonl", "--no-update")
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert lines[0]["path"] == f"{code}/files.py" and all(line["partial"] and line["tier"] == "encoder" for line in lines)
    assert answer.stderr.count("\n") == 1 and "5 of 5 chunks are not encoded yet" in answer.stderr
    assert "state: partial: 5 of 5 chunks are not encoded yet" in run("status", *place).stdout
    index.update(encoder)
    answer = run("search", "read the text of a file", *place, "--jsonl")
    assert not json.loads(answer.stdout.splitlines()[0])["partial"] and not answer.stderr
