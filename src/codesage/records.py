"""The data types that stages exchange.

A Document is a source file. `syntax` turns it into Functions (and classes) and Identifiers. The corpus turns Functions into
(text, code) Pairs. Search turns a Document into Chunks and answers a query with Hits. Records never change, and all text is
`str`. Line numbers start at 1 and ranges include the last line. Byte offsets refer to the UTF-8 text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Protocol, TypeVar, dataclass_transform

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A dataclass whose fields no code sets again: type checkers refuse it, and records can be keys.

    Only type checkers refuse it. A dataclass that refuses it when it runs takes thirty times as long to make, and a corpus has
    hundreds of thousands of functions.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@record
class Document:
    """One decoded source file; its lines end in line feeds."""

    path: str  # relative to the source's root, with forward slashes
    language: str  # a key of languages.LANGUAGES, or "" if there is no grammar for it
    text: str
    sha256: str  # of the bytes on disk, hexadecimal
    package: str = ""  # its origin: name, version, and licence as stated by the package
    version: str = ""
    licence: str = ""


@record
class Function:
    """One function, method or class found by syntax.functions.

    `signature + body` is the definition without its docstring. The hard positive of Stage II (paper section 3.2) is
    `bare_body`. It lacks the signature and the return statements, so a model cannot match a name to its summary.
    """

    kind: str  # "function" (methods too) or "class" (interfaces, structs, traits, modules, enums too)
    name: str
    parent: str  # name of the nearest enclosing class, or ""
    language: str
    signature: str  # decorators, modifiers and header, up to the body
    docstring: str  # without comment marks; "" if there is none
    start_line: int  # of the definition, including decorators but not a doc comment before it
    end_line: int
    start_byte: int
    end_byte: int
    doc_start_byte: int  # start of the doc comment before the definition, else start_byte
    body_byte: int  # where the body starts, after the docstring
    bare: tuple[int, ...]  # start and end byte of each piece of the body that remains without return statements
    source: bytes = field(repr=False)  # the whole file

    @property
    def body(self) -> str:
        """The body without docstring."""
        return self.source[self.body_byte : self.end_byte].decode("utf-8", "replace")

    @property
    def bare_body(self) -> str:
        """The body without docstring and return statements, dedented, without blank lines and lone semicolons.

        It is computed on use because few are needed: one in four functions of a corpus is documented.
        """
        if not self.bare:
            return ""
        start = self.bare[0]
        column = start - (self.source.rfind(b"\n", 0, start) + 1)
        pieces = [self.source[first:last] for first, last in zip(self.bare[::2], self.bare[1::2], strict=True)]
        return _dedented(" " * column + b"".join(pieces).decode("utf-8", "replace"))


def _dedented(text: str) -> str:
    """`text` without common indentation, blank lines and lone semicolons.

    The first line almost always has the common indentation. If it cannot be removed from every line, all lines are measured.
    (textwrap.dedent always measures and takes eight times as long.)
    """
    text = text.expandtabs(4) if "\t" in text else text
    lines = list(filter(None, map(str.rstrip, text.splitlines())))
    if not lines:
        return ""
    margin = len(lines[0]) - len(lines[0].lstrip(" "))
    dedented = list(map(str.removeprefix, lines, repeat(" " * margin)))
    if sum(map(len, lines)) - sum(map(len, dedented)) != margin * len(lines):
        margin = min([len(line) - len(line.lstrip(" ")) for line in lines])
        dedented = [line[margin:] for line in lines]
    if ";" in dedented:
        dedented = [line for line in dedented if line != ";"]
    return "\n".join(dedented)


@record
class Identifier:
    """One occurrence of a name that its file defines; deobfuscation hides these (paper section 3.1)."""

    name: str
    start_byte: int
    end_byte: int


PAIR_KINDS = {
    "function": "the first sentence of a function's documentation, with the function",
    "class": "the first sentence of a class's documentation, with the class",
    "example": "a paragraph of documentation, with its example",
    "comment": "a comment that says what the statements below it do, with these statements",
    "test": "the name of a test, with the function that it tests; a test whose function cannot be told gives no pair",
    "howto": "a title, heading or tag, with the code that does it",
    "parallel": "code without a text, which other code in its group repeats in another way or another language",
}


@record
class Pair:
    """A (text, code) pair for Stage II, with its origin. `text` is "" only in pairs of kind "parallel"."""

    text: str  # first sentence of the docstring, cleaned
    code: str  # the whole definition without its docstring
    bare_body: str  # the hard positive
    description: str  # the rest of the docstring in plain sentences, "" if there is none
    language: str
    name: str
    kind: str  # one of PAIR_KINDS
    path: str
    start_line: int
    package: str = ""
    version: str = ""
    licence: str = ""
    group: str = ""  # name of the code's group of parallel code, "" if it has none


@record
class Chunk:
    """A piece of a file, as indexed and shown by search."""

    path: str
    language: str
    kind: str  # "function", "class" or "window"
    name: str  # qualified if there is a parent ("Parser.parse"), "" for a window
    start_line: int
    end_line: int
    text: str


@record
class Hit:
    """One result of a query. Higher scores are better."""

    chunk: Chunk
    score: float
    parts: dict[str, float] = field(default_factory=dict)  # what the score is made of, by rule
    alike: int = 0  # further chunks with the same text
    tier: str = "encoder"  # what its rank rests on beside its words: "encoder", "static" (token vectors), or "words" alone
    similarity: float = 0.0  # cosine of the query with the chunk, estimated if the chunk is not encoded; 0 without vectors


def header_of(path: str, name: str) -> str:
    """The lines that search puts in front of code for the encoder: the end of its path, and its name if it has one.

    Only the last two parts of the path: the others say little, and a folder that is renamed costs nothing.
    """
    end = "/".join(path.split("/")[-2:])
    return f"{end}\n{name}\n" if name else f"{end}\n"


def sound(text: str) -> str:
    """`text` with `?` for lone surrogates: UTF-8 has no form for them, but JSON and names of files can hold them."""
    return text.encode("utf-8", "replace").decode()


class Encoder(Protocol):
    """What search needs of an encoder. `codesage.load()` returns one."""

    @property
    def width(self) -> int:
        """Of the vectors."""
        ...

    @property
    def fingerprint(self) -> str:
        """Encoders with equal fingerprints give vectors that may stand in one index: equal ones, or as Embedder says."""
        ...

    def encode(self, texts: Sequence[str], *, kind: str = "code") -> "np.ndarray":
        """float32 (n, width), rows of unit length. `kind`: "code" or "text"."""
        ...
