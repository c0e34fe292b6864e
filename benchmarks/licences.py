"""Licence statements of real packages: how many our parser and the package license-expression understand.

Run: pip install license-expression; python benchmarks/licences.py. Statements are the "License" fields of the installed Python
packages and of the machine's /usr/share/doc/*/copyright (Debian). A statement counts as understood when every licence in it has
a known name.
"""

import re
import time
from importlib.metadata import distributions
from pathlib import Path

from license_expression import ExpressionError, get_spdx_licensing

from codesage.corpus.sources import licences

SPDX = get_spdx_licensing()


def of_packages() -> set[str]:
    """Short statements of the installed Python distributions."""
    fields = (package.metadata.get(key) for package in distributions() for key in ("License-Expression", "License"))
    return {field for field in fields if field and len(field) < 120 and "\n" not in field}


def of_debian() -> set[str]:
    """Statements of the copyright files of installed Debian packages."""
    texts = (path.read_text("utf-8", "replace") for path in Path("/usr/share/doc").glob("*/copyright"))
    return {statement.strip() for text in texts for statement in re.findall(r"(?m)^License:[ \t]*(\S.*)$", text)}


def known_to_us(stated: str) -> bool:
    """Whether every part of the statement has a known name."""
    parts = re.split(r" AND | OR |[()]", licences.expression(stated))
    return all(licences.name_of(part) for part in parts if part.strip())


def known_to_peer(stated: str) -> bool:
    """Whether license-expression parses the statement and knows every licence in it."""
    try:
        SPDX.parse(stated, validate=True)
    except ExpressionError:
        return False
    return True


def main() -> None:
    """Print a table."""
    print("| source | statements | ours | license-expression | time, ours = 1 |\n|---|---:|---:|---:|---:|")
    for name, statements in (("Python packages", of_packages()), ("Debian packages", of_debian())):
        counts, seconds = [], []
        for known in (known_to_us, known_to_peer):
            start = time.perf_counter()
            counts.append(sum(map(known, statements)))
            seconds.append(time.perf_counter() - start)
        print(f"| {name} | {len(statements)} | {counts[0]} | {counts[1]} | {seconds[1] / seconds[0]:.1f} |")


if __name__ == "__main__":
    main()
