"""A corpus from 563 hostile files: each is read, or skipped with a reason.

    python benchmarks/hostile_files.py [--workers N]

The tests build one from a third of them (tests/test_corpus.py).
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from codesage.corpus.engine import LocalEngine
from codesage.corpus.read import read_documents
from codesage.corpus.sources.trees import Folder
from codesage.corpus.stage import Settings, build

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import hostile


def main() -> None:
    """Build, print counts, and fail if a file is neither read nor skipped nor equal to another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = hostile.plant(folder / "hostile")
        engine = LocalEngine(arguments.workers)
        facts = build(Settings(), [Folder(str(folder / "hostile"))], folder / "a", engine=engine, cache=folder / "c").facts
        skipped = pq.read_table(folder / "a" / "skipped.parquet").to_pydict()
        read = {document.path for document in read_documents(folder / "a")}
    equal = sum(facts["skipped"].get(reason, 0) for reason in ("equal to another", "near duplicate"))
    lost = set(names) - read - set(skipped["path"])
    print(f"{len(names)} files: {len(read)} read, {equal} equal to another, skipped: {dict(Counter(skipped['reason']))}")
    if len(lost) > equal or any(reason.startswith("error") for reason in skipped["reason"]):
        raise SystemExit(f"not accounted for: {sorted(lost)[:10]}")


if __name__ == "__main__":
    main()
