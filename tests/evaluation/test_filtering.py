"""Filter scores on hand-made decisions and against scikit-learn.

Run: python -m pytest tests/evaluation/test_filtering.py
"""

import math

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from stargan_ray.data.schema import Truth
from stargan_ray.errors import InputError
from stargan_ray.evaluation.filtering import by_class, corrupted_rows, judge_filter, threshold_curve


def test_a_hand_made_filter():
    #            dropped, wrong ×3 | dropped, right | kept, wrong | kept, right ×5
    kept = [False, False, False, False, True, True, True, True, True, True]
    wrong = [True, True, True, False, True, False, False, False, False, False]
    scores = judge_filter(kept, wrong)
    assert (scores.rows, scores.kept) == (10, 6)
    assert (scores.precision.value, scores.precision.n) == (3 / 4, 4)
    assert (scores.recall.value, scores.recall.n) == (3 / 4, 4)
    assert (scores.kept_correct.value, scores.kept_correct.n) == (5 / 6, 6)
    assert scores.noise.value == 4 / 10
    assert scores.remaining_noise.value == 1 / 6


def test_precision_and_recall_are_those_of_noise_detection():
    generator = np.random.default_rng(0)
    wrong, kept = generator.random(500) < 0.3, generator.random(500) < 0.6
    scores = judge_filter(kept, wrong)
    assert scores.precision.value == pytest.approx(precision_score(wrong, ~kept))
    assert scores.recall.value == pytest.approx(recall_score(wrong, ~kept))


def test_a_filter_that_drops_nothing_has_no_precision():
    scores = judge_filter([True, True], [True, False])
    assert math.isnan(scores.precision.value)
    assert scores.precision.n == 0
    assert scores.recall.value == 0.0


def test_classes_add_up_and_empty_ones_are_left_out():
    labels = np.array([0, 0, 0, 2, 2])
    kept = np.array([True, False, True, False, True])
    wrong = np.array([False, True, True, False, False])
    scores = by_class(labels, kept, wrong, ["neutral", "happiness", "sadness"])
    assert list(scores) == ["neutral", "sadness"]
    assert sum(one.rows for one in scores.values()) == 5
    assert scores["neutral"].recall.value == 0.5
    assert scores["sadness"].precision.value == 0.0


def test_a_higher_threshold_drops_more_and_bypassed_rows_stay():
    score = np.array([0.9, 0.7, 0.3, -np.inf, np.inf])
    wrong = np.array([False, False, True, True, True])
    curve = threshold_curve(score, wrong, [0.0, 0.5, 0.8, 1.0])
    assert [scores.kept for _, scores in curve] == [4, 3, 2, 1]
    assert [scores.recall.value for _, scores in curve] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 2 / 3])


def test_rows_are_matched_to_the_truth_by_key():
    truth = {key: Truth(key, "p", 0, 1.0, wrong) for key, wrong in (("a", True), ("b", False))}
    assert corrupted_rows(["b", "a", "b"], truth).tolist() == [False, True, False]
    with pytest.raises(InputError, match="1 of 2 rows have no truth, the first is 'z'"):
        corrupted_rows(["a", "z"], truth)


@pytest.mark.parametrize(("kept", "wrong"), [([], []), ([True], [True, False])])
def test_decisions_that_do_not_fit_are_refused(kept, wrong):
    with pytest.raises(InputError, match="one decision a row"):
        judge_filter(kept, wrong)


def test_a_label_outside_the_domains_is_refused():
    with pytest.raises(InputError, match=r"allowed are 0\.\.1"):
        by_class([0, 2], [True, True], [True, True], ["a", "b"])
