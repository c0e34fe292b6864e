"""The corpus on several machines: comparison on a Ray cluster, units on an object store, and failures."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from codesage import CodesageError
from codesage.corpus.build.keys import read_keys, read_sketches, write_keys
from codesage.corpus.build.work import REPORT, open_work, read_report, result
from codesage.corpus.build.worker import Limits
from codesage.corpus.distinct.duplicates import bands, near_duplicates
from codesage.corpus.distinct.verdicts import EQUAL, HELD_BODY, HELD_TEXT, NEAR, OneMachine
from codesage.corpus.engine import LocalEngine, RayEngine
from codesage.corpus.sources.trees import Folder
from codesage.corpus.stage import Settings, build
from codesage.encoder.runtime import load
from codesage.remote import cluster, lease, places
from codesage.remote.lease import Lease
from codesage.remote.places import Remote, committed, place_of
from engine_tasks import Words, harm, kill_the_caller
from s3_server import Store
from test_corpus import _function

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def store():
    """An S3-compatible server on this machine with one bucket, and the environment variables for its clients."""
    with pytest.MonkeyPatch.context() as patch, Store(("127.0.0.1", 0), "bucket") as served:
        for name, value in served.environment.items():
            patch.setenv(name, value)
        patch.setattr(lease, "_SETTLE", 0.05)
        patch.setattr(lease, "_BEAT", 0.1)
        patch.setattr(lease, "_PATIENCE", 3.0)  # a busy machine may renew a lease late
        places._s3.cache_clear()
        yield served
    places._s3.cache_clear()


class SharedEngine(RayEngine):
    """An engine that stays open after the builds that use it."""

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture(scope="module")
def ray(store):
    """An engine of two workers on a cluster that is started once for all tests in this file, with room for two more workers."""
    import ray

    with pytest.MonkeyPatch.context() as patch:  # its processes import the tasks of engine_tasks.py
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])))
        patch.setenv("RAY_worker_niceness", "0")  # 15 otherwise: beside other work, the imports of Ray Data take minutes
        cluster.start(ray, 4)
        engine = SharedEngine(2, limits=Limits(seconds=60))
    yield engine
    RayEngine.__exit__(engine)
    ray.shutdown()


@pytest.fixture
def tree(tmp_path):
    """Three packages with equal, nearly equal and held-out files and functions."""
    for name in ("alpha", "beta", "gamma"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text("".join(_function(name, i) for i in range(8)))
    whole = (tmp_path / "alpha" / "code.py").read_text()
    (tmp_path / "beta" / "copy.py").write_text(whole)
    (tmp_path / "beta" / "near.py").write_text(whole.replace("number 3", "number 33"))
    (tmp_path / "beta" / "shared.py").write_text(_function("alpha", 1) + "".join(_function("delta", i) for i in range(4)))
    (tmp_path / "beta" / "leak.py").write_text(_function("gamma", 2) + "x = 1\n")
    return tmp_path


def _sources(tree: Path) -> list[Folder]:
    return [Folder(str(tree / "alpha")), Folder(str(tree / "beta")), Folder(str(tree / "gamma"), held_out=True)]


# ---- comparison ----


def _planted(counts: list[int], seed: int) -> list[dict[str, np.ndarray]]:
    """Keys of units with rows that are equal, near in chains, or equal in one band only. Some are held out."""
    chance, rows = np.random.default_rng(seed), sum(counts)
    signature = chance.integers(0, 1 << 32, (rows, 128), dtype=np.uint32)
    digest = chance.integers(0, 1 << 63, (rows, 4), dtype=np.uint64)
    text = chance.integers(0, 1 << 63, (rows, 2), dtype=np.uint64)
    for row in range(1, rows):
        other, draw = chance.integers(row), chance.random()
        if draw < 0.2:
            digest[row], signature[row] = digest[other], signature[other]
        elif draw < 0.5:
            changed = chance.choice(128, chance.integers(1, 30), replace=False)
            signature[row] = signature[other]
            signature[row, changed] = chance.integers(0, 1 << 32, len(changed), dtype=np.uint32)
        elif draw < 0.6:
            signature[row, bands()[int(chance.integers(3))]] = 7  # more different rows in a bucket than the rule compares
        if chance.random() < 0.1:
            text[row] = text[other]
    held, side = chance.random(rows) < 0.1, chance.integers(0, 3, rows).astype(np.uint8)
    whole = {
        "sha256": digest.view(np.uint8).reshape(-1, 32),
        "signature": signature,
        "body": digest[:, :2],
        "text": text,
        "held": held,
        "side": side,
    }
    starts = np.cumsum([0, *counts])
    return [{name: column[start:end] for name, column in whole.items()} for start, end in pairwise(starts)]


def test_the_cluster_gives_the_verdicts_of_one_machine(ray, tmp_path):
    units = _planted([0, 700, 1, 300, 999], seed=1)
    written = []
    for number, unit in enumerate(units):
        written.append(tmp_path / str(number))
        written[-1].mkdir()
        write_keys(written[-1], unit)
    keys = list(map(read_keys, written))
    assert set(keys[0]) == {"held", "side"}  # the build keeps neither digests nor signatures
    held = [{"held": key["held"]} for key in keys]
    documents, pairs = OneMachine().documents(written, held), OneMachine().pairs(written, keys)
    assert set(np.concatenate(documents)) == {0, EQUAL, NEAR}
    assert set(np.concatenate(pairs)) == {0, EQUAL, NEAR, HELD_TEXT, HELD_BODY}
    for expected, verdicts in ((documents, ray.judge.documents(written, held)), (pairs, ray.judge.pairs(written, keys))):
        assert [part.tolist() for part in verdicts] == [part.tolist() for part in expected]


class _Collected:
    """An object in a cycle: the collector runs its `__del__`, in which another thread may take over."""

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        sum(range(200))


def test_keys_are_read_in_many_threads(tmp_path):
    write_keys(tmp_path, {"held": np.zeros(3, bool), "body": np.ones((3, 2), np.uint64)})
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    try:
        with ThreadPoolExecutor(8) as threads:
            columns = list(threads.map(lambda _: (_Collected(), read_sketches(tmp_path, ["body"]))[1], range(3000)))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
    assert all((unit["body"] == 1).all() for unit in columns)


def test_rows_share_a_bucket_if_the_whole_band_agrees():
    """Rows whose keys agree only in the upper bits share no bucket, whatever their number and order."""
    from codesage.corpus.distinct.duplicates import _buckets

    upper = np.uint64(0xABCDEF << 40)
    keys = upper | np.array([1, 2, 1, 3, 2, 1, 9], np.uint64)
    rows, first = _buckets(np.arange(10, 17), keys)
    groups = np.split(rows, np.flatnonzero(first)[1:])
    assert sorted(group.tolist() for group in groups if len(group) > 1) == [[10, 12, 15], [11, 14]]
    chance = np.random.default_rng(0)
    signature = chance.integers(0, 2, (30, 128), dtype=np.uint32)[chance.integers(0, 30, 400)]  # few values: large buckets
    signature ^= chance.random(signature.shape) < 0.15  # two rows with one origin agree in about 0.75
    expected = _plain(signature)
    assert near_duplicates(signature, threshold=0.7).tolist() == expected and not all(expected)


def _plain(signature: np.ndarray) -> list[bool]:
    """The rule in plain loops: in each band, compare with a bucket's first row, then the first that differs, 16 times."""
    keep = [True] * len(signature)
    for band in bands(threshold=0.7):
        buckets: dict[bytes, list[int]] = {}
        for row in range(len(signature)):
            if keep[row]:
                buckets.setdefault(signature[row, band].tobytes(), []).append(row)
        for rows in buckets.values():
            for _ in range(16):
                if len(rows) < 2:
                    break
                leader, *others = rows
                rows = []
                for row in others:
                    near = (signature[row] == signature[leader]).sum() >= 0.7 * 128
                    keep[row] = keep[row] and not near
                    rows += [] if near else [row]
    return keep


# ---- builds ----

BUILD = """
import sys
from codesage.corpus.sources.trees import Folder
from codesage.corpus.stage import Settings, build
if __name__ == "__main__":
    sources = [Folder(path, path.endswith("gamma")) for path in sys.argv[3:]]
    build(Settings(workers=1), sources, sys.argv[1], cache=sys.argv[1] + ".cache", work=sys.argv[2])
"""


def test_a_build_that_was_killed_resumes_on_ray_and_s3_and_gives_the_bytes_of_one_machine(ray, store, tree):
    cache = tree / "cache"
    local = build(Settings(), _sources(tree), tree / "local", engine=LocalEngine(1), cache=cache)
    assert {"equal to another", "near duplicate"} <= set(local.facts["skipped"])
    assert {"equal body", "text is held out"} <= set(local.facts["dropped"])
    (tree / "build.py").write_text(BUILD)
    out, work = tree / "s3", "s3://bucket/work/killed"
    paths = [str(tree / name) for name in ("alpha", "beta", "gamma")]
    process = subprocess.Popen([sys.executable, str(tree / "build.py"), str(out), work, *paths], stderr=subprocess.PIPE)
    while process.poll() is None and not any("parsed/" in name for name in store.buckets["bucket"]):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    kept = {name for name in store.buckets["bucket"] if "documents/" in name and name.endswith(places.COMMITTED)}
    assert len(kept) == 3 and not out.exists()
    resumed = build(Settings(), _sources(tree), out, engine=ray, cache=cache, work=work)
    assert local.fingerprint == resumed.fingerprint
    assert local.facts == resumed.facts
    assert Remote("s3://bucket").below() == []  # Arrow leaves an empty marker where a folder was
    assert not list(tree.glob("*.building")) and not list(tree.glob(".*"))


def test_a_worker_that_dies_is_one_line(ray, monkeypatch):
    monkeypatch.setattr("codesage.corpus.build.pool._RETRIES", 0)
    assert list(ray.map(harm, [Words(("a", "crash")), Words(("b",))])) == [[("a", ""), ("crash", "crash")], [("b", "")]]
    with pytest.raises(CodesageError, match="the words are wrong"):
        list(ray.map(harm, [Words(("raise",))]))
    with pytest.raises(CodesageError, match=r"^the Ray cluster failed \(.*resumes$"):
        list(ray.map(kill_the_caller, [Words(())]))


# ---- places ----


@pytest.fixture(params=["s3", "memory"])
def remote(request, store):
    """A folder on an object store: Arrow's S3 client, and a driver of fsspec."""
    place = place_of(f"{request.param}://bucket/places")
    yield place
    place.remove()


def _filled(place, text: str = "x"):
    with result(place) as (folder, report):
        (folder / "file").write_text(text)
        report["text"] = text


def test_a_unit_is_written_completely_or_not_at_all(remote):
    whole, broken = remote / "kind" / "whole", remote / "kind" / "broken"
    _filled(whole)
    with pytest.raises(RuntimeError, match="killed"), result(broken) as (folder, _):
        (folder / "file").write_text("half")
        raise RuntimeError("killed")
    (broken / "0123").write(b"an attempt that was killed before it was committed")
    assert committed([whole, broken, remote / "other" / "gone"], REPORT) == {str(whole)}
    assert (whole / "file").open().read() == b"x" and read_report(whole) == {"text": "x"}
    with pytest.raises(FileNotFoundError):
        (broken / "file").open()
    _filled(whole, "an attempt that came too late")
    assert (whole / "file").open().read() == b"x" and read_report(whole) == {"text": "x"}


def test_work_at_an_address_is_found_again_and_removed_at_the_end(remote, tmp_path):
    with pytest.raises(RuntimeError, match="killed"), open_work(tmp_path / "out", str(remote)) as work:
        for number in range(25):  # more than one page of a listing
            (work.place("kind", number) / places.COMMITTED).write(b"a")
        raise RuntimeError("killed")
    with open_work(tmp_path / "out", str(remote)) as work:
        made = [work.place("kind", number) for number in range(26)]
        assert committed(made, REPORT) == {str(place) for place in made[:25]}
    assert remote.below() == []


def test_one_build_at_a_time_uses_a_work_address(store, tmp_path, monkeypatch):
    address = "s3://bucket/leased"
    with open_work(tmp_path / "one", address):
        refused = pytest.raises(CodesageError, match="another build is using s3://bucket/leased")
        with refused, open_work(tmp_path / "two", address):
            pass
        assert Remote(address).below() == ["lock"]
    assert Remote(address).below() == []
    killed = Lease(Remote(address))
    killed._stopped.set()  # its lock stays, without a heartbeat
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "another-machine")
    started = time.monotonic()
    taken = Lease(Remote(address))
    assert time.monotonic() - started >= lease._PATIENCE
    taken._lock.write(b'{"name": "a third", "machine": "m", "process": 1, "beats": 1}')
    taken._thread.join(5)
    with pytest.raises(CodesageError, match="another build has taken over"):
        taken.check()
    taken.release(remove=True)
    assert Remote(address).below() == ["lock"]  # it belongs to the third
    Remote(address).remove()


@pytest.mark.parametrize("lock", [b"", b"[]", b"{}", b'{"name": "one", "machine": "m", "process": "p"}', b"null"])
def test_a_lock_of_another_form_is_one_line(store, lock):
    place = Remote("s3://bucket/foreign")
    (place / "lock").write(lock)
    with pytest.raises(CodesageError, match="foreign/lock is not a lock of a build: choose another --work"):
        Lease(place)
    place.remove()


@pytest.mark.parametrize("local", [True, False])
def test_a_folder_of_other_things_is_never_used_for_work(store, tmp_path, local):
    address = str(tmp_path / "mine") if local else "s3://bucket/mine"
    if local:
        (tmp_path / "mine" / "photos").mkdir(parents=True)
        (tmp_path / "mine" / "photos" / "one.png").touch()
    else:
        Remote(address + "/photos/one.png").write(b"")
    with pytest.raises(CodesageError, match="is not a work folder"), open_work(tmp_path / "out", address):
        pass
    assert (tmp_path / "mine" / "photos" / "one.png").exists() if local else Remote(address).below() == ["photos/one.png"]


def test_refusals_of_a_store_are_one_line(store, tmp_path):
    def refusal(address: str = "s3://bucket/work", **variables: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(places, "_ATTEMPTS", 1)
            for name, value in variables.items():
                patch.setenv(name, value)
            places._s3.cache_clear()
            with pytest.raises(CodesageError) as error, open_work(tmp_path / "out", address):
                pass
        places._s3.cache_clear()
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "there is no such bucket: create it" in refusal("s3://nowhere/work")
    assert "check AWS_SECRET_ACCESS_KEY" in refusal(AWS_SECRET_ACCESS_KEY="wrong")
    assert "check AWS_ACCESS_KEY_ID" in refusal(AWS_ACCESS_KEY_ID="wrong")
    assert "does not answer: check AWS_ENDPOINT_URL" in refusal(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "Protocol not known: nonsense" in refusal("nonsense://bucket/work")


# ---- a store for search ----


def _rows(address: str, encoder) -> list[dict]:
    """The rows of a store by their ids, without the name of the run."""
    from codesage.search.store.table import Store as Table

    table = Table.open(address, encoder)._chunks.to_arrow().drop_columns(["run"])
    return sorted(table.to_pylist(), key=lambda row: (row["id"], row["piece"]))


def test_a_store_on_s3_filled_by_two_workers_is_that_of_one_process(ray, store, tree):
    pytest.importorskip("lancedb")
    from codesage.search.filters import ALL
    from codesage.search.store.engines import Local, OnRay
    from codesage.search.store.fill import fill, roots_of
    from codesage.search.store.query import search
    from codesage.search.store.table import Store as Table

    for long in ("alpha/code.py", "beta/copy.py", "beta/near.py", "gamma/code.py"):
        (tree / long).write_text(_function(long, 1) + f"x = {long!r}\n")  # no text twice: vectors depend on their batch
    encoder, remote, local = load(), "lance://s3://bucket/code", f"lance://{tree}/store"
    roots = roots_of([str(tree / name) for name in ("alpha", "beta", "gamma")], encoder)
    cluster, one = OnRay(encoder, None, 2), Local(encoder)
    assert sum(root.files for root in fill(remote, roots, encoder, cluster)) == 7
    fill(local, roots, encoder, one)
    assert _rows(remote, encoder) == _rows(local, encoder) != []
    answers = [
        [(hit.chunk, hit.score) for hit in search(Table.open(address, encoder), encoder, "alpha", ALL).hits]
        for address in (remote, local)
    ]
    assert answers[0] == answers[1] != []
    (tree / "beta" / "near.py").unlink()
    (tree / "beta" / "copy.py").write_text("def renewed():\n    return 1\n")
    before = {row["id"] for row in _rows(remote, encoder)}
    fill(remote, roots, encoder, one)
    fill(local, roots, encoder, one)
    after = _rows(remote, encoder)
    assert after == _rows(local, encoder)
    assert {row["path"] for row in after if row["id"] not in before} == {"copy.py"}
    assert "near.py" not in {row["path"] for row in after}
    assert "lock" not in " ".join(Remote("s3://bucket/code").below())


def test_refusals_of_a_store_for_search_are_one_line(store, monkeypatch):
    pytest.importorskip("lancedb")
    from codesage.search.store import address as addresses
    from codesage.search.store.table import Store as Table

    monkeypatch.setitem(addresses._RETRIES, "client_max_retries", "0")
    encoder = load()

    def refusal(address: str, **variables: str) -> str:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(CodesageError) as error:
            for name, value in variables.items():
                patch.setenv(name, value)
            Table.open(address, encoder)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "there is no index in lance://s3://bucket/none: run" in refusal("lance://s3://bucket/none")
    assert "there is no such bucket: create it" in refusal("lance://s3://nowhere/code")
    assert "check AWS_SECRET_ACCESS_KEY" in refusal("lance://s3://bucket/code", AWS_SECRET_ACCESS_KEY="wrong")
    assert "does not answer: check AWS_ENDPOINT_URL" in refusal(
        "lance://s3://bucket/code", AWS_ENDPOINT_URL="http://127.0.0.1:9"
    )


def test_a_holder_is_asked_by_no_signal_where_that_would_end_it(monkeypatch):
    """On Windows, os.kill(process, 0) sends Ctrl-C."""
    holder = {"machine": socket.gethostname(), "process": 2**22 + 1, "ended": False}  # more than Linux counts processes
    assert lease._is_dead(holder)
    with monkeypatch.context() as windows:
        windows.setattr(lease.os, "name", "nt")
        assert not lease._is_dead(holder)
    assert lease._is_dead(holder | {"ended": True})
