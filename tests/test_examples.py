"""The examples run, and the notebook still gives the outputs that it shows."""

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
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


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_without_arguments_says_how_it_is_called(name):
    done = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f": python examples/{name} " in done.stderr.splitlines()[0]


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


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_commands_of_classify_and_names_run_as_they_are_shown(page, tmp_path):
    """The files that they read are made by the commands before them, or shown by `cat`."""
    text = (EXAMPLES.parent / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    shown = [one for one in blocks if "codesage classify" in one or "codesage names" in one]
    assert len(shown) == 2
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent / "src"), "COLUMNS": "120"}
    for step in "".join(shown).removeprefix("$ ").split("\n$ "):
        command, _, output = step.partition("\n")
        if command.startswith("cat "):
            (tmp_path / command.removeprefix("cat ")).write_text(output.rstrip("\n") + "\n")
            continue
        program, *words = shlex.split(command)
        words = ["-m", program, *words] if program == "codesage" else [str(EXAMPLES.parent / words[0]), *words[1:]]
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        numberless = [re.sub(r"[\d.%]+", "", one).split() for one in (done.stdout, output)]  # Python's packages grow
        assert numberless[0] == numberless[1], done.stdout


def test_the_notebook():
    cells = json.loads((EXAMPLES / "vectors.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), names)
            assert printed.getvalue() == "".join(text for output in cell["outputs"] for text in output["text"])
