"""Write the table of static vectors into a model folder, so that the first search need not make it.

    python scripts/static_table.py src/codesage/models/default

Run it whenever a file of the folder has changed: the name of the table holds the fingerprint of the model.
"""

import sys
from pathlib import Path

import codesage
from codesage.search.statics import table_name, write_table


def main() -> None:
    """Remove tables of other models from the folder and write its own."""
    folder = Path(sys.argv[1])
    encoder = codesage.load(folder)
    for old in folder.glob("static-*.npz"):
        old.unlink()
    write_table(encoder, folder)
    print(folder / table_name(encoder))


if __name__ == "__main__":
    main()
