"""Policies over their thresholds against a known truth.

Run: python -m pytest tests/evaluation/test_filter_curves.py
"""

import numpy as np
import pytest

from stargan_ray.data.policies import decide
from stargan_ray.data.policy import Policy
from stargan_ray.evaluation.filter_curves import curves_figure, policy_curves
from stargan_ray.evaluation.filtering import judge_filter

CLASSES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 800)
    wrong = rng.random(800) < 0.3
    label = np.where(wrong, (true + rng.integers(1, 4, 800)) % 4, true)
    logits = rng.normal(0, 1, (800, 4))
    logits[np.arange(800), true] += 3
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = [CLASSES[k] for k in label]
    labels[5], wrong[5] = None, False
    return labels, scores, wrong


def test_each_point_is_the_policy_at_that_threshold(noisy):
    labels, scores, wrong = noisy
    curves = policy_curves(labels, scores, CLASSES, wrong, (0.0, 0.5))
    assert [curve.rule for curve in curves] == ["paper", "confident-learning", "soft"]
    rows = [row for row in range(800) if labels[row] is not None]
    for curve in curves:
        for step, found in zip(curve.thresholds, curve.scores, strict=True):
            decided = decide([labels[row] for row in rows], scores[rows], CLASSES, Policy(curve.rule, threshold=step))
            assert found == judge_filter(decided.weight, wrong[rows])
        assert curve.default.rows == 799
        assert curve.least == Policy(curve.rule).least


def test_the_section_is_json_and_the_figure_shows_every_policy(noisy):
    labels, scores, wrong = noisy
    curves = policy_curves(labels, scores, CLASSES, wrong)
    section = curves[0].section()
    assert len(section["curve"]["recall"]) == len(section["curve"]["threshold"]) == 20
    assert section["recall"].value > 0.9
    drawn = curves_figure(curves)
    assert drawn.startswith(b"<?xml")
    assert drawn == curves_figure(curves)


def test_a_higher_threshold_trades_right_rows_for_fewer_wrong_ones(noisy):
    labels, scores, wrong = noisy
    for curve in policy_curves(labels, scores, CLASSES, wrong):
        kept = [each.kept_correct.value for each in curve.scores]
        caught = [each.recall.value for each in curve.scores]
        assert kept == sorted(kept, reverse=True)
        assert caught == sorted(caught)
