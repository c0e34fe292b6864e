"""The code and the prose of a Jupyter notebook as one text.

In: a notebook. Out: the source lines of its cells, without outputs and pictures. If each source line has its own line in the
file, as Jupyter writes it, line numbers are those of the file. Otherwise the lines of the cells are counted. Prose becomes
comments.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from codesage.languages import language_named

_OPEN = re.compile(r'\s*"source": \[\s*')
_HASH = {"python", "ruby", "r", "julia", "bash"}  # languages with comments that begin with #


@dataclass(frozen=True, slots=True)
class Notebook:
    """The cells of a notebook as text. `language` as the notebook names it, or ""."""

    text: str
    language: str


def read(path: Path, most: int) -> Notebook | None:
    """The notebook in a file of at most `most` bytes; None if the file is no notebook or has a format before 4."""
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
        raw = data.decode() if len(data) <= most else ""
        return _notebook(json.loads(raw), raw)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _notebook(held: dict, raw: str) -> Notebook:
    about = held.get("metadata", {})
    language = str(about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language") or "")
    mark = "# " if (language_named(language) or language.lower()) in _HASH else "// "
    marks = ["" if cell["cell_type"] == "code" else mark for cell in held["cells"]]
    sources = ["".join(cell["source"]) for cell in held["cells"]]
    text = _in_place(raw, sources, marks)
    if text is None:
        text = "\n".join(_marked(source, mark) for source, mark in zip(sources, marks, strict=True))
    return Notebook(text, language)


def _in_place(raw: str, sources: list[str], marks: list[str]) -> str | None:
    """The source lines of the cells at their line numbers in the file; None if a line of the file holds several."""
    lines = iter(raw.split("\n"))
    lines_in_place, cells = [], []
    for line in lines:
        lines_in_place.append("")
        if not _OPEN.fullmatch(line):
            if line.strip() in ('"source": []', '"source": [],'):
                cells.append("")
            continue
        parts: list[str] = []
        mark = marks[len(cells)] if len(cells) < len(marks) else ""
        for inner in lines:
            inner = inner.strip()
            if inner.startswith("]"):
                lines_in_place.append("")
                break
            parts.append(json.loads(inner.removesuffix(",")))
            lines_in_place.append(_marked(parts[-1].removesuffix("\n"), mark))
        cells.append("".join(parts))
    return "\n".join(lines_in_place) if cells == sources and not any("\n" in line for line in lines_in_place) else None


def _marked(source: str, mark: str) -> str:
    return "\n".join(mark + line if line else line for line in source.split("\n")) if mark else source
