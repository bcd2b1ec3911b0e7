"""Intervals: Wilson against published values, bootstraps that cover what they claim, differences.

Run: python -m pytest tests/evaluation/test_intervals.py
"""

import math

import numpy as np
import pytest
from scipy import stats

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import (
    Estimate,
    bootstrap_mean,
    is_above,
    paired_difference,
    proportion,
    proportion_difference,
    wilson,
)


def test_wilson_is_scipys_at_every_count():
    for n in (1, 7, 40):
        for hits in range(n + 1):
            reference = stats.binomtest(hits, n).proportion_ci(method="wilson")
            ours = wilson(hits, n)
            assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), abs=1e-12)
            assert (ours.value, ours.n) == (hits / n, n)


def test_wilson_gives_the_values_of_newcombe_1998_table_1():
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, n), ends in published.items():
        assert (wilson(hits, n).low, wilson(hits, n).high) == pytest.approx(ends, abs=5e-5)


def test_nothing_tried_says_nothing():
    nothing = wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.n) == (0.0, 1.0, 0)


def test_impossible_counts_are_refused():
    with pytest.raises(InputError, match="5 of 4"):
        wilson(5, 4)


def _people(generator, people, images, spread):
    """Images of people who differ: (values, persons); the true mean is 0."""
    persons = np.repeat(np.arange(people), images)
    own = generator.normal(size=people) * spread
    return own[persons] + generator.normal(size=len(persons)), persons


def test_a_bootstrap_by_person_covers_and_one_by_image_does_not():
    generator = np.random.default_rng(0)
    by_person = by_image = 0
    for _ in range(200):
        values, persons = _people(generator, people=20, images=8, spread=1.0)
        ours = bootstrap_mean(values, persons, rounds=300)
        naive = bootstrap_mean(values, rounds=300)
        by_person += ours.low <= 0 <= ours.high
        by_image += naive.low <= 0 <= naive.high
    assert 0.92 <= by_person / 200 <= 0.98
    assert by_image / 200 < 0.75


def test_a_share_by_person_covers_and_one_by_image_does_not():
    generator = np.random.default_rng(1)
    by_person = by_image = 0
    for _ in range(600):
        own = generator.beta(2, 4, size=30)  # the mean person has 1/3
        persons = np.repeat(np.arange(30), 7)
        hits = generator.random(len(persons)) < own[persons]
        ours, naive = proportion(hits, persons), proportion(hits)
        by_person += ours.low <= 1 / 3 <= ours.high
        by_image += naive.low <= 1 / 3 <= naive.high
    assert 0.93 <= by_person / 600 <= 0.98
    assert by_image / 600 < 0.92


def test_a_bootstrap_of_independent_values_is_near_the_t_interval():
    values = np.random.default_rng(2).normal(3.0, 2.0, size=200)
    ours = bootstrap_mean(values)
    reference = stats.t.interval(0.95, 199, loc=values.mean(), scale=stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx(reference, abs=0.05)
    assert ours.value == pytest.approx(values.mean())


def test_people_of_one_image_are_independent_trials():
    hits = np.arange(400) % 5 == 0
    ours, plain = proportion(hits, np.arange(400)), wilson(80, 400)
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_agreement_of_all_is_no_certainty():
    ten_people = np.repeat(np.arange(10), 50)
    all_right = proportion(np.ones(500), ten_people)
    assert all_right == Estimate(1.0, wilson(10, 10).low, 1.0, 500)
    assert proportion([True, False, True], ["a", "a", "a"]) == Estimate(2 / 3, 0.0, 1.0, 3)


def test_the_seed_fixes_the_interval_and_people_may_have_names():
    values, persons = _people(np.random.default_rng(3), 12, 4, 1.0)
    named = [f"person {number:02d}" for number in persons]
    assert bootstrap_mean(values, persons, seed=5) == bootstrap_mean(values, named, seed=5)
    assert bootstrap_mean(values, persons, seed=5) != bootstrap_mean(values, persons, seed=6)


def test_newcombes_difference_gives_his_published_values():
    # Newcombe (1998), Statistics in Medicine 17:873, table II, method 10, columns (a) and (c)
    first = proportion_difference(wilson(56, 70), wilson(48, 80))
    assert (first.low, first.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    second = proportion_difference(wilson(6, 7), wilson(2, 7))
    assert (second.low, second.high) == pytest.approx((0.0582, 0.8062), abs=5e-5)


def test_above_means_above_by_more_than_the_interval():
    assert is_above(proportion_difference(wilson(400, 1000), wilson(300, 1000)))
    assert not is_above(proportion_difference(wilson(40, 100), wilson(36, 100)))
    assert not is_above(Estimate(0.3, 0.2, 0.4, 10), bar=0.25)


def test_pairing_sees_what_the_spread_between_people_hides():
    generator = np.random.default_rng(4)
    base, persons = _people(generator, 30, 4, 3.0)
    better = base + 0.3 + generator.normal(0, 0.1, size=len(base))
    assert is_above(paired_difference(better, base, persons))
    assert not is_above(paired_difference(base, base, persons))
    with pytest.raises(InputError, match="same images"):
        paired_difference(base, base[:-1])


@pytest.mark.parametrize(
    ("values", "groups", "says"),
    [
        ([1.0, 2.0], ["a", "a"], "at least 2 groups"),
        ([1.0, math.nan], None, "1 of 2 values are not finite"),
        ([1.0, 2.0], ["a"], "a group is needed"),
    ],
)
def test_bad_input_is_one_line(values, groups, says):
    with pytest.raises(InputError, match=says) as error:
        bootstrap_mean(values, groups)
    assert "\n" not in str(error.value)
