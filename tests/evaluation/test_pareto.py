"""The front against its definition and a known function, and the mean of two shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargan_ray.errors import InputError
from stargan_ray.evaluation.pareto import harmonic_mean, pareto_front
from stargan_ray.evaluation.search_figures import Point, front_figure, parallel_figure

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25)


@settings(deadline=None)
@given(PAIRS)
def test_the_front_is_what_nothing_dominates(pairs: list[tuple[int, int]]) -> None:
    def dominates(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] >= b[0] and a[1] >= b[1] and a != b

    wanted = [not any(dominates(other, one) for other in pairs) for one in pairs]
    assert pareto_front(np.array(pairs)).tolist() == wanted


def test_the_front_of_schaffers_function_is_where_it_is_known_to_be() -> None:
    x = np.linspace(-3, 5, 801)
    points = np.stack([-(x**2), -((x - 2) ** 2)], axis=1)  # both are low on [0, 2] alone
    on = x[pareto_front(points)]
    assert (on.min(), on.max()) == (pytest.approx(0, abs=1e-9), pytest.approx(2, abs=1e-9))
    assert len(on) == 201


def test_equal_points_stand_together() -> None:
    assert pareto_front([[1, 0], [1, 0], [0, 1], [0, 0]]).tolist() == [True, True, True, False]


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_the_mean_is_high_only_where_both_are(one: float, other: float) -> None:
    found = harmonic_mean(one, other)
    assert min(one, other) - 1e-12 <= found <= max(one, other) + 1e-12
    assert found <= (one + other) / 2 + 1e-12
    assert found == harmonic_mean(other, one)


def test_what_is_no_share_or_number_is_refused() -> None:
    assert (harmonic_mean(0, 0), harmonic_mean(0, 1), harmonic_mean(1, 1)) == (0, 0, 1)
    with pytest.raises(InputError, match="allowed are shares"):
        harmonic_mean(1.2, 0.5)
    with pytest.raises(InputError, match="allowed are finite values"):
        pareto_front([[1.0, float("nan")]])


def test_figures_show_every_trial_and_name_the_anchors() -> None:
    points = [
        Point("paper", {"method.margin": 1.0, "method.mining": "random"}, (0.5, 0.9), 0.64),
        Point("", {"method.margin": 0.1, "method.mining": "semi-hard"}, (0.8, 0.6), 0.69),
        Point("no identity loss", {"method.margin": 0.0, "method.mining": "random"}, (0.4, 0.5), 0.44),
    ]
    front = front_figure(points, ("wanted", "kept")).decode()
    assert front.count("<!-- paper -->") == front.count("<!-- no identity loss -->") == 1
    lines = parallel_figure(points, ["method.margin"]).decode()
    assert "<!-- semi-hard -->" in lines
    assert "<!-- margin -->" in lines
    single = parallel_figure(points[:1], [])
    assert single.startswith(b"<?xml")
