"""Settings for all tests: long files run first, parallel workers use one core, runs draw no curves, caches are separate."""

import os
import sys
from collections.abc import Callable, Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy read it


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put caches into a separate folder, so that tests neither write to the user's cache nor depend on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="module")
def no_curves() -> Iterator[Callable | None]:
    """Draw no curves, which take two thirds of a training run of one second. The fixture `with_curves` switches them on."""
    loop = sys.modules.get("codesage.training.loop")
    if loop is None:
        yield None
        return
    draw, loop.curves.draw = loop.curves.draw, lambda metrics, out: None
    yield draw
    loop.curves.draw = draw


@pytest.fixture
def with_curves(no_curves: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the curves of training runs in this test."""
    monkeypatch.setattr("codesage.training.curves.draw", no_curves)


LONGEST = ("test_stages", "test_cluster", "test_corpus", "test_training", "test_processes", "test_interchange")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first, so that none is left running alone at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
