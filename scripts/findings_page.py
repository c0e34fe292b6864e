"""Write the tables of docs/findings.md: the report of a grid that `codesage ablate` wrote, between two marks of the page."""

import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "findings.md"
BEGIN, END = "<!-- report -->", "<!-- end of the report -->"


def filled(page: str, report: str) -> str:
    """The page with the report, whose headings are one level lower, and without its title."""
    body = report.split("\n", 1)[1].strip().replace("\n### ", "\n#### ").replace("\n## ", "\n### ")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/findings_page.py OUT, the folder of 'codesage ablate'")
    report = Path(sys.argv[1], "report.md").read_text(encoding="utf-8")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), report), encoding="utf-8")
