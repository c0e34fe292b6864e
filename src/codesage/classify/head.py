"""A linear head on frozen vectors: multinomial logistic regression.

In: vectors and labels. Out: a head that gives each label a probability. The weights minimise the mean cross entropy plus an
L2 penalty: a convex problem, solved to its minimum by L-BFGS in float64, so there is no learning rate and no seed. Vectors are
standardised first, since those of an encoder differ little from each other. Applying a head needs numpy alone.
Shapes: N rows, D width, C labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from codesage.artifacts import open_artifact, publish
from codesage.errors import CodesageError

FILE = "head.npz"
STRENGTHS = (1e-3, 1e-2, 1e-1)  # of the penalty, tried where none is given
_STEPS = 200


@dataclass(frozen=True, slots=True)
class Head:
    """`weight_CD` and `bias_C` act on standardised vectors."""

    labels: tuple[str, ...]
    weight_CD: np.ndarray
    bias_C: np.ndarray
    mean_D: np.ndarray
    scale_D: np.ndarray

    def probabilities(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Of each label, float64 (N, C), rows add up to 1.

        CodesageError when the vectors are of another width, or one is not finite.
        """
        if vectors_ND.shape[1] != len(self.mean_D):
            raise CodesageError(
                f"vectors of width {vectors_ND.shape[1]}, but the head was trained on {len(self.mean_D)}: "
                "give the model it was trained with"
            )
        if not np.isfinite(vectors_ND).all():
            raise CodesageError("a vector is not finite: train or export the model again")
        scores_NC = (vectors_ND - self.mean_D) / self.scale_D @ self.weight_CD.T + self.bias_C
        powers_NC = np.exp(scores_NC - scores_NC.max(axis=1, keepdims=True))
        return powers_NC / powers_NC.sum(axis=1, keepdims=True)

    def predict(self, vectors_ND: np.ndarray) -> list[str]:
        """The most probable label of each row."""
        return [self.labels[best] for best in self.probabilities(vectors_ND).argmax(axis=1)]


def fit(vectors_ND: np.ndarray, labels: Sequence[str], *, strength: float = 1e-2) -> Head:
    """The head that minimises mean cross entropy + strength / 2 * |weights|^2; the bias is free.

    CodesageError when rows and labels differ in number, there are not two labels, or a vector is not finite.
    """
    import torch
    from torch.nn import functional as F

    from codesage.training.uncompiled import LBFGS

    if len(vectors_ND) != len(labels):
        raise CodesageError(f"{len(vectors_ND)} vectors, but {len(labels)} labels: expected one for each")
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise CodesageError(f"all rows have the label {names[0]!r}: expected two labels or more" if names else "no rows")
    if not np.isfinite(vectors_ND).all():
        raise CodesageError("a vector is not finite: train or export the model again")
    mean_D, scale_D = vectors_ND.mean(axis=0, dtype=np.float64), vectors_ND.std(axis=0, dtype=np.float64)
    scale_D = np.where(scale_D > 0, scale_D, 1.0)
    x_ND = torch.from_numpy((vectors_ND - mean_D) / scale_D)
    y_N = torch.tensor([names.index(label) for label in labels])
    weight_CD = torch.zeros(len(names), x_ND.shape[1], dtype=torch.float64, requires_grad=True)
    bias_C = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
    solver = LBFGS([weight_CD, bias_C], max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = F.cross_entropy(x_ND @ weight_CD.T + bias_C, y_N) + strength / 2 * weight_CD.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return Head(names, weight_CD.detach().numpy(), bias_C.detach().numpy(), mean_D, scale_D)


def save(head: Head, out: Path | str, *, settings: dict, facts: dict) -> None:
    """Publish `head` at `out` (an artifact of kind "head")."""
    with publish(out, "head", settings=settings, facts={**facts, "labels": list(head.labels)}) as folder:
        write(head, folder)


def write(head: Head, folder: Path) -> None:
    """Write the file of `head` into the folder of an artifact."""
    np.savez(folder / FILE, weight=head.weight_CD, bias=head.bias_C, mean=head.mean_D, scale=head.scale_D)


def load(path: Path | str) -> tuple[Head, dict]:
    """The head at `path`, and the facts of its training. CodesageError when it is missing or damaged."""
    artifact = open_artifact(path, "head")
    try:
        with np.load(artifact.path / FILE, allow_pickle=False) as arrays:
            parts = [arrays[name] for name in ("weight", "bias", "mean", "scale")]
        head = Head(tuple(artifact.facts["labels"]), *parts)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise CodesageError(f"{path} holds no readable head ({error}): train it again") from None
    labels, width = len(head.labels), head.mean_D.size
    shapes = [part.shape for part in parts]
    if shapes != [(labels, width), (labels,), (width,), (width,)] or not all(isinstance(one, str) for one in head.labels):
        raise CodesageError(f"{path} holds weights that do not fit its {labels} labels: train it again")
    return head, artifact.facts
