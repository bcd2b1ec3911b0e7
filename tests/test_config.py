"""The configuration: JSON and back for every recipe, mistakes named with the nearest field, dotted names.

pytest tests/test_config.py
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stargan_ray.config import DataConfig, Recipe, ScaleConfig, TrainConfig, flatten, from_json, override, to_json
from stargan_ray.errors import InputError
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.recipes import RECIPES, recipe_named
from stargan_ray.recipes.ablations import ablation_named
from stargan_ray.schedules import LinearDecay, UniformSteps


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    recipe = RECIPES[name]
    text = json.dumps(to_json(recipe), allow_nan=False)
    assert from_json(json.loads(text)) == recipe
    assert recipe.name == name
    assert recipe.about


def example() -> dict[str, Any]:
    values = to_json(RECIPES["stargan-v2-id-256"])
    assert isinstance(values, dict)
    return values


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("trian",), {}, r"unknown field of recipe 'trian': did you mean 'train'\?"),
        (("data", "sise"), 64, r"unknown field of recipe\.data 'sise': did you mean 'size'\?"),
        (("data", "shape", "lane"), 4, r"unknown field of recipe\.data\.shape 'lane': did you mean 'lanes'\?"),
        (("method", "lamda_id"), {}, r"unknown field of recipe\.method 'lamda_id': did you mean 'lambda_id'\?"),
        (("method", "name"), "stargan-v2-di", r"unknown method 'stargan-v2-di': did you mean 'stargan-v2-id'\?"),
        (("data", "size"), "64", r"recipe\.data\.size = '64': allowed is a value of type int"),
        (("train", "ema"), "high", r"recipe\.train\.ema = 'high': allowed is a value of type float"),
        (("method", "lambda_id", "end"), None, r"recipe\.method\.lambda_id\.end = None: allowed is .* float"),
        (("data", "size"), 4, r"data\.size = 4: allowed are 16 to 2048 pixels"),
        (
            ("data", "augment"),
            {"crop": 0.0, "crop_pixels": 44},
            r"data\.augment\.crop_pixels = 44: stargan-v2-id trains on whole images; allowed is 0",
        ),
        (
            ("method", "lambda_id", "ramp_end"),
            5,
            r"^recipe\.method\.lambda_id: ramp_end = 5: allowed are values >= ramp_start = 25000$",
        ),
        (("train", "steps"), 0, r"train\.steps = 0: allowed are values >= 1"),
        (("train", "ema"), 1.0, r"train\.ema = 1\.0: allowed is 0 <= ema < 1"),
        (("scale", "num_workers"), 0, r"scale\.num_workers = 0: allowed are values >= 1"),
        (("scale", "num_workers"), [4, 2], r"scale\.num_workers = \(4, 2\): allowed are .* the least and the most"),
        (("scale", "num_workers"), [1, 2, 4], r"recipe\.scale\.num_workers = \[1, 2, 4\]: allowed is an integer, or a"),
        (("scale", "num_workers"), "2", r"recipe\.scale\.num_workers = '2': allowed is an integer, or a list of two"),
        (
            ("scale", "gradients"),
            "fp16",
            r"^unknown recipe\.scale\.gradients 'fp16': did you mean 'bf16'\? allowed: bf16, fp32$",
        ),
        (("scale", "timeout_s"), 5, r"scale\.timeout_s = 5: allowed are values >= 10"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field(path: tuple[str, ...], value: Any, message: str) -> None:
    values = example()
    inner = values
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(InputError, match=message) as caught:
        from_json(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["name", "about", "method"])
def test_a_missing_field_is_named(name: str) -> None:
    values = example()
    del values[name]
    with pytest.raises(InputError, match=f"recipe lacks the field '{name}'"):
        from_json(values)


def test_what_is_left_out_has_its_default() -> None:
    recipe = from_json({"name": "n", "about": "a", "method": {"name": "stargan-v2-id"}})
    assert recipe == Recipe("n", "a", StarGANv2Identity())


def test_whole_numbers_are_floats_where_floats_are_meant() -> None:
    values = example()
    values["method"]["rate_g"] = 1
    rate = from_json(values).method.rate_g  # type: ignore[union-attr]
    assert (rate, type(rate)) == (1.0, float)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("stargan-v2-id-25", "stargan-v2-id-256"),
        ("stargan-v2-tny", "stargan-v2-tiny"),
        ("identiy", "identity"),
        ("Expression-tiny", "expression-tiny"),
    ],
)
def test_a_misspelt_recipe_is_answered_with_the_nearest(given: str, near: str) -> None:
    with pytest.raises(InputError, match=f"unknown recipe '{given}': did you mean '{near}'[?] allowed: "):
        recipe_named(given)


def test_flat_names_are_those_of_the_flags() -> None:
    flat = flatten(RECIPES["stargan-v2-id-256"])
    assert flat["name"] == "stargan-v2-id-256"
    assert flat["method.name"] == "stargan-v2-id"
    assert flat["data.shape.lanes"] == 8
    assert flat["data.augment.crop_scale"] == [0.8, 1.0]
    assert flat["method.lambda_id.ramp_start"] == 25_000
    assert not any(isinstance(value, dict) for value in flat.values())

    def leaves(config: Any, prefix: str) -> set[str]:
        names = set()
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            inner = leaves(value, f"{prefix}{field.name}.") if dataclasses.is_dataclass(value) else None
            names |= {prefix + field.name} if inner is None else inner
        return names

    assert set(flat) == leaves(RECIPES["stargan-v2-id-256"], "") | {"method.name"}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: DataConfig(size=8), "data.size"),
        (lambda: DataConfig(readers=0), "data.readers"),
        (lambda: TrainConfig(accumulate=0), "train.accumulate"),
        (lambda: TrainConfig(seed=-1), "train.seed"),
        (lambda: ScaleConfig(cpus_per_worker=0), "scale.cpus_per_worker"),
        (lambda: ScaleConfig(gradients="int8"), "scale.gradients"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_value_names_its_flag(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InputError, match=rf"{field}.*allowed"):
        make()


def test_published_recipes_hold_the_published_settings() -> None:
    for size in (64, 128, 256):
        recipe = RECIPES[f"stargan-v2-{size}"]
        assert (recipe.data.size, recipe.data.shape.batch, recipe.train.steps, recipe.train.ema) == (
            size,
            8,
            100_000,
            0.999,
        )
        assert recipe.train.precision == "fp32"
    assert RECIPES["stargan-v2-id-256"].method == StarGANv2Identity()
    assert dataclasses.fields(Recipe)


@pytest.mark.parametrize(
    ("section", "field", "value", "said"),
    [
        ("train", "precision", "fp8", "allowed: bf16, fp32"),
        ("train", "steps", True, "type int"),
        ("data", "shape", 3, "fields of Shape"),
    ],
)
def test_a_value_of_another_kind_is_named(section: str, field: str, value: object, said: str) -> None:
    values = to_json(recipe_named("stargan-v2-tiny"))
    values[section][field] = value
    with pytest.raises(InputError, match=said) as caught:
        from_json(values)
    assert f"{section}.{field}" in str(caught.value)


# -- variants --------------------------------------------------------------------------------------------------


def test_a_field_is_overridden_by_its_dotted_path() -> None:
    base = recipe_named("stargan-v2-id-tiny")
    changed = override(base, {"method.lambda_id.end": 3.0, "train.steps": 7, "method.lambda_ds": LinearDecay(0.5, 9)})
    assert (changed.method.lambda_id.end, changed.train.steps) == (3.0, 7)  # type: ignore[union-attr]
    assert changed.method.lambda_ds == LinearDecay(0.5, 9)  # type: ignore[union-attr]
    assert override(changed, {"method.lambda_id.end": base.method.lambda_id.end}).method == dataclasses.replace(  # type: ignore[union-attr]
        base.method,
        lambda_ds=LinearDecay(0.5, 9),
    )
    assert base == recipe_named("stargan-v2-id-tiny")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("method.lambda_di.end", 1.0, r"unknown field 'method\.lambda_di\.end': did you mean 'method\.lambda_id\.end'"),
        ("train.steps.more", 1, r"unknown field 'train\.steps\.more'"),
        ("train.steps", 0, r"train\.steps = 0: allowed are values >= 1"),
        ("method.inject", "middle", r"unknown recipe\.method\.inject 'middle'"),
    ],
)
def test_an_override_that_cannot_be_is_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        override(recipe_named("stargan-v2-id-tiny"), {path: value})


def test_ablations_vary_one_thing_at_a_time_or_all_of_them() -> None:
    base = recipe_named("stargan-v2-id-tiny")
    plain = flatten(base)
    own, *others = ablation_named("identity", base)
    assert own == base
    assert len({r.name for r in (own, *others)}) == len(others) + 1 == 8
    for variant in others:
        changed = {k for k, v in flatten(variant).items() if plain[k] != v} - {"name"}
        assert len({".".join(k.split(".")[:2]) for k in changed}) == 1, variant.name
    crossed = ablation_named("identity-crossed", base)
    assert len({str(r.method) for r in crossed}) == len(crossed) == 32
    assert [r.method.lambda_id for r in crossed if r.name.endswith("stem critic constant")] == [  # type: ignore[union-attr]
        UniformSteps(2.0, 2.0, 300, 900, 25)
    ]
    assert [r.name for r in crossed].count(base.name) == 1
    assert all(from_json(json.loads(json.dumps(to_json(r)))) == r for r in crossed)


def test_an_ablation_needs_what_it_varies() -> None:
    with pytest.raises(InputError, match="ablation of stargan-v2-tiny: it is for recipes of stargan-v2-id"):
        ablation_named("identity", recipe_named("stargan-v2-tiny"))
    with pytest.raises(InputError, match="ablation of expression-tiny: expression has no lambda_sty"):
        ablation_named("domains", recipe_named("expression-tiny"))
    weights = [flatten(r)["method.lambda_ds.start"] for r in ablation_named("domains", recipe_named("stargan-v2-tiny"))]
    assert weights == [1.0, 0.0, 3.0, 1.0]
    savings = ablation_named("savings", recipe_named("stargan-v2-tiny"))
    fields = ("method.r1_every", "method.reference_every", "method.merged", "train.precision")
    told = [tuple(flatten(each)[name] for name in fields) for each in savings]
    assert told == [(1, 1, False, "fp32"), (1, 1, False, "bf16"), (16, 1, False, "fp32"), (1, 1, True, "fp32")]
    with pytest.raises(InputError, match="ablation of laun-tiny: it is for recipes of stargan-v2 and stargan-v2-id"):
        ablation_named("savings", recipe_named("laun-tiny"))
    with pytest.raises(InputError, match="unknown ablation 'identty': did you mean 'identity'"):
        ablation_named("identty", recipe_named("stargan-v2-id-tiny"))


def test_workers_are_a_number_or_a_range() -> None:
    fixed, elastic = ScaleConfig(num_workers=3), ScaleConfig(num_workers=(2, 4))
    assert (list(fixed.workers), fixed.elastic) == ([3], False)
    assert (list(elastic.workers), elastic.elastic) == ([2, 3, 4], True)
    recipe = replace(from_json(example()), scale=elastic)
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe
