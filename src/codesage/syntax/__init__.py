"""Functions, docstrings and identifiers of source text, read from one tree-sitter parse."""

from codesage.syntax.cplusplus import is_cplusplus, is_objective_c, language_in
from codesage.syntax.functions import functions, outlines
from codesage.syntax.identifiers import identifiers
from codesage.syntax.tree import ParseRefused, SourceTree, parse

__all__ = [
    "ParseRefused",
    "SourceTree",
    "functions",
    "identifiers",
    "is_cplusplus",
    "is_objective_c",
    "language_in",
    "outlines",
    "parse",
]
