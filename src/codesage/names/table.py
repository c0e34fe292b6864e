"""A table of names that programs use in a certain context, counted on a corpus.

In: the features of a hidden name (surroundings.py) and the rules that suggest names for it (derived.py). Out: the
log-probability of every name of the table, and how often a rule is right. The table is a linear classifier: each feature has a
vector, their sum is compared with the vector of each name, and each language and kind has a frequency for each name. It comes
with a model for names (scripts/names_table.py) and needs numpy alone. Shapes: F features, V names, D width, G groups.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from codesage.errors import CodesageError
from codesage.languages import LANGUAGES
from codesage.names.units import KINDS

FILE = "names.npz"
_ARRAYS = {"features": np.uint32, "rows": np.int8, "row_scales": np.float16, "name_rows": np.int8, "name_scales": np.float16,
           "priors": np.uint8, "names": np.uint8, "facts": np.uint8}  # fmt: skip
NO_RULE = -7.0  # log-odds where no rule gives a name, or nothing is known of one that does
_PRIOR_STEP = 0.06  # of log-probabilities, in steps from 0 downwards


@dataclass(frozen=True, slots=True)
class Table:
    """What was counted: `weights` are those of the joint score of names (joint.py), by language."""

    features_F: np.ndarray  # uint32, ascending
    rows_FD: np.ndarray  # float32
    names: tuple[str, ...]
    name_rows_VD: np.ndarray  # float32
    priors_GV: np.ndarray  # float32, log-probabilities; a group is a language and a kind
    rules: dict[str, float]  # log-odds that a rule is right, by "language kind rule", " kind rule" and "rule"
    weights: dict[str, list[float]]
    places: dict[str, int] = field(init=False)  # of the names

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {name: place for place, name in enumerate(self.names)})

    def log_probabilities(self, features: Sequence[int], language: str, kind: str) -> np.ndarray:
        """Natural log-probability of each name, float32 (V,)."""
        wanted = np.asarray(features, np.uint32)
        places = np.minimum(np.searchsorted(self.features_F, wanted), len(self.features_F) - 1)
        known = places[self.features_F[places] == wanted]
        state_D = self.rows_FD[known].sum(axis=0) / max(1.0, len(known)) ** 0.5
        scores_V = self.name_rows_VD @ state_D + self.priors_GV[group_of(language, kind)]
        scores_V -= scores_V.max()
        return scores_V - np.log(np.exp(scores_V).sum())

    def odds(self, rules: Sequence[str], language: str, kind: str) -> list[float]:
        """Log-odds that each rule gives the right name, of the nearest group in which it was seen, highest first."""
        log_odds = (
            next((self.rules[key] for key in (f"{language} {kind} {one}", f" {kind} {one}", one) if key in self.rules), NO_RULE)
            for one in rules
        )
        return sorted(log_odds, reverse=True)


def group_of(language: str, kind: str) -> int:
    """The number of a language and a kind among all pairs of them."""
    return list(LANGUAGES).index(language) * len(KINDS) + KINDS.index(kind)


def save(table: Table, file: Path) -> None:
    """Write the table to a file, its vectors in int8 with a scale for each row."""
    rows, row_scales = _quantised(table.rows_FD)
    name_rows, name_scales = _quantised(table.name_rows_VD)
    facts = json.dumps({"rules": table.rules, "weights": table.weights}, separators=(",", ":")).encode()
    np.savez_compressed(
        file,
        features=table.features_F.astype(np.uint32),
        rows=rows,
        row_scales=row_scales,
        name_rows=name_rows,
        name_scales=name_scales,
        priors=np.clip(np.rint(-table.priors_GV / _PRIOR_STEP), 0, 255).astype(np.uint8),
        names=np.frombuffer("\n".join(table.names).encode(), np.uint8),
        facts=np.frombuffer(facts, np.uint8),
    )


def _quantised(rows_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale_N = np.maximum(np.abs(rows_ND).max(axis=1) / 127, 1e-6).astype(np.float16)
    return np.clip(np.rint(rows_ND / scale_N[:, None].astype(np.float32)), -127, 127).astype(np.int8), scale_N


def load(file: Path) -> Table:
    """The table in a file. CodesageError when it cannot be read, its arrays do not fit each other, or a number is NaN."""
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in _ARRAYS}
        if any(parts[name].dtype != kind for name, kind in _ARRAYS.items()):
            raise ValueError("an array has another type")
        facts = json.loads(parts["facts"].tobytes())
        names = tuple(parts["names"].tobytes().decode().split("\n"))
        table = Table(
            parts["features"],
            parts["rows"].astype(np.float32) * parts["row_scales"].astype(np.float32)[:, None],
            names,
            parts["name_rows"].astype(np.float32) * parts["name_scales"].astype(np.float32)[:, None],
            parts["priors"].astype(np.float32) * -_PRIOR_STEP,
            dict(facts["rules"]),
            dict(facts["weights"]),
        )
        numbers = parts["row_scales"], parts["name_scales"], list(table.rules.values()), *table.weights.values()
        if not all(np.isfinite(each).all() for each in numbers):
            raise ValueError("a number is not finite")
        groups = len(LANGUAGES) * len(KINDS)
        if len(table.rows_FD) != len(table.features_F) or table.name_rows_VD.shape != (len(names), table.rows_FD.shape[1]):
            raise ValueError("its arrays differ in length")
        if table.priors_GV.shape != (groups, len(names)):
            raise ValueError("its priors differ in shape")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CodesageError(f"{file} holds no readable table of names ({error}): copy the model again") from None
    return table
