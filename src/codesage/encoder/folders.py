"""Model folders: the names of their ONNX files, and the folder of a model given by name or path."""

from pathlib import Path

FP32, INT8 = "model.onnx", "model.int8.onnx"
TOKENS = "tokens.int8.onnx"  # of Stage I: what predicts hidden tokens
BUNDLED = Path(__file__).parent.parent / "models" / "default"


def folder_of(model: Path | str | None) -> Path:
    """The folder of a model given by name or path. None and "default" mean the bundled model."""
    if model is None or (str(model) == "default" and not Path(model).exists()):
        return BUNDLED
    return Path(model)
