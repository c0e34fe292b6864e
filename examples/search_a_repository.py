"""Search a folder of code from Python: python examples/search_a_repository.py "read a file" path/to/code"""

import sys
from pathlib import Path

import codesage
from codesage.search.index import Index
from codesage.search.query import search


def main(query: str, folder: str, index_folder: str = "") -> None:
    """Update the index of `folder` and print the five best answers."""
    model = codesage.load()
    index = Index.open(folder, folder=Path(index_folder) if index_folder else None, encoder=model)
    index.update(model)  # reads only what is new or changed
    for hit in search(index, model, query, top=5):
        chunk = hit.chunk
        print(f"{chunk.path}:{chunk.start_line}: {chunk.name or chunk.kind}  {hit.score:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
