"""CodeSage: train, measure and use bidirectional encoders of source code."""

from codesage.errors import CodesageError

__version__ = "0.1.0"
__all__ = ["CodesageError", "__version__", "load"]


def __getattr__(name: str):  # `import codesage` stays light: the runtime is imported when it is first asked for
    if name == "load":
        from codesage.encoder.runtime import load

        return load
    raise AttributeError(f"module 'codesage' has no attribute {name!r}")
