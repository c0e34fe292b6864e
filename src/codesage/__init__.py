"""CodeSage: train, measure and use bidirectional encoders of source code."""

from codesage.errors import CodesageError

__version__ = "0.1.0"
__all__ = ["CodesageError", "__version__", "load", "register"]


def register() -> None:
    """Make transformers and sentence-transformers know the model type "codesage", without remote code.

    AutoConfig, AutoModel, AutoModelForMaskedLM and SentenceTransformer then open what `codesage export-hub` wrote;
    more than once is once. It imports transformers. Raises CodesageError when the `hub` extra is missing or too old.
    """
    try:
        from codesage.encoder import interchange
    except ImportError as error:
        raise CodesageError(f"transformers cannot be used ({error}): pip install --upgrade 'codesage[hub]'") from None
    interchange.register()


def __getattr__(name: str):  # `import codesage` stays light: the runtime is imported when it is first asked for
    if name == "load":
        from codesage.encoder.runtime import load

        return load
    raise AttributeError(f"module 'codesage' has no attribute {name!r}")
