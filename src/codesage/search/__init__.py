"""Search: an index of chunks and vectors, queries and ranking.

This package can be called: `codesage.search("retry a call", "src")`, see search.api.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codesage.records import Hit
    from codesage.search.api import Paths


class _Callable(ModuleType):
    def __call__(self, query: str, path: "Paths" = ".", **options: Any) -> "list[Hit]":
        """See search.api.search."""
        from codesage.search.api import search

        return search(query, path, **options)


sys.modules[__name__].__class__ = _Callable
