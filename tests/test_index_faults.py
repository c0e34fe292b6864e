"""A small sample of the benchmarks that kill and damage indexes."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import corrupt_index
import kill_index
from codesage.encoder import runtime
from codesage.search import index as index_station

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of fork, from Python 3.12 on


@pytest.fixture(autouse=True)
def restored(tmp_path, monkeypatch):
    """The benchmarks change settings for a process of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "load", runtime.load)
    for name in ("_FILES_A_BATCH", "_CHUNKS_A_BATCH"):
        monkeypatch.setattr(index_station, name, getattr(index_station, name))


def test_damaged_indexes_answer_as_before_or_are_repaired(tmp_path, monkeypatch):
    monkeypatch.setattr(corrupt_index, "_FILES_OF_A_TREE", 8)
    counts, failures = corrupt_index.damaged_often(tmp_path, 10, seed=1)
    outcomes = sum(counts.values(), start=next(iter(counts.values())).__class__())
    assert failures == [] and outcomes["repaired by the command"] > 3 and outcomes["same answers"] > 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_updates_leave_an_index_that_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_index, "_FILES", 8)
    outcome = kill_index.killed_often(tmp_path, 6, seed=0, trees=2)
    assert outcome["failures"] == [] and sum(outcome["left"].values()) == 6
