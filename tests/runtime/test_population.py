"""Who goes on from whom, and that a schedule in pieces is a recipe; the training itself is in test_search.py.

pytest tests/runtime/test_population.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stargan_ray.config import from_json, override, to_json
from stargan_ray.errors import InputError
from stargan_ray.recipes import recipe_named
from stargan_ray.recipes.space import Range
from stargan_ray.runtime.population import Member, Population, hand_over, read_book, scheduled, segment_length
from stargan_ray.runtime.run import Run
from stargan_ray.schedules import Pieces

TINY = recipe_named("stargan-v2-id-tiny")


def _members(scores: list[float], *values: tuple[float, ...]) -> list[Member]:
    return [Member(value, {}, score) for value, score in zip(values, scores, strict=True)]


def test_the_first_members_are_spread_over_the_values() -> None:
    first = Population(members=4, values=Range(0.1, 8.0, log=True)).first()
    assert [value for (value,) in first] == pytest.approx([0.1, 0.4309, 1.8566, 8.0], abs=1e-3)


def test_the_last_goes_on_from_the_first_with_a_changed_value() -> None:
    members = _members([0.5, 0.9, 0.1, 0.7], (0.1,), (0.4,), (2.0,), (8.0,))
    population = Population(members=4, factors=(0.5, 2.0))
    following = population.next(members)
    assert following[0] == (0.1, 0.1)
    assert following[1] == (0.4, 0.4)
    assert following[3] == (8.0, 8.0)
    assert following[2] in ((0.4, 0.2), (0.4, 0.8)), "the past is the giver's"
    assert population.next(members) == following, "the same choice in every call"


def test_several_are_replaced_and_values_stay_in_their_range() -> None:
    members = _members([0.9, 0.8, 0.2, -1.0], (8.0,), (7.0,), (0.1,), (0.2,))
    following = Population(members=4, replaced=0.5, factors=(2.0,), values=Range(0.1, 8.0, log=True)).next(members)
    assert following[:2] == [(8.0, 8.0), (7.0, 7.0)]
    assert {values[0] for values in following[2:]} <= {8.0, 7.0}
    assert all(values[1] == 8.0 for values in following[2:])


def test_what_is_no_population_is_refused() -> None:
    with pytest.raises(InputError, match="allowed are values >= 2"):
        Population(members=1)
    with pytest.raises(InputError, match=r"--replaced 0.7"):
        Population(replaced=0.7)
    with pytest.raises(InputError, match=r"train.steps = 1000: allowed are multiples of --segments 3"):
        segment_length(Population(segments=3), TINY)
    with pytest.raises(InputError, match="for recipes of stargan-v2-id"):
        segment_length(Population(), recipe_named("stargan-v2-tiny"))


def test_a_schedule_in_pieces_holds_each_value_and_survives_json() -> None:
    schedule = Pieces((0.5, 2.0, 1.0), 100)
    assert [schedule(step) for step in (0, 99, 100, 199, 200, 299, 5_000)] == [0.5, 0.5, 2.0, 2.0, 1.0, 1.0, 1.0]
    recipe = scheduled(TINY, (0.5, 2.0), 250)
    assert recipe.train.steps == 500
    again = from_json(json.loads(json.dumps(to_json(recipe))))
    assert again == recipe
    assert override(recipe, {"method.lambda_id.every": 10}).method.lambda_id == Pieces((0.5, 2.0), 10)  # type: ignore[union-attr]
    for wrong, message in ((((), 1), "at least one"), (((-1.0,), 1), "finite values >= 0"), (((1.0,), 0), "every = 0")):
        with pytest.raises(InputError, match=message):
            Pieces(*wrong)


def test_a_checkpoint_is_handed_over_once_and_says_whose_it_is_now(tmp_path: Path) -> None:
    giver = Run(scheduled(TINY, (0.5,), 10), "data", str(tmp_path), "giver")
    taker = Run(scheduled(TINY, (0.5, 1.0), 10), "data", str(tmp_path), "taker")
    folder = tmp_path / "giver" / "checkpoints" / "step-00000010"
    folder.mkdir(parents=True)
    (folder / "generator.safetensors").write_bytes(b"weights")
    (folder / "meta.json").write_text(json.dumps({"run": "giver", "recipe": to_json(giver.recipe), "step": 10}))
    hand_over(giver, taker)
    taken = tmp_path / "taker" / "checkpoints" / "step-00000010"
    assert (taken / "generator.safetensors").read_bytes() == b"weights"
    meta = json.loads((taken / "meta.json").read_text())
    assert (meta["run"], meta["step"]) == ("taker", 10)
    assert from_json(meta["recipe"]) == taker.recipe
    (taken / "generator.safetensors").write_bytes(b"its own")
    hand_over(giver, taker)
    assert (taken / "generator.safetensors").read_bytes() == b"its own", "a run that has begun is left alone"
    assert read_book(str(tmp_path)) == []
    assert replace(taker, name="other").checkpoints.names() == []
