"""What all tests share: the longest file begins, each worker of several keeps to one core, runs draw no pictures."""

import os
import sys
from collections.abc import Callable, Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy read it


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The smoke run, a third of all the time, must not come last and alone."""
    items.sort(key=lambda item: item.path.stem != "test_stages")
