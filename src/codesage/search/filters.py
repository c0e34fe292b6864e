"""Filters of a query: restrictions on language, path, content and text, which apply before ranking.

In: a view of an index. Out: one boolean a chunk. Types are named as in ripgrep: those of the nine languages follow the
language that was recognised, the others the ending of the name.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from codesage.errors import CodesageError
from codesage.languages import LANGUAGES, language_named
from codesage.search.globs import Globs
from codesage.search.kinds import CONTENTS, content_of
from codesage.search.patterns import NO_PATTERNS, Patterns
from codesage.search.view import View

TYPES = {
    "asciidoc": "adoc asciidoc", "clojure": "clj cljs cljc edn", "cpp": "cpp cc cxx c++ hpp hh hxx h++ ino h", "css": "css",
    "csv": "csv tsv", "cuda": "cu cuh", "dart": "dart", "elixir": "ex exs", "elm": "elm", "erlang": "erl hrl",
    "fsharp": "fs fsi fsx", "haskell": "hs lhs", "html": "html htm xhtml", "ini": "ini cfg conf", "json": "json jsonl json5",
    "julia": "jl", "kotlin": "kt kts", "lua": "lua", "markdown": "md markdown mdx mdown", "nim": "nim", "notebook": "ipynb",
    "objc": "m mm", "ocaml": "ml mli", "perl": "pl pm t", "powershell": "ps1 psm1", "protobuf": "proto", "r": "r rmd",
    "rst": "rst", "rust": "rs", "sass": "sass scss less", "scala": "scala sbt", "shell": "sh bash zsh fish ksh", "sql": "sql",
    "svelte": "svelte", "swift": "swift", "terraform": "tf tfvars", "tex": "tex bib", "toml": "toml", "txt": "txt",
    "visualbasic": "vb", "vue": "vue", "xml": "xml xsd xsl", "yaml": "yaml yml", "zig": "zig",
}  # fmt: skip
_NAMES = {
    "c++": "cpp", "bash": "shell", "ex": "elixir", "hs": "haskell", "ipynb": "notebook", "jl": "julia", "kt": "kotlin",
    "md": "markdown", "objective-c": "objc", "ml": "ocaml", "proto": "protobuf", "ps": "powershell", "ps1": "powershell",
    "rs": "rust", "scss": "sass", "sh": "shell", "text": "txt", "tf": "terraform", "vb": "visualbasic", "yml": "yaml",
}  # fmt: skip
_ENDINGS = {name: frozenset(endings.split()) for name, endings in TYPES.items()}
_AT_ONCE = 10_000  # texts that are looked through between two questions to the index

Texts = Callable[[Sequence[int]], Iterable[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class Filter:
    """Restrictions that hold together; each one that is empty restricts nothing. Make it with `filter_of`."""

    types: tuple[str, ...] = ()  # any of these, see type_named
    globs: Globs | None = None
    content: str = "all"  # or "code", "docs", "config"
    patterns: Patterns = NO_PATTERNS  # some line of the chunk matches any of these
    below: str = ""  # this file or folder within the root
    named: Callable[[str], str] = str  # from a path of the index to what globs read

    def allowed(self, view: View, texts: Texts) -> np.ndarray | None:
        """Bool (N,): the chunks that pass, None for all; `texts` gives (place, text) of places in `view`."""
        if not (self.types or self.globs or self.patterns or self.below or self.content != "all"):
            return None
        seen: dict[tuple[str, str], bool] = {}
        allowed_N = np.zeros(len(view.paths), bool)
        for place, key in enumerate(zip(view.paths, view.languages, strict=True)):
            if key not in seen:
                seen[key] = self._passes(*key)
            allowed_N[place] = seen[key]
        if self.patterns:
            places = np.flatnonzero(allowed_N).tolist()
            allowed_N[:] = False
            for start in range(0, len(places), _AT_ONCE):
                allowed_N[self.patterns.found_in(texts(places[start : start + _AT_ONCE]))] = True
        return allowed_N

    def unused(self, view: View) -> list[str]:
        """The options, as on the command line, that no file of the index passes."""
        files = {file for file in zip(view.paths, view.languages, strict=True) if is_below(file[0], self.below)}
        unused = [f"-g {glob}" for glob in (self.globs.unused([self.named(path) for path, _ in files]) if self.globs else ())]
        unused += [f"-t {name}" for name in self.types if not any(_is_type(name, *file) for file in files)]
        if self.content != "all" and not any(content_of(path) == self.content for path, _ in files):
            unused.append(f"--content {self.content}")
        return unused

    def _passes(self, path: str, language: str) -> bool:
        return (
            is_below(path, self.below)
            and (not self.types or any(_is_type(name, path, language) for name in self.types))
            and (self.content == "all" or content_of(path) == self.content)
            and (self.globs is None or self.globs.allow(self.named(path)))
        )


ALL = Filter()


def filter_of(
    types: str | Iterable[str] = (),
    globs: str | Iterable[str] = (),
    content: str = "all",
    patterns: str | Iterable[str] = (),
    *,
    below: str = "",
    named: Callable[[str], str] = str,
) -> Filter:
    """Make a filter from the options of a user; a string alone is one type, glob or pattern.

    CodesageError names an unknown type, pattern or content.
    """
    if content not in ("all", *CONTENTS):
        raise CodesageError(f"unknown content {content!r}: expected one of {', '.join((*CONTENTS, 'all'))}")
    paths = Globs(_several(globs)) if globs else None
    return Filter(tuple(map(type_named, _several(types))), paths, content, Patterns(_several(patterns)), below, named)


def _several(values: str | Iterable[str]) -> list[str]:
    """The values of an option. A string alone is one value, "" is none."""
    return [values] * bool(values) if isinstance(values, str) else list(values)


def type_named(name: str) -> str:
    """The type called `name`: a language ("py", "C#") or a suffix ("md"). CodesageError if it is unknown."""
    small = name.lower().removeprefix(".")
    type_ = small if small in LANGUAGES else language_named(small) or (small if small in TYPES else _NAMES.get(small, ""))
    if not type_:
        raise CodesageError(f"unknown language {name!r}: expected one of {', '.join(sorted((*LANGUAGES, *TYPES)))}")
    return type_


def _is_type(name: str, path: str, language: str) -> bool:
    """Whether a file has a type; `language` is the language recognised from its text."""
    ending = path.rpartition(".")[2].lower()
    if name in LANGUAGES:
        return language == name
    return ending in _ENDINGS[name] and (ending != "h" or language != "c")


def is_below(path: str, folder: str) -> bool:
    """Whether a path of an index is `folder` or in it; "" is the root."""
    return not folder or path == folder or path.startswith(f"{folder}/")
