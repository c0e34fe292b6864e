"""Makes transformers know the model type "codesage" once both are imported, in whatever order.

transformers has no place where a package can announce a model, and importing it from here would cost everyone seconds.
So two of its modules are watched: when one of them has been imported, our part for it is, which registers itself.
"""

import importlib
import sys
import warnings
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

_OURS = {
    "transformers.models.auto.configuration_auto": "codesage.encoder.interchange.configuration",
    "transformers.models.auto.modeling_auto": "codesage.encoder.interchange.modeling",
}


class _Watch(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        """Find a watched module where it is, and have ours imported behind it."""
        spec = PathFinder.find_spec(name, path, target) if name in _OURS else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_both(module) -> None:
                execute(module)
                _register(name)

            spec.loader.exec_module = execute_both
        return spec


def watch() -> None:
    """Register with what is imported already, and with the rest when it is."""
    sys.meta_path.insert(0, _Watch())
    for name in _OURS:
        if name in sys.modules:
            _register(name)


def _register(name: str) -> None:
    try:
        importlib.import_module(_OURS[name])
    except ImportError as error:  # importing transformers must not fail for our sake
        warnings.warn(f"this transformers cannot load codesage models ({error}): pip install --upgrade 'codesage[hub]'",
                      stacklevel=2)  # fmt: skip
