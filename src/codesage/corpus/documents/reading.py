"""Turn a source into clean documents, with secrets masked, in row groups that a worker can parse one at a time.

This runs in killable workers. Besides documents.parquet it writes keys (keys.py) and a report that lists what was left out.
The keys serve to find equal and nearly equal documents without reading their texts again.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from codesage.corpus.build.keys import write_keys
from codesage.corpus.build.tables import GROUP_BYTES, Writer, schema_of, table_of
from codesage.corpus.build.work import result
from codesage.corpus.build.worker import Guard
from codesage.corpus.distinct.duplicates import signatures
from codesage.corpus.documents.redact import redact_all
from codesage.corpus.sources.others import OtherFiles
from codesage.corpus.sources.trees import Source
from codesage.languages import LANGUAGES
from codesage.paths import is_test
from codesage.records import Document
from codesage.remote.places import Place
from codesage.walk import Skipped

DOCUMENTS = schema_of(Document, test=bool)
DOCUMENTS_FILE = "documents.parquet"
CODES = {name: code for code, name in enumerate((*LANGUAGES, ""))}  # "": documentation, which is read for its examples
_GROUP = 256  # documents in a row group, at most


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """One source to read."""

    source: Source
    folder: Place
    weight: int  # approximate bytes


@dataclass(frozen=True, slots=True)
class ReadSource:
    """Task: write documents.parquet, keys and a report for one source, whose files lie in `cache`.

    If the worker's machine has a separate cache, the task first fetches what is missing there.
    """

    cache: Path
    fetch: bool = False  # true when the worker's cache may differ from that of the machine that runs the build

    def __call__(self, unit: SourceUnit, guard: Guard) -> str:
        """Write the unit's results; returns the path of its place."""
        skipped, masked, others, packages, keys = [], Counter(), Counter(), {}, []
        if self.fetch:
            unit.source.fetch(self.cache)
        with result(unit.folder) as (folder, report):
            with Writer(folder / DOCUMENTS_FILE, DOCUMENTS, compression="lz4") as writer:
                for group in _groups(self._documents(unit.source, guard, skipped, others)):
                    guard.rest()
                    group = _redacted(group, masked)
                    for document in group:
                        packages.setdefault(_package(document), len(packages))
                    keys.append(_keys(group, packages, len(keys)))
                    writer.add(table_of(DOCUMENTS, group, test=keys[-1]["test"]))
                    writer.flush()
            if keys:
                write_keys(folder, {name: np.concatenate([key[name] for key in keys]) for name in keys[0]})
            report |= {
                "documents": sum(len(key["test"]) for key in keys),
                "skipped": skipped,
                "masked": dict(masked),
                "packages": list(packages),
                "other files": dict(others),
            }
        return str(unit.folder)

    def _documents(self, source: Source, guard: Guard, skipped: list, others: Counter) -> Iterator[Document]:
        documents = iter(source.documents(self.cache))
        for index in count():
            if index >= guard.end:  # this item cannot be read, so the items after it cannot be reached
                skipped.append((f"file {index + 1} and all after it", guard.avoid[index]))
                return
            reason = guard.begin(index)
            item = next(documents, None)
            if item is None:
                return
            if isinstance(item, OtherFiles):
                others[item.kind] += item.count
            elif isinstance(item, Skipped):
                skipped.append((item.path, reason or item.reason))
            elif reason:
                skipped.append((item.path, reason))
            else:
                yield item


def _groups(documents: Iterator[Document]) -> Iterator[list[Document]]:
    group, size = [], 0
    for document in documents:
        group.append(document)
        size += len(document.text)
        if len(group) >= _GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _redacted(group: list[Document], masked: Counter) -> list[Document]:
    """The group with its secrets masked. `masked` counts them by kind."""
    clean = redact_all([document.text for document in group])
    for _, counts in clean:
        masked.update(counts)
    return [replace(document, text=text) if counts else document for document, (text, counts) in zip(group, clean, strict=True)]


def _package(document: Document) -> tuple[str, str, str]:
    return document.package, document.version, document.licence


def _keys(group: list[Document], packages: dict, number: int) -> dict[str, np.ndarray]:
    """The keys of documents: one row for each."""
    return {
        "sha256": np.frombuffer(bytes.fromhex("".join(d.sha256 for d in group)), np.uint8).reshape(len(group), 32),
        "signature": signatures([d.text for d in group]),
        "characters": np.array([len(d.text) for d in group], np.uint32),
        "language": np.array([CODES[d.language] for d in group], np.uint8),
        "test": np.array([is_test(d.path) for d in group], bool),
        "package": np.array([packages[_package(d)] for d in group], np.uint32),
        "group": np.full(len(group), number, np.uint32),
    }
