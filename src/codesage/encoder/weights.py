"""Read and write weights: our model folders and the published checkpoint folders, both without remote code.

Our model folder is an artifact of kind "model": config.json, tokenizer.json, model.safetensors, and the ONNX files after
export. A published folder has config.json, its tokenizer, and model.safetensors or pytorch_model.bin. The latter is read by
torch's weights-only reader, which runs no code. Published linears are Conv1D, (in, out). For a folder exported only for
search, such as the bundled model, the weights come from its ONNX file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from codesage.artifacts import open_any
from codesage.encoder.config import load_config
from codesage.encoder.folders import FP32, INT8, PICKLE, SAFETENSORS, TOKENS, folder_of
from codesage.encoder.model import Encoder
from codesage.errors import CodesageError
from codesage.tokenizer import Tokenizer
from codesage.tokenizer import load as load_tokenizer

DENSE = "2_Dense"  # folder of the projection, where sentence-transformers has its own copy and trains it
_CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
_PREFIX = "transformer."


def save_weights(encoder: Encoder, folder: Path) -> None:
    """Write config.json and model.safetensors (linear weights as published: Conv1D, (in, out)) into `folder`."""
    from safetensors.torch import save_file

    encoder.config.save(folder)
    state = {name: _transposed(name, tensor).contiguous() for name, tensor in encoder.state_dict().items()}
    save_file(state, folder / SAFETENSORS, metadata={"format": "pt"})


def load_with_tokenizer(folder: Path | str) -> tuple[Encoder, Tokenizer]:
    """The encoder and the tokenizer of a folder. CodesageError when the tokenizer has more entries than the encoder."""
    encoder, tokenizer = load_encoder(folder), load_tokenizer(folder_of(folder))
    if tokenizer.vocab_size > encoder.config.vocab_size:
        raise CodesageError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} entries, the encoder "
            f"{encoder.config.vocab_size}: copy the matching tokenizer"
        )
    return encoder, tokenizer


def load_encoder(folder: Path | str) -> Encoder:
    """Load the encoder of one of our model folders or of a published checkpoint folder, in float32 and eval mode.

    If the folder holds only ONNX files, their weights are used: fp32 if present, else int8.

    Raises CodesageError when the folder is missing or truncated, is not a model, or its tensors do not match the config.
    """
    folder = folder_of(folder)
    if not folder.is_dir():
        raise CodesageError(f"{folder}: no such folder: expected a model written by codesage or a published checkpoint")
    open_any(folder, "model")
    config = load_config(folder)
    with torch.device("meta"), _WithoutValues():
        encoder = Encoder(config)
    state = read_state(folder)
    if encoder.projection is not None and (folder / DENSE).is_dir():
        state["projection.weight"] = read_state(folder / DENSE)["linear.weight"]
    state = _from_published(state, encoder, folder)
    encoder.load_state_dict(state, assign=True)
    for parameter in encoder.parameters():
        parameter.requires_grad_(True)
    return encoder.eval()


def read_state(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model folder by name. CodesageError when it holds none or a damaged file."""
    safetensors, pickle = folder / SAFETENSORS, folder / PICKLE
    if safetensors.is_file():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(safetensors)
        except (SafetensorError, OSError, ValueError) as error:
            raise CodesageError(f"{safetensors} is truncated or not a safetensors file ({error}): copy it again") from None
    if pickle.is_file():
        try:
            state = torch.load(pickle, map_location="cpu", weights_only=True, mmap=False)
        except Exception as error:  # torch raises many types for bad files and for refused code
            reason = str(error).split("\n")[0][:120]
            raise CodesageError(f"{pickle} is refused by the weights-only reader ({reason}): copy it again") from None
        if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
            raise CodesageError(f"{pickle} holds no plain state dict: expected one tensor per name")
        return state
    for name in (FP32, INT8, TOKENS):
        if (folder / name).is_file():
            from codesage.encoder.dequantise import state_of

            return state_of(folder / name)
    raise CodesageError(f"{folder} holds none of {SAFETENSORS}, {PICKLE}, {FP32} and {INT8}: expected the folder of an encoder")


class _WithoutValues(TorchFunctionMode):
    """Skip the initial values of parameters: on the meta device they would load torch's compiler, which takes two seconds."""

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else None
        return function(*args, **(kwargs or {}))


def _from_published(state: dict[str, Tensor], encoder: Encoder, folder: Path) -> dict[str, Tensor]:
    """Convert to our parameter names and orientation; drop the tied head and the buffers of old checkpoints."""
    expected = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    known = {}
    for name, tensor in state.items():
        name = name.removeprefix(_PREFIX)
        if name in expected:
            known[name] = _transposed(name, tensor).float().contiguous()
    missing = sorted(expected.keys() - known.keys())
    if missing:
        raise CodesageError(
            f"{folder} lacks {len(missing)} of {len(expected)} tensors, the first is {missing[0]}: "
            "expected a CodeSage encoder of the shape in its config.json"
        )
    for name, tensor in known.items():
        if tuple(tensor.shape) != expected[name]:
            raise CodesageError(f"{folder}: {name} has shape {tuple(tensor.shape)}, its config.json says {expected[name]}")
    return known


def _transposed(name: str, tensor: Tensor) -> Tensor:
    return tensor.t() if name.endswith(_CONV1D) else tensor
