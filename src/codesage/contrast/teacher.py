"""A teacher: another sentence encoder, whose vectors of the pairs' texts guide Stage II.

In: the teacher and Tokens. Out: an artifact of kind "teacher" with one vector per text, computed once, and a loss that pulls
the similarities among the texts of a batch towards the teacher's. Only similarities are compared, so the teacher may have
any width and no projection head is needed. Shapes: P pairs, W width of the teacher, D width of the encoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codesage.artifacts import publish
from codesage.contrast import columns
from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError
from codesage.tokenizer import Tokenizer

FILE = "texts.npy"
_BLOCK = 4096  # texts encoded between two progress reports


class TeachesTexts(Protocol):
    """A sentence encoder that can teach, such as codesage.encoder.sentence.SentenceEncoder."""

    @property
    def name(self) -> str:
        """The name for the model's card."""
        ...

    @property
    def fingerprint(self) -> str:
        """Encoders with equal fingerprints give equal vectors."""
        ...

    def encode(self, texts: list[str]) -> np.ndarray:
        """Vectors (n, W) of the unchanged texts."""
        ...


@dataclass(frozen=True, slots=True)
class Teacher:
    """An opened artifact of kind "teacher"."""

    name: str
    fingerprint: str
    texts_PW: np.ndarray  # float16, memory-mapped: a unit vector for each pair with a text, zeros for the others

    @property
    def facts(self) -> dict:
        """The facts about the teacher that the model's card lists."""
        return {"name": self.name, "fingerprint": self.fingerprint, "width": self.texts_PW.shape[1]}


def write(
    teacher: TeachesTexts,
    tokens: Tokens,
    tokenizer: Tokenizer,
    out: Path | str,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Encode the texts of all pairs and publish the vectors at `out`.

    Texts are decoded from the tokens, so they are cut like the tokens; byte-level ids decode to the original text. `progress`
    is called with the number of texts done and the total. CodesageError when the teacher returns vectors that are zero or not
    finite, or when no pair has a text.
    """
    text = tokens.pairs.text
    rows = np.flatnonzero(text.lengths > 0)
    if not len(rows):
        raise CodesageError(f"{tokens.path} holds no pairs with a text: a teacher has nothing to encode")
    facts = {"name": teacher.name, "model": teacher.fingerprint, "tokens": tokens.fingerprint, "texts": len(rows)}
    with publish(out, "teacher", settings={}, facts=facts) as folder:
        vectors_PW: np.memmap | None = None
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            encoded = _checked(teacher, [tokenizer.decode(text[row]) for row in block.tolist()])
            if vectors_PW is None:
                shape = len(tokens.pairs), encoded.shape[1]
                vectors_PW = np.lib.format.open_memmap(folder / FILE, "w+", np.float16, shape)
            vectors_PW[block] = encoded
            progress(start + len(block), len(rows))
        if vectors_PW is not None:
            vectors_PW.flush()


def _checked(teacher: TeachesTexts, texts: list[str]) -> np.ndarray:
    vectors = np.asarray(teacher.encode(texts), np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(vectors).all() or not norms.all():
        raise CodesageError(f"the teacher {teacher.name} gives vectors that are zero or not finite: use another one")
    return vectors / norms


def read(path: Path | str, tokens: Tokens) -> Teacher:
    """Open the vectors at `path`, memory-mapped. Raises the errors of `columns.read`."""
    artifact, vectors_PW = columns.read(
        path, tokens, kind="teacher", command="codesage teach", file=FILE, dtype=np.float16, ndim=2, mapped=True
    )
    return Teacher(str(artifact.facts.get("name")), str(artifact.facts.get("model")), vectors_PW)


def teaching_loss(text_PD: Tensor, teacher_PW: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Mean over the texts i of KL(t_i || s_i): how far the encoder's similarities among texts are from the teacher's.

    t_i and s_i are the softmax of cos(i, j) / temperature over the other texts j, for the teacher and for the encoder. The
    teacher's rows must have unit length. No gradient flows to the teacher. Returns a scalar of the texts' dtype, at least
    float32. It is 0 for fewer than three texts, because their similarities have no order.
    """
    text_PD = text_PD if text_PD.dtype == torch.float64 else text_PD.float()
    if len(text_PD) < 3:
        return text_PD.sum() * 0.0
    with torch.autocast(text_PD.device.type, enabled=False):
        unit_PD, unit_PW = F.normalize(text_PD, dim=-1), teacher_PW.to(text_PD.dtype)
        own_PP = torch.eye(len(unit_PD), dtype=torch.bool, device=unit_PD.device)
        student_PP = (unit_PD @ unit_PD.T / temperature).masked_fill(own_PP, -torch.inf).log_softmax(dim=1)
        target_PP = (unit_PW @ unit_PW.T / temperature).masked_fill(own_PP, -torch.inf).log_softmax(dim=1)
        surplus_PP = (target_PP - student_PP).masked_fill(own_PP, 0.0)  # avoids -inf minus -inf
        return (target_PP.exp() * surplus_PP).sum() / len(unit_PD)
