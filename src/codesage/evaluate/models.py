"""Load the models to compare, by folder or by name.

In: a folder, or the name of a baseline. Out: an encoder of texts.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from codesage.artifacts import sha256_of
from codesage.encoder import runtime, sentence
from codesage.encoder.config import load_config
from codesage.encoder.folders import BUNDLED
from codesage.evaluate.features import EncodesTexts
from codesage.evaluate.tasks import SEED

if TYPE_CHECKING:
    from codesage.encoder.model import Encoder
    from codesage.evaluate.stage import StaticEncoder

STATIC = "static"  # the token vectors that search has, without context
RANDOM = "random"  # the bundled model's size and tokenizer, with random weights


def load(path: str, *, precision: str = "auto", device: str = "cpu", as_typed: bool = False) -> EncodesTexts:
    """The encoder at `path`: a CodeSage folder, "default", "static", "random", "minilm", or a sentence-transformers folder.

    `as_typed`: encode queries as they are, without another form. CodesageError as in `runtime.load` and `sentence.load`.
    """
    encoder = _loaded(path, precision, device)
    encoder.rewrites = not as_typed
    return encoder


def _loaded(path: str, precision: str, device: str) -> "runtime.Embedder | sentence.SentenceEncoder | StaticEncoder":
    if is_sentence_encoder(path):
        folder, _ = sentence.folder_of(path)
        return sentence.load(path, device=None if device == "auto" else runtime.device_of(device, folder, "torch"))
    if path == STATIC:
        from codesage.evaluate.stage import StaticEncoder

        return StaticEncoder(runtime.load(None))
    if path == RANDOM:
        return _random(runtime.device_of(device, BUNDLED, "torch"))
    return runtime.load(path, precision=precision, device=device)


def has_weights(path: str) -> bool:
    """Whether the encoder at `path` is one of ours with weights that can be trained."""
    return path != STATIC and not is_sentence_encoder(path)


def with_weights(path: str, device: str) -> "Encoder":
    """The encoder at `path` in torch, for training. CodesageError as in `load`."""
    from codesage.encoder import weights

    if path == RANDOM:
        return _random_weights(runtime.device_of(device, BUNDLED, "torch"))
    folder = runtime.folder_of(path)
    return weights.load_encoder(folder).to(runtime.device_of(device, folder, "torch"))


def is_sentence_encoder(path: str) -> bool:
    """Whether `path` names another library's encoder: "minilm", or a sentence-transformers folder that is not CodeSage's."""
    if not (Path(path) / "modules.json").is_file():
        return path == sentence.MINILM
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return not (isinstance(config, dict) and config.get("model_type") == "codesage")


def _random_weights(device: str) -> "Encoder":
    import torch

    from codesage.encoder.model import Encoder

    with torch.random.fork_rng(devices=[]):  # the weights are drawn on the CPU
        torch.manual_seed(SEED)
        return Encoder(load_config(BUNDLED)).eval().to(device)


def _random(device: str) -> runtime.Embedder:
    from codesage import tokenizer

    encoder = _random_weights(device)
    config = encoder.config
    longest = min(runtime.CODE_TOKENS, config.max_position_embeddings)
    return runtime.Embedder(
        tokenizer.load(BUNDLED),
        runtime.forward_of(encoder),
        width=config.vector_width,
        max_tokens=longest,
        batch_tokens=runtime.batch_tokens(device),
        fingerprint=f"{RANDOM}:{sha256_of(BUNDLED / 'config.json')[:8]}{sha256_of(BUNDLED / 'tokenizer.json')[:8]}",
    )
