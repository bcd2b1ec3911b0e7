"""Ranges of a search as text, named searches, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargan_ray.config import flatten
from stargan_ray.errors import InputError
from stargan_ray.recipes import recipe_named
from stargan_ray.recipes.searches import EMBEDDER, SEARCHES, search_named
from stargan_ray.recipes.space import Choice, Range, field_of, parse_dimension, parse_value, point_text
from stargan_ray.runtime.search_ledger import trial_of

START, END = "method.lambda_id.start", "method.lambda_id.end"
FROM, TO = "method.lambda_id.ramp_start", "method.lambda_id.ramp_end"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("uniform(0, 2)", Range(0, 2)),
        ("loguniform(0.5,8)", Range(0.5, 8, log=True)),
        (" loguniform( 1e-3 , 1e2 ) ", Range(1e-3, 1e2, log=True)),
        ("int(0,500)", Range(0, 500, step=1)),
        ("int(100,500,50)", Range(100, 500, step=50)),
        ("choice(stem, none)", Choice(("stem", "none"))),
        ("choice(32,64)", Choice((32, 64))),
        ("choice(true,false)", Choice((True, False))),
        ("choice(0.5,1e-3)", Choice((0.5, 1e-3))),
    ],
)
def test_ranges_are_read(text: str, wanted: Any) -> None:
    assert parse_dimension(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uniform(2,0)", "2 to 0: the low end must be below"),
        ("uniform(1,1)", "the low end must be below"),
        ("uniform(0,inf)", "the low end must be below"),
        ("loguniform(0,1)", "0 to 1: a logarithmic one starts above 0"),
        ("int(0.5,3)", "no range: allowed are"),
        ("int(0,3,0.5)", "no range: allowed are"),
        ("uniform(1)", "no range: allowed are"),
        ("normal(0,1)", "no range: allowed are"),
        ("0.5", "no range: allowed are"),
        ("choice(a)", "at least two different"),
        ("choice(a,a)", "at least two different"),
        ("choice(a,)", "no range"),
    ],
)
def test_what_is_no_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_dimension(text)


def test_values_are_read_as_what_they_look_like() -> None:
    assert [parse_value(text) for text in ("1", "1.0", "1e3", "true", "stem")] == [1, 1.0, 1000.0, True, "stem"]
    assert isinstance(parse_value("1"), int)


def test_fields_may_be_named_by_their_ends() -> None:
    recipe = recipe_named("stargan-v2-id-tiny")
    assert field_of("lambda_id.end", recipe) == END
    assert field_of(END, recipe) == END
    assert field_of("steps", recipe) == "train.steps"
    with pytest.raises(InputError, match=r"'start' can mean method.lambda_cls.start, method.lambda_ds.start"):
        field_of("start", recipe)
    with pytest.raises(InputError, match=r"unknown field 'lambda_idd.end': did you mean 'method.lambda_id.end'"):
        field_of("lambda_idd.end", recipe)


@settings(deadline=None)  # the first call imports what it needs
@given(st.floats(0.01, 4), st.floats(0.1, 8), st.integers(0, 1000), st.integers(0, 1000), st.floats(0.25, 4))
def test_every_point_of_the_schedule_can_be_trained(start: float, end: float, one: int, other: int, p: float) -> None:
    fields = {START: start, END: end, FROM: one, TO: other, "method.lambda_id.power": p}
    search = search_named("lambda-id")
    (recipe,) = search.trained(fields)
    schedule = recipe.method.lambda_id  # type: ignore[union-attr]
    assert (schedule.ramp_start, schedule.ramp_end) == (min(one, other), max(one, other))
    told = trial_of(search, fields).fields
    assert told == {**fields, FROM: schedule.ramp_start, TO: schedule.ramp_end}, "what is shown is what is trained"
    values = [schedule(step) for step in range(0, 1001, 50)]
    assert all(min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9 for value in values)
    assert values[-1] == pytest.approx(end)


@pytest.mark.parametrize("name", SEARCHES)
def test_named_searches_stand_on_their_recipes(name: str) -> None:
    search = search_named(name)
    for label, fields in search.anchors.items():
        at = search.values_at(fields)
        assert set(at) == set(search.space), label
    (*_, recipe) = search.trained(search.anchors["recipe"])
    assert flatten(recipe) == flatten(search.recipe), "the recipe as it is, is always tried"
    assert "paper" in search.anchors


def test_no_identity_loss_is_tried_where_lambda_id_is_searched() -> None:
    for name in ("lambda-id", "joint", "balance"):
        search = search_named(name)
        (*_, recipe) = search.trained(search.anchors["no identity loss"])
        assert [recipe.method.lambda_id(step) for step in (0, 500, 1000)] == [0, 0, 0]  # type: ignore[union-attr]


def test_the_papers_point_keeps_its_shape_at_any_length() -> None:
    for steps in (1_000, 4_000):
        search = search_named("lambda-id", fixed={"train.steps": steps})
        (recipe,) = search.trained(search.anchors["paper"])
        schedule = recipe.method.lambda_id  # type: ignore[union-attr]
        assert (schedule(0), schedule(steps // 4 - 1), schedule(steps)) == (0.1, 0.1, 4.0)
        assert schedule(steps * 5 // 8) == pytest.approx((0.1 + 4.0) / 2, abs=0.05)


def test_a_joint_trial_trains_an_embedder_of_the_width_that_the_translator_takes() -> None:
    search = search_named("joint")
    embedder, recipe = search.trained({EMBEDDER + "method.embedding": 32, EMBEDDER + "method.margin": 0.7, END: 1.0})
    assert (embedder.method.embedding, embedder.method.margin) == (32, 0.7)  # type: ignore[union-attr]
    assert (recipe.method.identity_dim, recipe.method.lambda_id.end) == (32, 1.0)  # type: ignore[union-attr]


def test_ranges_are_added_replaced_and_left_out() -> None:
    search = search_named("lambda-id", fixed={"lambda_id.power": 2.0})
    assert "method.lambda_id.power" not in search.space
    assert search.trained({})[0].method.lambda_id.power == 2.0  # type: ignore[union-attr]
    wider = search.extended({"lambda_cyc": Range(0.5, 2), "lambda_id.end": Range(1, 2)}, ["lambda_id.start"])
    assert wider.space["method.lambda_cyc"] == Range(0.5, 2)
    assert wider.space[END] == Range(1, 2)
    assert START not in wider.space


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.ema": Range(0.5, 1.0)}, r"train.ema = 1.0: allowed is 0 <= ema < 1"),
        ({"lambda_id.end": Range(-1.0, 2.0)}, "lambda start, end"),
        ({"inject": Choice(("stem", "foot"))}, "unknown recipe.method.inject 'foot'"),
        ({"train.steps": Range(100.5, 200.5)}, "allowed is a value of type int"),
        ({"embedder.method.margin": Range(0.1, 1)}, "trains no embedder"),
        ({"nothing": Range(0, 1)}, "unknown field 'nothing'"),
    ],
)
def test_ranges_that_no_run_can_mean_are_refused_before_anything_starts(space: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        search_named("lambda-id").extended(space)


def test_searches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="unknown search 'lambda': did you mean 'lambda-id'"):
        search_named("lambda")
    with pytest.raises(InputError, match="for recipes of stargan-v2-id"):
        search_named("lambda-id", "stargan-v2-tiny")
    with pytest.raises(InputError, match="recipes of identity embedders"):
        search_named("margin", "stargan-v2-tiny")
    with pytest.raises(InputError, match="allowed is an identity recipe of 32 pixels"):
        search_named("joint", embedder="identity-64")
    with pytest.raises(InputError, match="trains no embedder"):
        search_named("lambda-id", fixed={"embedder.method.margin": 0.3})


@settings(deadline=None)  # the first call imports what it needs
@given(st.floats(-10, 10), st.floats(0.001, 10), st.integers(1, 7))
def test_a_range_holds_what_lies_between_its_ends(low: float, width: float, step: int) -> None:
    found = Range(low, low + width)
    assert low in found
    assert low + width / 2 in found
    assert low - 0.01 not in found
    assert low + width + 0.01 not in found
    whole = Range(math.floor(low), math.floor(low) + 5 * step, step=step)
    assert [n for n in range(-30, 80) if n in whole] == [math.floor(low) + k * step for k in range(6)]


def test_points_are_told_in_a_few_characters() -> None:
    assert point_text({END: 1.23456, "method.inject": "stem"}) == "lambda_id.end=1.23 inject=stem"
    assert point_text({str(k): k for k in range(9)}, 2) == "0=0 1=1 …"
