"""Read the records of a corpus, for training and evaluation."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codesage.artifacts import open_artifact
from codesage.corpus.build.tables import compute, read_records, records_of
from codesage.errors import CodesageError
from codesage.records import Document, Pair


def read_documents(corpus: Path | str, *, held_out: bool = False) -> Iterator[Document]:
    """The documents of a corpus, or with `held_out` those of its held-out packages, in order, including tests.

    CodesageError when the corpus is missing or damaged, or was built by a version that kept no held-out files.
    """
    folder = open_artifact(corpus, "corpus").path
    files = [folder / "held_out_files.parquet"] if held_out else sorted(folder.glob("files/*.parquet"))
    if held_out and not files[0].is_file():
        raise CodesageError(f"{corpus} keeps no files of its held-out packages: build it again with this version")
    yield from read_records(files, Document)


def read_pairs(corpus: Path | str, *, held_out: bool = False, kinds: Sequence[str] | None = None) -> Iterator[Pair]:
    """The training pairs of a corpus, or with `held_out` the pairs of its held-out packages.

    `kinds` limits the kinds of pairs; None: all kinds. CodesageError when the corpus is missing or damaged.
    """
    files = _pair_files(open_artifact(corpus, "corpus").path, held_out)
    return (pair for pair in read_records(files, Pair) if kinds is None or pair.kind in kinds)


def sample_pairs(
    corpus: Path | str, count: int, rng: random.Random, *, held_out: bool = False, kind: str = "", language: str = ""
) -> list[Pair]:
    """Up to `count` random pairs, of one kind and one language if these are given. Reads only the chosen rows in full."""
    files = _pair_files(open_artifact(corpus, "corpus", verify=False).path, held_out)
    rows = []
    for file in files:
        table = pq.read_table(file, columns=["kind", "language"])
        mask = pa.array([True] * len(table))
        for name, value in (("kind", kind), ("language", language)):
            mask = compute.and_(mask, compute.equal(table[name], value)) if value else mask
        rows += [(file, row) for row in compute.indices_nonzero(mask).to_pylist()]
    chosen = sorted(rng.sample(rows, min(count, len(rows))))
    return [pair for file, row in chosen for pair in records_of(_row(file, row), Pair)]


def _row(file: Path, row: int) -> pa.Table:
    with pq.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            size = opened.metadata.row_group(group).num_rows
            if row < size:
                return opened.read_row_group(group).slice(row, 1)
            row -= size
    raise IndexError(row)


def _pair_files(folder: Path, held_out: bool) -> list[Path]:
    return [folder / "held_out_pairs.parquet"] if held_out else sorted(folder.glob("pairs/*.parquet"))
