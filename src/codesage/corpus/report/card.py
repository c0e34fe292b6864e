"""Write the data card of a corpus, README.md, with tables and three pictures made from the facts of the build."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from codesage.corpus.report.plots import draw
from codesage.corpus.report.published import PUBLISHED
from codesage.corpus.sources.others import in_words
from codesage.languages import LANGUAGES
from codesage.records import PAIR_KINDS

_SHOWN = 40  # files listed in the card


def write_card(folder: Path, facts: dict) -> None:
    """Write README.md and its pictures into the folder of a corpus."""
    draw(folder, facts)
    sections = (
        "# Data card",
        _opening(facts),
        "## Languages\n\nClasses count as functions, and tests count as files of their packages. The last columns show the\n"
        "published corpus (The Stack, dedup) for comparison.",
        languages_table(facts, published=True),
        "![Pairs by language, compared with the published corpus](languages.png)",
        "## Pairs by kind\n\n" + "\n".join(f"- {kind}: {meaning}" for kind, meaning in PAIR_KINDS.items()),
        kinds_table(facts),
        "## Lengths\n\nQuantiles over the training pairs: 5 %, 25 %, 50 % (median), 75 %, 95 %.",
        _lengths_table(facts),
        "![Lengths of texts and of code](lengths.png)",
        "## What was left out\n\n`skipped.parquet` lists every skipped file with its reason.",
        reasons_table(facts),
        others_line(facts),
        "![Reasons for skipping files and dropping pairs](reasons.png)",
        _benchmarks(facts),
        _named(facts),
        "## Packages and licences",
        _packages_table(facts),
    )
    (folder / "README.md").write_text("\n\n".join(part for part in sections if part) + "\n", encoding="utf-8")


def languages_table(facts: dict, *, published: bool = False) -> str:
    """A Markdown table of files, functions and pairs by language. `published` adds columns for the published corpus."""
    heads = ["language", "files", "test files", "MB", "functions", "with docstring", "pairs", "held-out pairs"]
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
    """A Markdown table of training pairs by language and kind."""
    pairs = facts["pairs_by_kind"]
    rows = [[name, *(_number(pairs[name].get(kind, 0)) for kind in PAIR_KINDS)] for name in LANGUAGES if name in pairs]
    totals = [_number(sum(counts.get(kind, 0) for counts in pairs.values())) for kind in PAIR_KINDS]
    return _table(["language", *PAIR_KINDS], [*rows, ["all", *totals]])


def reasons_table(facts: dict) -> str:
    """A Markdown table of skipped files and dropped pairs by reason, the most frequent first."""
    rows = []
    for what, name in (("files skipped", "skipped"), ("pairs dropped", "dropped"), ("masked", "masked")):
        rows += [[what, reason, _number(count)] for reason, count in sorted(facts[name].items(), key=lambda i: (-i[1], i[0]))]
    return _table(["what", "reason", "count"], rows)


def others_line(facts: dict) -> str:
    """One line with the number of files in languages other than the nine, by language; "" when there are none."""
    counts = facts.get("other_languages")  # a corpus of an earlier version does not have it
    return f"Not read, since not in one of the nine languages: {in_words(counts)}." if counts else ""


def _opening(facts: dict) -> str:
    files, characters = sum(facts["documents"].values()), sum(facts["characters"].values())
    lines = [
        f"{_number(files)} files ({characters / 1e6:,.0f} MB), {_number(sum(facts['functions'].values()))} functions and "
        f"classes, {_number(sum(facts['pairs'].values()))} (text, code) pairs from {len(facts['packages']):,} packages."
    ]
    if held_out := sum(facts["held_out_pairs"].values()):
        lines.append(
            f"Another {_number(held_out)} pairs are held out for evaluation. No training pair is equal or nearly "
            "equal to one of them, or has the same text."
        )
    lines.append("Made by `codesage corpus build`. Equal inputs give equal bytes.")
    return "\n".join(lines)


def _lengths_table(facts: dict) -> str:
    rows = [
        [name, *(" / ".join(map(str, facts["lengths"][name][what])) for what in ("text words", "code lines"))]
        for name in LANGUAGES
        if name in facts["lengths"]
    ]
    return _table(["language", "words in a text", "lines of code"], rows)


def _benchmarks(facts: dict) -> str:
    if not facts["benchmarks"]:
        return ""
    counts = facts["benchmarks"].items()
    rows = [[name, *(_number(count.get(what, 0)) for what in ("files", "pairs"))] for name, count in counts]
    text = "## Benchmark items kept out\n\nFiles and pairs that share text with an item of these sets were left out.\n\n"
    return text + _table(["set", "files", "pairs"], rows)


def _named(facts: dict) -> str:
    named = facts["named"]
    if not named:
        return ""
    more = f"\n\nThe manifest lists {len(named) - _SHOWN:,} more." if len(named) > _SHOWN else ""
    rows = [[f"`{_cell(path)}`", _cell(source), reason] for source, path, reason in named[:_SHOWN]]
    return "## Files that could not be read\n\n" + _table(["file", "source", "reason"], rows) + more


def _packages_table(facts: dict) -> str:
    rows = []
    for name, package in sorted(facts["packages"].items()):
        digests = ", ".join(digest[:12] for digest in package["archives"].values())
        rows.append([_cell(name), package["version"], _cell("; ".join(package["licences"])), digests])
    return _table(["package", "version", "licence", "SHA-256 of its archives"], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Columns of numbers are aligned to the right."""
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
