"""Code in different languages is compared without the direction that marks the language."""

import numpy as np
import pytest

from codesage.encoder.centring import without_language


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_meaning_decides_without_the_direction_of_the_language() -> None:
    chance = np.random.default_rng(0)
    meaning = chance.normal(size=(200, 32))
    directions = {"php": 2 * chance.normal(size=32), "go": 2 * chance.normal(size=32)}
    php, go = (_unit(meaning + direction + 0.3 * chance.normal(size=meaning.shape)) for direction in directions.values())
    mixed = np.concatenate([php, go])
    languages = ["php"] * 200 + ["go"] * 200

    def recall(vectors: np.ndarray) -> float:
        scores = vectors[:200] @ vectors.T  # php searches in both languages
        np.fill_diagonal(scores[:, :200], -1)
        return float((scores.argmax(1) == np.arange(200, 400)).mean())

    assert recall(mixed) < 0.2
    assert recall(without_language(mixed, languages)) > 0.9


def test_small_sets_keep_their_vectors() -> None:
    vectors = _unit(np.random.default_rng(1).normal(size=(3, 8)))
    np.testing.assert_array_equal(without_language(vectors[:1], ["c"]), vectors[:1])
    np.testing.assert_array_equal(without_language(vectors, ["c", "go", "php"]), vectors)
    two = without_language(vectors[:2], ["c", "c"])
    assert (two * vectors[:2]).sum(1).min() > 0.98
    assert without_language(np.empty((0, 8), np.float32), []).shape == (0, 8)


def test_rows_are_of_unit_length_and_names_match() -> None:
    vectors = _unit(np.random.default_rng(2).normal(size=(50, 8)) + 2)
    centred = without_language(vectors, ["java"] * 50)
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, atol=1e-6)
    assert np.isfinite(without_language(np.repeat(vectors[:1], 40, 0), ["c"] * 40)).all()  # all vectors equal
    with pytest.raises(ValueError, match="50 vectors, but 1 languages"):
        without_language(vectors, ["java"])
