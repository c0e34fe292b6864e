"""Count the files that no source reads because of their name, by language where the suffix gives one.

This looks at names only, never at contents.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_SUFFIXES = {
    "ABAP": "abap", "Ada": "adb ads", "Apex": "cls", "AppleScript": "applescript", "Assembly": "asm s nasm", "Awk": "awk",
    "C++": "cc cpp cxx c++ hh hpp hxx h++ ipp inl tcc", "CMake": "cmake", "COBOL": "cob cbl cobol",
    "CUDA": "cu cuh", "Chapel": "chpl", "Clojure": "clj cljs cljc", "CoffeeScript": "coffee", "Common Lisp": "lisp lsp",
    "Crystal": "cr", "Cython": "pyx pxd pxi", "D": "d", "Dart": "dart", "Elixir": "ex exs", "Elm": "elm",
    "Emacs Lisp": "el", "Erlang": "erl hrl", "F#": "fs fsi fsx", "Fortran": "f f77 f90 f95 f03 f08 for",
    "GLSL": "glsl vert frag", "Gleam": "gleam", "Groovy": "groovy gradle", "Hack": "hack hhi", "Haskell": "hs lhs",
    "Idris": "idr", "Julia": "jl", "Jupyter notebook": "ipynb", "Kotlin": "kt kts", "Lean": "lean", "Lua": "lua luau",
    "Mojo": "mojo", "Nim": "nim nims", "Nix": "nix", "OCaml": "ml mli", "Objective-C": "m mm", "Pascal": "pas dpr",
    "Perl": "pl pm", "PowerShell": "ps1 psm1 psd1", "Prolog": "pro prolog", "Protocol Buffers": "proto",
    "PureScript": "purs", "R": "r rmd", "Racket": "rkt", "Raku": "raku rakumod", "Rust": "rs", "SQL": "sql",
    "Scala": "scala sc", "Scheme": "scm ss", "Shell": "sh bash zsh ksh fish", "Smalltalk": "st", "Solidity": "sol",
    "Standard ML": "sml", "Starlark": "bzl star", "Stata": "do ado", "Svelte": "svelte", "Swift": "swift",
    "SystemVerilog": "sv svh", "Tcl": "tcl", "Terraform": "tf hcl", "VHDL": "vhd vhdl", "Verilog": "v vh",
    "Vim script": "vim", "Visual Basic": "vb vbs bas", "Vue": "vue", "WebAssembly": "wat", "Wolfram": "wl wls", "Zig": "zig",
}  # fmt: skip
OTHER_LANGUAGES = tuple(_SUFFIXES)
_BY_SUFFIX = {suffix: language for language, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_KINDS = 30  # suffixes counted separately for one source; rarer ones are counted as "other"
_REST = "other"


@dataclass(frozen=True, slots=True)
class OtherFiles:
    """The number of files of one kind that a source did not read.

    `kind` is one of OTHER_LANGUAGES, a suffix (".json") or "other".
    """

    kind: str
    count: int


class Others:
    """Counts the files that a source does not read."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, path: str) -> bool:
        """Count one file by its path. Always returns False, so that a condition can end in `or others.add(path)`."""
        stem, _, suffix = path.rpartition("/")[2].rpartition(".")
        self._counts[suffix if stem else ""] += 1
        return False

    def counts(self) -> Iterator[OtherFiles]:
        """One item for each kind: languages first, then by decreasing count."""
        kinds: Counter[str] = Counter()
        for suffix, count in self._counts.items():
            kinds[_kind(suffix)] += count
        ranked = sorted(kinds.keys() - {_REST}, key=lambda kind: (kind not in _SUFFIXES, -kinds[kind], kind))
        kept = ranked[: sum(kind in _SUFFIXES for kind in ranked) + _KINDS]
        yield from (OtherFiles(kind, kinds[kind]) for kind in kept)
        if rest := kinds.total() - sum(kinds[kind] for kind in kept):
            yield OtherFiles(_REST, rest)


def _kind(suffix: str) -> str:
    suffix = suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return f".{suffix}" if len(suffix) <= 8 and suffix.isascii() and suffix.isalnum() and not suffix.isdigit() else _REST


def in_words(counts: dict[str, int]) -> str:
    """Counts by kind as text, the most frequent first: "100 Rust files, 2 C++ files, 1 .json file"."""
    ranked = sorted(counts.items(), key=lambda item: (item[0] == _REST, -item[1], item[0]))
    return ", ".join(f"{count:,} {kind} file{'s' if count != 1 else ''}" for kind, count in ranked)
