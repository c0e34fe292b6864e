"""Child processes of a killed command end too, instead of keeping their memory for ever; and how many there are."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from codesage.corpus.engine import LocalEngine
from codesage.corpus.tokens import tokenised
from codesage.lifetime import die_with, parent_of_children
from codesage.records import Document
from codesage.tokenizer import Settings, train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the signal on the death of a parent is Linux's")


def test_a_build_has_as_many_workers_as_processors_that_it_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert LocalEngine().workers == 2 and LocalEngine(7).workers == 7


def is_gone(process: int) -> bool:
    """Whether a process has ended; nobody may have asked for its exit status."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def kill_parent(program: str, folder: Path) -> list[int]:
    """Run one of PROGRAMS, which kills itself; returns the ids of its children."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, program, folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == -signal.SIGKILL
    return json.loads(done.stdout)


def end_with_children(*started: object) -> None:
    print(json.dumps([child.pid for child in multiprocessing.active_children()]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def tokenise(folder: Path) -> None:
    """Kill this process when the first of two workers has tokenised something."""
    tokenizer = train(["x = 1"] * 3, folder / "tokenizer", settings=Settings(vocab_size=270))
    documents = [Document(f"{number}.py", "python", "x = 1\n", "0" * 64) for number in range(9)]
    tokenised._UNIT = 1
    settings = tokenised.Settings(workers=2)
    tokenised.write(documents, [], tokenizer, folder / "tokens", settings=settings, progress=end_with_children)


def wait(folder: Path) -> None:
    """Kill this process once its child waits."""
    child = multiprocessing.get_context("spawn").Process(target=wait_for_the_end, args=(folder, parent_of_children()))
    child.start()
    while not (folder / "waits").exists():
        time.sleep(0.02)
    end_with_children()


def wait_for_the_end(folder: Path, parent: int) -> None:
    def leave(*received: object) -> None:
        (folder / "saved").touch()
        sys.exit()

    signal.signal(signal.SIGTERM, leave)
    die_with(parent, by=signal.SIGTERM)
    (folder / "waits").touch()
    time.sleep(60)


PROGRAMS = {"tokenise": tokenise, "wait": wait}


@pytest.mark.parametrize("program", PROGRAMS)
def test_children_of_a_killed_process_end(program, tmp_path):
    children = kill_parent(program, tmp_path)
    assert children
    end = time.monotonic() + 20
    while not all(map(is_gone, children)):
        assert time.monotonic() < end, "a child outlives its parent"
        time.sleep(0.05)
    assert program != "wait" or (tmp_path / "saved").exists()  # it was asked to end, so that it could save its work


def test_children_of_a_thread_outlive_it_and_no_parent_means_nothing():
    """Linux would end them with the thread that started them."""
    told = []
    thread = threading.Thread(target=lambda: told.append(parent_of_children()))
    thread.start()
    thread.join()
    assert told == [0] and parent_of_children() == os.getpid()
    die_with(0)


if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
