"""Filter scores on hand-made decisions and against scikit-learn.

Run: python -m pytest tests/evaluation/test_filtering.py
"""

import math

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from stargan_ray.data.schema import Truth
from stargan_ray.errors import InputError
from stargan_ray.evaluation.filtering import by_class, corrupted_rows, judge_filter
from stargan_ray.evaluation.intervals import wilson


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


def test_weights_count_in_parts_and_weights_of_0_and_1_as_decisions():
    weight = np.array([1.0, 0.5, 0.25, 0.0])
    wrong = np.array([False, True, False, True])
    scores = judge_filter(weight, wrong)
    assert scores.kept == 3
    assert scores.kept_correct.value == pytest.approx(1.25 / 2)
    assert scores.recall.value == pytest.approx(1.5 / 2)
    assert scores.remaining_noise.value == pytest.approx(0.5 / 1.75)
    assert scores.precision.value == pytest.approx(1.5 / 2.25)
    kept = np.random.default_rng(1).random(300) < 0.5
    bad = np.random.default_rng(2).random(300) < 0.4
    assert judge_filter(kept, bad) == judge_filter(kept.astype(float), bad)
    assert judge_filter(kept, bad).recall == wilson(int((~kept & bad).sum()), int(bad.sum()))
    with pytest.raises(InputError, match="allowed are 0 to 1"):
        judge_filter([1.5, 0], [True, False])
