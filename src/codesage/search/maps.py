"""A map of repositories: every function a point, similar ones close to each other.

In: indexes. Out: points in [0, 1] x [0, 1], the two directions in which the vectors differ most (principal components).
Deterministic: the same indexes give the same map.
"""

from collections.abc import Callable, Sequence

import numpy as np

from codesage.search.index import Index


def points_of(
    indexes: Sequence[tuple[Index, Callable[[str], str]]], *, means: dict[str, np.ndarray] | None = None, most: int = 5_000
) -> list[dict]:
    """Points of up to `most` functions and classes: x, y, path, name, line. If there are more, an evenly spaced choice.

    Each index comes with a function from its paths to those that are shown. `means` is subtracted from the vectors of each
    language (None: those of each index).
    """
    views, lines = [], []
    for index, _ in indexes:
        with index.snapshot():
            views.append(index.view())
            lines.append(dict(index.connection.execute("SELECT id, start_line FROM spans")))
    found = [(number, chunk) for number, view in enumerate(views) for chunk, kind in enumerate(view.kinds) if kind != "window"]
    if len(found) < 3:
        return []
    found = [found[at] for at in np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]
    vectors = [view.centred_PD if means is None else view.without(means) for view in views]
    spots = _spread(_components(np.stack([vectors[number][views[number].starts_N[chunk]] for number, chunk in found])))
    return [
        {
            "x": round(float(x), 4),
            "y": round(float(y), 4),
            "path": indexes[number][1](views[number].paths[chunk]),
            "name": views[number].names[chunk],
            "line": lines[number][int(views[number].numbers_N[chunk])],
        }
        for (x, y), (number, chunk) in zip(spots, found, strict=True)
    ]


def _components(vectors_ND: np.ndarray) -> np.ndarray:
    """The first two principal components, float (N, 2); their signs are fixed by the largest entry."""
    centred = vectors_ND - vectors_ND.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    return centred @ axes


def _spread(places_N2: np.ndarray) -> np.ndarray:
    """Each coordinate scaled so that 98% of the points fill the map; the others lie on its border."""
    low, high = np.quantile(places_N2, [0.01, 0.99], axis=0)
    return ((places_N2 - low) / np.where(high > low, high - low, 1)).clip(0, 1)
