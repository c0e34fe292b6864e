"""A corpus back into records: what training and evaluation read."""

from collections.abc import Iterator
from pathlib import Path

from codesage.artifacts import open_artifact
from codesage.records import Document, Pair


def read_documents(corpus: Path | str) -> Iterator[Document]:
    """Documents of the corpus artifact at `corpus`, in order. CodesageError when it is missing or damaged."""
    yield from _read(corpus, "documents", Document)


def read_pairs(corpus: Path | str, *, held_out: bool = False) -> list[Pair]:
    """Training pairs of a corpus, or those of its held-out packages. CodesageError when it is missing or damaged."""
    return list(_read(corpus, "held_out_pairs" if held_out else "pairs", Pair))


def _read(corpus: Path | str, name: str, record: type) -> Iterator:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(open_artifact(corpus, "corpus").path / f"{name}.parquet")
    for batch in file.iter_batches(batch_size=2_000):
        for row in batch.to_pylist():
            yield record(**row)
