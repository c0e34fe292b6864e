"""Indexes that cannot be read or written, or are damaged: five messages, and answers where there can be some."""

import ctypes
import errno
import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock

import codesage
from codesage import CodesageError
from codesage.encoder import runtime
from codesage.encoder.unit import directions
from codesage.search import database
from codesage.search import index as index_station
from codesage.search.checksums import NAME, Checksums
from codesage.search.folders import default_folder
from codesage.search.index import Index
from codesage.search.refresh import refresh_or_share
from codesage.search.vectors import Vectors
from command_line import run
from test_search import ENCODER, HashingEncoder, names, opened, root

__all__ = ["root"]  # the fixture
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of fork, from Python 3.12 on
NEWNS, NEWUSER, MS_RDONLY, MS_REMOUNT = 0x20000, 0x10000000, 1, 32
QUERY = "area of the circle"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def in_child(act):
    """What `act` returns in a child process, which may change what it may do; the text of an error, if it raises one."""
    reader, writer = os.pipe()
    with mock.patch.object(threading.Thread, "start"):  # LanceDB starts one after a fork, and then unshare is refused
        child = os.fork()
    if not child:
        try:
            try:
                result = act()
            except CodesageError as error:
                result = f"{type(error).__name__}: {error}"
            except BaseException:
                result = traceback.format_exc()
            os.write(writer, pickle.dumps(result))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        outcome = pickle.loads(answers.read())
    os.waitpid(child, 0)
    return outcome


def mounted(folder, size="200k"):
    """Mount a file system of its own on `folder`, for this process alone. OSError where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    ids = os.getuid(), os.getgid()
    if libc.unshare(NEWNS | NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    for kind, number in zip(("uid_map", "gid_map"), ids, strict=True):
        Path(f"/proc/self/{kind}").write_text(f"0 {number} 1")
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "mount")

    def read_only():
        if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", MS_REMOUNT | MS_RDONLY, f"size={size}".encode()):
            raise OSError(ctypes.get_errno(), "remount")

    return read_only


def may_mount(folder):
    def probe():
        mounted(folder)
        return True

    return sys.platform == "linux" and in_child(probe) is True


needs_mount = pytest.mark.skipif(not may_mount("/mnt"), reason="the kernel lets nobody mount a file system of their own")


def fill(folder):
    """Leave no space on the file system of `folder`."""
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def message(act):
    with pytest.raises(CodesageError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


@needs_mount
@pytest.mark.parametrize("obstacle", ["full", "read-only"])
def test_a_complete_index_is_searched_where_nothing_can_be_written(root, tmp_path, capfd, obstacle):
    disk = tmp_path / "index"
    disk.mkdir()
    opened(root, tmp_path).update(ENCODER)  # gives the sizes: the same again on the small disk
    wanted = names(opened(root, tmp_path), QUERY)

    def act():
        read_only = mounted(disk, "3m")
        index = opened(root, tmp_path)
        index.update(ENCODER)
        index.connection.close()  # the journal is gone, and there may be no space for a new one
        fill(disk) if obstacle == "full" else read_only()
        index = opened(root, tmp_path)
        unchanged = index.update(ENCODER), names(index, QUERY)
        (root / "late.py").write_text("def late():\n" + "    return 'something new'\n" * 3_000)
        refresh_or_share(index, ENCODER)
        error = message(lambda: index.update(ENCODER))
        fresh = message(lambda: Index.open(root, folder=disk / "other", encoder=ENCODER))
        return unchanged, names(index, QUERY), error, fresh

    outcome = in_child(act)
    assert not isinstance(outcome, str), outcome
    unchanged, answers, error, fresh = outcome
    assert unchanged == ({"read": 0, "gone": 0}, wanted) and answers == wanted
    text = {"full": "no space is left", "read-only": "is on a read-only file system"}[obstacle]
    assert text in error and text in fresh and error.startswith("Unwritable") and "--rebuild" not in error + fresh
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and text in said and "answers come from the 3 files" in said


def test_vectors_that_cannot_be_written_fail_an_index_command_and_no_search(root, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(runtime, "load", lambda *arguments, **options: ENCODER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    index = opened(root, tmp_path)
    index.update(ENCODER, seconds=0)
    with index._writing():
        index.connection.execute("DELETE FROM pieces")
    index.close()
    monkeypatch.setattr(Index, "_encode_some", full)
    done = run("index", root, "--index-dir", tmp_path / "index")
    assert done.returncode == 2 and done.stderr.startswith(f"codesage: no space is left on the disk of {tmp_path}/index: ")
    assert run("search", "retry", root, "--index-dir", tmp_path / "index").returncode == 0
    done = run("clones", root, "--index-dir", tmp_path / "index")
    assert done.returncode == 1 and "the index could not be updated: no space is left" in done.stderr


def as_somebody_else(act):
    """What `act` returns for a user who is stopped by modes, as root is not."""

    def child():
        if not os.getuid():
            os.setuid(65534)
        return act()

    return in_child(child)


@pytest.fixture
def outside(root):
    """A folder that every user may enter, with the project in it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(root, Path(folder) / "project")
        yield Path(folder)
        for path in Path(folder).rglob("*"):
            path.chmod(0o755)


def test_an_index_of_somebody_else_is_read_and_a_closed_one_is_named(outside):
    root, folder = outside / "project", outside / "index"
    index = opened(root, outside)
    index.update(ENCODER)
    wanted = names(index, QUERY)
    closed(index)
    (root / "late.py").write_text("def late():\n    return 1\n")
    for path in (root, *root.rglob("*"), folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def read():
        index = opened(root, outside)
        return names(index, QUERY), message(lambda: index.update(ENCODER))

    def refused():
        return as_somebody_else(lambda: message(lambda: opened(root, outside)))

    answers, unwritable = as_somebody_else(read)
    assert answers == wanted and unwritable.startswith(f"Unwritable: no permission to write {folder}")
    unreadable = []
    for path in (folder / "index.sqlite", folder):
        mode = path.stat().st_mode
        path.chmod(0)
        unreadable.append(refused())
        path.chmod(mode)
    assert all(one.startswith(f"CodesageError: no permission to read {folder}") for one in unreadable), unreadable
    root.chmod(0)
    assert "project: no permission to read it" in (no_root := refused())
    assert "--rebuild" not in "".join([unwritable, no_root, *unreadable])


def test_five_failures_have_five_messages(root, tmp_path):
    opened(root, tmp_path).update(ENCODER)
    messages = {
        str(database.failure(OSError(number, os.strerror(number)), tmp_path / "index", "run --rebuild"))
        for number in (28, 30, 13, 5)
    }
    missing = message(lambda: Index.open(tmp_path / "nowhere", folder=tmp_path / "index", encoder=ENCODER))
    (tmp_path / "index" / "index.sqlite").write_bytes(b"no database" * 1000)
    damaged = message(lambda: opened(root, tmp_path))
    assert len(messages | {missing, damaged}) == 6
    assert [one for one in (*messages, missing, damaged) if "--rebuild" in one] == [damaged]


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("left", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_a_lost_database_does_not_come_back_with_its_journal(root, tmp_path, rebuild, left):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    wanted = names(index, QUERY)
    index.connection.execute("PRAGMA wal_autocheckpoint = 0")
    with index._writing():
        index.connection.execute("UPDATE spans SET name = 'from the journal'")
    for suffix in left:
        shutil.copy(tmp_path / "index" / f"index.sqlite{suffix}", tmp_path / f"kept{suffix}")
    index.connection.close()
    (tmp_path / "index" / "index.sqlite").unlink()
    for suffix in left:
        shutil.copy(tmp_path / f"kept{suffix}", tmp_path / "index" / f"index.sqlite{suffix}")
    again = opened(root, tmp_path, rebuild=rebuild)
    assert again.status().files == 0 and again.update(ENCODER)["read"] == 3
    assert names(again, QUERY) == wanted


def test_a_process_that_waits_to_make_an_index_uses_the_one_that_another_makes(root, tmp_path, monkeypatch):
    """The other one keeps the lock while it fills the index."""
    folder, real = tmp_path / "index", database.lock
    folder.mkdir()
    file_lock = FileLock(folder / "lock")
    file_lock.acquire()

    @contextmanager
    def lock(*arguments, **options):
        database.create(folder / "index.sqlite", root, ENCODER)
        with real(*arguments, **options):
            yield

    monkeypatch.setattr(database, "lock", lock)
    monkeypatch.setattr(database, "_PATIENCE_TO_MAKE", 0.0)
    assert opened(root, tmp_path).status().files == 0
    file_lock.release()


def flip(file, place, bit=1):
    data = bytearray(file.read_bytes())
    data[place] ^= bit
    file.write_bytes(data)


def closed(index):
    index.connection.close()
    return index.folder / "index.sqlite"


@pytest.mark.parametrize("what", ["vectors", "words", "texts", "statics"])
def test_a_flipped_bit_anywhere_is_one_clear_line(root, tmp_path, monkeypatch, what):
    """SQLite reads each of them without an error."""
    monkeypatch.setattr(index_station, "_TRUSTED", 0.0)
    index = opened(root, tmp_path)
    index.update(ENCODER)
    with index._writing():
        index.connection.execute("INSERT INTO statics VALUES (1, ?)", (b"statics" * 9,))
    index._seal()
    wanted = names(index, QUERY)
    part = {
        "vectors": "SELECT vector FROM vectors LIMIT 1",
        "words": "SELECT packed FROM words LIMIT 1",
        "texts": "SELECT packed FROM texts LIMIT 1",
        "statics": "SELECT vector FROM statics",
    }[what]
    ((content,),) = index.connection.execute(part)
    file = closed(index)
    flip(file, file.read_bytes().rindex(content) + 1)
    damaged = message(lambda: opened(root, tmp_path))
    assert f"{file} is damaged" in damaged and "--rebuild" in damaged
    index = opened(root, tmp_path, rebuild=True)
    index.update(ENCODER)
    assert names(index, QUERY) == wanted


def test_a_sound_index_is_not_compared_again_for_each_connection_unless_it_has_changed(root, tmp_path, monkeypatch):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    file, compared, blocks_of = closed(index), [], Checksums._blocks
    monkeypatch.setattr(Checksums, "_blocks", lambda checksums: compared.append(1) or blocks_of(checksums))
    closed(opened(root, tmp_path))
    closed(opened(root, tmp_path))
    assert not compared
    flip(file, file.stat().st_size - 9)
    os.utime(file, ns=(0, 0))
    assert "is damaged" in message(lambda: opened(root, tmp_path)) and compared == [1]


def test_lost_or_wrong_checksums_cost_nothing(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    wanted, sums = names(index, QUERY), tmp_path / "index" / NAME
    closed(index)
    stored = sums.read_bytes()
    for content in (None, b"", stored[:-9], stored[:20] + b"9" + stored[21:], b"\xff" * 50):
        sums.unlink()
        if content is not None:
            sums.write_bytes(content)
        index = opened(root, tmp_path)
        assert index.update(ENCODER) == {"read": 0, "gone": 0} and names(index, QUERY) == wanted
        assert index._is_sealed()
        closed(index)


def test_without_checksums_sqlite_must_find_the_file_consistent(root, tmp_path, monkeypatch):
    monkeypatch.setattr(index_station, "_TRUSTED", 0.0)
    index = opened(root, tmp_path)
    index.update(ENCODER)
    file = closed(index)
    (tmp_path / "index" / NAME).unlink()
    data = file.read_bytes()
    size = int.from_bytes(data[16:18], "big")
    file.write_bytes(data[:size] + bytes(size) + data[2 * size :])
    assert "is damaged" in message(lambda: opened(root, tmp_path)) and "--rebuild" in message(lambda: opened(root, tmp_path))


def test_damage_is_noticed_before_an_update_makes_it_look_sound(root, tmp_path, monkeypatch):
    monkeypatch.setattr(index_station, "_TRUSTED", 0.0)
    index = opened(root, tmp_path)
    index.update(ENCODER)
    file = tmp_path / "index" / "index.sqlite"
    with open(file, "r+b") as opened_file:
        opened_file.seek(file.stat().st_size - 9)
        opened_file.write(b"\x01")
    (root / "late.py").write_text("def late():\n    return 1\n")
    assert "is damaged" in message(lambda: index.update(ENCODER))


def test_damage_that_an_update_meets_is_one_clear_line(root, tmp_path):
    index = opened(root, tmp_path)
    index.update(ENCODER)
    index.connection.execute("ALTER TABLE files RENAME COLUMN stamp TO lost")
    assert "is damaged" in (said := message(lambda: index.update(ENCODER))) and "--rebuild" in said


def sealed_beside_a_reader(index, reader):
    """Make two commits and seal the index while `reader` uses the state between them. Pages of the first commit are copied."""
    with index._writing():
        index.connection.execute("UPDATE spans SET name = 'new'")
    reader.connection.execute("BEGIN")
    reader.status()
    with index._writing():
        index.connection.execute("INSERT INTO meta VALUES ('note', 'x')")
    index._seal()


def test_an_index_is_sound_while_a_reader_keeps_part_of_the_journal_out_of_it(root, tmp_path, monkeypatch):
    monkeypatch.setattr(index_station, "_TRUSTED", 0.0)
    index = opened(root, tmp_path)
    index.update(ENCODER)
    reader, file = opened(root, tmp_path), tmp_path / "index" / "index.sqlite"
    before = file.read_bytes()
    sealed_beside_a_reader(index, reader)
    assert file.read_bytes() != before and file.read_bytes()[:100] == before[:100]  # the header has the old version
    assert set(names(opened(root, tmp_path), QUERY)) == {"new"}
    closed(reader)
    closed(opened(root, tmp_path))
    assert index._is_sealed()


def test_an_index_is_sound_if_it_is_sealed_while_its_checksums_are_compared(root, tmp_path, monkeypatch):
    monkeypatch.setattr(index_station, "_TRUSTED", 0.0)
    index = opened(root, tmp_path)
    index.update(ENCODER)
    reader, blocks_of = opened(root, tmp_path), Checksums._blocks

    def sealed_meanwhile(checksums):
        monkeypatch.setattr(Checksums, "_blocks", blocks_of)
        sealed_beside_a_reader(index, reader)
        return blocks_of(checksums)

    monkeypatch.setattr(Checksums, "_blocks", sealed_meanwhile)
    assert set(names(opened(root, tmp_path), QUERY)) == {"new"}


def test_checks_beside_other_connections_keep_their_locks(root, tmp_path):
    """A descriptor that is closed would take SQLite's locks away, and another process would remove the journal in use."""
    first = opened(root, tmp_path)
    first.update(ENCODER)
    closed(opened(root, tmp_path))
    wal = tmp_path / "index" / "index.sqlite-wal"
    with first._writing():
        first.connection.execute("INSERT OR REPLACE INTO meta VALUES ('note', 'x')")
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM meta').fetchall(); c.close()"
    subprocess.run([sys.executable, "-c", program, tmp_path / "index" / "index.sqlite"], check=True)
    assert wal.exists()  # the last connection removes it
    first.connection.close()
    assert not wal.exists()


def test_a_vector_that_was_damaged_in_the_cache_is_made_again(tmp_path):
    class Counting(HashingEncoder):
        encoded = 0

        def encode(self, texts, *, kind="code"):
            self.encoded += len(texts)
            return super().encode(texts, kind=kind)

    encoder, texts = Counting(), [f"text {number}" for number in range(5)]
    cache = Vectors(encoder, tmp_path)
    wanted = cache.encode(texts)
    cache.close()
    (file,) = tmp_path.glob("*.sqlite")
    flip(file, file.read_bytes().rindex(directions(wanted[3:4]).tobytes()) + 7)
    again = Vectors(encoder, tmp_path)
    assert (again.encode(texts) == wanted).all() and encoder.encoded == 6
    assert (again.encode(texts) == wanted).all() and encoder.encoded == 6
    again.close()
    file.write_bytes(b"no database" * 1000)
    for encoded in (11, 11):
        again = Vectors(encoder, tmp_path)
        assert (again.encode(texts) == wanted).all() and encoder.encoded == encoded
        again.close()


def test_a_damaged_index_does_not_stop_the_work_on_other_paths(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "load", lambda *arguments, **options: ENCODER)
    copy = "def retry(call):\n    for pause in (1, 2):\n        time.sleep(pause)\n    return call\n"
    for name in ("bad", "good", "more"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text(copy)
    others = "".join(f"\n\ndef {word}():\n    return {word}.{word}[{word}]\n" for word in ("zebra", "okapi", "bongo", "dingo"))
    (tmp_path / "good" / "b.py").write_text(copy.replace("retry", "again") + others)
    assert run("index", "bad", "good").returncode == 0
    (default_folder(tmp_path / "bad", ENCODER.fingerprint) / "index.sqlite").write_bytes(b"no database" * 1000)
    found = {}
    for name, command in {
        "search": ("search", "retry", "bad", "good", "more", "-l"),
        "similar": ("similar", "good/a.py:1", "bad", "good", "more", "-l"),
        "clones": ("clones", "bad", "good", "--min-lines", "1", "--threshold", "0.3", "--json"),
        "nothing": ("search", "retry", "bad", "good", "-e", "no such text"),
    }.items():
        done = run(*command)
        assert done.returncode == 2 and "bad --rebuild" in done.stderr.splitlines()[-1], (name, done.stderr)
        found[name] = done.stdout
    assert set(found["search"].splitlines()) >= {"good/a.py", "more/a.py"} and "more/a.py" in found["similar"].splitlines()
    assert json.loads(found["clones"])["groups"] and not found["nothing"]
    (tmp_path / "good" / "c.py").write_text("def quagga(): pass\n")
    assert run("index", "bad", "good").returncode == 2
    assert run("search", "quagga", "good", "--no-update", "-l").stdout.startswith("good/c.py")
    with pytest.raises(CodesageError, match="is damaged"):  # in Python there is nothing to print it
        codesage.search("retry", ["bad", "good"], model=ENCODER)


def test_damage_is_one_line_even_if_sqlite_quotes_a_statement(tmp_path):
    error = sqlite3.DatabaseError(
        'malformed database schema (spans) - unrecognized token: ""KEY,\n    name TEXT)"' + " x" * 999
    )
    message = str(database.failure(error, tmp_path, "run 'codesage index a --rebuild'"))
    assert "\n" not in message and len(message) < 500 and message.endswith(": run 'codesage index a --rebuild'")
