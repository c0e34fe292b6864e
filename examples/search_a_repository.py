"""Search a folder of code from Python: python examples/search_a_repository.py "read a file" path/to/code"""

import sys

import codesage


def main(query: str, folder: str, index_folder: str = "") -> None:
    """Update the index of `folder` and print the five best answers."""
    for hit in codesage.search(query, folder, top=5, index_dir=index_folder or None):
        chunk = hit.chunk
        print(f"{chunk.path}:{chunk.start_line}: {chunk.name or chunk.kind}  {hit.score:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) >= 3 else sys.exit(__doc__)
