"""Register the model type "codesage" and its tokenizer with transformers once both are imported, in any order.

transformers has no entry point where a package can announce a model, and importing it here would cost every user seconds.
So three of its modules are watched. When one of them is imported, our counterpart is imported too and registers itself.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_OURS = {
    "transformers.models.auto.configuration_auto": "codesage.encoder.interchange.configuration",
    "transformers.models.auto.modeling_auto": "codesage.encoder.interchange.modeling",
    "transformers.models.auto.tokenization_auto": "codesage.encoder.interchange.tokenizing",
}


class _Watch:
    """A finder for `sys.meta_path`, without the base class in `importlib.abc`, whose import would take 25 ms."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a watched module as usual, and import our counterpart after it."""
        spec = PathFinder.find_spec(name, path, target) if name in _OURS else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_both(module: ModuleType) -> None:
                execute(module)
                _register(name)

            spec.loader.exec_module = execute_both
        return spec


def watch() -> None:
    """Register with modules that are already imported, and with the others when they are imported."""
    sys.meta_path.insert(0, _Watch())
    for name in _OURS:
        if name in sys.modules:
            _register(name)


def _register(name: str) -> None:
    try:
        importlib.import_module(_OURS[name])
    except ImportError as error:  # importing transformers must not fail because of us
        warnings.warn(
            f"this transformers cannot load codesage models ({error}): pip install --upgrade 'codesage[hub]'", stacklevel=2
        )
