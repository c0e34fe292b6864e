"""The examples run, and the notebook still gives the outputs that it shows."""

import contextlib
import io
import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
CODE = '''def name_{0}(values, other):
    """Return the {0} of the given values and of some others."""
    result = compute_{0}(values)
    print("{0}", result)
    return result + other
'''
NAMES = ["average", "median", "minimum", "maximum", "product", "variance", "deviation", "length", "total", "range", "mode"]


def main_of(name: str):
    return runpy.run_path(str(EXAMPLES / name))["main"]


def test_search_a_repository(tmp_path, capsys):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/files.py").write_text("def read(path):\n    return open(path).read()\n")
    main_of("search_a_repository.py")("read a file", str(tmp_path / "code"), str(tmp_path / "index"))
    assert capsys.readouterr().out.startswith(f"{tmp_path}/code/files.py:1: read")


def test_train_on_your_code(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with such a small model, threads on one core only wait for each other
    (tmp_path / "code").mkdir()
    (tmp_path / "code/numbers.py").write_text("\n\n".join(CODE.format(name) for name in NAMES))
    main_of("train_on_your_code.py")(str(tmp_path / "code"), str(tmp_path / "out"), "1", "4")
    torch.set_num_threads(threads)
    assert "cosines:" in capsys.readouterr().out and (tmp_path / "out/model/model.safetensors").is_file()


def test_sentence_transformers_model(tmp_path, capsys):
    pytest.importorskip("sentence_transformers")
    main_of("sentence_transformers_model.py")(str(tmp_path / "hub"))
    assert "cosines: tensor" in capsys.readouterr().out


def test_the_notebook():
    cells = json.loads((EXAMPLES / "vectors.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), names)
            assert printed.getvalue() == "".join(text for output in cell["outputs"] for text in output["text"])
