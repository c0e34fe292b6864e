"""Search in whole repositories and whole packages: golden NDCG, laying out, what is missing, and hostile data."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from codesage import CodesageError
from codesage.corpus.sources.trees import Folder
from codesage.corpus.stage import Settings, build
from codesage.encoder.sentence import SentenceEncoder
from codesage.evaluate import packages, repositories, searching, sets
from codesage.evaluate.commands import evaluate
from codesage.evaluate.tasks import Question, Repository, RepositoryTask, Target
from codesage.records import Chunk
from codesage.search.pieces import CountsTokens, pieces

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
FILES = {
    "one": {
        "lib/files.py": "def read_file(path):\n    return open(path).read()\n\n\ndef write_file(path, x):\n    path.write(x)\n",
        "lib/sort.py": "def sort_items(items):\n    return sorted(items)\n",
        "docs/files.py": "def outside():\n    return 'read a file'\n",
    },
    "two": {"door.js": "function openDoor(door) {\n  door.open();\n  return door;\n}\n"},
}
QUERIES = [
    {"repo": "one", "query": "read file", "relevant": ["lib/files.py"], "secondary": []},
    {"repo": "one", "query": "sort items", "relevant": [{"path": "lib/sort.py", "start_line": 1, "end_line": 2}]},
    {"repo": "two", "query": "open the door", "relevant": ["door.js"], "secondary": ["src/window.js"]},
    {"repo": "gone", "query": "anything", "relevant": ["a.py"]},
]


def git(folder, *command, given=None):
    done = subprocess.run([*GIT, "-C", str(folder), *command], check=True, capture_output=True, input=given)
    return done.stdout.decode().strip()


def committed(folder, files):
    """A repository with one commit of `files`; returns its hash."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "1")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """Two small repositories, and the set that asks about them and about one that is nowhere."""
    folder = tmp_path_factory.mktemp("origin")
    revisions = {name: committed(folder / "me" / name, files) for name, files in FILES.items()}
    rows = [
        {"repo": "one", "github": "me/one", "language": "python", "root": "lib", "revision": revisions["one"]},
        {"repo": "two", "github": "me/two", "language": "javascript", "root": ".", "revision": revisions["two"]},
        {"repo": "gone", "github": "me/two", "language": "python", "root": "lib", "revision": "0" * 40},
    ]
    written(folder / "repository-search", rows, QUERIES)
    return folder


def written(folder, rows, queries):
    folder.mkdir(exist_ok=True)
    for name, values in (("repositories", rows), ("queries", queries)):
        text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in values)
        (folder / f"{name}.jsonl").write_text(text)
    return folder


@pytest.fixture
def cache(origin, tmp_path, monkeypatch):
    """An empty cache, and a configuration of git by which github.com is a folder here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{origin}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    return tmp_path / "xdg" / "codesage" / "benchmarks" / "repositories"


def run(*words):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, list(map(str, words)))


def chunk(path, start, end):
    return Chunk(path, "python", "function", "f", start, end, "text")


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([Target("lib/a.py")], 1.0),
        ([Target("lib/b.py")], 1 / np.log2(4)),  # the third
        ([Target("a.py")], 1.0),
        ([Target("lib/a.py", (5, 6))], 0.6309),  # the second, as the first ends before
        ([Target("lib/a.py", (11, 12))], 0.0),
        ([Target("lib/a.py"), Target("lib/b.py")], (1 + 0.5) / (1 + 0.6309)),
        ([Target("lib/a.py"), Target("lib/none.py")], 1 / (1 + 0.6309)),
        ([Target("lib/a.py", (1, 2)), Target("lib/a.py", (3, 3))], 1.0),  # one chunk answers both
        ([Target("xlib/aa.py")], 0.0),
        ([Target("lib/late.py")], 0.0),  # the eleventh
        (
            [Target("lib/b.py")] + [Target(f"lib/none{row}.py") for row in range(19)],
            0.5 / 4.5436,
        ),  # the ideal is over ten of twenty
    ],
)
def test_ndcg_by_hand(targets, expected):
    ranking = [chunk("a.py", 1, 4), chunk("a.py", 4, 10), chunk("b.py", 1, 2)]
    ranking += [chunk(f"other{number}.py", 1, 2) for number in range(7)] + [chunk("late.py", 1, 2)]
    assert searching.ndcg(ranking, targets) == pytest.approx(expected, abs=1e-4)


def test_repositories_are_fetched_searched_and_missing_ones_counted(origin, cache, tmp_path):
    shared = ("--benchmarks", origin, "--task", "repository-search")
    refused = str(run("default", *shared).exception)
    assert refused == (
        f"repository search: none of the 3 repositories is in {cache}: --task repository-search --download fetches them"
    )
    done = run("default", "static", *shared, "--download", "--width", 64, "--out", tmp_path / "a.json", "--plots", tmp_path)
    assert done.exit_code == 0, done.output
    assert "fetching https://github.com/me/one at " in done.stderr
    assert "repository search: gone is left out: me/two at 000000000000: " in done.stderr
    assert "| NDCG@10 x 100 | repository search |" in done.stdout and "| BM25 | 80.7 " in done.stdout  # 1, 1; 1 / 1.63
    note = "repository search: 2 of 3 repositories with 3 of 4 queries; not there: gone"
    assert done.stdout.split()[-1] == str(tmp_path / "quality-and-index-size.png") and f"\n{note}\n" in done.stdout
    report = json.loads((tmp_path / "a.json").read_text())
    size = {"repositories": 2, "queries": 3, "repositories not there": 1, "queries about these": 1}
    assert report["tasks"] == {"repository search": size} and report["notes"] == [note]
    systems = [f"{name}{more}" for name in ("default", "static") for more in (", width 64", ", width 64 + BM25", " + BM25", "")]
    assert set(report["figures"]["repository search"]) == {"BM25", *systems}
    figures = report["figures"]["repository search"]
    assert "index_mb" not in figures["BM25"] and figures["default"]["index_mb"] == figures["default + BM25"]["index_mb"]
    on_disk = sum(file.stat().st_size for file in (cache / "indexes").rglob("*") if file.is_file())
    assert sum(figures[name]["index_mb"] for name in ("default", "static", "default, width 64", "static, width 64")) == (
        pytest.approx(on_disk / 1e6, abs=0.01)
    )
    assert (tmp_path / "quality-and-index-size.png").read_bytes().startswith(b"\x89PNG")
    assert report["encoding"]["static, width 64"]["width"] == 64 and report["encoding"]["default"]["width"] == 256
    assert sorted(path.name for path in next((cache / "trees").glob("me+one*")).iterdir()) == ["files.py", "sort.py"]
    again = run("default", *shared, "--against", tmp_path / "a.json")  # now from the cache
    assert "repository search, default: +0.0 (+0.0 to +0.0, p = 1.000): no difference" in again.output
    less = written(
        tmp_path / "repository-search", *([row for row in lines(origin, name) if row["repo"] != "one"] for name in NAMES)
    )
    other = run("default", "--benchmarks", less.parent, "--task", "repository-search", "--against", tmp_path / "a.json")
    assert "repository search, default: not compared, the queries differ" in other.output


NAMES = ("repositories", "queries")


def lines(origin, name):
    text = (origin / "repository-search" / f"{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_slow_set_runs_when_it_is_named(origin, cache, monkeypatch):
    said = []
    with pytest.raises(CodesageError, match="no task to evaluate"):
        sets.read(None, origin, [], say=said.append)
    assert said == ["repository-search takes minutes for each model: it is left out unless --task repository-search names it"]
    with pytest.raises(CodesageError, match="repository-search is not there: put repositories.jsonl and queries.jsonl into "):
        sets.read(None, cache, ["repository-search"], say=said.append)


def test_a_clone_in_the_cache_is_read_and_left_as_it_is(origin, cache):
    (task,) = repositories.read(origin / "repository-search")
    (cache / "clones").mkdir(parents=True)
    git(cache, "clone", "-q", "--bare", str(origin / "me" / "one"), "clones/me+one")
    git(cache, "clone", "-q", str(origin / "me" / "two"), "clones/me+two")
    before = {path: path.stat().st_mtime_ns for path in (cache / "clones").rglob("*")}
    said = []
    ready = repositories.laid_out(task, cache, download=False, say=said.append)
    assert [one.name for one in ready.searched] == ["one", "two"] and list(ready.missing) == ["gone"]
    assert said == ["repository search: gone is left out: no clone in the cache has me/two at 000000000000"]
    assert (ready.folders["two"] / "door.js").read_text() == FILES["two"]["door.js"]
    assert {path: path.stat().st_mtime_ns for path in (cache / "clones").rglob("*")} == before


def test_a_revision_without_the_root_and_a_damaged_clone_are_left_out(origin, cache):
    (task,) = repositories.read(origin / "repository-search")
    one = task.repositories[0]
    other = Repository("one", one.github, "python", "src", one.revision, one.questions)
    with pytest.raises(CodesageError, match="me/one at .* holds no files in src"):
        repositories.lay_out(other, cache, download=True)
    blob = git(origin / "me" / "one", "rev-parse", "HEAD:lib/sort.py")
    assert git(origin / "me" / "one", "cat-file", "-s", blob)
    git(cache, "clone", "-q", "--bare", str(origin / "me" / "two"), "clones/me+two")
    (object_file,) = (cache / "clones" / "me+two" / "objects").glob(f"{_blob(origin)[:2]}/{_blob(origin)[2:]}")
    object_file.unlink()
    with pytest.raises(CodesageError, match="me/two at .*: door.js is missing or damaged in .*: remove that clone"):
        repositories.lay_out(task.repositories[1], cache)
    assert not list((cache / "trees").glob("*"))


def _blob(origin):
    return git(origin / "me" / "two", "rev-parse", "HEAD:door.js")


def test_a_tree_that_leaves_its_folder_is_refused(tmp_path):
    clone = tmp_path / "clones" / "me+evil"
    clone.mkdir(parents=True)
    git(clone, "init", "-q", "--bare")
    blob = git(clone, "hash-object", "-w", "--stdin", given=b"x = 1\n")
    tree = b"100644 inner.py\0" + bytes.fromhex(blob)
    inner = git(clone, "hash-object", "-t", "tree", "-w", "--stdin", given=tree)
    for name in (b"..", b".git"):
        made = b"40000 " + name + b"\0" + bytes.fromhex(inner)
        outer = git(clone, "hash-object", "-t", "tree", "--literally", "-w", "--stdin", given=made)
        commit = git(clone, "commit-tree", "-m", "1", outer)
        repository = Repository("evil", "me/evil", "python", ".", commit, [Question("x", [Target("x")])])
        with pytest.raises(CodesageError, match="leaves the repository"):
            repositories.lay_out(repository, tmp_path)
    assert not list(tmp_path.rglob("inner.py"))


ROW = {"repo": "a", "github": "me/one", "language": "python", "root": "lib", "revision": "1" * 40}
ASKED = {"repo": "a", "query": "read", "relevant": ["x.py"]}


@pytest.mark.parametrize(
    ("rows", "queries", "message"),
    [
        ([{**ROW, "root": None}], [ASKED], "repositories.jsonl:1: root is null"),
        ([{"repo": "a"}], [ASKED], "repositories.jsonl:1: no github, language, root, revision"),
        ([ROW, ROW], [ASKED], "repositories.jsonl:2: repo a is in line 1 too"),
        ([{**ROW, "repo": 7}], [{**ASKED, "repo": 7}], "repositories.jsonl:1: expected text for repo, github"),
        ([{**ROW, "revision": "--upload-pack=evil"}], [ASKED], "repositories.jsonl:1: revision is '--upload-pack=evil', exp"),
        ([{**ROW, "revision": "main"}], [ASKED], "repositories.jsonl:1: revision is 'main', expected the whole hash"),
        ([{**ROW, "revision": "1" * 40 + "\n"}], [ASKED], "repositories.jsonl:1: revision is "),
        ([{**ROW, "github": "../one"}], [ASKED], "repositories.jsonl:1: github is '../one', expected OWNER/NAME"),
        ([{**ROW, "github": "--evil/one"}], [ASKED], "repositories.jsonl:1: github is "),
        ([{**ROW, "root": "../../etc"}], [ASKED], "repositories.jsonl:1: root is '../../etc', expected a folder within"),
        ([{**ROW, "root": "/etc"}], [ASKED], "repositories.jsonl:1: root is '/etc'"),
        ([{**ROW, "root": "a/.git/hooks"}], [ASKED], "repositories.jsonl:1: root is "),
        ([ROW, {**ROW, "repo": "b"}], [ASKED], "repositories.jsonl:2: no query is about b"),
        ([ROW], [{**ASKED, "repo": "b"}], "queries.jsonl:1: repo b is not among the 1 of repositories.jsonl"),
        ([ROW], [ASKED, {**ASKED, "repo": ["a"]}], "queries.jsonl:2: repo .* is not among"),
        ([ROW], [ASKED, {**ASKED, "relevant": []}], "queries.jsonl:2: the query has no target: expected one or more"),
        ([ROW], [ASKED, {"repo": "a", "query": "x"}], "queries.jsonl:2: no relevant"),
        ([ROW], [{**ASKED, "secondary": ["x.py"]}], "queries.jsonl:1: a target is listed twice: expected each once"),
        ([ROW], [{**ASKED, "query": " "}], "queries.jsonl:1: expected a query in words"),
        ([ROW], [{**ASKED, "relevant": "x.py"}], "queries.jsonl:1: expected .* lists of relevant and secondary targets"),
        ([ROW], [{**ASKED, "relevant": [{"path": "x", "start_line": 3}]}], "queries.jsonl:1: .* is not a target"),
        (
            [ROW],
            [{**ASKED, "relevant": [{"path": "x", "start_line": 3, "end_line": 2}]}],
            "queries.jsonl:1: .* is not a target",
        ),
        ([ROW], [{**ASKED, "relevant": [{"path": "x", "start_line": True, "end_line": 2}]}], "is not a target"),
        ([ROW], [{**ASKED, "secondary": [7]}], "queries.jsonl:1: '7' is not a target: expected a path, or path, start_line"),
        ([ROW], ["{"], "queries.jsonl:1: "),
        ([], [], "repositories.jsonl:1: "),
    ],
)
def test_bad_rows_name_file_and_line(tmp_path, rows, queries, message):
    with pytest.raises(CodesageError, match=message) as error:
        repositories.read(written(tmp_path / "set", rows, queries))
    assert "\n" not in str(error.value)


def test_a_task_without_repositories_is_refused():
    with pytest.raises(CodesageError, match="x has 0 repositories: expected one or more"):
        RepositoryTask("x", [])


class Letters:
    """A vector of the counts of letters, for each text."""

    width, fingerprint = 26, "letters:1"

    def encode(self, texts, *, kind="code"):
        rows = np.array([[text.lower().count(chr(97 + letter)) + 1e-3 for letter in range(26)] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_truncated_vectors_of_an_index(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cut, texts = searching.Cut(Letters(), 5), ["abcde", "zebra deed", "code"]
    whole = Letters().encode(texts)[:, :5]
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(cut.encode(texts, kind="text"), whole, atol=1e-6)
    np.testing.assert_allclose(cut.encode(texts, kind="code"), whole, atol=0.02)  # from directions in int8
    assert cut.fingerprint == "letters:1-5" and not isinstance(cut, CountsTokens)
    with pytest.raises(CodesageError, match="the vectors have width 26: --width must be at most that, not 27"):
        searching.Cut(Letters(), 27)


def test_another_librarys_encoder_reads_long_chunks_in_pieces():
    def tokenizer(texts, **options):
        return {"input_ids": [text.split() for text in texts]}

    tokenizer.model_max_length, tokenizer.num_special_tokens_to_add = 512, lambda: 2
    encoder = SentenceEncoder.__new__(SentenceEncoder)
    encode = lambda texts, **options: Letters().encode(texts)  # noqa: E731
    encoder._width, encoder._model = (
        0,
        SimpleNamespace(tokenizer=tokenizer, max_seq_length=22, encode=encode, device=SimpleNamespace(type="cpu")),
    )
    assert (encoder.width, encoder.max_tokens, encoder.token_counts(["a b", ""])) == (26, 21, [2, 0])
    (parts,) = pieces([Chunk("a.py", "python", "function", "f", 1, 12, "\n".join(["one two three"] * 12))], encoder)
    assert len(parts) > 1 and all(len(part.split()) <= 20 for part in parts)
    assert sum(part.count("three") for part in parts) >= 12


CODE = '''
def read_all(path):
    """Read the whole text of a file."""
    with open(path) as opened:
        text = opened.read()
        return text


def undocumented(path, text):
    with open(path, "w") as opened:
        opened.write(text)
        opened.flush()


def count_words(text):
    """Count how often each word occurs in a text."""
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    return counts
'''


def test_the_candidates_of_a_package_are_all_its_functions(tmp_path):
    for name, text in (("held", CODE), ("kept", CODE.replace("_", "_of_").replace("text", "number"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text(text)
    sources = [Folder(str(tmp_path / name)) for name in ("held", "kept")]
    corpus = build(Settings(held_out=("held",), workers=1), sources, tmp_path / "corpus", cache=tmp_path / "cache").path
    (task,) = packages.held_out_packages(corpus)
    assert task.name == "held" and len(task.candidates) == 3 and task.unanswered == 0
    answers = {query: task.candidates[row] for query, row in zip(task.queries, task.relevant, strict=True)}
    assert answers.keys() == {"Read the whole text of a file", "Count how often each word occurs in a text"}
    assert answers["Read the whole text of a file"].startswith("def read_all(path):")
    assert not any('"""' in code for code in task.candidates) and any("undocumented" in code for code in task.candidates)
    assert len(packages.held_out_packages(corpus, queries=1)[0].queries) == 1
    assert list(sets.read(corpus, None, ["packages"], say=print)) == ["held-out pairs", "held-out packages"]
    with pytest.raises(CodesageError, match="--task packages searches the held-out packages of a corpus: give --corpus"):
        sets.read(None, None, ["packages"], say=print)

    manifest = json.loads((corpus / "manifest.json").read_text())
    del manifest["files"]["held_out_files.parquet"]
    Path(corpus, "manifest.json").write_text(json.dumps(manifest))
    Path(corpus, "held_out_files.parquet").unlink()
    with pytest.raises(CodesageError, match="keeps no files of its held-out packages: build it again with this version"):
        packages.held_out_packages(corpus)
