"""Settings for all tests: long files run first, parallel workers use one core, runs draw no pictures, caches are separate.

Temporary files are kept in memory if there is room. On a disk, every removed file and every fsync may take milliseconds.
"""

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy read it

# Where Matplotlib keeps its list of fonts. It would make the list again in the separate cache of each process.
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
os.environ.setdefault("MPLCONFIGDIR", os.path.join(CACHE, "matplotlib"))

MEMORY, ROOM = "/dev/shm", 4 << 30
with suppress(OSError, AttributeError):
    room = os.statvfs(MEMORY)
    runs = not room.f_flag & os.ST_NOEXEC  # some tests run programs that they have written
    if runs and room.f_bavail * room.f_frsize >= ROOM and os.access(MEMORY, os.W_OK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put caches into a separate folder, so that tests neither write to the user's cache nor depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Undo what a test has set: in parallel workers torch uses one thread."""
    yield
    if (torch := sys.modules.get("torch")) and "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


PICTURES = {"codesage.training.curves": lambda metrics, out: None, "codesage.corpus.report.card": lambda folder, facts: None}


@pytest.fixture(autouse=True, scope="module")
def no_pictures() -> Iterator[dict[str, Callable]]:
    """Draw no curves and no pictures of cards in this process: they would take most of a run of one second."""
    drawing = {name: module.draw for name in PICTURES if (module := sys.modules.get(name))}
    for name in drawing:
        sys.modules[name].draw = PICTURES[name]
    yield drawing
    for name, draw in drawing.items():
        sys.modules[name].draw = draw


@pytest.fixture
def with_pictures(no_pictures: dict[str, Callable], monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the curves and pictures of this test."""
    for name, draw in no_pictures.items():
        monkeypatch.setattr(sys.modules[name], "draw", draw)


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores: a tenth of the time, a test waits for other processes."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are imported, and leave what is there then out of all later garbage collection.

    Torch alone makes a million objects. Looking through them takes a tenth of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


LONGEST = ("test_stages", "test_cluster", "test_corpus", "test_training", "test_processes", "test_interchange")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first, so that none is left running alone at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
