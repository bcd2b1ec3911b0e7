"""Scores of a classifier: against scikit-learn, by hand where it has none, and a temperature that is found again.

pytest tests/evaluation/test_classification.py
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, log_loss, precision_score, recall_score

from stargan_ray.errors import InputError
from stargan_ray.evaluation.classification import calibration_error, fit_temperature, judge_classifier, tempered
from stargan_ray.evaluation.classification import log_loss as our_log_loss

CLASSES = ("anger", "fear", "sadness", "neutral")


def drawn(n: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated by construction: each label is drawn from its own row of probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.5), n)
    labels = np.array([rng.choice(classes, p=row) for row in probabilities])
    return probabilities, labels


def test_every_figure_is_that_of_scikit_learn() -> None:
    probabilities, labels = drawn(500, 1)
    scores, seen = judge_classifier(probabilities, labels, CLASSES), probabilities.argmax(1)
    assert scores.accuracy.value == pytest.approx((seen == labels).mean())
    assert scores.macro_f1 == pytest.approx(f1_score(labels, seen, average="macro"))
    assert scores.log_loss == pytest.approx(log_loss(labels, probabilities))
    assert np.array_equal(scores.confusion, confusion_matrix(labels, seen))
    precision, recall = (f(labels, seen, average=None) for f in (precision_score, recall_score))
    for k, name in enumerate(CLASSES):
        assert scores.by_class[name].precision.value == pytest.approx(precision[k])
        assert scores.by_class[name].recall.value == pytest.approx(recall[k])
        assert scores.by_class[name].rows == (labels == k).sum()


def test_a_class_without_rows_is_left_out_and_one_never_seen_has_no_precision() -> None:
    probabilities = np.tile([0.7, 0.1, 0.1, 0.1], (10, 1))
    scores = judge_classifier(probabilities, np.array([0] * 8 + [1] * 2), CLASSES)
    assert set(scores.by_class) == {"anger", "fear"}
    assert scores.by_class["fear"].precision.n == 0
    assert scores.by_class["fear"].f1 == 0
    assert scores.section()["by_class"]["fear"]["rows"] == 2


def test_the_calibration_error_by_hand() -> None:
    # bin of 0.9: two of four right, gap 0.4; bin of 0.6: both right, gap 0.4
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 1, 1, 0, 0])
    assert calibration_error(probabilities, labels, bins=5) == pytest.approx((4 * 0.4 + 2 * 0.4) / 6)
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_a_large() -> None:
    probabilities, labels = drawn(20_000, 2)
    assert calibration_error(probabilities, labels) < 0.02
    assert calibration_error(tempered(probabilities, 0.3), labels) > 0.1


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_applied_is_found_again(temperature: float) -> None:
    probabilities, labels = drawn(20_000, 3)
    found = fit_temperature(tempered(probabilities, 1 / temperature), labels)
    assert found == pytest.approx(temperature, rel=0.05)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_a_temperature_keeps_the_order_and_the_fitted_one_never_loses(seed: int, temperature: float) -> None:
    probabilities, labels = drawn(60, seed)
    after = tempered(probabilities, temperature)
    assert np.allclose(after.sum(1), 1)
    assert np.array_equal(after.argmax(1), probabilities.argmax(1))
    best = tempered(probabilities, fit_temperature(probabilities, labels))
    assert our_log_loss(best, labels) <= our_log_loss(after, labels) + 1e-6


def test_nothing_to_judge_and_labels_outside_are_refused() -> None:
    with pytest.raises(InputError):
        judge_classifier(np.empty((0, 4)), np.empty(0, int), CLASSES)
    with pytest.raises(InputError, match=r"allowed are 0\.\.3"):
        judge_classifier(np.full((1, 4), 0.25), np.array([4]), CLASSES)
