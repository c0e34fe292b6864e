"""Clones, and the maintenance of indexes: clear, doctor, models, watch."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from codesage import CodesageError
from codesage.encoder.folders import BUNDLED, BUNDLED_MODELS
from codesage.records import Chunk, Document
from codesage.search import database
from codesage.search.chunks import chunks, definitions
from codesage.search.clones import grouped, groups_of
from codesage.search.folders import command, default_folder, index_command
from codesage.search.index import Index
from codesage.search.maintenance import _index_findings, checked, kept_indexes, remove
from codesage.search.places import Place
from codesage.search.refresh import refresh
from codesage.search.searcher import Searcher
from codesage.search.watching import _changed, _follow
from command_line import run
from test_search import ENCODER, HashingEncoder
from test_search_commands import root

__all__ = ["root"]  # the fixture

SUM = "def {0}(numbers):\n    total = 0\n    for number in numbers:\n        total += number\n    return total\n"


def test_groups_are_those_of_complete_linkage():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    vectors[30:45] = vectors[:15] + 0.2 * rng.standard_normal((15, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors.T
    for threshold in (0.6, 0.8, 0.95):
        groups = groups_of(vectors, threshold)
        members = [row for rows, _ in groups for row in rows]
        assert len(members) == len(set(members))
        for rows, lowest in groups:
            assert scores[np.ix_(rows, rows)].min() == pytest.approx(lowest) and lowest >= threshold - 1e-6
        pairs = [(scores[a, b], a, b) for a in range(60) for b in range(a) if scores[a, b] >= threshold]
        _, one, other = max(pairs)
        assert any({one, other} <= set(rows) for rows, _ in groups)  # the closest two are together
        group = {row: number for number, (rows, _) in enumerate(groups) for row in rows}
        for _, a, b in pairs:  # no two groups could be joined
            ours, theirs = ([row for row in range(60) if row == x or group.get(row, -1) == group.get(x, -2)] for x in (a, b))
            assert group.get(a, -1) == group.get(b, -2) or scores[np.ix_(ours, theirs)].min() < threshold
    assert groups_of(vectors[:0], 0.8) == groups_of(vectors[:1], 0.8) == []


def test_a_chain_of_small_steps_is_no_group():
    angles = np.deg2rad([0, 30, 60, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert [rows for rows, _ in groups_of(vectors, 0.8)] == [[0, 1], [2, 3]]


def test_clones_are_listed_with_their_places(root):
    for name in ("one", "two"):
        (root / f"{name}.py").write_text(SUM.format(f"sum_{name}"))
    (root / "short.py").write_text("def a(x):\n    return x\n\n\ndef b(x):\n    return x\n")
    (root / "go.go").write_text(
        "package p\n\nfunc Sum(numbers []int) int {\n\ttotal := 0\n\tfor _, number := range numbers {\n"
        "\t\ttotal += number\n\t}\n\treturn total\n}\n"
    )
    answer = json.loads(run("clones", "--json", "-t", "py", "--threshold", 0.5).stdout)
    assert answer["groups"] == 1
    assert {(one["path"], one["start_line"], one["name"]) for one in answer["results"][0]["functions"]} == {
        ("one.py", 1, "sum_one"),
        ("two.py", 1, "sum_two"),
    }
    text = run("clones", "-t", "py", "--threshold", 0.5).stdout.splitlines()
    assert re.fullmatch(r"2 functions, similarity 0\.\d\d", text[0]) and "    one.py:1: sum_one  (5 lines)" in text
    assert run("clones", "-t", "py", "--across").returncode == 1 and run("clones", "--min-lines", 50).returncode == 1
    short = json.loads(run("clones", "--json", "-t", "py", "--min-lines", 1, "-g", "short.py", "--threshold", 0.3).stdout)
    assert short["groups"] == 1 and run("clones", "--threshold", 2).returncode == 2


OVERLOADS = (
    "class {0} {{\n    public int sumAll(int[] xs) {{\n        int total = 0;\n"
    "        for (int x : xs) {{\n            total += x;\n"
    "        }}\n        return total;\n    }}\n    public double sumAll(double[] ys) {{\n        double count = 1;\n"
    "        for (double y : ys) {{\n            count *= y;\n        }}\n        return count;\n    }}\n}}\n"
)


def test_functions_of_one_name_are_compared_each_for_itself(root):
    for name in "AB":
        (root / f"{name}.java").write_text(OVERLOADS.format(name))
    answer = json.loads(run("clones", "--json", "-t", "java", "--threshold", 0.9).stdout)
    places = {(one["path"], one["start_line"]) for group in answer["results"] for one in group["functions"]}
    assert places == {(f"{name}.java", line) for name in "AB" for line in (2, 9)}
    hits = json.loads(run("similar", "A.java:3", ".", "-t", "java", "--json").stdout)["results"]
    assert {(hit["path"], hit["start_line"]) for hit in hits if hit["kind"] == "function"} == places - {("A.java", 2)}


def test_a_function_that_is_indexed_in_parts_is_not_compared_and_counted(root):
    for name in ("one", "two"):
        (root / f"{name}.py").write_text("def long():\n" + "".join(f"    step(number_{line})\n" for line in range(170)))
    answer = run("clones", "-t", "py")
    assert answer.returncode == 1 and "2 long functions are not compared" in answer.stderr
    hits = json.loads(run("similar", "one.py:90", "--json", "-t", "py").stdout)["results"]
    assert {hit["path"] for hit in hits} >= {"two.py"} and "one.py" not in {hit["path"] for hit in hits}


def test_parts_of_one_definition_are_told_from_definitions_of_one_name():
    lines = [f"    step({line})" for line in range(160)]
    lines[30:50] = [""] * 20  # parts begin and end with lines that hold something
    document = Document("a.py", "python", "\n".join(["def long():", *lines, "", *["def long():\n    pass"] * 3]), "")
    spans = [(chunk.start_line, chunk.end_line) for chunk in chunks(document) if chunk.name == "long"]
    assert [len(parts) for parts in definitions(spans)] == [5, 1, 1, 1]
    assert definitions([(1 + 7 * at, 7 + 7 * at) for at in range(40)]) == [[at] for at in range(40)]  # many short ones
    assert definitions([]) == []


@pytest.mark.parametrize("name", ["-w", "b 2", "it's"])
def test_commands_in_messages_can_be_pasted(root, name):
    (root / name).mkdir()
    (root / name / "a.py").write_text("def a():\n    return 1\n")
    path = f"./{name}" if name.startswith("-") else name
    missing = run("search", "a", "--no-update", "--", name).stderr
    (by_doctor,) = (finding.remedy for finding in _index_findings(Path(name), None, ENCODER))
    for message in (missing, by_doctor):
        typed = re.search(r"run '(codesage .*?)'?$", message.strip())[1]
        assert shlex.split(typed) == ["codesage", "index", path], message
    run(*shlex.split(command("index", Path(name)))[1:])
    assert run("search", "a", "--no-update", "--", name).returncode == 0
    assert shlex.split(index_command(Path(name), ENCODER, Path("my index"), "--rebuild"))[3:] == [
        "--index-dir",
        "my index",
        "--rebuild",
    ]


@pytest.mark.parametrize(
    ("folder", "option"),
    [(BUNDLED, []), (BUNDLED_MODELS["general"], ["--model", "general"]), (Path("my/own"), ["--model", "my/own"])],
)
def test_commands_in_messages_name_the_model(root, folder, option, monkeypatch):
    monkeypatch.setattr(Index, "_encode", lambda *arguments, **options: None)
    encoder = HashingEncoder()
    encoder.folder = folder
    searcher = Searcher([Place(root)], encoder)
    complete = ["codesage", "index", str(root), *option]
    with pytest.raises(CodesageError, match="has no index") as missing:
        searcher.search("retry")
    assert str(missing.value).endswith(f"run '{shlex.join(complete)}'")
    (finding,) = _index_findings(root, None, encoder)
    assert finding.remedy == f"run '{shlex.join(complete)}'"
    opened = Index.open(root, folder=None, encoder=encoder)
    opened.update(encoder, seconds=0.0)
    assert f"'{shlex.join(complete)}' completes it" in searcher.search("retry").partial[0]
    opened.close()
    database = opened.folder / "index.sqlite"
    database.write_bytes(b"damaged")
    with pytest.raises(CodesageError, match=re.escape(shlex.join([*complete, "--rebuild"]))):
        searcher.search("retry")


def test_equal_functions_are_together_whatever_their_files_are_called(root):
    names = ["one.py", "zebra/quite_another_name.py", "docs/third.py"]
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(SUM.format("sum_up"))
    (root / "kind.py").write_text("class Kind:\n" + textwrap.indent(SUM.format("sum_up"), "    "))
    answer = json.loads(run("clones", "--json", "-t", "py", "--threshold", 1).stdout)
    assert [group["similarity"] for group in answer["results"]] == [1.0]
    assert {one["path"] for one in answer["results"][0]["functions"]} == {*names, "kind.py"}


def test_copies_form_one_group_with_what_is_like_them():
    texts = ["a\nb", "a\nb", "a\nc", "d"]
    functions = [Chunk(f"{row}.py", "python", "function", "f", 1, 2, text) for row, text in enumerate(texts)]
    vectors = np.array([[1, 0.2], [1, -0.2], [0.9, 0.1], [-1, 0]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (group,) = grouped(functions, vectors, 0.9)
    assert [chunk.path for chunk in group.chunks] == ["0.py", "1.py", "2.py"] and 0.9 < group.similarity < 1
    (group,) = grouped(functions, vectors, 0.9999)
    assert [chunk.path for chunk in group.chunks] == ["0.py", "1.py"] and group.similarity == 1


def test_clones_name_a_filter_that_no_file_passes(root):
    answer = run("clones", "-g", "*.zzz", "-t", "py")
    files = Index.open(root, folder=None, encoder=ENCODER).status().files
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-2:] == [f"-g *.zzz matches none of the {files} indexed files", "nothing found"]
    assert "matches none" not in run("clones", "-t", "py").stderr
    assert "matches none" not in run("clones", "docs", "src", "-t", "py").stderr
    assert "-t go matches none" in run("clones", "docs", "src", "-t", "go").stderr


def test_groups_span_the_paths_that_are_given(root):
    for name in ("src/one", "docs/two", "docs/three"):
        (root / f"{name}.py").write_text(SUM.format(f"sum_{name[-3:]}"))
    answer = json.loads(run("clones", "src", "docs", "--json", "-t", "py", "--threshold", 0.5).stdout)
    assert {one["path"] for one in answer["results"][0]["functions"]} == {"src/one.py", "docs/two.py", "docs/three.py"}
    assert len(kept_indexes()) == 2
    assert run("clones", "src", "-t", "py", "--threshold", 0.5).returncode == 1
    alone = json.loads(run("clones", "docs", "--json", "-t", "py", "--threshold", 0.5).stdout)
    assert {one["path"] for one in alone["results"][0]["functions"]} == {"docs/two.py", "docs/three.py"}


def test_clones_of_a_partial_index_say_so(root):
    for name in ("one", "two"):
        (root / f"{name}.py").write_text(SUM.format(f"sum_{name}"))
    options = ("clones", "-t", "py", "--threshold", 0.5, "--no-update")
    assert run("index").returncode == 0
    whole = run(*options, "--json")
    assert json.loads(whole.stdout)["partial"] is False and not whole.stderr
    index = Index.open(root, folder=None, encoder=ENCODER)
    with index._writing():
        index.connection.execute("DELETE FROM pieces WHERE chunk IN (SELECT id FROM chunks WHERE path = 'two.py')")
    index.close()
    part = run(*options, "--json")
    assert json.loads(part.stdout) == {"partial": True, "groups": 0, "results": []} and part.returncode == 1
    said = "partial: 1 of 8 chunks are not encoded yet: functions in them are left out; 'codesage index .' completes it"
    assert part.stderr.splitlines() == run(*options).stderr.splitlines() == [said, "nothing found"]


def test_clear_removes_indexes_and_nothing_else(root, tmp_path):
    assert run("index", "src", "docs").returncode == 0 and len(kept_indexes()) == 2
    refused = run("clear", ".")
    assert refused.returncode == 2 and "has no index in the cache" in refused.stderr
    done = run("clear", "src")
    assert done.returncode == 0 and str(root / "src") in done.stdout and re.search(r"\d MB freed", done.stdout)
    assert [kept.root for kept in kept_indexes()] == [str(root / "docs")] and (root / "src/retry.py").exists()
    shutil.rmtree(root / "docs")
    assert run("index", ".").returncode == 0 and str(root / "docs") in run("clear", "--gone").stdout
    assert [kept.root for kept in kept_indexes()] == [str(root)]
    assert "vectors: " in run("clear", "--all").stdout and kept_indexes() == []
    assert run("index", "src", "--index-dir", tmp_path / "own").returncode == 0
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    (root / "docs").mkdir()
    for path in ("docs", "."):
        refused = run("clear", path, "--index-dir", tmp_path / "own")
        assert refused.returncode == 2 and f"is the index of {root}/src, not of {path}" in refused.stderr
    assert (tmp_path / "own/index.sqlite").exists()
    assert run("index", "src", "--index-dir", tmp_path / "named").returncode == 0
    assert run("clear", "src", "--index-dir", tmp_path / "named").returncode == 0 and not (tmp_path / "named").exists()
    assert run("clear", "--index-dir", tmp_path / "own").returncode == 0
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["thesis.txt"]
    for wrong in (("--index-dir", root), ("src", "--all"), ("--gone", "--vectors")):
        assert run("clear", *wrong).returncode == 2
    assert (root / "src/retry.py").exists()


def test_doctor_finds_what_is_wrong_and_names_the_remedy(root, monkeypatch):
    monkeypatch.setattr(HashingEncoder, "max_tokens", 64, raising=False)

    def faults():
        return {finding.part: finding for finding in checked([Path(".")], None, None) if finding.remedy}

    assert "codesage index ." in faults()["index"].remedy
    assert run("index").returncode == 0
    assert run("doctor").returncode == 0 and not faults()
    assert " free, 1 index\n" in run("doctor").stdout
    folder = default_folder(root, ENCODER.fingerprint)
    index = Index.open(root, folder=None, encoder=ENCODER)
    with index._writing():
        index.connection.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE row = 1")
        index.connection.execute("INSERT OR REPLACE INTO meta VALUES ('pending', '7')")
        index.connection.execute("UPDATE words SET packed = zeroblob(99)")
    index.connection.close()
    wrong = faults()
    assert set(wrong) == {"index, vectors", "index, words", "index, state"} and "7 files" in wrong["index, state"].state
    assert "--rebuild" in wrong["index, vectors"].remedy and "--rebuild" in wrong["index, words"].remedy
    sick = run("doctor")
    assert sick.returncode == 1 and sick.stdout.count("FAULT ") == 3
    assert run("index", "--rebuild").returncode == 0 and not faults()
    data = bytearray((folder / "index.sqlite").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    for suffix in ("-wal", "-shm"):
        (folder / f"index.sqlite{suffix}").unlink(missing_ok=True)
    (folder / "index.sqlite").write_bytes(data)
    assert "--rebuild" in faults()["index"].remedy
    assert run("index", "--rebuild").returncode == 0 and not faults()


def test_models_at_hand(root, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    from codesage.encoder.runtime import folder_of

    shutil.copytree(folder_of(None), tmp_path / "models" / "mine")
    shutil.copytree(folder_of(None), tmp_path / "models" / "broken")
    (tmp_path / "models" / "broken" / "config.json").write_text("{")
    models = json.loads(run("models", "--json").stdout)["models"]
    assert [one["name"] for one in models] == ["default (bundled)", "general (bundled)", "models/broken", "models/mine"]
    assert (
        models[0]["fingerprint"] == models[3]["fingerprint"] != models[1]["fingerprint"]
        and models[2]["fault"]
        and models[0]["size"] > 1_000_000
    )
    assert run("models", "models/mine").stdout.count("\n") == 4
    refused = run("models", "nowhere")
    assert (refused.returncode, refused.stderr) == (2, "codesage: nowhere: no such folder: give folders that exist\n")


WATCHED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import codesage.encoder.runtime
from test_search import ENCODER, HashingEncoder
codesage.encoder.runtime.load = lambda model=None, **options: ENCODER
from codesage.cli import main
main()
"""


def test_watch_follows_a_folder(root):
    """Each step waits for a line, however long a busy machine takes. The alarm ends a watch that misses a change."""

    def missed(*_) -> None:
        raise TimeoutError("a line of the watch did not come")

    def write(content: str) -> None:  # at once: a watch that sees the file before its content indexes it twice
        (root / "late.py").write_text(content)
        (root / "late.py").rename(root / "src" / "late.py")

    command = [sys.executable, "-c", WATCHED, os.path.dirname(__file__), "watch", "src"]
    earlier = signal.signal(signal.SIGALRM, missed)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:

        def until(said: str) -> None:
            while not (line := child.stderr.readline()).startswith(said):
                assert line, "it has ended"

        signal.alarm(600)
        try:
            lines = [child.stderr.readline(), child.stderr.readline()]
            assert lines[0].startswith("3 files indexed") and lines[1].startswith(f"watching {root}/src "), lines
            write("def quagga():\n    return 1\n")
            until("4 files indexed")
            answer = run("search", "quagga", "src", "-l", "-k", 1, "--no-update")
            (root / "src" / "late.py").unlink()
            until("3 files indexed")
            shutil.copytree(root / "src", root / "fresh")
            child.send_signal(signal.SIGSTOP)  # it ends where it twice finds no folder
            (root / "src").rename(root / "old")
            (root / "fresh").rename(root / "src")
            child.send_signal(signal.SIGCONT)
            until("a watched path was made anew")
            write("def quagga():\n    return 1\n")
            until("4 files indexed")
            child.send_signal(signal.SIGTERM)
            assert child.stderr.read().endswith("stopped; the index is kept\n")
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, earlier)
            child.kill()
    assert child.returncode == 0 and answer.stdout == "src/late.py\n"


def test_watch_tries_again_while_another_process_writes_the_index(root, capfd):
    run("index")
    (kept,) = kept_indexes()
    lock = FileLock(kept.folder / "lock")

    def watch_files(*roots, **options):
        yield []  # the watch has begun
        with lock:
            (root / "late.py").write_text("def quagga():\n    return 1\n")
            yield [(1, str(root / "late.py"))]
            yield []
        yield []
        raise KeyboardInterrupt

    searcher = Searcher([Place(root)], ENCODER, lambda index: refresh(index, ENCODER))
    capfd.readouterr()
    with pytest.raises(KeyboardInterrupt):
        _follow(searcher, [root], [], watch_files, "watching")
    said = capfd.readouterr().err.splitlines()
    assert said[:2] == ["watching", f"codesage: another process is indexing {root}: wait for it"] and len(said) == 3
    assert said[2].startswith("6 files indexed")


def test_an_index_in_its_own_tree_is_no_part_of_it(root):
    index = ["--index-dir", "src/.idx"]
    assert run("index", "src", *index).stderr.startswith("3 files indexed")
    again = run("search", "checksums", "src", *index, "--weak", "-l")
    assert again.stdout and ".idx" not in again.stdout and "files indexed" not in again.stderr
    place = Place(root / "src", "", "src")
    assert not _changed([place], [root / "src" / ".idx" / name for name in ("index.sqlite-wal", "index.checksums", "lock")])
    assert _changed([place], [root / "src" / "lock"]) == [place]


def test_watch_names_the_library_that_it_lacks(root, monkeypatch):
    monkeypatch.setattr("codesage.search.watching.find_spec", lambda name: None)
    refused = run("watch")
    assert refused.returncode == 2 and "codesage[watch]" in refused.stderr and refused.stderr.count("\n") == 1


def test_an_index_that_is_being_written_is_not_cleared_and_its_code_is_named(root):
    run("index")
    (kept,) = kept_indexes()
    with FileLock(kept.folder / "lock"):
        done = run("clear")
    assert (done.returncode, done.stderr) == (2, f"codesage: another process is indexing {root}: wait for it\n")
    assert kept_indexes() and run("clear").returncode == 0 and not kept_indexes()


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that a process has open")
def test_who_waits_while_an_index_is_removed_shares_its_lock_with_nobody(root, monkeypatch):
    run("index")
    (kept,) = kept_indexes()
    (kept.folder / "thesis.txt").write_text("so the folder stays")
    has_it, done, unlink = threading.Event(), threading.Event(), Path.unlink

    def wait_for_lock():
        with database.lock(kept.folder, root, seconds=10):
            has_it.set()
            done.wait(60)

    waiting = threading.Thread(target=wait_for_lock)

    def delete(path, missing_ok=False):
        if path.name == "lock" and not waiting.ident:
            waiting.start()
            has_it.wait(0.3)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", delete)
        remove(kept)
    assert has_it.wait(10)
    with pytest.raises(database.Busy), database.lock(kept.folder, root, seconds=0):
        pass
    done.set()
    waiting.join()


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that a process has open")
def test_a_lock_whose_file_was_deleted_meanwhile_is_taken_again(root, tmp_path, monkeypatch):
    """As versions of filelock that do not look at the file again give it."""
    taken = []

    class Late(FileLock):
        def acquire(self, *arguments, **options):
            held = super().acquire(*arguments, **options)
            taken.append(self)
            if len(taken) == 1:
                (tmp_path / "lock").unlink()
            return held

    (tmp_path / "lock").touch()
    with monkeypatch.context() as patch:
        patch.setattr("filelock.FileLock", Late)
        with database.lock(tmp_path, root), pytest.raises(Timeout):
            FileLock(tmp_path / "lock").acquire(timeout=0)
    assert len(taken) == 2 and not taken[0].is_locked


def test_removing_a_folder_that_another_process_uses_again_is_no_error(root, monkeypatch):
    run("index")
    (kept,) = kept_indexes()

    def rmdir(folder):
        (folder / "lock").touch()
        os.rmdir(folder)

    monkeypatch.setattr(Path, "rmdir", rmdir)
    assert remove(kept) > 0 and not kept_indexes()


def test_an_update_whose_index_is_removed_says_so(root):
    run("index")
    (kept,) = kept_indexes()
    with closing(Index.open(root, folder=None, encoder=ENCODER)) as index:
        remove(kept)
        assert not kept.folder.exists()
        with pytest.raises(CodesageError, match="was rebuilt meanwhile: run the command again"):
            index.update(ENCODER)
