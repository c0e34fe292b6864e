"""The documentation names every command, option and recipe setting, and its code blocks run or parse.

A Python block runs, one process for each file. A block below `<!-- not run: reason -->` is only parsed. In console blocks
(and plain blocks of `codesage` lines) each `codesage` command must parse: command, options and arguments.
"""

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import typer

import codesage
from codesage import cli
from codesage.corpus.sources import recipe
from codesage.search.defaults import CLONE_SIMILARITY

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (not run)[^>]*-->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GENERATED = {"commands.md"}


def blocks(page: Path, *languages: str) -> list[tuple[bool, str]]:
    """Returns (whether it runs, text) of the blocks in the given languages."""
    matches = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(not mark, text) for mark, language, text in matches if language in languages]


def command_tree() -> click.Group:
    cli._mount()
    return typer.main.get_command(cli.app)


def commands(group: click.Group, name: str = "codesage"):
    for part, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {part}")
        else:
            yield f"{name} {part}", command


def test_every_command_and_option_is_documented():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (codesage [^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    tree = dict(commands(command_tree()))
    assert set(sections) == set(tree), "run 'python scripts/commands_page.py'"
    for name, command in tree.items():
        for option in (option for parameter in command.params for option in parameter.opts if option.startswith("--")):
            assert re.search(rf"{option}\b", sections[name]), f"{name} {option}: run 'python scripts/commands_page.py'"


def test_the_list_of_commands_cuts_no_summary_off():
    done = subprocess.run([sys.executable, "-m", "codesage", "--help"], capture_output=True, text=True, check=True)
    listed = done.stdout.split("\nCommands:\n")[1].splitlines()
    assert len(listed) > 25 and not [line for line in listed if line.endswith("...")]


@pytest.mark.parametrize(
    "table, heading",
    [
        ("_TOP", "At the top"),
        ("_PACKAGE", "`[[package]]`"),
        ("_FOLDER", "`[[folder]]`"),
        ("_PARQUET", "`[[parquet]]`"),
        ("_REPOSITORY", "`[[repository]]`"),
    ],
)
def test_every_recipe_setting_is_documented(table, heading):
    guide = (ROOT / "docs" / "corpus-guide.md").read_text(encoding="utf-8")
    section = re.split(r"\n(?=`\[\[|At the top|`codesage)", guide)
    (rows,) = [part for part in section if part.startswith(heading)]
    missing = [name for name in getattr(recipe, table) if f"`{name}`" not in rows]
    assert not missing


def test_every_column_is_documented():
    from codesage.corpus.stage import _SCHEMAS, _SKIPPED

    guide = (ROOT / "docs" / "corpus-guide.md").read_text(encoding="utf-8")
    titles = {"files": "### Files", "functions": "### Functions", "pairs": "### Pairs"}
    titles |= {"held_out_pairs": "### Pairs", "held_out_files": "### Files"}
    assert titles.keys() == _SCHEMAS.keys()
    for name, title in titles.items():
        section = guide.split(title)[1].split("\n### ")[0]
        assert not [column for column in _SCHEMAS[name].names if f"`{column}`" not in section], name
    assert all(f"`{column}`" in guide.split("### Skipped files")[1] for column in _SKIPPED.names)


def test_the_recipe_of_the_guide_is_read(tmp_path):
    ((_, text),) = blocks(ROOT / "docs" / "corpus-guide.md", "toml")
    table = tomllib.loads(text)
    recipe._check(table, recipe._TOP, "guide")
    for name, known in (("package", recipe._PACKAGE), ("parquet", recipe._PARQUET), ("repository", recipe._REPOSITORY)):
        recipe._check(table[name][0], known, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks(page, tmp_path):
    code_blocks = blocks(page, "python")
    for _, text in code_blocks:
        ast.parse(text)
    code = "\n\n".join(text for run, text in code_blocks if run)
    if code:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=lambda page: page.name)
def test_commands_in_blocks_parse(page):
    tree = command_tree()
    for _, text in blocks(page, "console", ""):
        for line in text.replace("\\\n", " ").splitlines():
            for command in re.split(r"\s{3,}(?=codesage )", line.strip().removeprefix("$ ")):
                words = shlex.split(command, comments=True) if command.startswith("codesage ") else []
                words = words[: words.index("...")] if "..." in words[2:] and words[1] != "search" else words
                if words[1:] and not words[1].endswith(":") and not words[1].startswith(("--install", "--show", "--version")):
                    parse(tree, words[1:], command)


def parse(group: click.Group, words: list[str], line: str) -> None:
    command = group.commands.get(words[0])
    assert command is not None, f"no such command: {line}"
    if hasattr(command, "commands"):
        return parse(command, words[1:], line)
    try:
        command.make_context(words[0], list(words[1:]))
    except Exception as error:
        raise AssertionError(f"{line}: {getattr(error, 'message', error)}") from None


def test_the_guide_to_a_new_language_names_every_file():
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## How to add a language")[1].split("\n## ")[0]
    files = [file for file in (ROOT / "src").rglob("*.py") if '"php"' in file.read_text(encoding="utf-8")]
    assert len(files) > 20 and not [file.name for file in files if file.name not in section]


def test_the_api_reference_names_what_is_defined_there():
    """MkDocs leaves a member that is not there out, without a word."""
    blocks = re.findall(r"^::: (\S+)\n +options:\n +members: \[(.*)\]", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    missing = [f"{module}.{name}" for module, names in blocks for name in names.split(", ") if name not in named_in(module)]
    assert len(blocks) > 10 and not missing


def named_in(module):
    """The public names of a module, which is read and not imported."""
    path = importlib.util.find_spec(module).origin
    nodes = ast.parse(Path(path).read_text()).body
    imported = {alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return imported | {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def test_pages_round_the_mean_over_repositories_in_one_way():
    """From the figures of the repositories: their mean is recorded with four digits, and rounding it again may go up."""
    path = ROOT / "benchmarks/results/2026-11-30-repository-search-helpers.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    systems = [(one["all"], one["published"]["semble"]) for one in record["repositories"].values()]
    ours, semble = (f"{sum(column) / len(column):.3f}" for column in zip(*systems, strict=True))
    pages = {page: (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/search.md", "docs/benchmarks.md")}
    for page, text in pages.items():
        assert set(re.findall(r"(?:NDCG@10 |`default` )(0\.8\d+)", text)) == {ours}, page
        assert set(re.findall(r"semble (0\.\d+), as published", text)) <= {semble}, page
    assert f"| **mean** | | | **{ours}** | {semble} |" in pages["docs/benchmarks.md"]


@pytest.mark.parametrize("page", ["README.md", "docs/benchmarks.md"])
def test_the_figures_of_the_result_tables_are_those_of_their_records(page):
    """The first lines of the benchmarks name their record, which has the times of both, and later that of the README."""
    text = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8").split("## The two bundled models")[1]
    names = (
        re.findall(r"results/([\w.-]+json)", text)[0],
        re.findall(r"results/([\w.-]+json)`\), whose figures\s+the README has", text)[0],
    )
    figures, of_readme = (json.loads((ROOT / "benchmarks/results" / name).read_text(encoding="utf-8")) for name in names)
    times = figures["encoding"]
    if page == "README.md":
        figures = of_readme
        text = (ROOT / page).read_text(encoding="utf-8").split("\n## Results")[1]
    head, _, *rows = [line.strip("|").split("|") for line in text.split("\n\n|")[1].split("\n\n")[0].splitlines()]
    titles = {"held-out": "held-out pairs", "MBXP": "MBXP, names masked"}
    assert len(rows) >= 7
    for name, _, milliseconds, *cells in rows:
        plain = name.replace("`", "").replace("MiniLM", "minilm")
        model = next(
            one for one in ("minilm", "general before", "general", "default before", "default", "BM25") if one in plain
        )
        system = f"{model} + BM25" if "with BM25" in name else model
        for title, cell in zip(head[3:], cells, strict=True):
            title = titles.get(title.strip(), title.strip())
            if title in figures["figures"]:
                own = figures["figures"][title][system]
                wanted = [own["mrr"], own["low"], own["high"]]
            else:
                wanted = [figures["classification"]["CodeComplex"][system if system != "BM25" else "BM25 words"]["macro F1"]]
            assert [float(number) for number in re.findall(r"[\d.]+", cell)] == pytest.approx(wanted, abs=0.051), (name, title)
        if milliseconds.strip():
            assert float(milliseconds) == pytest.approx(times[system]["milliseconds"], abs=0.051)


def test_the_threshold_of_clones_is_that_of_its_record():
    """The best F1 among the steps with a precision over 80, on Java and C#. Another default model needs a new record."""
    record = json.loads((ROOT / "benchmarks/results/2026-11-30-clones.json").read_text(encoding="utf-8"))
    steps = [step for step in record["thresholds"] if step["precision"] > 80]
    best = max(steps, key=lambda step: (step["F1"], step["recall"]))
    assert best["threshold"] == CLONE_SIMILARITY == 0.85 and record["model"] == codesage.load().fingerprint
    text = (ROOT / "docs/search.md").read_text(encoding="utf-8").replace("\n", " ")
    assert f"found {best['recall']:.0f}% of the pairs, and {best['precision']:.0f}% of the pairs in its groups" in text


def test_one_version_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project and project["dynamic"] == ["version"]
    done = subprocess.run([sys.executable, "-m", "codesage", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"codesage {codesage.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell):
    environment = {
        **os.environ,
        "_CODESAGE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "codesage sea",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "codesage sea",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = "import sys; sys.argv = ['codesage']; from codesage.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "search" in done.stdout, done.stderr


@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed")
def test_the_wheel_holds_the_package_and_its_model(tmp_path):
    import zipfile

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("codesage-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert {"codesage/cli.py", "codesage/models/default/model.int8.onnx"} <= names and "codesage = codesage.cli:run" in entry
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"codesage"}
