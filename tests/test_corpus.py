"""Corpus builds as a whole: counts, equal bytes in all circumstances, killed workers and killed builds."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import hostile
from codesage import CodesageError
from codesage.artifacts import open_artifact
from codesage.corpus.build import tables
from codesage.corpus.build.worker import Limits
from codesage.corpus.engine import LocalEngine
from codesage.corpus.read import read_documents, read_pairs
from codesage.corpus.sources.trees import Folder
from codesage.corpus.stage import Settings, build
from command_line import run
from engine_tasks import Words, harm, loads_pandas

_NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


@pytest.fixture
def tree(tmp_path):
    """Two packages with a dozen different functions each, and files that must not be read."""
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        code = "".join(_function(name, i) for i in range(12))
        (tmp_path / name / "code.py").write_text(code)
    (tmp_path / "alpha" / "bad.py").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "alpha" / "deep.py").write_text("(\n" * 10_000)
    return tmp_path


def _function(name: str, seed: int) -> str:
    random = np.random.default_rng([seed, *name.encode()])
    words = [f"{name}_{_NUMBERS[i]}" for i in random.permutation(12)]
    lines = "".join(f"    {a} = {b}.{c}({seed}, {a!r})\n" for a, b, c in zip(words, words[3:], words[5:], strict=False))
    return (
        f'def {words[0]}_{seed}(value):\n    """Compute the {words[1]} of the {words[2]} number {seed}."""\n{lines}'
        f"    return {words[3]}\n\n\n"
    )


def built(tree, out, *names, workers=1, **options):
    sources = [Folder(str(tree / name)) for name in names or ("alpha", "beta")]
    return build(Settings(workers=workers, **options), sources, tree / out, cache=tree / "cache")


def test_corpus_counts_holds_out_and_is_reproducible(tree):
    artifact = built(tree, "a", held_out=("beta",))
    assert artifact.facts["pairs"] == {"python": 12} == artifact.facts["held_out_pairs"]
    assert artifact.facts["skipped"] == {"encoding": 1, "nesting": 1}
    assert {path for _, path, _ in artifact.facts["named"]} == {"bad.py", "deep.py"}
    assert {d.package for d in read_documents(tree / "a")} == {"alpha"}
    assert [(d.package, d.path) for d in read_documents(tree / "a", held_out=True)] == [("beta", "code.py")]
    assert {p.package for p in read_pairs(tree / "a", held_out=True)} == {"beta"}
    assert len(list(read_pairs(tree / "a", kinds=("function",)))) == 12 and not list(read_pairs(tree / "a", kinds=("class",)))
    assert built(tree, "b", held_out=("beta",)).fingerprint == artifact.fingerprint
    assert not list(tree.glob("*.building"))


def test_two_workers_give_the_same_bytes(tree):
    one, two = (built(tree, f"w{n}", workers=n).fingerprint for n in (1, 2))
    assert one == two


def test_benchmark_items_are_kept_out(tree):
    (tree / "alpha" / "other.py").write_text(_function("gamma", 1))
    item = list(read_pairs(built(tree, "a", "alpha").path))[-1]
    (tree / "bench" / "cosqa").mkdir(parents=True)
    (tree / "bench" / "cosqa" / "x.jsonl").write_text(json.dumps({"code": item.code}) + "\n")
    facts = built(tree, "b", "alpha", exclude=str(tree / "bench")).facts
    assert facts["benchmarks"] == {"cosqa": {"files": 1}} and facts["skipped"]["benchmark item"] == 1
    assert facts["pairs"] == {"python": 12}


def test_nothing_to_read_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CodesageError, match="no source file"):
        built(tmp_path, "out", "empty")
    with pytest.raises(CodesageError, match="no such file"):
        built(tmp_path, "out", "gone")


def test_equal_and_nearly_equal_files_and_bodies_go_and_held_out_ones_stay(tree):
    (tree / "alpha" / "copy.py").write_text((tree / "alpha" / "code.py").read_text())
    long = "".join(_function("delta", i) for i in range(8))
    (tree / "alpha" / "long.py").write_text(long)
    (tree / "beta" / "long.py").write_text(long.replace("number 3", "number 33"))
    (tree / "alpha" / "leak.py").write_text(_function("beta", 2).replace("beta_", "beta_", 1) + "x = 1\n")
    facts = built(tree, "a", held_out=("beta",)).facts
    assert facts["skipped"]["equal to another"] == 1 and facts["skipped"]["near duplicate"] == 1
    assert facts["held_out_pairs"] == {"python": 20} and facts["pairs"] == {"python": 12}
    assert facts["dropped"]["text is held out"] == 1


def test_changed_files_and_settings_are_seen(tree):
    first = built(tree, "a")
    (tree / "alpha" / "code.py").write_text(_function("alpha", 99))
    second = built(tree, "a")
    assert first.fingerprint != second.fingerprint and second.facts["pairs"] == {"python": 13}
    assert built(tree, "a", held_out=("alpha",)).facts["held_out_pairs"] == {"python": 1}


BUILD = """
import sys
from codesage.corpus.sources.trees import Folder
from codesage.corpus.stage import Settings, build
if __name__ == "__main__":
    build(Settings(workers=2), [Folder(path) for path in sys.argv[2:]], sys.argv[1], cache=sys.argv[1] + ".cache")
"""


def test_a_killed_build_resumes_and_gives_the_same_bytes(tree, with_pictures):
    whole = built(tree, "whole", workers=2)
    (tree / "build.py").write_text(BUILD)
    command = [sys.executable, str(tree / "build.py"), str(tree / "killed"), str(tree / "alpha"), str(tree / "beta")]
    random = np.random.default_rng()
    killed = 0
    for moment in ("lock", "documents/*", "parsed/*/report.json", "parts/*", "done"):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        while process.poll() is None and moment != "done" and not list((tree / "killed.building").glob(moment)):
            time.sleep(0.001)
        if moment != "done":
            time.sleep(random.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    assert killed >= 3
    assert open_artifact(tree / "killed", "corpus").fingerprint == whole.fingerprint
    assert sorted(path.name for path in tree.iterdir() if path.name.startswith((".", "killed"))) == ["killed", "killed.cache"]


def test_a_second_builder_and_a_foreign_target_are_refused(tree):
    import fcntl

    (tree / "a.building").mkdir()
    with open(tree / "a.building" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CodesageError, match="another build is writing"):
            built(tree, "a")
    assert built(tree, "a").facts["pairs"] == {"python": 24}
    (tree / "mine").mkdir()
    (tree / "mine" / "precious").touch()
    with pytest.raises(CodesageError, match="holds no manifest"):
        built(tree, "mine")


def test_workers_skip_harmful_items():
    units = [Words(("a", "crash", "b", "eat")), Words(("spin", "c"), 3), Words(()), Words(("d",), 2)]
    expected = [[("a", ""), ("crash", "crash"), ("b", ""), ("eat", "memory")], [("spin", "time"), ("c", "")], [], [("d", "")]]
    results = []
    with LocalEngine(2, limits=Limits(seconds=0.5)) as engine:
        assert list(engine.map(harm, units, on_result=results.append)) == expected
        assert sorted(map(len, results)) == [0, 1, 2, 4]
        with pytest.raises(CodesageError, match="the words are wrong"):
            list(engine.map(harm, [Words(("raise",))]))
    with LocalEngine(1, limits=Limits(seconds=0.1)) as engine:
        assert list(engine.map(harm, [Words(("sleep", "e"))])) == [[("sleep", "time"), ("e", "")]]


def test_columns_of_texts_are_made_of_pieces(monkeypatch):
    monkeypatch.setattr(tables, "_TOGETHER", 2)
    column = tables.strings(("a", "", "\u00e9\udc80", "b\nc", "d"))
    assert column.to_pylist() == ["a", "", "\u00e9?", "b\nc", "d"]
    assert (column.num_chunks, column.null_count, len(tables.strings(()))) == (3, 0, 0)


def test_workers_import_pandas_only_if_a_source_needs_it():
    pytest.importorskip("pandas")
    with LocalEngine(1) as engine:
        assert list(engine.map(loads_pandas, [Words(("a", "b"))])) == [(False, (2, 1))]


def test_two_hundred_hostile_files_are_read_or_reported(tree):
    names = hostile.plant(tree / "hostile")
    sources = [Folder(str(tree / name)) for name in ("alpha", "hostile", "beta")]
    engine = LocalEngine(2, limits=Limits(seconds=5, memory=3 << 30))
    facts = build(Settings(), sources, tree / "a", engine=engine, cache=tree / "cache").facts
    assert facts["pairs"]["python"] >= 24  # those of alpha and beta
    skipped = pq.read_table(tree / "a" / "skipped.parquet").to_pydict()
    read = {document.path for document in read_documents(tree / "a") if document.package == "hostile"}
    equal = sum(facts["skipped"].get(reason, 0) for reason in ("equal to another", "near duplicate"))
    unaccounted = set(names) - read - set(skipped["path"])
    assert len(names) > 400 and len(unaccounted) <= equal, sorted(unaccounted)
    reasons = set(skipped["reason"])
    assert {"nesting", "huge", "minified", "encoding", "binary", "empty", "special"} <= reasons, reasons
    assert not {reason for reason in reasons if reason.startswith("error")}, reasons


def test_a_full_disk_is_one_line_and_what_was_done_is_kept(tree, monkeypatch):
    from codesage.corpus import stage

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage, "write_card", full)
    with pytest.raises(CodesageError, match="free some space"):
        built(tree, "a")
    assert len(list((tree / "a.building").glob("parsed/*/report.json"))) == 2
    monkeypatch.undo()
    assert built(tree, "a").fingerprint == built(tree, "b").fingerprint


def _namespaces() -> bool:
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _namespaces(), reason="the kernel lets nobody mount a file system of their own")
def test_a_small_disk_that_fills_up_anywhere(tree, with_pictures):
    """A real disk, too small for the documents, then for the shards, then for the card. It grows and the build resumes."""
    (tree / "disk").mkdir()
    command = f"{sys.executable} -m codesage corpus build alpha beta --out disk/c --cache cache --workers 1"
    stops = "".join(
        f"mount -o remount,size={size}k disk; {command} 2>>output; echo status $? >>output\n" for size in (20, 80, 240, 20_000)
    )
    script = f"mount -t tmpfs -o size=20k tmpfs disk\n{stops}cp disk/c/manifest.json .\n"
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    subprocess.run(inside, cwd=tree, check=True, capture_output=True)
    output = (tree / "output").read_text()
    assert "Traceback" not in output and output.count("free some space") == 3, output
    assert output.count("status 2") == 3 and output.endswith("status 0\n"), output
    assert json.loads((tree / "manifest.json").read_text()) == json.loads((built(tree, "b").path / "manifest.json").read_text())


def test_every_corpus_command_works(tree):
    options = ["--out", "c", "--cache", "cache", "--workers", "1", "--held-out", "beta"]
    done = run("corpus", "build", "alpha", "beta", *options, folder=tree)
    assert done.returncode == 0 and "parse" in done.stderr and "| python |" in done.stdout
    sample = ["sample", "c", "-n", "2", "--kind", "function"]
    for arguments, expected in ((["stats", "c"], "nesting"), (sample, "Compute the alpha")):
        assert expected in run("corpus", *arguments, folder=tree).stdout
    failed = run("corpus", "build", "--out", "d", folder=tree)
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1 and Path(tree / "c" / "README.md").stat().st_size > 500
