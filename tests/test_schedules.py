"""Schedules of the step: the paper's λ_id and λ_ds at the steps that matter, monotone, and bad values refused.

pytest tests/test_schedules.py
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargan_ray.errors import InputError
from stargan_ray.schedules import LinearDecay, UniformSteps


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.1),
        (24_999, 0.1),
        (25_000, 0.1),
        (25_999, 0.1),
        (26_000, 0.1 + 3.9 / 75),
        (62_499, 0.1 + 3.9 * 37 / 75),
        (99_999, 0.1 + 3.9 * 74 / 75),
        (100_000, 4.0),
        (1_000_000, 4.0),
    ],
)
def test_lambda_id_of_the_paper(step: int, expected: float) -> None:
    assert UniformSteps()(step) == pytest.approx(expected, abs=1e-12)


def test_lambda_id_rises_by_equal_amounts_at_equal_distances() -> None:
    values = [UniformSteps()(step) for step in range(25_000, 100_001)]
    rises = {step: b - a for step, (a, b) in enumerate(itertools.pairwise(values), 25_001) if b != a}
    assert list(rises) == list(range(26_000, 100_001, 1_000))
    assert all(rise == pytest.approx(3.9 / 75, abs=1e-12) for rise in rises.values())


@given(
    st.floats(0, 10), st.floats(0, 10), st.integers(0, 50), st.integers(0, 50), st.integers(1, 60), st.integers(0, 120)
)
@settings(deadline=None, database=None, derandomize=True)
def test_a_ramp_stays_between_its_ends_and_never_turns(
    start: float, end: float, ramp_start: int, length: int, step_size: int, step: int
) -> None:
    ramp = UniformSteps(start, end, ramp_start, ramp_start + length, step_size)
    here, there = ramp(step), ramp(step + 1)
    assert min(start, end) <= here <= max(start, end) or math.isclose(here, end)
    assert (there - here) * (end - start) >= -1e-12
    assert ramp(0) == start or ramp_start == length == 0
    assert ramp(ramp_start + length) == end


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (1, 1 - 1e-5), (50_000, 0.5), (100_000, 0.0), (250_000, 0.0)])
def test_lambda_ds_falls_to_zero_over_100k(step: int, expected: float) -> None:
    assert LinearDecay()(step) == pytest.approx(expected, abs=1e-12)


def test_no_decay_is_a_constant() -> None:
    assert {LinearDecay(2.0, 0)(step) for step in (0, 1, 10**9)} == {2.0}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: LinearDecay(start=-1.0), "start"),
        (lambda: LinearDecay(start=math.nan), "start"),
        (lambda: LinearDecay(start=math.inf), "start"),
        (lambda: LinearDecay(over=-1), "over"),
        (lambda: UniformSteps(start=-0.1), "start"),
        (lambda: UniformSteps(end=-4.0), "end"),
        (lambda: UniformSteps(end=math.nan), "end"),
        (lambda: UniformSteps(ramp_start=-1), "ramp_start"),
        (lambda: UniformSteps(ramp_start=10, ramp_end=9), "ramp_end"),
        (lambda: UniformSteps(step_size=0), "step_size"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_field(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InputError, match=rf"\b{field}\b.*allowed") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_schedules_are_values() -> None:
    assert UniformSteps() == UniformSteps()
    with pytest.raises(dataclasses.FrozenInstanceError):
        UniformSteps().end = 3.0  # type: ignore[misc]
