"""What all tests share: the longest file begins, and where several run at a time each keeps to one core."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy read it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The smoke run, a third of all the time, must not come last and alone."""
    items.sort(key=lambda item: item.path.stem != "test_stages")
