"""Cross-validation of a head: how well it predicts the labels of rows that it has not seen.

In: vectors and labels. Out: a prediction for every row by a head that was trained on the other folds, and the metrics of these
predictions. Folds are stratified: each has its share of every label. Rows with equal code are in one fold, so that no head has
seen the code that it predicts; `code_N` numbers the codes of the rows (`data.codes`). The strength of the penalty is chosen
inside each training part, never on the rows that are predicted. Shapes: N rows, D width, G groups of rows with equal code.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesage.classify.head import STRENGTHS, fit
from codesage.errors import CodesageError

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Validated:
    """Predictions in one or more runs, such as folds. `runs`: for each, the rows it predicts and the labels it gives them."""

    labels: Sequence[str]
    runs: Sequence[tuple[np.ndarray, Sequence[str]]]

    @property
    def predicted(self) -> list[str]:
        """The prediction for each row, of the last run that has one; rows without one are left out."""
        last = {int(row): label for rows, labels in self.runs for row, label in zip(rows, labels, strict=True)}
        return [last[row] for row in sorted(last)]

    @property
    def macro_f1(self) -> tuple[float, ...]:
        """Of each run, in 0..1."""
        return tuple(macro_f1(predicted, np.asarray(self.labels)[rows].tolist()) for rows, predicted in self.runs)

    @property
    def accuracy(self) -> tuple[float, ...]:
        """Of each run, in 0..1."""
        truth_N = np.asarray(self.labels)
        return tuple(float((np.asarray(predicted) == truth_N[rows]).mean()) for rows, predicted in self.runs)

    def outcomes(self) -> np.ndarray:
        """Of each row that a run predicts, the numbers of the true label and of each run's, or -1: int64 (rows, 1 + runs)."""
        names = sorted({*self.labels, *(label for _, predicted in self.runs for label in predicted)})
        number_of = {name: number for number, name in enumerate(names)}
        numbers = np.full((len(self.labels), 1 + len(self.runs)), -1, np.int64)
        numbers[:, 0] = [number_of[label] for label in self.labels]
        for run, (rows, predicted) in enumerate(self.runs, 1):
            numbers[rows, run] = [number_of[label] for label in predicted]
        return numbers[(numbers[:, 1:] >= 0).any(axis=1)]

    def figures(self) -> dict[str, float]:
        """Means over the runs times 100, and their standard deviation."""
        return {
            "macro F1": round(100 * float(np.mean(self.macro_f1)), 2),
            "standard deviation": round(100 * float(np.std(self.macro_f1)), 2),
            "accuracy": round(100 * float(np.mean(self.accuracy)), 2),
        }


def check(
    labels: Sequence[str], folds: int, code_N: Sequence[int], *, rows: str = "rows", cure: str = "leave the label out"
) -> None:
    """CodesageError when there are not two labels, or a label has fewer different codes than folds (0: not measured).

    `rows`: what they are called. `cure`: what helps against a label that is too rare.
    """
    counts = Counter(labels)
    if len(counts) < 2:
        raise CodesageError(f"all {rows} have the label {labels[0][:40]!r}: expected two labels or more")
    if not folds:
        return
    if folds < 2:
        raise CodesageError(f"{folds} folds: expected 2 or more, or 0 (do not measure)")
    different = _different(labels, code_N)
    rarest = min(counts, key=different.__getitem__)
    if different[rarest] < folds:
        found = f"{counts[rarest]} rows"
        if different[rarest] < counts[rarest]:
            codes = f"{different[rarest]} different codes" if different[rarest] > 1 else "one code"
            found += f" with {codes}, and equal codes stay in one fold"
        raise CodesageError(
            f"{folds} folds, but label {rarest[:40]!r} has {found}: expected a code of each label in each fold: {cure}"
        )


def _different(labels: Sequence[str], code_N: Sequence[int]) -> Counter[str]:
    """How many different codes each label has."""
    return Counter(label for label, _ in set(zip(labels, map(int, code_N), strict=True)))


def stratified(labels: Sequence[str], folds: int, code_N: Sequence[int], *, seed: int) -> np.ndarray:
    """Which fold each row is in, int64 (N,). Rows with equal code are in one fold. CodesageError as in `check`.

    A code that has several labels counts as one of the rarest of them, and is drawn before the others of that label. It goes
    where this label has the fewest rows, and among such folds where its other labels have the fewest.
    """
    check(labels, folds, code_N)
    different = _different(labels, code_N)
    rows_of: dict[int, list[int]] = {}
    for row, code in enumerate(code_N):
        rows_of.setdefault(int(code), []).append(row)
    groups = list(rows_of.values())
    counts = [Counter(labels[row] for row in rows) for rows in groups]
    rarest_G = np.array([min(own, key=lambda label: (different[label], label)) for own in counts])
    rng, fold_N = np.random.default_rng(seed), np.empty(len(labels), np.int64)
    drawn = {label: rng.permutation(np.flatnonzero(rarest_G == label)).tolist() for label in sorted(different)}
    held = {label: [0] * folds for label in different}  # rows in each fold
    for label in sorted(different, key=lambda label: (different[label], label)):
        for group in sorted(drawn[label], key=lambda group: (-len(counts[group]), -len(groups[group]))):
            others = [held[own] for own in counts[group] if own != label]
            loads = [(held[label][fold], sum(one[fold] for one in others)) for fold in range(folds)]
            fold = loads.index(min(loads))
            fold_N[groups[group]] = fold
            for own, rows in counts[group].items():
                held[own][fold] += rows
    return fold_N


def cross_validated(
    vectors_ND: np.ndarray, labels: Sequence[str], code_N: Sequence[int], *, folds: int = FOLDS, seed: int = 0
) -> Validated:
    """Predict every row by a head trained on the other folds."""
    fold_N, labels_N, runs = stratified(labels, folds, code_N, seed=seed), np.asarray(labels), []
    numbers_N = np.asarray(code_N)
    for fold in range(folds):
        seen, unseen = fold_N != fold, fold_N == fold
        strength = best_strength(vectors_ND[seen], labels_N[seen].tolist(), numbers_N[seen].tolist(), seed=seed)
        head = fit(vectors_ND[seen], labels_N[seen].tolist(), strength=strength)
        runs.append((np.flatnonzero(unseen), head.predict(vectors_ND[unseen])))
    return Validated(labels, runs)


def tested(vectors_ND: np.ndarray, labels: Sequence[str], parts: Sequence[str], code_N: Sequence[int]) -> Validated:
    """Predict the test part by a head trained on the training part; the penalty is chosen on the validation part, if any.

    `parts`: "train", "valid" or "test" for each row. A label that occurs in the test part only has an F1 of 0.
    """
    labels_N, part_N = np.asarray(labels), np.asarray(parts)
    seen, unseen, valid = part_N == "train", part_N == "test", part_N == "valid"
    train_ND, train = vectors_ND[seen], labels_N[seen].tolist()
    if valid.any():
        strength = _best_on(vectors_ND, labels_N, seen, valid)
    else:
        strength = best_strength(train_ND, train, np.asarray(code_N)[seen].tolist())
    predicted = fit(train_ND, train, strength=strength).predict(vectors_ND[unseen])
    return Validated(labels, [(np.flatnonzero(unseen), predicted)])


def macro_f1(predicted: Sequence, labels: Sequence) -> float:
    """Unweighted mean of the F1 score over all classes that occur, in `labels` or in `predicted` alone; in 0..1."""
    predicted_N, labels_N = np.asarray(predicted), np.asarray(labels)
    scores = []
    for label in np.union1d(labels_N, predicted_N):
        true = int(((predicted_N == label) & (labels_N == label)).sum())
        scores.append(2 * true / (int((predicted_N == label).sum()) + int((labels_N == label).sum())))
    return float(np.mean(scores)) if scores else 0.0


def best_strength(vectors_ND: np.ndarray, labels: Sequence[str], code_N: Sequence[int], *, seed: int = 0) -> float:
    """The strength of the penalty with the best macro F1 on a fifth of these rows, trained on the others.

    Of equal ones, the stronger.
    """
    rarest = min(_different(labels, code_N).values())
    if rarest < 2:
        return STRENGTHS[-1]
    unseen = stratified(labels, min(5, rarest), code_N, seed=seed + 1) == 0
    return _best_on(vectors_ND, np.asarray(labels), ~unseen, unseen)


def _best_on(vectors_ND: np.ndarray, labels_N: np.ndarray, seen: np.ndarray, unseen: np.ndarray) -> float:
    scores = {}
    for strength in STRENGTHS:
        head = fit(vectors_ND[seen], labels_N[seen].tolist(), strength=strength)
        scores[strength] = macro_f1(head.predict(vectors_ND[unseen]), labels_N[unseen].tolist())
    return max(scores, key=lambda strength: (scores[strength], strength))
