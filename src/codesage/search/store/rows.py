"""Files to rows of a table: read, cut into chunks and pieces, encoded.

In: units, each some files of one root with the hashes that the table knows. Out: one row for each piece that the encoder reads.
The first piece of a chunk carries its text and its words, the words of the name four times as in postings; further pieces
carry only their vectors. The lengths of a chunk and of its file are numbers of words, which count those of the name once. Files
that the table knows give no row. The rows of a unit depend on its files and the model alone, so every engine gives the same
table.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from codesage.errors import CodesageError
from codesage.records import Chunk, Document, Encoder, sound
from codesage.search.chunks import chunks
from codesage.search.files import read
from codesage.search.kinds import content_of, kind_of, order_of
from codesage.search.pieces import pieces
from codesage.search.postings import WEIGHTS
from codesage.search.terms import indexed_words

_KEY = 32  # hexadecimal digits of a key
_TEXTS = (
    "id",
    "root",
    "path",
    "file",
    "run",
    "language",
    "ending",
    "content",
    "kind",
    "name",
    "called",
    "text",
    "words",
    "key",
)
_NUMBERS = ("chunks", "rows", "at", "piece", "start_line", "end_line", "length", "file_length")

Known = Callable[[Sequence[str]], dict[str, np.ndarray]]  # from keys to the vectors that a table holds
Encode = Callable[[list[str]], np.ndarray]  # from texts to float16 vectors


@dataclass(frozen=True, slots=True)
class Unit:
    """Some files of a root: path on disk, name in the root, hash in the table ("" for none)."""

    root: str
    run: str
    files: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The rows of a unit, the names of the files they are of, and those of all files with text.

    `reasons`: of every file why not all of it is indexed, or "", see search.files.
    """

    root: str
    rows: pa.Table
    fresh: list[str]
    there: list[str]
    reasons: dict[str, str]


def schema(width: int, facts: dict[str, str]) -> pa.Schema:
    """The columns; `facts` go into the table's metadata."""
    fields = [pa.field(name, pa.string()) for name in _TEXTS] + [pa.field(name, pa.int32()) for name in _NUMBERS]
    return pa.schema([*fields, pa.field("vector", pa.list_(pa.float16(), width))], metadata=facts)


def key_of(text: str, model: str) -> str:
    """What a vector is found by: the text that it is of, and the fingerprint of the model."""
    return hashlib.sha256(f"{model}\0{text}".encode("utf-8", "replace")).hexdigest()[:_KEY]


def called(name: str) -> str:
    """The last part of a name in small letters."""
    return name.rpartition(".")[2].lower()


class Embedding:
    """Units to rows, with one encoder. `known` gives the vectors of pieces that the table already holds."""

    def __init__(self, encoder: Encoder, encode: Encode, known: Known) -> None:
        self._encoder, self._encode, self._known = encoder, encode, known

    def __call__(self, unit: Unit) -> Done:
        """Read, cut and encode the files of a unit. CodesageError when their root is not there."""
        if not Path(unit.files[0][0]).exists() and not _root_of(unit).exists():
            raise CodesageError(f"{_root_of(unit)} cannot be seen by a worker: put it where all machines can read it")
        reasons, there, fresh, rows = {}, [], [], []
        for path, name, known in unit.files:
            source = read(Path(path), name)
            reasons[name] = source.reason
            if source.document is None:
                continue
            there.append(name)
            if source.document.sha256 != known:
                fresh.append(name)
                rows += self._file(unit, source.document)
        return Done(unit.root, self._table(rows), fresh, there, reasons)

    def _file(self, unit: Unit, document: Document) -> list[dict]:
        """The rows of one file, without vectors."""
        cut = chunks(document)
        texts, words = pieces(cut, self._encoder), list(map(_words, cut))
        shared = {
            "root": unit.root,
            "path": document.path,
            "file": document.sha256,
            "run": unit.run,
            "chunks": len(cut),
            "rows": sum(map(len, texts)),
            "file_length": sum(len(one) for fields in words for one in fields),
            "language": document.language,
            "content": content_of(document.path),
            "ending": document.path.rpartition(".")[2].lower(),
        }
        rows = []
        for at, (chunk, own) in enumerate(zip(cut, texts, strict=True)):
            place = "\0".join((unit.root, document.path, str(at), document.sha256))
            columns = shared | _columns(chunk) | {"id": hashlib.sha256(sound(place).encode()).hexdigest()[:_KEY], "at": at}
            columns["length"] = sum(map(len, words[at]))
            for number, text in enumerate(own):
                first = {} if number else {"text": sound(chunk.text), "words": _weighted(words[at])}
                rows.append(columns | first | {"piece": number, "key": key_of(text, self._encoder.fingerprint), "of": text})
        return rows

    def _table(self, rows: list[dict]) -> pa.Table:
        """The rows with their vectors; each text is encoded once."""
        width = self._encoder.width
        texts = {row["key"]: row["of"] for row in rows}
        vectors = self._known(list(texts)) if texts else {}
        missing = [key for key in texts if key not in vectors]
        if missing:
            vectors = vectors | dict(zip(missing, self._encode([texts[key] for key in missing]), strict=True))
        matrix = np.array([vectors[row["key"]] for row in rows], np.float16).reshape(-1)
        columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in _TEXTS}
        columns |= {name: pa.array([row[name] for row in rows], pa.int32()) for name in _NUMBERS}
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix, pa.float16()), width)
        return pa.table(columns, schema=schema(width, {}))


def _root_of(unit: Unit) -> Path:
    """The folder on disk below which the files of a unit lie."""
    path, name, _ = unit.files[0]
    return Path(path).parents[name.count("/")]


def _columns(chunk: Chunk) -> dict:
    return {
        "kind": chunk.kind,
        "name": sound(chunk.name),
        "called": sound(called(chunk.name)),
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
    }


def _words(chunk: Chunk) -> list[list[str]]:
    """The words of a chunk by field: its name, its path, its text."""
    return [indexed_words(sound(field)) for field in (chunk.name, chunk.path, chunk.text)]


def _weighted(words: list[list[str]]) -> str:
    """The words of a chunk, each as many times as it counts."""
    return " ".join(word for weight, field in zip(WEIGHTS, words, strict=True) for word in field * int(weight))


def place_of(root: str, path: str, at: int = 0) -> tuple[str, int, str, int]:
    """What chunks are ordered by, root by root, as a new local index orders them; `at`: number of the chunk in its file."""
    return root, order_of(kind_of(path)), path, at


def place_of_row(row: dict) -> tuple[str, int, str, int]:
    """The same of a row."""
    return place_of(row["root"], row["path"], row["at"])
