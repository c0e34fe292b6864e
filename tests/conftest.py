"""What all tests share: long files begin, a worker of several keeps to one core, runs draw no pictures, caches are apart."""

import os
import sys
from collections.abc import Callable, Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy read it


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches go into a folder of the tests' own: neither is the user's written, nor does it change a result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="module")
def undrawn() -> Iterator[Callable | None]:
    """A run of training that lasts a second spends two thirds of it on its picture: none is drawn but with `drawn`."""
    loop = sys.modules.get("codesage.training.loop")
    if loop is None:
        yield None
        return
    draw, loop.curves.draw = loop.curves.draw, lambda metrics, out: None
    yield draw
    loop.curves.draw = draw


@pytest.fixture
def drawn(undrawn: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test draw their curves, as they do for a person."""
    monkeypatch.setattr("codesage.training.curves.draw", undrawn)


LONGEST = ("test_stages", "test_cluster", "test_corpus", "test_training", "test_processes", "test_interchange")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: a worker takes one file after the other, and none must come last and alone."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
