"""Accuracy, confusion and expression gain against scikit-learn, scipy and hand-made logits.

Run: python -m pytest tests/evaluation/test_expression_metrics.py
"""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix

from stargan_ray.errors import InputError
from stargan_ray.evaluation.expression import accuracy, accuracy_by_domain, confusion, gain

NAMES = ["neutral", "happiness", "sadness"]


def _scores(n=300, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=n)
    return generator.normal(size=(n, 3)) + np.eye(3)[labels], labels


def test_accuracy_and_confusion_are_scikit_learns():
    logits, labels = _scores()
    seen = logits.argmax(1)
    assert accuracy(logits, labels).value == pytest.approx(accuracy_score(labels, seen))
    assert np.array_equal(confusion(logits, labels), confusion_matrix(labels, seen))


def test_each_domain_stands_alone_and_absent_ones_are_left_out():
    logits, labels = _scores()
    chosen = labels != 1
    by_domain = accuracy_by_domain(logits[chosen], labels[chosen], NAMES, np.arange(chosen.sum()) % 20)
    assert list(by_domain) == ["neutral", "sadness"]
    counts = confusion(logits[chosen], labels[chosen])
    assert by_domain["sadness"].value == pytest.approx(counts[2, 2] / counts[2].sum())
    assert by_domain["sadness"].n == counts[2].sum()


def test_gain_is_the_difference_of_the_target_probabilities():
    after, target = _scores(seed=1)
    before, _ = _scores(seed=2)
    row = np.arange(len(target))
    expected = softmax(after, axis=1)[row, target] - softmax(before, axis=1)[row, target]
    assert gain(after, before, target) == pytest.approx(expected)
    assert (gain(before, before, target) == 0).all()
    assert gain([[1000.0, 0.0]], [[0.0, 1000.0]], [0]) == pytest.approx([1.0])  # no overflow


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (np.zeros((2, 3)), [0], "logits"),
        (np.zeros((1, 3)), [3], r"allowed are 0\.\.2"),
        (np.full((1, 3), np.nan), [0], "not finite"),
        (np.zeros((0, 3)), [], "logits"),
    ],
)
def test_bad_input_is_refused(logits, labels, says):
    with pytest.raises(InputError, match=says):
        accuracy(logits, labels)
