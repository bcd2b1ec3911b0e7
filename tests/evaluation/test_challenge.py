"""A challenger wins by more than the interval, in the direction of the figure, or not at all.

pytest tests/evaluation/test_challenge.py
"""

from __future__ import annotations

import numpy as np
import pytest

from stargan_ray.errors import InputError
from stargan_ray.evaluation.challenge import HIGHER_IS_BETTER, duels, objections
from stargan_ray.evaluation.intervals import paired_difference
from stargan_ray.evaluation.judging import FIGURES

PEOPLE, EACH = 30, 8
PERSONS = np.repeat([f"p{number}" for number in range(PEOPLE)], EACH)


def values(shift: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 0.1, PEOPLE * EACH)


def test_every_figure_of_the_judges_has_a_direction() -> None:
    assert set(FIGURES) == set(HIGHER_IS_BETTER)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_the_direction_of_each_figure(metric: str) -> None:
    low, high = {metric: values(0, 1)}, {metric: values(1, 2)}
    (up,) = duels(high, low, PERSONS, [metric])
    (down,) = duels(low, high, PERSONS, [metric])
    assert up.difference == paired_difference(high[metric], low[metric], PERSONS)
    assert up.difference.low > 0.9
    good, bad = (up, down) if HIGHER_IS_BETTER[metric] else (down, up)
    assert (good.better, good.worse, bad.better, bad.worse) == (True, False, False, True)
    assert objections([good], [good]) == []
    assert [text.split(":")[0] for text in objections([bad], [bad])] == ["not better", "worse"]


def test_a_difference_within_its_interval_is_neither_better_nor_worse() -> None:
    same = values(0, 1)
    (duel,) = duels({"rank1": same + values(0, 2)}, {"rank1": same}, PERSONS, ["rank1"])
    assert duel.difference.low < 0 < duel.difference.high
    assert (duel.better, duel.worse) == (False, False)
    (said,) = objections([duel], [duel])
    for part in (f"{duel.difference.value:+.4g}", f"{duel.difference.low:+.4g} to {duel.difference.high:+.4g}"):
        assert part in said


def test_images_of_one_person_are_no_independent_evidence() -> None:
    """A gain of a single person of thirty is a clear one image by image, and none by person."""
    ours = np.where(PERSONS == "p0", 1.0, 0.0)
    theirs = np.zeros(len(ours))
    assert paired_difference(ours, theirs).low > 0
    (duel,) = duels({"rank1": ours}, {"rank1": theirs}, PERSONS, ["rank1"])
    assert not duel.better


def test_what_cannot_be_compared_is_named() -> None:
    fine = {"rank1": values(0, 1)}
    with pytest.raises(InputError, match="did you mean 'rank1'"):
        duels(fine, fine, PERSONS, ["rank"])
    other = {"frechet": values(0, 1)}  # nobody has said which way is better
    with pytest.raises(InputError, match="unknown metric 'frechet'"):
        duels(other, other, PERSONS, ["frechet"])
    holed = {"rank1": np.where(PERSONS == "p3", np.nan, 0.5)}
    with pytest.raises(InputError, match=r"metric rank1: 8 of 240 values are not finite"):
        duels(holed, fine, PERSONS, ["rank1"])
