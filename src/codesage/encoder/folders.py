"""Model folders: the names of their files of weights, and the folder of a model given by name or path."""

from pathlib import Path

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"  # of torch; published checkpoints may have the second
FP32, INT8 = "model.onnx", "model.int8.onnx"
TOKENS = "tokens.int8.onnx"  # of Stage I: what predicts hidden tokens
_MODELS = Path(__file__).parent.parent / "models"
BUNDLED_MODELS = {name: _MODELS / name for name in ("default", "general")}  # the second is larger and slower
BUNDLED = BUNDLED_MODELS["default"]
NAMES = _MODELS / "names"  # of Stage I, for 'codesage names'
_BY_NAME = BUNDLED_MODELS | {"names": NAMES}
MODEL_HELP = "Model folder, or 'general': the larger bundled model, for plain questions. Default: the small one."


def folder_of(model: Path | str | None) -> Path:
    """The folder of a model given by name or path; a path that exists comes before a bundled model of that name.

    None means the bundled model "default". "names" can be trained on, but gives no vectors.
    """
    if model is None:
        return BUNDLED
    return Path(model) if Path(model).exists() else _BY_NAME.get(str(model), Path(model))
