"""Code in different languages is compared without the direction that marks the language."""

import numpy as np
import pytest

from codesage.encoder.centring import language_means, means_of_sums, without_language


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


def test_the_means_of_several_sets_are_those_of_one() -> None:
    vectors = _unit(np.random.default_rng(3).normal(size=(60, 8)) + 1)
    languages = ["go"] * 20 + ["c"] * 39 + ["php"]
    sums = []
    for rows in (range(0, 30), range(30, 31), range(31, 60)):
        own = {name: [row for row in rows if languages[row] == name] for name in languages}
        sums.append({name: (vectors[chosen].sum(0), len(chosen)) for name, chosen in own.items() if chosen})
    means, expected = means_of_sums(sums), language_means(vectors, languages)
    assert means.keys() == expected.keys() == {"go", "c"}
    for name, mean_D in expected.items():
        np.testing.assert_allclose(means[name], mean_D, atol=1e-6)
    none = {"java": (np.zeros(8, np.float32), 0)}
    np.testing.assert_allclose(means_of_sums([*sums, none])["java"], vectors.sum(0) / 76, atol=1e-6)
    assert means_of_sums(sums[1:2]) == means_of_sums([]) == {}
