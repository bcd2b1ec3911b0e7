"""A filter estimated from judged samples: by hand, as plain Wilson, and covering what it claims where truth is known.

pytest tests/evaluation/test_review_estimates.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargan_ray.errors import InputError
from stargan_ray.evaluation.filtering import FilterScores, judge_filter
from stargan_ray.evaluation.intervals import Estimate, score_interval, wilson
from stargan_ray.evaluation.review_estimates import JudgedStratum, estimate_by_class, estimate_filter

MANY = 10**9
FIGURES = ("precision", "recall", "kept_correct", "noise", "remaining_noise")


def stratum(dropped: bool, rows: int, judged: int, wrong: int, label: str = "fear") -> JudgedStratum:
    return JudgedStratum(label=label, dropped=dropped, rows=rows, judged=judged, wrong=wrong)


def test_strata_are_weighted_by_their_rows() -> None:
    found = estimate_filter([stratum(True, 1000, 20, 15), stratum(False, 500, 20, 4), stratum(False, 4000, 20, 1)])
    assert (found.rows, found.kept) == (5500, 4500)
    assert found.precision.value == pytest.approx(0.75)
    assert found.remaining_noise.value == pytest.approx((500 * 0.2 + 4000 * 0.05) / 4500)
    assert found.recall.value == pytest.approx(750 / (750 + 300))
    assert found.kept_correct.value == pytest.approx(4200 / (4200 + 250))
    assert found.noise.value == pytest.approx(1050 / 5500)
    assert [getattr(found, name).n for name in FIGURES] == [20, 60, 60, 60, 40]


def test_without_strata_it_is_plain_wilson() -> None:
    for wrong in (0, 1, 13, 40):
        found = estimate_filter([stratum(True, MANY, 40, wrong), stratum(False, MANY, 40, 40 - wrong)])
        for ours, plain in ((found.precision, wilson(wrong, 40)), (found.remaining_noise, wilson(40 - wrong, 40))):
            assert (ours.value, ours.n) == (plain.value, 40)
            assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=1e-7)


def test_proportional_strata_are_one_sample_and_unequal_ones_count_for_less() -> None:
    equal = estimate_filter([stratum(True, MANY, 30, 9), stratum(True, MANY, 30, 21)]).precision
    assert (equal.low, equal.high) == pytest.approx((wilson(30, 60).low, wilson(30, 60).high), abs=1e-7)
    # Kish by hand: weights 9 and 1 for 20 rows each, (20·9 + 20·1)² / (20·81 + 20·1) = 24.39
    uneven = estimate_filter([stratum(True, 9 * MANY, 20, 10), stratum(True, MANY, 20, 10)]).precision
    assert (uneven.low, uneven.high) == pytest.approx(score_interval(0.5, 40000 / 1640), abs=1e-7)


@given(st.integers(0, 2**32 - 1))
def test_where_everything_is_judged_the_figures_are_the_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strata, kept, wrong = [], [], []
    for dropped in (True, True, False, False):
        rows = int(rng.integers(1, 30))
        bad = rng.random(rows) < 0.5
        strata.append(stratum(dropped, rows, rows, int(bad.sum())))
        kept += [not dropped] * rows
        wrong += bad.tolist()
    found, truth = estimate_filter(strata), judge_filter(kept, wrong)
    for name in FIGURES:
        ours, theirs = getattr(found, name), getattr(truth, name).value
        if math.isnan(theirs):
            assert math.isnan(ours.value)
        else:
            assert (ours.value, ours.low, ours.high) == pytest.approx((theirs, theirs, theirs), abs=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50), st.integers(0, 50), st.integers(0, 50)), max_size=6))
def test_an_interval_holds_its_value_and_stays_within_what_there_is(
    drawn: list[tuple[bool, int, int, int]],
) -> None:
    strata = [stratum(d, rows, min(n, rows), min(w, n, rows)) for d, rows, n, w in drawn]
    found = estimate_filter(strata)
    for name in FIGURES:
        each: Estimate = getattr(found, name)
        assert -1e-12 <= each.low <= each.high <= 1 + 1e-12
        assert math.isnan(each.value) or each.low - 1e-9 <= each.value <= each.high + 1e-9


def test_what_nobody_has_looked_at_may_be_anything() -> None:
    half = estimate_filter([stratum(False, MANY, 1000, 0), stratum(False, MANY, 0, 0)]).remaining_noise
    assert half.value == 0
    assert 0.5 < half.high < 0.51
    nothing = estimate_filter([stratum(True, 5, 0, 0), stratum(False, 5, 0, 0)])
    for name in FIGURES:
        each = getattr(nothing, name)
        assert math.isnan(each.value)
        assert (each.low, each.high, each.n) == (0, 1, 0)


def test_a_filter_that_drops_nothing_or_everything() -> None:
    keeps = estimate_filter([stratum(False, MANY, 40, 4)])
    assert keeps.recall == Estimate(0.0, 0.0, 0.0, 40)
    assert keeps.kept_correct == Estimate(1.0, 1.0, 1.0, 40)
    assert math.isnan(keeps.precision.value)
    drops = estimate_filter([stratum(True, MANY, 40, 4)])
    assert drops.recall == Estimate(1.0, 1.0, 1.0, 40)
    assert drops.noise == drops.precision


def test_each_class_is_estimated_by_itself() -> None:
    fear = [stratum(True, 100, 10, 8), stratum(False, 100, 10, 1)]
    anger = [replace(each, label="anger", wrong=5) for each in fear]
    assert estimate_by_class([fear[0], anger[0], fear[1], anger[1]]) == {
        "fear": estimate_filter(fear),
        "anger": estimate_filter(anger),
    }


def test_impossible_counts_are_refused() -> None:
    for rows, judged, wrong in ((5, 6, 0), (5, 2, 3), (0, 0, 0), (5, 2, -1)):
        with pytest.raises(InputError, match="labelled fear: allowed are 0 <= wrong <= judged <= rows"):
            stratum(True, rows, judged, wrong)


# -- coverage: eight classes of some hundred rows, of which a few are judged -----------------------------------

DEMO = ((240, 0.76), (35, 0.05), (325, 0.004))  # rows and share of wrong labels: dropped, near, sure
HARD = ((100, 0.5), (100, 0.2), (400, 0.05))
LOOSE = ((100, 0.6), (60, 0.3), (700, 0.12))
LARGE = ((100, 0.6), (100, 0.2), (2000, 0.04))


def simulate(
    rng: np.random.Generator, kind: Sequence[tuple[int, float]], per_stratum: int
) -> tuple[list[JudgedStratum], FilterScores]:
    """A data set of eight classes like ``kind``, a sample of it that is judged, and the truth."""
    strata, kept, wrong = [], [], []
    for label in range(8):
        for place, (about, chance) in enumerate(kind):
            rows = int(about * rng.uniform(0.5, 1.5))
            bad = int(rng.binomial(rows, min(1.0, chance * rng.uniform(0.7, 1.3))))
            judged = min(per_stratum, rows)
            found = int(rng.hypergeometric(bad, rows - bad, judged))
            strata.append(stratum(place == 0, rows, judged, found, str(label)))
            kept += [place > 0] * rows
            wrong += [True] * bad + [False] * (rows - bad)
    return strata, judge_filter(kept, wrong)


def naive_recall(strata: Sequence[JudgedStratum]) -> tuple[float, float]:
    """Wilson's interval over the wrong rows that were found, at Kish's size: what is not done, and why."""
    found = [(each.rows / each.judged, each.wrong, each.dropped) for each in strata]
    total = sum(weight * wrong for weight, wrong, _ in found)
    share = sum(weight * wrong for weight, wrong, dropped in found if dropped) / total
    return score_interval(share, total**2 / sum(weight**2 * wrong for weight, wrong, _ in found))


@pytest.mark.parametrize(
    ("kind", "per_stratum"), [(DEMO, 7), (DEMO, 20), (HARD, 7), (HARD, 20), (LOOSE, 7), (LARGE, 4)]
)
def test_intervals_cover_the_truth_as_often_as_they_claim(kind: Sequence[tuple[int, float]], per_stratum: int) -> None:
    rng = np.random.default_rng(0)
    rounds, hits = 500, dict.fromkeys(FIGURES, 0)
    width = dict.fromkeys(FIGURES, 0.0)
    for _ in range(rounds):
        strata, truth = simulate(rng, kind, per_stratum)
        found = estimate_filter(strata)
        for name in FIGURES:
            each = getattr(found, name)
            hits[name] += each.low <= getattr(truth, name).value <= each.high
            width[name] += (each.high - each.low) / rounds
    for name in FIGURES:
        assert hits[name] / rounds >= 0.93, (name, hits)
    # and not by being wide: precision is about a share of 8 · per_stratum independent rows
    assert 0.93 <= hits["precision"] / rounds <= 0.98
    assert width["precision"] < 2.2 * 1.96 * math.sqrt(0.25 / (8 * per_stratum))


def test_an_interval_over_the_wrong_rows_that_were_found_would_be_too_narrow() -> None:
    rng = np.random.default_rng(1)
    hits = ours = 0
    for _ in range(300):
        strata, truth = simulate(rng, LARGE, 4)
        low, high = naive_recall(strata)
        hits += low <= truth.recall.value <= high
        recall = estimate_filter(strata).recall
        ours += recall.low <= truth.recall.value <= recall.high
    assert hits / 300 < 0.8
    assert ours / 300 > 0.93
