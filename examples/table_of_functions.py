"""Write a table for `codesage classify`: python examples/table_of_functions.py functions.csv email json logging

A row has the code of a function and, as its label, the package of Python that it comes from.
"""

import csv
import importlib.util
import sys
from pathlib import Path

from codesage.syntax import functions, parse


def main(out: str, *packages: str) -> None:
    """Write `out` with all functions of the packages."""
    with open(out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["code", "label"])
        for package in packages:
            found = importlib.util.find_spec(package)
            if found is None or found.origin is None:
                sys.exit(f"{package} is not installed: name packages of Python, such as json")
            for source in sorted(Path(found.origin).parent.rglob("*.py")):
                tree = parse(source.read_text(encoding="utf-8"), "python")
                table.writerows([one.signature + one.body, package] for one in functions(tree) if one.kind == "function")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 3 else sys.exit(__doc__)
