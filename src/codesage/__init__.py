"""CodeSage: train, measure and use bidirectional encoders of source code.

Once it is imported, transformers' Auto classes and SentenceTransformer open what `codesage export-hub` wrote.
"""

import typing

from codesage.errors import CodesageError
from codesage.registration import watch as _watch

__version__ = "0.1.0"
__all__ = ["CodesageError", "__version__", "load", "query_form"]

if typing.TYPE_CHECKING:
    from codesage.encoder.queries import query_form
    from codesage.encoder.runtime import load

_watch()


def __getattr__(name: str) -> object:  # `import codesage` stays light: the runtime is imported when it is first asked for
    if name == "load":
        from codesage.encoder.runtime import load

        return load
    if name == "query_form":
        from codesage.encoder.queries import query_form

        return query_form
    raise AttributeError(f"module 'codesage' has no attribute {name!r}")
