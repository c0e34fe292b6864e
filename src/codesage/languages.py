"""The nine languages of the paper (section 2.1), and others for search: their file suffixes and their grammars.

Grammars are separate packages. Each is imported when its language is first parsed, and then cached. Those of the nine come
with codesage, the others with the extra `languages`.
"""

import importlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tree_sitter


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its name, its file suffixes, and the (module, function) that returns its grammar."""

    name: str
    suffixes: tuple[str, ...]
    grammar: tuple[str, str]


LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language("python", (".py", ".pyi", ".pyw"), ("tree_sitter_python", "language")),
        Language("java", (".java",), ("tree_sitter_java", "language")),
        Language("javascript", (".js", ".jsx", ".mjs", ".cjs"), ("tree_sitter_javascript", "language")),
        Language("typescript", (".ts", ".mts", ".cts", ".tsx"), ("tree_sitter_typescript", "language_typescript")),
        Language("csharp", (".cs",), ("tree_sitter_c_sharp", "language")),
        Language("c", (".c", ".h"), ("tree_sitter_c", "language")),
        Language("ruby", (".rb", ".rake"), ("tree_sitter_ruby", "language")),
        Language("go", (".go",), ("tree_sitter_go", "language")),
        Language("php", (".php",), ("tree_sitter_php", "language_php")),
    )
}

SEARCHED: dict[str, Language] = {  # search cuts them at their definitions, if the grammar is installed
    language.name: language
    for language in (
        Language("cpp", tuple(".cpp .cc .cxx .c++ .hpp .hh .hxx .h++ .ino .h .c".split()), ("tree_sitter_cpp", "language")),
        Language("elixir", (".ex", ".exs"), ("tree_sitter_elixir", "language")),
        Language("julia", (".jl",), ("tree_sitter_julia", "language")),
        Language("kotlin", (".kt", ".kts"), ("tree_sitter_kotlin", "language")),
        Language("lua", (".lua",), ("tree_sitter_lua", "language")),
        Language("objc", (".m", ".mm"), ("tree_sitter_objc", "language")),
        Language("rust", (".rs",), ("tree_sitter_rust", "language")),
        Language("scala", (".scala", ".sc", ".sbt"), ("tree_sitter_scala", "language")),
        Language("shell", (".sh", ".bash", ".zsh", ".ksh"), ("tree_sitter_bash", "language")),
        Language("swift", (".swift",), ("tree_sitter_swift", "language")),
        Language("zig", (".zig",), ("tree_sitter_zig", "language")),
    )
}

_ALIASES = {
    "python": "python py python3 py3 pycon ipython ipython3 sage",
    "java": "java",
    "javascript": "javascript js jsx mjs cjs node nodejs",
    "typescript": "typescript ts tsx",
    "csharp": "csharp c# cs dotnet dotnetv3 dotnetv4",
    "c": "c",
    "ruby": "ruby rb irb erb",
    "go": "go golang",
    "php": "php html+php",
}
_BY_ALIAS = {alias: language for language, aliases in _ALIASES.items() for alias in aliases.split()}
_BY_SUFFIX = {suffix: language.name for language in LANGUAGES.values() for suffix in language.suffixes}
_SEARCHED_BY_SUFFIX = {suffix: language.name for language in SEARCHED.values() for suffix in language.suffixes}


def language_of(path: str) -> str:
    """Name of the language of `path` by its suffix, or "" if it is none of the nine.

    `.h` and `.C` files count as C. syntax.language_in also inspects the text, which can be C++.
    """
    return _BY_SUFFIX.get(_suffix(path), "")


def searched_language(path: str) -> str:
    """Name of the language of `path` by its suffix, if it is one of SEARCHED and its grammar is installed, else "".

    `.h` and `.C` files count as C++: ask only if they are not C.
    """
    language = _SEARCHED_BY_SUFFIX.get(_suffix(path), "")
    return language if language and is_installed(language) else ""


@cache
def is_installed(language: str) -> bool:
    """Whether the grammar of one of SEARCHED is installed. It is not imported."""
    return find_spec(SEARCHED[language].grammar[0]) is not None


def _suffix(path: str) -> str:
    stem, _, suffix = path.rpartition("/")[2].rpartition(".")  # like PurePosixPath, but fifteen times as fast
    return f".{suffix.lower()}" if stem else ""


def language_named(name: str) -> str:
    """The language with the alias `name`, as in a code fence or folder ("py", "nodejs", "c#"), or "" if it is unknown."""
    return _BY_ALIAS.get(name.lower(), "")


@cache
def grammar_of(language: str, *, tsx: bool = False) -> "tree_sitter.Language":
    """The tree-sitter grammar of one of LANGUAGES or SEARCHED; `tsx` selects TypeScript's second grammar.

    KeyError if the language is unknown, ImportError if its grammar is not installed.
    """
    import tree_sitter

    module, function = (LANGUAGES.get(language) or SEARCHED[language]).grammar
    if tsx and language == "typescript":
        function = "language_tsx"
    return tree_sitter.Language(getattr(importlib.import_module(module), function)())
