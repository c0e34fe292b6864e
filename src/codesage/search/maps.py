"""A map of a repository: every function a point, similar ones close to each other.

In: an index. Out: points in [0, 1] x [0, 1], the two directions in which the vectors differ most (principal components).
Deterministic: the same index gives the same map.
"""

import numpy as np

from codesage.search.index import Index


def map_of(index: Index, *, most: int = 5_000) -> dict:
    """Points of up to `most` functions and classes: x, y, path, name, line. If there are more, an evenly spaced choice."""
    with index.snapshot():
        view = index.view()
        lines = dict(index.connection.execute("SELECT id, start_line FROM spans"))
        shown = [chunk for chunk, kind in enumerate(view.kinds) if kind != "window"]
    shown = [shown[at] for at in np.linspace(0, len(shown) - 1, min(most, len(shown))).astype(int)]
    if len(shown) < 3:
        return {"root": str(index.root), "points": []}
    spots = _spread(_components(view.centred_PD[view.starts_N[shown]]))
    points = [
        {
            "x": round(float(x), 4),
            "y": round(float(y), 4),
            "path": view.paths[chunk],
            "name": view.names[chunk],
            "line": lines[int(view.numbers_N[chunk])],
        }
        for (x, y), chunk in zip(spots, shown, strict=True)
    ]
    return {"root": str(index.root), "points": points}


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
