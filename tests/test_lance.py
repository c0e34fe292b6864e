"""A LanceDB store in a local folder: the answers of a local index, reruns, killed runs, and refusals."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from codesage import CodesageError, walk
from codesage.agents.commands import searched
from codesage.search import files, patterns
from codesage.search.clones import functions_of, grouped
from codesage.search.filters import ALL, filter_of
from codesage.search.index import Index
from codesage.search.query import search
from codesage.search.ranking import Rules, best
from plain_search import similar
from test_search import HashingEncoder

if find_spec("lancedb") is None:  # importing it takes seconds
    pytest.skip("LanceDB is not installed", allow_module_level=True)

from codesage.agents.stores import StoreFolders
from codesage.search.store import fill as filling
from codesage.search.store import query as queries
from codesage.search.store import similar as stored
from codesage.search.store import table, words
from codesage.search.store.address import location_of, one_writer
from codesage.search.store.commands import clones_from, show_status
from codesage.search.store.conditions import changed
from codesage.search.store.engines import Local
from codesage.search.store.fill import fill, roots_of
from codesage.search.store.query import search as search_store
from codesage.search.store.table import Store
from codesage.search.store.words import ByWords

WEAK = Rules(floor=False)
SAMPLE = Path(__file__).parent / "samples" / "search.zip"  # some of our files as they were: the same whatever changes
QUERIES = [
    "lock",
    "Index",
    "fuse rankings",
    "storable",
    "split identifiers into words",
    "secret files",
    "nearest neighbours",
    '"another process is indexing"',
    "in python: hash of a text",
    "View.nearest",
]
ASKED = [  # of all kinds: query, filter, options
    *((query, {}, {}) for query in QUERIES),
    *((query, {}, {}) for query in ("LOCK", "index", "VIEW.NEAREST", "reciprocal_rank_fusion", "Vectors", "vectors.py")),
    *((query, {}, {}) for query in ("view.py", "documentation of search", "test", "how are rankings fused and put in order")),
    *((query, {}, {}) for query in ("->", "!=", "==", "**", "@", "'->'", '"|="', "=>", "\u03bb->")),
    *(
        (query, {}, {})
        for query in ("'for row in'", "`return None`", '"no such thing here"', "for number, row in enumerate(rows)")
    ),
    *((query, {}, {}) for query in ("violin", "blorptang xqzv", "zzpl", "winter coat and gloves")),
    *(
        (query, where, {})
        for query in ("index of rankings", "lock", "->")
        for where in (
            {"types": ["md"]},
            {"types": ["py"], "globs": ["v*.py"]},
            {"content": "docs"},
            {"globs": ["!index.py"]},
            {"patterns": [r"return\b.*\("]},
            {"patterns": ["^class"], "types": ["py"]},
        )
    ),
    *((query, {}, {"weak": True}) for query in ("violin", "fuse rankings")),
    *((query, {}, {"dense_weight": 0.0}) for query in ("fuse rankings", "lock", "violin", "View.nearest")),
    ("nearest neighbours", {}, {"top": 40}),
]


class Counting(HashingEncoder):
    """Counts the texts that it encodes as code, and fails after `most`. It reads 40 words at a time."""

    max_tokens = 40

    def __init__(self, most=10**9):
        self.encoded, self.most = 0, most

    def token_counts(self, texts):
        return [len(text.split()) for text in texts]

    def encode(self, texts, *, kind="code"):
        if kind == "code":
            if self.encoded + len(texts) > self.most:
                raise KeyboardInterrupt
            self.encoded += len(texts)
        return super().encode(texts, kind=kind)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A sample of code, its store and its local index, with vectors in a cache of their own."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "code").mkdir()
    shutil.unpack_archive(SAMPLE, folder / "code")
    (folder / "code" / "notes.md").write_text("# Notes\n\nHow rankings are fused.\n")
    (folder / "code" / "empty.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        encoder = Counting()
        index = Index.open(folder / "code", folder=folder / "index", encoder=encoder)
        index.update(encoder)
        address = f"lance://{folder}/store"
        fill(address, roots_of([str(folder / "code")], encoder), encoder, Local(encoder))
        yield folder / "code", index, Store.open(address, encoder)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Code that a test may change, the address of a store, its roots, and an encoder. No cache of vectors helps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "code").mkdir()
    for name in ("alpha", "beta"):
        functions = (f"def {name}_{number}(value):\n    return value * {number}\n" for number in range(4))
        (tmp_path / "code" / f"{name}.py").write_text("\n\n".join(functions))
    (tmp_path / "code" / "notes.md").write_text("# Notes\n\nWhat alpha and beta do.\n")
    (tmp_path / "code" / "empty.py").touch()
    encoder, address = Counting(), f"lance://{tmp_path}/store"
    return tmp_path / "code", address, {"code": tmp_path / "code"}, encoder


def _answers(store, query, where=ALL, **options):
    return search_store(store, HashingEncoder(), query, where, **options)


def _plain(hits, root):
    return [(os.path.relpath(os.path.abspath(hit.chunk.path), root), hit.chunk.start_line, hit.chunk.text) for hit in hits]


def _state(address, encoder):
    """What a store holds, without the names of runs."""
    rows = Store.open(address, encoder)._chunks.to_arrow().drop_columns(["run"]).to_pylist()
    return sorted(rows, key=lambda row: (row["id"], row["piece"]))


@pytest.mark.parametrize(("query", "filters", "options"), ASKED)
def test_a_store_answers_as_the_local_index(made, query, filters, options):
    root, index, store = made
    where, rules = filter_of(**filters), Rules(floor=not options.get("weak"))
    asked = {name: value for name, value in options.items() if name != "weak"}
    expected = search(index, HashingEncoder(), query, where=where, rules=rules, **asked)
    answer = _answers(store, query, where, **options)
    assert not answer.partial
    assert _plain(answer.hits, root) == [(hit.chunk.path, hit.chunk.start_line, hit.chunk.text) for hit in expected]
    for hit, one in zip(answer.hits, expected, strict=True):
        assert (hit.score, hit.similarity) == pytest.approx((one.score, one.similarity), abs=1e-6)
        assert hit.parts == pytest.approx(one.parts) and (hit.tier, hit.alike) == (one.tier, one.alike)


def _filled(folder, **files):
    """A store, a local index and their encoder, of files of these texts; `__` in a name stands for the dot."""
    for name, text in files.items():
        path = folder / "code" / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    encoder, address = Counting(), f"lance://{folder}/store"
    fill(address, roots_of([str(folder / "code")], encoder), encoder, Local(encoder))
    index = Index.open(folder / "code", folder=folder / "index", encoder=encoder)
    index.update(encoder)
    return Store.open(address, encoder), index, encoder


def _names(hits):
    return [hit.chunk.name for hit in hits]


def test_words_of_a_store_count_as_in_a_local_index(tmp_path):
    """A word of a name counts four times in a chunk that is not longer for it; files are compared as a whole too."""
    body = "    value = first + second\n" * 6
    store, index, _ = _filled(
        tmp_path,
        one__py=f"def quokka(first, second):\n{body}",
        two__py=f"def other(first, second):\n    # quokka quokka quokka\n{body}\n\ndef last(first):\n    return 1\n",
        three__py="def third(a):\n    return a\n",
    )
    found = ByWords(store, ["quokka", "second"])
    numbers, are_all = found.best("")
    named = {number: row["name"] for number, row in store.chunks(numbers).items()}
    scores = index.view().postings.scores(index.connection, ["quokka", "second"])
    assert (
        [named[number] for number in numbers] == [index.view().names[place] for place in best(scores, 2)] == ["quokka", "other"]
    )
    assert are_all and store.totals == (4, 3, sum(index.connection.execute("SELECT sum(words) FROM spans").fetchone()))
    shares = {path: share for (_, path), share in found.shares_of_files().items()}
    view = index.view()
    expected = view.postings.shares_of_files(index.connection, ["quokka", "second"], view.path_N, 3)
    assert shares == pytest.approx({path: share for path, share in zip(view.distinct_paths, expected, strict=True) if share})
    assert shares["one.py"] == 1 and shares["two.py"] == pytest.approx(0.8775, abs=1e-4)
    hits = _answers(store, "quokka second").hits
    assert hits[0].parts["words in file"] == 0.3 and [hit.tier for hit in hits] == ["encoder"] * len(hits)
    assert [hit.tier for hit in _answers(store, "quokka", dense_weight=0.0).hits] == ["words"] * 2


def test_a_store_limits_the_time_of_patterns_for_many_rows_at_once(made, monkeypatch):
    _, _, store = made
    timers = []
    monkeypatch.setattr(patterns.signal, "setitimer", lambda which, seconds: timers.append(seconds))
    found = search_store(store, Counting(), "fuse rankings", filter_of(patterns=["return"]), top=20)
    assert len(found.hits) == 20 and 0 < len(timers) <= 8


def test_with_more_chunks_than_are_compared_the_best_by_words_are(tmp_path, monkeypatch):
    functions = "\n\n".join(f"def each_{number}(a):\n    return numbat(a, {number})\n" for number in range(12))
    store, _, _ = _filled(tmp_path, one__py=functions, two__py="def numbat(a):\n    return a\n")
    monkeypatch.setattr(words, "MOST", 4)
    found = ByWords(store, ["numbat", "return"])
    numbers, are_all = found.best("")
    assert len(numbers) == 4 and not are_all and found._holding == [13, 13]
    assert set(found.shares_of_files()) <= {(root.root, name) for root in store.roots() for name in ("one.py", "two.py")}
    assert _answers(store, "numbat").hits[0].chunk.name == "numbat"


def test_queries_without_words_find_the_chunks_that_hold_them(tmp_path, monkeypatch):
    store, index, encoder = _filled(
        tmp_path,
        one__rb="def once(a, b)\n  a <=> b\nend\n\ndef <=>(other)\n  id <=> other.id\nend\n",
        two__rb="def twice(a, b)\n  (a <=> b) + (b <=> a)\nend\n\ndef none(a)\n  a\nend\n",
    )
    expected = search(index, encoder, "<=>")
    for query in ("<=>", "'<=>'"):
        hits = _answers(store, query).hits
        assert _names(hits) == _names(expected) == ["<=>", "twice", "once"]
        assert [hit.score for hit in hits] == pytest.approx([1 + 2 / 3, 2 / 3, 0.5]) and hits[0].tier == "words"
    assert _names(_answers(store, "<=>", filter_of(globs=["two.rb"])).hits) == ["twice"]
    assert _names(_answers(store, "<=>", filter_of(patterns=["b <=> a"])).hits) == ["twice"]
    assert _answers(store, "|=").hits == [] == _answers(store, "<=>", filter_of(["py"])).hits
    monkeypatch.setattr(queries, "EXACT_UP_TO", 2)
    answer = _answers(store, "<=>")
    assert answer.hits and answer.partial == ["partial: a query without words was looked for in 2 of 4 chunks"]


def test_the_kind_of_a_file_may_depend_on_files_that_are_no_candidates(copied):
    """A header keeps a share of its score where another file defines what it declares, though a filter leaves it out."""
    code, address, roots, encoder = copied
    (code / "wombat.h").write_text("int wombat_count(int burrows);\n")
    (code / "other.c").write_text("int main(void) { return 0; }\n")
    for kind in (None, "declarations"):
        fill(address, roots, encoder, Local(encoder))
        (hit,) = _answers(Store.open(address, encoder), "wombat_count burrows", filter_of(globs=["*.h"])).hits
        assert hit.parts.get("share of its kind") == (0.7 if kind else None)
        (code / "wombat.c").write_text("int unrelated(void) { return 1; }\n")
    (code / "wombat.c").unlink()
    fill(address, roots, encoder, Local(encoder))
    assert Store.open(address, encoder).roots()[0].kinds == {}


def test_chunks_of_many_pieces_do_not_displace_others(tmp_path):
    """As many chunks as asked for are found, though each of some has more pieces than are read at first."""
    long = "def long(a):\n" + "    echidna = echidna + a\n" * 100
    store, _, encoder = _filled(tmp_path, one__py=long, two__py="def short(b):\n    return b\n")
    vector_D = encoder.encode(["echidna"], kind="text")[0]
    rows, similarities, _ = store.by_vector(vector_D, 2, "")
    assert {row["name"] for row in rows} == {"long", "short"} and len(similarities) == 2


def test_a_store_has_the_floor_of_the_local_index(made):
    _, index, store = made
    nonsense = ["violin", "blorptang xqzv", "winter coat and gloves", "rings of the planet Saturn", "how to grow roses", "zzpl"]
    for query in QUERIES + nonsense:
        for weight in (2.0, 0.0):
            local = search(index, HashingEncoder(), query, dense_weight=weight)
            assert bool(_answers(store, query, dense_weight=weight).hits) == bool(local), (query, weight)
    assert not _answers(store, "blorptang xqzv").hits and _answers(store, "blorptang xqzv", weak=True).hits


def test_similar_code_in_a_store_is_that_of_the_local_index(made):
    root, index, store = made
    for name in ("View.nearest", "Vectors.encode", "best", "spread"):
        path, line = index.connection.execute("SELECT path, start_line FROM chunks WHERE name = ?", (name,)).fetchone()
        expected = similar(index, path, line, top=5)
        hits = stored.similar(store, str(root / path), line, ALL, top=5).hits
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=5e-3), name
        assert {hit.chunk.name for hit in hits} == {hit.chunk.name for hit in expected}
    only = filter_of(["py"], ["v*.py"])
    below = stored.similar(store, f"{root}/{path}", line, only, [str(root / "vectors.py")], top=50).hits
    assert {os.path.basename(hit.chunk.path) for hit in below} == {"vectors.py"}
    with pytest.raises(CodesageError, match="has no files of /etc/hosts"):
        stored.similar(store, "/etc/hosts", 1, ALL)
    with pytest.raises(CodesageError, match="view.py:99999 is in no chunk of lance://"):
        stored.similar(store, f"{root}/view.py", 99_999, ALL)


def test_a_store_of_older_rules_shows_no_secrets(copied, monkeypatch):
    folder, address, roots, encoder = copied
    (folder / "prod.tfvars").write_text('db_password = "Zebra4Quoll9"\n')
    (folder / "id_rsa").write_text("quagga = 4\n")
    with monkeypatch.context() as earlier:
        earlier.setattr(files, "holds_secret", lambda name, text: False)
        earlier.setattr(walk, "is_secret", lambda name: False)
        fill(address, roots, encoder, Local(encoder))
    store = Store.open(address, encoder)
    assert store.totals.files == 5
    for query in ("Zebra4Quoll9", "quagga", "'Quoll9'", "="):
        found = {hit.chunk.path.rpartition("/")[2] for hit in search_store(store, encoder, query, ALL, weak=True).hits}
        assert not found & {"prod.tfvars", "id_rsa"} and (found or query == "=")
    assert not search_store(store, encoder, "=", ALL).hits
    hits = stored.similar(store, "code/notes.md", 1, ALL).hits
    assert not {"prod.tfvars", "id_rsa"} & {hit.chunk.path.rpartition("/")[2] for hit in hits}


def test_similar_code_of_the_languages_of_the_extra(tmp_path):
    """Languages beside the nine count as code; what is filtered and what is left out do not displace the rest."""
    functions = (f"fn add_{name}(a: i32) -> i32 {{\n    a + {number}\n}}\n" for number, name in enumerate(("x", "y", "z")))
    store, index, encoder = _filled(tmp_path, one__rs="\n".join(functions), two__py="def add(a):\n    return a + 1\n")
    expected = _names(similar(index, "one.rs", 2, encoder=encoder))
    assert set(expected) == {"add_y", "add_z", "add"}
    assert _names(stored.similar(store, str(tmp_path / "code" / "one.rs"), 2, ALL).hits) == expected


def test_similar_code_looks_beyond_what_is_left_out(copied, monkeypatch):
    code, address, _, encoder = copied
    (code / "numbers.txt").write_text("".join(f"one two three {number}\n" for number in range(400)))
    (code / "other.txt").write_text("ten one two\n")
    fill(address, {str(code): code}, encoder, Local(encoder))
    monkeypatch.setattr(stored, "_DEPTH", 2)
    store = Store.open(address, encoder)
    for where in (ALL, filter_of(globs=["other.txt"])):
        hits = stored.similar(store, f"{code}/numbers.txt", 1, where, top=1).hits
        assert [os.path.basename(hit.chunk.path) for hit in hits] == ["other.txt"]


def test_clones_of_a_store_count_long_functions(copied):
    code, address, roots, encoder = copied
    (code / "long.py").write_text("def long(a):\n" + "".join(f"    a += {number}\n" for number in range(300)))
    fill(address, roots, encoder, Local(encoder))
    assert clones_from(address, ALL, (), threshold=0.6, min_lines=2).left_out == 1
    assert clones_from(address, filter_of(globs=["!long.py"]), (), threshold=0.6, min_lines=2).left_out == 0


def test_clones_in_a_store_are_those_of_the_local_index(made, monkeypatch):
    _, index, store = made
    functions = functions_of(index, min_lines=3)
    expected = grouped(functions.chunks, functions.vectors_ND, 0.6)
    groups = clones_from(store.address, ALL, (), threshold=0.6, min_lines=3).groups
    assert [{chunk.name for chunk in group.chunks} for group in groups] == [
        {chunk.name for chunk in one.chunks} for one in expected
    ]
    assert expected and [group.similarity for group in groups] == pytest.approx([one.similarity for one in expected], abs=5e-3)
    monkeypatch.setattr(stored, "_MOST_COMPARED", 10)
    with pytest.raises(
        CodesageError, match="such functions, and every two are compared, at most 10: give a folder, or -t and -g"
    ):
        clones_from(store.address, ALL, (), threshold=0.6, min_lines=3)
    assert clones_from(store.address, filter_of(["rust"]), (), threshold=0.6, min_lines=3).groups == []


def test_servers_answer_from_a_store(made, tmp_path):
    root, _, store = made
    folders = StoreFolders(store.address, HashingEncoder, fresh=0.0)
    answer = folders.search("fuse rankings", top=3)
    assert answer.hits and answer.hits[0].chunk.path == f"{root}/ranking.py" and not answer.partial
    assert {hit.chunk.path for hit in folders.search("index", path=str(root / "view.py")).hits} == {f"{root}/view.py"}
    assert folders.similar(f"{root}/view.py", 100, top=2).hits
    ((state, partial),) = folders.status()
    assert (state.root, state.folder, partial) == (root.as_posix(), store.address, "") and state.chunks > 50
    with pytest.raises(CodesageError, match="the map is of a local index"):
        folders.map(10)
    with pytest.raises(CodesageError, match=r"has no files of '\\x00'"):
        folders.search("index", path="\0")
    with pytest.raises(CodesageError, match="has no files of /etc"):
        folders.search("password", path="/etc")
    with pytest.raises(CodesageError, match="give a store or folders, not both"):
        searched([tmp_path], store.address, HashingEncoder, index_dir=None, patience=1.0)


def test_paths_restrict_and_options_that_match_nothing_are_named(made):
    root, _, store = made
    hits = _answers(store, "index", paths=[str(root / "view.py")]).hits
    assert {path for path, *_ in _plain(hits, root)} == {"view.py"}
    assert _answers(store, "index", paths=[str(root.parent)]).hits
    with pytest.raises(CodesageError, match=f"^lance://.* has no files of {root}x: run 'codesage index --store"):
        _answers(store, "index", paths=[f"{root}x"])
    assert _answers(store, "index", filter_of(["rust"])).unused_filters == ["-t rust"]
    assert _answers(store, "index", filter_of(["rust"], ["*.foo", "*.py"])).unused_filters == ["-g *.foo", "-t rust"]
    assert _answers(store, "zzzz", dense_weight=0).hits == []
    with pytest.raises(CodesageError, match="the query is empty"):
        _answers(store, " ")


def test_a_rerun_adds_what_is_new_and_deletes_what_is_gone(copied):
    code, address, roots, encoder = copied
    (state,) = fill(address, roots, encoder, Local(encoder))
    assert (state.files, state.pending, state.skipped) == (3, 0, {"empty": 1})
    first, before = encoder.encoded, _state(address, encoder)
    fill(address, roots, encoder, Local(encoder))
    assert encoder.encoded == first and _state(address, encoder) == before
    (code / "beta.py").unlink()
    (code / "alpha.py").write_text((code / "alpha.py").read_text() + "\n\ndef unheard_of():\n    return 'quokka'\n")
    odd = code / 'it\'s \\ "odd".py'
    odd.write_text("def wombat():\n    return 1\n")
    fill(address, roots, encoder, Local(encoder))
    assert encoder.encoded == first + 2  # all other vectors are found by their keys
    clean = f"{address}-clean"
    fill(clean, roots, encoder, Local(encoder))
    assert _state(address, encoder) == _state(clean, encoder)
    chunk = _answers(Store.open(address, encoder), "wombat").hits[0].chunk
    assert chunk.name == "wombat" and chunk.path.endswith(odd.name)


def test_a_run_that_was_cut_off_leaves_its_last_commit_and_the_next_completes_it(copied, monkeypatch):
    _, address, roots, encoder = copied
    monkeypatch.setattr(filling, "_ROWS", 1)
    monkeypatch.setattr(filling, "_FILES", 1)
    cut = Counting(most=6)
    with pytest.raises(KeyboardInterrupt):
        fill(address, roots, cut, Local(cut))
    store = Store.open(address, encoder)
    (state,) = store.roots()
    assert store.count() == 4 and state.pending and state.files
    answer = search_store(store, encoder, "alpha", ALL)
    assert answer.hits and answer.partial == [
        f"partial: {state.pending} files of code are not indexed yet; 'codesage index --store {address} code' completes it"
    ]
    assert clones_from(address, ALL, (), threshold=0.6, min_lines=3).partial == answer.partial
    assert clones_from(address, filter_of(["r"]), (), threshold=0.6, min_lines=3).unused_filters == ["-t r"]
    fill(address, roots, encoder, Local(encoder))
    clean = f"{address}-clean"
    fill(clean, roots, encoder, Local(encoder))
    assert _state(address, encoder) == _state(clean, encoder)


def test_a_kill_between_adding_and_deleting_is_repaired(copied, monkeypatch):
    code, address, roots, encoder = copied
    fill(address, roots, encoder, Local(encoder))
    (code / "alpha.py").write_text("def fresh():\n    return 1\n")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "forget", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        fill(address, roots, encoder, Local(encoder))
    assert Store.open(address, encoder).known("code")["alpha.py"] == ""  # rows of two runs
    fill(address, roots, encoder, Local(encoder))
    rows = [row["name"] for row in _state(address, encoder) if row["path"] == "alpha.py"]
    assert rows == ["fresh"]


def test_a_file_that_is_read_in_part_has_not_changed(copied, capsys):
    root, address, _, encoder = copied
    (root / "long.py").write_text("def gamma_1(value):\n    return value\n\n\nDATA = '" + "x" * 6_000 + "'\n")
    fill(address, {str(root): root}, encoder, Local(encoder))
    (status,) = (one for one, _ in StoreFolders(address, Counting).status())
    assert (status.files, status.skipped, status.in_part) == (4, {"empty": 1}, {"minified": 1})
    show_status(address)
    assert "4 files, skipped: 1 empty, indexed in part: 1 minified, complete" in capsys.readouterr().out
    row = next(row for row in Store.open(address, encoder).rows("path = 'long.py'", table.SHOWN))
    assert not changed(row)
    (root / "long.py").write_text("def gamma_2(value):\n    return value\n")
    assert changed(row)


def test_a_root_that_cannot_be_read_keeps_its_rows(copied, monkeypatch):
    root, address, roots, encoder = copied
    fill(address, roots, encoder, Local(encoder))
    before = _state(address, encoder)
    with monkeypatch.context() as denied:
        denied.setattr(os, "access", lambda path, mode, access=os.access: str(path) != str(root) and access(path, mode))
        with pytest.raises(CodesageError, match="no permission to read it"):
            fill(address, roots, encoder, Local(encoder))
    root.rename(root.with_name("moved"))
    with pytest.raises(CodesageError, match="no such file or folder"):
        fill(address, roots, encoder, Local(encoder))
    assert _state(address, encoder) == before


def test_a_store_cuts_files_anew_once_their_grammar_is_installed(copied, monkeypatch):
    root, address, roots, encoder = copied
    (root / "counter.rs").write_text("fn count_words(text: &str) -> usize {\n    text.split_whitespace().count()\n}\n")
    with monkeypatch.context() as without:
        for module in (files, table):
            without.setattr(module, "searched_language", lambda name: "")
        fill(address, roots, encoder, Local(encoder))
    before = encoder.encoded
    for _ in range(2):  # the second time changes nothing
        fill(address, roots, encoder, Local(encoder))
        rows = [row for row in _state(address, encoder) if row["path"] == "counter.rs"]
        assert {(row["kind"], row["language"], row["name"]) for row in rows} == {("function", "rust", "count_words")}
    assert encoder.encoded - before == len(rows)


def test_refusals_are_one_line(made, tmp_path):
    root, _, store = made
    roots, encoder = {"code": root}, HashingEncoder()
    other = HashingEncoder()
    other.fingerprint = "hashing:2"
    for refused in (lambda: Store.open(store.address, other), lambda: fill(store.address, roots, other, Local(other))):
        with pytest.raises(CodesageError, match="was written by model hashing:1, this is model hashing:2: add --rebuild"):
            refused()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CodesageError, match="has version 2, expected 3: add --rebuild"):
        patch.setattr("codesage.search.store.table.VERSION", "3")
        Store.open(store.address, encoder)
    missing = f"lance://{tmp_path}/none"
    with pytest.raises(CodesageError, match=f"^there is no index in {missing}: run 'codesage index --store {missing} PATH'$"):
        Store.open(missing, encoder)
    assert not (tmp_path / "none").exists()
    for wrong in ("s3://bucket", "lance://", "code"):
        with pytest.raises(
            CodesageError, match="is not the address of a store: expected lance://FOLDER, or lance://s3://BUCKET/FOLDER"
        ):
            location_of(wrong)
    with one_writer(store.address), pytest.raises(CodesageError, match="another process is using lance://.*: wait for it"):
        fill(store.address, roots, encoder, Local(encoder))
    manifest = next(Path(shutil.copytree(location_of(store.address), tmp_path / "damaged")).glob("chunks.lance/_versions/*"))
    for file in manifest.parent.iterdir():
        file.write_bytes(b"damaged")
    with pytest.raises(CodesageError, match="^cannot use lance://") as error:
        Store.open(f"lance://{tmp_path}/damaged", encoder)
    assert "\n" not in str(error.value)


def test_commands_fill_and_ask_a_store(tmp_path, capsys, monkeypatch):
    from typer.testing import CliRunner

    from codesage import cli

    cli._mount()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shapes.py").write_text("def area(radius):\n    return 3 * radius ** 2\n")
    store = f"lance://{tmp_path}/store"

    def run(*arguments, code=0):
        done = CliRunner().invoke(cli.app, list(arguments))
        if isinstance(done.exception, CodesageError):
            return str(done.exception)
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    monkeypatch.chdir(tmp_path)
    assert "--engine ray goes with --store" in run("index", "code", "--engine", "ray")
    assert "one of --store and --index-dir" in run("search", "x", "--store", store, "--index-dir", "here")
    assert "expected one of local, ray" in run("index", "code", "--store", store, "--engine", "mill")
    assert f"1 files in {store}; skipped: none" in run("index", "code", "--store", store)
    (result,) = json.loads(run("search", "area of a circle", "--store", store, "--json"))["results"]
    assert (result["path"], result["name"], result["stale"], result["partial"]) == ("code/shapes.py", "area", False, False)
    assert "1 files, skipped: none, complete" in run("status", "--store", store)
    (tmp_path / "code" / "shapes.py").write_text("def area(side):\n    return side ** 2\n")
    assert json.loads(run("search", "area", "--store", store, "--jsonl"))["stale"]
    assert "holds no root other: 'codesage status" in run("clear", "other", "--store", store)
    run("clear", "code", "--store", store)
    assert "chunks: 0" in run("status", "--store", store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        assert run("search", "area", "--store", store) == "lancedb is not installed: run pip install 'codesage[lance]'"
