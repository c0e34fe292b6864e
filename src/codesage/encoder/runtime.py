"""Turn texts into vectors: `codesage.load()` and the object it returns.

In: texts in any order. Out: float32 rows of unit length in the same order. Texts are tokenised once, sorted by number of
tokens, run in batches within a token budget, and put back in order. int8 reads each text alone, one for each processor at a
time. A model folder with ONNX files runs without torch. A published checkpoint folder runs with torch (the `train` extra),
which also runs on a GPU.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codesage import tokenizer as tokenizers
from codesage.artifacts import MANIFEST, Artifact, open_artifact, sha256_of
from codesage.encoder.config import load_config
from codesage.encoder.folders import FP32, INT8, PICKLE, SAFETENSORS, TOKENS, folder_of
from codesage.encoder.queries import query_form
from codesage.encoder.unit import unit_length
from codesage.errors import CodesageError
from codesage.machine import processors

if TYPE_CHECKING:
    import onnxruntime

    from codesage.encoder.model import Encoder

TEXT_TOKENS, CODE_TOKENS = 128, 1024  # published evaluation lengths
_BATCH_TOKENS = 1024  # padded tokens a batch: with 8,192 int8 takes a quarter more processor time (docs/log.md)
_MANY_TOKENS = 65_536  # the same on a GPU, and for ONNX, which splits a batch among threads
_THREAD_TOKENS = 512  # padded tokens of a batch in fp32 that one thread encodes (docs/log.md)
_WEIGHTS = (SAFETENSORS, PICKLE)

Forward = Callable[[Sequence[Sequence[int]]], np.ndarray]


class Embedder:
    """A loaded model. `width`: of its vectors. `max_tokens`: of code. `rewrites`: whether texts are put into another form.

    Models with equal `fingerprint` give equal vectors, up to the rounding of float32 between batches and processors. With int8
    they do not depend on the batch at all: activations are quantised for a batch as a whole, so each text is one of its own.
    """

    def __init__(
        self,
        tokenizer: "tokenizers.Tokenizer | Future[tokenizers.Tokenizer]",
        forward: "Forward | Future[Forward]",
        *,
        width: int,
        max_tokens: int,
        fingerprint: str,
        folder: Path | None = None,
        batch_tokens: int = _BATCH_TOKENS,
    ) -> None:
        self._tokenizer_or_future, self._forward_or_future = tokenizer, forward
        self.folder, self._batch_tokens = folder, batch_tokens
        self.width, self.max_tokens, self.fingerprint = width, max_tokens, fingerprint
        self.rewrites = True

    @property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        held = self._tokenizer_or_future
        return held.result() if isinstance(held, Future) else held

    @property
    def _forward(self) -> Forward:
        held = self._forward_or_future
        return held.result() if isinstance(held, Future) else held

    def encode(self, texts: Sequence[str], *, kind: str = "code", dims: int | None = None) -> np.ndarray:
        """Vectors of `texts`: float32 (n, width), rows of unit length, in the given order.

        kind: "code", cut at `max_tokens`, or "text" (queries, docstrings), rewritten into the form of documentation
        (encoder.queries) unless `rewrites` is off, and cut at 128 tokens. `dims`: keep only this many leading numbers of each
        vector and scale them to unit length, for models trained for it (Matryoshka losses). ValueError for another kind, or for
        `dims` outside 1 to width. TypeError when `texts` is a single string. No texts give (0, width).
        """
        return self.encode_ids(self.token_ids(texts, kind=kind), dims=dims)

    def token_ids(self, texts: Sequence[str], *, kind: str = "code") -> list[list[int]]:
        """The token ids that `encode` gives to the model, each list with its end token. Errors as there."""
        if isinstance(texts, str):
            raise TypeError("texts is one str, expected a list of str: wrap it in [ ]")
        limit = self._limit(kind)
        if kind == "text" and self.rewrites:
            texts = list(map(query_form, texts))
        return self._tokenizer.encode(texts, max_tokens=limit)

    def checked_ids(self, ids: Sequence[int], *, kind: str = "code") -> list[int]:
        """Token ids from outside, cut as `encode` cuts, with the end token. CodesageError when one is not in the vocabulary."""
        if any(not 0 <= token < self._tokenizer.vocab_size for token in ids):
            raise CodesageError(f"token ids must be from 0 to {self._tokenizer.vocab_size - 1}")
        kept = list(ids[:-1] if ids and ids[-1] == self._tokenizer.end_id else ids)
        return [*kept[: self._limit(kind) - 1], self._tokenizer.end_id]

    def _limit(self, kind: str) -> int:
        if kind not in ("code", "text"):
            raise ValueError(f"kind is {kind!r}, expected 'code' or 'text'")
        return self.max_tokens if kind == "code" else min(TEXT_TOKENS, self.max_tokens)

    def whole_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text as it stands, however long, without an end token."""
        return self._tokenizer.encode_pieces(texts)

    def word_ids(self, words: Sequence[str]) -> list[list[int]]:
        """The token ids of each word with a space before it, without an end token."""
        return self._tokenizer.encode_words(words)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text on its own, the end token not counted."""
        return list(map(len, self.whole_ids(texts)))

    def encode_ids(self, documents: Sequence[Sequence[int]], *, dims: int | None = None) -> np.ndarray:
        """Like `encode`, for documents that are already token ids, each with its end token."""
        if dims is not None and not 1 <= dims <= self.width:
            raise ValueError(f"dims is {dims}, expected 1 to {self.width}, the width of this model's vectors")
        vectors = np.empty((len(documents), dims or self.width), np.float32)
        for rows in batches_by_length([len(document) for document in documents], budget=self._batch_tokens):
            vectors[rows] = self._forward([documents[row] for row in rows])[:, :dims]
        if dims is not None:
            vectors = unit_length(vectors)
        return vectors


def batches_by_length(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, longest first. Longest row times number of rows is at most `budget`.

    A row over the budget gets a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        size = max(1, budget // max(1, lengths[order[0]]))
        yield order[:size]
        order = order[size:]


def load(path: Path | str | None = None, *, precision: str = "auto", device: str = "cpu", wait: bool = True) -> Embedder:
    """Load the bundled model (None or "default") or the model at `path`, an exported or a published checkpoint folder.

    precision: "int8", "fp32" or "torch"; "auto" uses the first of these that the folder offers. device: see `device_of`; a GPU
    runs torch. wait: False returns while the tokenizer and the model are still being read; the first use then waits for them,
    and raises what went wrong. Raises CodesageError when the folder is missing or truncated, is not a model, or needs the
    `train` extra, and when the device is not there or does not run that precision.
    """
    folder = folder_of(path)
    if not folder.is_dir():
        raise CodesageError(f"{folder}: no such folder: expected a model, see 'codesage export --help'")
    if (folder / TOKENS).is_file():
        raise CodesageError(f"{folder} is a model that names identifiers and gives no vectors: give another model")
    artifact = open_artifact(folder, "model") if (folder / MANIFEST).is_file() else None
    config = load_config(folder)
    offered = [name for name, file in (("int8", INT8), ("fp32", FP32)) if (folder / file).is_file()] + ["torch"]
    place = device_of(device, folder, precision)
    chosen = precision if precision != "auto" else offered[0] if place == "cpu" else "torch"
    if chosen not in offered:
        raise CodesageError(f"{folder} offers {', '.join(offered)}, not {precision}: run 'codesage export' on it")
    pool = ThreadPoolExecutor(2)  # both libraries leave Python free
    tokenizer = pool.submit(tokenizers.load, folder)
    forward = pool.submit(_forward_of, folder, chosen, place, tokenizer)
    pool.shutdown(wait=wait)
    content = _fingerprint(folder, artifact)
    trained = artifact.facts.get("max_tokens", CODE_TOKENS) if artifact else foreign_length(folder)
    return Embedder(
        tokenizer.result() if wait else tokenizer,
        forward.result() if wait else forward,
        width=config.vector_width,
        max_tokens=min(trained, config.max_position_embeddings),
        fingerprint=f"{chosen}:{content[:16]}",
        folder=folder,
        batch_tokens=batch_tokens(place) if chosen == "torch" else _MANY_TOKENS,
    )


def batch_tokens(device: str) -> int:
    """Padded tokens that torch embeds at a time on a device, named as torch names it."""
    return _BATCH_TOKENS if device == "cpu" else _MANY_TOKENS


def _forward_of(folder: Path, precision: str, device: str, tokenizer: "Future[tokenizers.Tokenizer]") -> Forward:
    """What computes the vectors of a batch. `precision` and `device`: chosen."""
    if precision == "torch":
        return _torch_forward(folder, device)
    return _int8_forward(folder / INT8) if precision == "int8" else _fp32_forward(folder / FP32, tokenizer.result().pad_id)


def device_of(name: str, folder: Path, precision: str = "auto") -> str:
    """The device that the model in `folder` runs on: "cpu", "cuda" or "cuda:N".

    `name`: one of these, or "auto": a GPU where there is one, for precision "torch" and for a folder with weights of torch. A
    folder with ONNX files alone stays on the CPU, which gives the vectors that search has; its weights run on a GPU where
    `name` or `precision` asks for it.
    CodesageError when the name is unknown, torch sees no such GPU, or `precision` is one of onnxruntime's.
    """
    gpu = re.fullmatch(r"cuda(?::(\d+))?", name)
    if name not in ("auto", "cpu") and not gpu:
        raise CodesageError(f"unknown device {name!r}: expected auto, cpu, cuda or cuda:N")
    onnx = precision not in ("auto", "torch")
    if gpu and onnx:
        raise CodesageError(f"{precision} runs on the CPU only: give device cpu, or precision torch and weights of torch")
    in_torch = precision == "torch" or any((folder / file).is_file() for file in _WEIGHTS)
    if name == "cpu" or (name == "auto" and (onnx or not in_torch or find_spec("torch") is None)):
        return "cpu"
    _require_torch(folder)
    import torch

    if torch.cuda.is_available() and (gpu is None or int(gpu[1] or 0) < torch.cuda.device_count()):
        return "cuda" if name == "auto" else name
    if name == "auto":
        return "cpu"
    raise CodesageError(f"torch sees no GPU for device {name}: give device cpu or auto")


def foreign_length(folder: Path) -> int:
    """Maximum length of code for a folder written by transformers or sentence-transformers: its tokenizer's limit.

    CodesageError when the model does not use mean pooling, because our vectors would differ from the model's, or when a file
    that says so is damaged.
    """
    pooling, tokenizer = (_json(folder / name) for name in ("1_Pooling/config.json", "tokenizer_config.json"))
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True]
    mode = pooling.get("pooling_mode", modes[0].removeprefix("pooling_mode_") if modes else "mean")
    if mode not in ("mean", "mean_tokens"):
        raise CodesageError(f"{folder / '1_Pooling'} sets {mode} pooling, expected mean: load it with sentence-transformers")
    length = tokenizer.get("model_max_length")
    return min(CODE_TOKENS, int(length)) if isinstance(length, (int, float)) and length >= 1 else CODE_TOKENS


def _json(file: Path) -> dict:
    """The object in `file`, {} where there is no file. CodesageError when it is damaged: its settings would not count."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CodesageError(f"{file} is not readable ({error}): copy the model folder again") from None
    return value


def onnx_session(file: Path, *, threads: int | None = None) -> "onnxruntime.InferenceSession":
    """An onnxruntime session of `file` on the CPU. CodesageError when it cannot be loaded.

    `threads`: that work on one batch, None for one for each processor.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import; disables telemetry
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or processors()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a thread that waits uses no processor
    options.log_severity_level = 4  # failures are raised, so they need not be logged too
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors have no common public base
        raise CodesageError(f"{file} cannot be loaded ({str(error)[:120]!r}): export or copy the model again") from None


def padded(documents: Sequence[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids int64 (B, L), filled up on the right, and int32 (B, L), 1 for tokens and 0 for padding."""
    longest = max(map(len, documents))
    ids_BL = np.full((len(documents), longest), pad_id, np.int64)
    mask_BL = np.zeros((len(documents), longest), np.int32)
    for row, document in enumerate(documents):
        ids_BL[row, : len(document)] = document
        mask_BL[row, : len(document)] = 1
    return ids_BL, mask_BL


def _int8_forward(file: Path) -> Forward:
    """Each document alone, in one thread; as many at a time as there are processors."""
    session, pool = onnx_session(file, threads=1), ThreadPoolExecutor(processors(), thread_name_prefix="encoder")

    def alone(document: Sequence[int]) -> np.ndarray:
        ids_1L = np.array([document], np.int64)
        return np.asarray(session.run(None, {"ids": ids_1L, "mask": np.ones_like(ids_1L, np.int32)})[0])

    def forward(documents: Sequence[Sequence[int]]) -> np.ndarray:
        run = map if len(documents) == 1 else pool.map
        return np.concatenate(list(run(alone, documents)))

    return forward


def _fp32_forward(file: Path, pad_id: int) -> Forward:
    """Small padded batches, each in one thread; as many at a time as there are processors."""
    session, pool = onnx_session(file, threads=1), ThreadPoolExecutor(processors(), thread_name_prefix="encoder")

    def together(documents: Sequence[Sequence[int]]) -> np.ndarray:
        ids_BL, mask_BL = padded(documents, pad_id)
        return np.asarray(session.run(None, {"ids": ids_BL, "mask": mask_BL})[0])

    def forward(documents: Sequence[Sequence[int]]) -> np.ndarray:
        batches = list(batches_by_length(list(map(len, documents)), budget=_THREAD_TOKENS))
        run = map if len(batches) == 1 else pool.map
        vectors = np.concatenate(list(run(lambda rows: together([documents[row] for row in rows]), batches)))
        return vectors[np.argsort([row for rows in batches for row in rows])]

    return forward


def _torch_forward(folder: Path, device: str) -> Forward:
    _require_torch(folder)
    from codesage.encoder.weights import load_encoder

    return forward_of(load_encoder(folder).to(device))


def _require_torch(folder: Path) -> None:
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise CodesageError(
            f"{folder} holds no {INT8} or {FP32}, and torch is not installed: "
            "pip install 'codesage[train]', or export the model where torch is installed"
        )


def forward_of(encoder: "Encoder", autocast: Callable[[], AbstractContextManager] = nullcontext) -> Forward:
    """What gives unit vectors, float32 (n, width), of token ids; it computes on the encoder's device, under `autocast`."""
    import torch

    def forward(documents: Sequence[Sequence[int]]) -> np.ndarray:
        with torch.inference_mode(), autocast():
            return torch.nn.functional.normalize(encoder.embed(documents).float(), dim=-1).cpu().numpy()

    return forward


def _fingerprint(folder: Path, artifact: Artifact | None) -> str:
    if artifact:
        return artifact.fingerprint
    names = (*_WEIGHTS, FP32, INT8)
    return next((sha256_of(folder / name) for name in names if (folder / name).is_file()), "empty")
