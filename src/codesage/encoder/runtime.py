"""Texts to vectors: `codesage.load()` and the object it gives.

In: texts in any order. Out: float32 rows of unit length in the same order. Texts are tokenised once, sorted by their
number of tokens, run in batches under a budget of tokens and put back in order. A model folder with ONNX files runs
without torch; a published checkpoint folder runs through torch (the `train` extra).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from codesage import tokenizer as tokenizers
from codesage.artifacts import MANIFEST, Artifact, open_artifact, sha256_of
from codesage.encoder.config import load_config
from codesage.errors import CodesageError

FP32, INT8 = "model.onnx", "model.int8.onnx"
TEXT_TOKENS, CODE_TOKENS = 128, 1024  # published evaluation lengths
BUNDLED = Path(__file__).parent.parent / "models" / "default"
_BATCH_TOKENS = 8192  # padded tokens a batch: past this the matrix products gain nothing and memory grows

Forward = Callable[[list[list[int]]], np.ndarray]


class Embedder:
    """A loaded model. `width`: of its vectors; `max_tokens`: of code; `fingerprint`: equal when vectors are equal."""

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, forward: Forward, *, width: int, max_tokens: int, fingerprint: str
    ) -> None:
        self._tokenizer, self._forward = tokenizer, forward
        self.width, self.max_tokens, self.fingerprint = width, max_tokens, fingerprint

    def encode(self, texts: Sequence[str], *, kind: str = "code") -> np.ndarray:
        """Vectors of `texts`: float32 (n, width), rows of unit length, in the order given.

        kind: "code", cut at `max_tokens`, or "text" (queries, docstrings), cut at 128 tokens. ValueError for another
        kind; TypeError when `texts` is one string. No texts give (0, width).
        """
        if isinstance(texts, str):
            raise TypeError("texts is one str, expected a list of str: wrap it in [ ]")
        if kind not in ("code", "text"):
            raise ValueError(f"kind is {kind!r}, expected 'code' or 'text'")
        limit = self.max_tokens if kind == "code" else min(TEXT_TOKENS, self.max_tokens)
        ids = self._tokenizer.encode(texts, max_tokens=limit)
        vectors = np.empty((len(ids), self.width), np.float32)
        for rows in batches_by_length([len(document) for document in ids], budget=_BATCH_TOKENS):
            vectors[rows] = self._forward([ids[row] for row in rows])
        return vectors


def batches_by_length(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, longest first: longest in a batch times its rows is at most `budget`.

    A single row over the budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        size = max(1, budget // max(1, lengths[order[0]]))
        yield order[:size]
        order = order[size:]


def load(path: Path | str | None = None, *, precision: str = "auto") -> Embedder:
    """The bundled default model, or the model at `path`: an exported folder, or a published checkpoint folder.

    precision: "int8", "fp32" or "torch"; "auto" takes the first of these that the folder offers. Raises CodesageError
    when the folder is missing, truncated, foreign, or needs the `train` extra.
    """
    folder = BUNDLED if path is None else Path(path)
    if not folder.is_dir():
        raise CodesageError(f"{folder}: no such folder: expected a model, see 'codesage export --help'")
    artifact = open_artifact(folder, "model") if (folder / MANIFEST).is_file() else None
    config = load_config(folder)
    tokenizer = tokenizers.load(folder)
    offered = [name for name, file in (("int8", INT8), ("fp32", FP32)) if (folder / file).is_file()] + ["torch"]
    chosen = offered[0] if precision == "auto" else precision
    if chosen not in offered:
        raise CodesageError(f"{folder} offers {', '.join(offered)}, not {precision}: run 'codesage export' on it")
    if chosen == "torch":
        forward, content = _torch_forward(folder), _fingerprint(folder, artifact)
    else:
        file = folder / (INT8 if chosen == "int8" else FP32)
        forward, content = _onnx_forward(file, tokenizer.pad_id), _fingerprint(folder, artifact)
    trained = artifact.facts.get("max_tokens", CODE_TOKENS) if artifact else CODE_TOKENS
    return Embedder(
        tokenizer,
        forward,
        width=config.hidden_size,
        max_tokens=min(trained, config.max_position_embeddings),
        fingerprint=f"{chosen}:{content[:16]}",
    )


def _onnx_forward(file: Path, pad_id: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    options.log_severity_level = 4  # a failure is raised, and said once
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors share no public base
        raise CodesageError(f"{file} cannot be loaded ({str(error)[:120]!r}): export or copy the model again") from None

    def forward(documents: list[list[int]]) -> np.ndarray:
        longest = max(map(len, documents))
        ids_BL = np.full((len(documents), longest), pad_id, np.int64)
        mask_BL = np.zeros((len(documents), longest), np.int32)
        for row, document in enumerate(documents):
            ids_BL[row, : len(document)] = document
            mask_BL[row, : len(document)] = 1
        return session.run(None, {"ids": ids_BL, "mask": mask_BL})[0]

    return forward


def _torch_forward(folder: Path) -> Forward:
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise CodesageError(f"{folder} holds no {INT8} or {FP32}, and torch is not installed: "
                            "pip install 'codesage[train]', or export the model where it is")  # fmt: skip
    import torch

    from codesage.encoder.weights import load_encoder

    encoder = load_encoder(folder)

    def forward(documents: list[list[int]]) -> np.ndarray:
        with torch.inference_mode():
            return torch.nn.functional.normalize(encoder.embed(documents), dim=-1).numpy()

    return forward


def _fingerprint(folder: Path, artifact: Artifact | None) -> str:
    if artifact:
        return artifact.fingerprint
    names = ("model.safetensors", "pytorch_model.bin", FP32, INT8)
    return next((sha256_of(folder / name) for name in names if (folder / name).is_file()), "empty")
