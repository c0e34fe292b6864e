"""Arrays of a corpus are those that Arrow makes, and pandas has no part in them."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest

from codesage.corpus.build import tables
from codesage.corpus.build.tables import array_of

VALUES = [
    (["a", "", "bc"], pa.string()),
    (["ä", "", "\0𝄞\r\n"], pa.string()),
    ((), pa.string()),
    ((1, -2, 2**31 - 1), pa.int32()),
    ([1, 2**40], pa.int64()),
    ([], pa.int32()),
    ([True, False, True] * 5, pa.bool_()),
    ([], pa.bool_()),
    ([(1, 2), (), (3,)], pa.list_(pa.int32())),
    ([], pa.list_(pa.int32())),
]


@pytest.mark.parametrize(("values", "kind"), VALUES)
def test_arrays_are_those_of_arrow(values, kind):
    array, expected = array_of(values, kind), pa.array(values, kind)
    array.validate(full=True)
    assert array == expected and array.type == expected.type and array.null_count == 0
    assert array.nbytes == expected.nbytes  # row groups are cut by this


def test_lone_surrogates_become_question_marks():
    assert array_of(["a\ud800b", "ä", "c"], pa.string()).to_pylist() == ["a?b", "ä", "c"]


def test_texts_too_large_for_one_array_are_split_by_arrow(monkeypatch):
    monkeypatch.setattr(tables, "_MOST_BYTES", 3)
    assert array_of(["ab", "cd\ud800"], pa.string()).to_pylist() == ["ab", "cd?"]


def test_no_array_imports_pandas(tmp_path):
    (tmp_path / "pandas.py").write_text("__version__ = '0.1'\n")  # too old for Arrow, but imported
    program = (
        "import sys, pyarrow as pa\nfrom codesage.corpus.build.tables import array_of\n"
        "from codesage.corpus.documents.redact import redact_all\n"
        "array_of(['a'], pa.string()), array_of([1], pa.int64()), array_of([(1,)], pa.list_(pa.int32())), redact_all(['b'])\n"
        "print('pandas' in sys.modules); pa.array(['a']); print('pandas' in sys.modules)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path))}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]  # the second shows that the first says something
