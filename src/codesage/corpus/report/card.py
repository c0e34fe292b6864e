"""The data card of a corpus: README.md beside its shards, with tables and three pictures, from the facts of the build."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from codesage.corpus.report.plots import draw
from codesage.languages import LANGUAGES

# Section 2.1 of the paper (arXiv 2402.01935): files, functions, functions with docstring, usable pairs; The Stack (dedup).
PUBLISHED = {
    "python": (24_214_270, 67_264_716, 24_321_126, 18_146_327),
    "java": (42_429_211, 84_828_833, 17_613_636, 13_118_303),
    "javascript": (40_112_121, 35_469_803, 7_450_153, 4_796_101),
    "csharp": (21_702_269, 37_284_300, 9_325_665, 7_350_191),
    "c": (21_383_832, 16_253_435, 4_392_973, 2_958_699),
    "ruby": (7_205_146, 5_475_047, 1_217_764, 1_049_356),
    "go": (11_653_185, 31_067_259, 11_247_051, 9_739_861),
    "php": (34_851_418, 42_373_766, 22_191_329, 13_416_574),
    "typescript": (19_589_267, 16_612_988, 2_637_245, 1_863_436),
}
KINDS = ("function", "class", "example", "comment", "test")
_SHOWN = 40  # files named in the card


def write_card(folder: Path, facts: dict) -> None:
    """Write README.md and its pictures into the folder of a corpus."""
    draw(folder, facts)
    sections = (
        "# Data card",
        _opening(facts),
        "## Languages\n\nClasses count as functions, tests are files of their packages. The last columns are the published\n"
        "corpus (The Stack, dedup), for comparison.",
        languages_table(facts, published=True),
        "![Pairs by language, beside the published corpus](languages.png)",
        "## Pairs by kind\n\nfunction and class: the first sentence of a docstring with its definition. example: a paragraph\n"
        "of documentation with the code that follows it. comment: a comment that says what the statements below it do, with\n"
        "these statements. test: the name of a test with the function it tests; a test whose function cannot be told gives\n"
        "no pair.",
        kinds_table(facts),
        "## Lengths\n\nQuantiles over the training pairs: 5 %, 25 %, median, 75 %, 95 %.",
        _lengths_table(facts),
        "![Lengths of texts and of code](lengths.png)",
        "## What was left out\n\nEvery file with its reason is in `skipped.parquet`.",
        reasons_table(facts),
        "![Reasons of skips and drops](reasons.png)",
        _benchmarks(facts),
        _named(facts),
        "## Packages and licences",
        _packages_table(facts),
    )
    (folder / "README.md").write_text("\n\n".join(part for part in sections if part) + "\n", encoding="utf-8")


def languages_table(facts: dict, *, published: bool = False) -> str:
    """Files, functions and pairs by language, as Markdown; beside the published ones when asked."""
    heads = ["language", "files", "of them tests", "MB", "functions", "with docstring", "pairs", "held-out pairs"]
    heads += ["published files", "published pairs"] if published else []
    rows, totals = [], [0.0] * (len(heads) - 1)
    for language in LANGUAGES:
        counts = [facts[name].get(language, 0) for name in ("documents", "tests")]
        counts.append(facts["characters"].get(language, 0) / 1e6)
        counts += [facts[name].get(language, 0) for name in ("functions", "documented", "pairs", "held_out_pairs")]
        counts += [PUBLISHED[language][0], PUBLISHED[language][3]] if published else []
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        if published or any(counts):
            rows.append([language, *map(_number, counts)])
    return _table(heads, [*rows, ["all", *map(_number, totals)]])


def kinds_table(facts: dict) -> str:
    """Training pairs by language and kind, as Markdown."""
    found = facts["pairs_by_kind"]
    rows = [[name, *(_number(found[name].get(kind, 0)) for kind in KINDS)] for name in LANGUAGES if name in found]
    totals = [_number(sum(counts.get(kind, 0) for counts in found.values())) for kind in KINDS]
    return _table(["language", *KINDS], [*rows, ["all", *totals]])


def reasons_table(facts: dict) -> str:
    """Skipped files and dropped pairs by reason, the most frequent first, as Markdown."""
    rows = []
    for what, name in (("files skipped", "skipped"), ("pairs dropped", "dropped"), ("masked", "masked")):
        rows += [[what, reason, _number(count)] for reason, count in sorted(facts[name].items(), key=lambda i: (-i[1], i[0]))]
    return _table(["what", "reason", "count"], rows)


def _opening(facts: dict) -> str:
    files, characters = sum(facts["documents"].values()), sum(facts["characters"].values())
    lines = [
        f"{_number(files)} files ({characters / 1e6:,.0f} MB), {_number(sum(facts['functions'].values()))} functions and "
        f"classes, {_number(sum(facts['pairs'].values()))} (text, code) pairs from {len(facts['packages']):,} packages."
    ]
    if held_out := sum(facts["held_out_pairs"].values()):
        lines.append(f"{_number(held_out)} pairs more are held out for evaluation: nothing that equals them, nearly equals "
                     "them or shares their text is among the others.")  # fmt: skip
    lines.append("Made by `codesage corpus build`; equal inputs give equal bytes.")
    return "\n".join(lines)


def _lengths_table(facts: dict) -> str:
    rows = [
        [name, *(" / ".join(map(str, facts["lengths"][name][what])) for what in ("text words", "code lines"))]
        for name in LANGUAGES
        if name in facts["lengths"]
    ]
    return _table(["language", "words of a text", "lines of code"], rows)


def _benchmarks(facts: dict) -> str:
    if not facts["benchmarks"]:
        return ""
    counts = facts["benchmarks"].items()
    rows = [[name, *(_number(found.get(what, 0)) for what in ("files", "pairs"))] for name, found in counts]
    return "## Benchmark items kept out\n\nWhat shares text with an item of these sets is not here.\n\n" + _table(
        ["set", "files", "pairs"], rows
    )


def _named(facts: dict) -> str:
    named = facts["named"]
    if not named:
        return ""
    more = f"\n\n{len(named) - _SHOWN:,} more are in the manifest." if len(named) > _SHOWN else ""
    rows = [[f"`{_cell(path)}`", _cell(source), reason] for source, path, reason in named[:_SHOWN]]
    return "## Files that could not be read\n\n" + _table(["file", "source", "reason"], rows) + more


def _packages_table(facts: dict) -> str:
    rows = []
    for name, package in sorted(facts["packages"].items()):
        digests = ", ".join(digest[:12] for digest in package["archives"].values())
        rows.append([_cell(name), package["version"], _cell("; ".join(package["licences"])), digests])
    return _table(["package", "version", "licence", "SHA-256 of its archives"], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right."""
    rows = list(rows)
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(heads))]
    rule = ["---:" if right and rows else "---" for right in numeric]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rule, *rows))


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").isdigit()


def _number(count: float) -> str:
    return f"{count:,.1f}" if isinstance(count, float) and count < 100 and count != int(count) else f"{count:,.0f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
