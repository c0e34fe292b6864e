"""The structure of the source tree: no cyclic imports, and short functions with few parameters."""

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "codesage"
MOST_LINES, MOST_PARAMETERS = 80, 8
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WIDE = {"encoder.interchange.configuration.__init__"}


@cache
def modules() -> dict[str, ast.Module]:
    """All modules of the package by their names below `codesage`."""
    names = {file: file.relative_to(PACKAGE).with_suffix("").as_posix() for file in PACKAGE.rglob("*.py")}
    return {name.removesuffix("/__init__").replace("/", "."): ast.parse(file.read_text()) for file, name in names.items()}


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules of the package that a module imports anywhere: at the top, in functions, or only for types."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("codesage"):
            base = node.module.removeprefix("codesage").lstrip(".")
            for alias in node.names:
                below = f"{base}.{alias.name}".lstrip(".")
                if below in modules() or base in modules():
                    yield below if below in modules() else base


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def folder(name: str) -> str:
    """The folder of a module. The commands of a station count as above it; those of the corpus have separate folders."""
    parts = name.split(".")
    if parts[-1] == "commands":
        return name
    return ".".join(parts[: 2 if parts[0] == "corpus" and len(parts) > 2 else 1]) if len(parts) > 1 else name


def test_there_are_no_cyclic_imports():
    graph = {name: set(imported(tree)) - {name} for name, tree in modules().items()}
    assert sum(map(len, graph.values())) > 300
    assert circle_in(graph) == []


def test_no_folders_import_each_other():
    graph: dict[str, set[str]] = {}
    for name, tree in modules().items():
        graph.setdefault(folder(name), set()).update({folder(other) for other in imported(tree)} - {folder(name)})
    assert {"search", "training", "corpus.pairs", "corpus.build", "search.commands"} <= set(graph)
    assert circle_in(graph) == []


def test_cycles_are_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) and not circle_in({"a": {"b"}, "b": {"c"}})


def test_most_functions_are_short():
    functions = [node for tree in modules().values() for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    lines = [node.end_lineno - node.lineno + 1 for node in functions]
    assert len(lines) > 2000
    assert statistics.median(lines) <= 8 and statistics.quantiles(lines, n=10)[-1] <= 25 and max(lines) <= MOST_LINES


def test_functions_take_few_parameters():
    """Exempt are commands, with a parameter per option, and the transformers configuration, with one per field."""
    wide = []
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                if sum(argument.arg not in ("self", "cls") for argument in given) > MOST_PARAMETERS:
                    wide.append(f"{name}.{node.name}")
    assert {name for name in wide if ".commands." not in name} <= WIDE
