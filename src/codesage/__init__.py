"""CodeSage: train, measure and use bidirectional encoders of source code.

Once it is imported, transformers' Auto classes and SentenceTransformer open what `codesage export-hub` wrote.
"""

import typing

from codesage.errors import CodesageError
from codesage.registration import watch as _watch

__version__ = "0.1.0"
__all__ = ["CodesageError", "Index", "__version__", "load", "query_form", "search", "similar"]

if typing.TYPE_CHECKING:
    from codesage.encoder.queries import query_form
    from codesage.encoder.runtime import load
    from codesage.search.api import Index, search, similar

_watch()


_LAZY = {  # imported when first used, so that `import codesage` stays light
    "load": "codesage.encoder.runtime",
    "query_form": "codesage.encoder.queries",
    "Index": "codesage.search.api",
    "similar": "codesage.search.api",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "search":
        return import_module("codesage.search")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'codesage' has no attribute {name!r}")
