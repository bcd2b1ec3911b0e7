"""Generated faces: reproducible to the byte, true to what they say, and every trait and action unit visible.

Run: pytest tests/data/test_faces.py
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from stargan_ray.data.face_actions import ACTION_UNITS, actions, single
from stargan_ray.data.face_traits import RANGES
from stargan_ray.data.faces import (
    FacesConfig,
    Nuisance,
    Style,
    Traits,
    _label,
    _plan,
    contact_sheet,
    count,
    generate,
    person,
    render,
    render_actions,
    style,
)
from stargan_ray.data.schema import EXPRESSIONS, SPLITS
from stargan_ray.errors import InputError

SMALL = FacesConfig(people=6, images_per_person=8, size=32, seed=3)
STUDIO = Nuisance.none()
STILL = single(25, 0.0)

# Someone who has everything, so that each trait has something to act on.
SOMEONE = replace(
    Traits(**{name: (low + high) / 2 for name, (low, high) in RANGES.items()}),
    baldness=0.2,
    hair_grey=0.2,
    hair_curl=0.5,
    skin_tone=0.3,
    mole_x=0.4,
    mole_y=0.1,
    fringe=0.3,
)


def picture(traits: Traits, acts: dict[int, tuple[float, float]] = STILL, size: int = 64) -> np.ndarray:
    drawn = render_actions(traits, acts, size=size, nuisance=STUDIO, rng=np.random.default_rng(0))
    return drawn.astype(np.float32)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).mean())


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)), np.float32)


def test_a_row_is_the_same_in_any_range_and_order():
    whole = list(generate(SMALL))
    assert len(whole) == count(SMALL) == 48
    assert list(generate(SMALL, 13, 19)) == whole[13:19]
    backwards = [next(generate(SMALL, index, index + 1)) for index in reversed(range(20, 26))]
    assert backwards[::-1] == whole[20:26]
    assert list(generate(SMALL, 40)) == whole[40:]
    assert list(generate(SMALL, 46, 1000)) == whole[46:]


def test_rows_are_jpeg_with_unique_keys_and_matching_truth():
    rows = list(generate(SMALL))
    assert len({row.key for row, _ in rows}) == len(rows)
    row, truth = rows[9]
    assert row.key == truth.key == "faces-3-p00001-i001"
    assert row.identity == truth.identity == "faces-3-p00001"
    assert row.source == "faces"
    image = Image.open(io.BytesIO(row.image))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (32, 32))
    assert all(0.5 <= truth.intensity <= 1.0 for _, truth in rows)


def test_another_seed_is_other_people():
    mine, theirs = next(generate(SMALL)), next(generate(replace(SMALL, seed=4)))
    assert mine[0].identity != theirs[0].identity
    assert person(3, 0) != person(4, 0)
    assert person(3, 0) == person(3, 0)
    assert style(3, 0) == style(3, 0) != style(3, 1)


def test_first_person_moves_the_window_over_the_same_people():
    moved = list(generate(replace(SMALL, first_person=4, people=2)))
    whole = list(generate(SMALL))[32:]
    assert [row.image for row, _ in moved] == [row.image for row, _ in whole]


def test_nobody_is_in_two_splits_and_shares_are_exact():
    config = FacesConfig(people=40, images_per_person=1, size=32, splits=(0.5, 0.25, 0.25))
    where: dict[str, set[str]] = {}
    for row, _ in generate(replace(config, images_per_person=2)):
        assert row.identity is not None
        where.setdefault(row.identity, set()).add(row.split)
    assert all(len(splits) == 1 for splits in where.values())
    assert Counter(split for splits in where.values() for split in splits) == dict(
        zip(SPLITS, (20, 10, 10), strict=True)
    )


def test_a_balanced_person_shows_every_expression_equally():
    shown = Counter((truth.identity, truth.expression) for _, truth in generate(SMALL))
    assert set(shown.values()) == {1}
    assert len(shown) == 6 * len(EXPRESSIONS)


def test_imbalance_is_the_ratio_of_the_extremes():
    config = FacesConfig(people=20, images_per_person=60, size=32, imbalance=30.0)
    plans = (_plan(config.seed, n, config.images_per_person, config.imbalance) for n in range(config.people))
    shown = Counter(expression for plan in plans for expression in plan)
    assert 15 < shown[1] / shown[7] < 60
    assert shown.most_common(1)[0][0] == 1


def _share_of_wrong_labels(config: FacesConfig, truths: tuple[int, ...] = tuple(range(8))) -> float:
    wrong = []
    for number in range(config.people):
        plan = _plan(config.seed, number, config.images_per_person, config.imbalance)
        wrong += [_label(config, number, i, true) != true for i, true in enumerate(plan) if true in truths]
    return float(np.mean(wrong))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 1.0])
def test_symmetric_label_noise_has_its_rate(rate: float):
    config = FacesConfig(people=200, images_per_person=16, label_noise=rate)
    assert abs(_share_of_wrong_labels(config) - rate) < 0.03


def test_asymmetric_label_noise_has_its_rate_among_the_confused_and_leaves_the_rest():
    config = FacesConfig(people=200, images_per_person=16, label_noise=0.4, noise_kind="asymmetric")
    assert abs(_share_of_wrong_labels(config, (0, 2, 3, 4)) - 0.4) < 0.04
    assert _share_of_wrong_labels(config, (1, 5, 6, 7)) == 0.0


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_a_wrong_label_is_told_by_the_truth_and_leaves_the_picture(kind: str):
    confused = {0: {2}, 2: {0}, 3: {4}, 4: {3}}
    clean = list(generate(SMALL))
    noisy = list(generate(replace(SMALL, label_noise=0.6, noise_kind=kind)))
    assert any(truth.corrupted for _, truth in noisy)
    for (row, truth), (clean_row, clean_truth) in zip(noisy, clean, strict=True):
        assert truth.corrupted == (row.expression != truth.expression)
        assert row.image == clean_row.image
        assert truth.expression == clean_truth.expression == clean_row.expression
        if kind == "asymmetric" and truth.corrupted:
            assert row.expression in confused[truth.expression]


@pytest.mark.parametrize("name", [field.name for field in fields(Traits)])
def test_each_trait_changes_the_picture(name: str):
    low, high = RANGES[name]
    step = 0.35 * (high - low)
    changed = replace(SOMEONE, **{name: min(high, getattr(SOMEONE, name) + step)})
    before, after = picture(SOMEONE, size=96), picture(changed, size=96)
    assert np.abs(before - after).max() >= 6, f"{name} cannot be seen"


def test_there_are_enough_traits_within_their_ranges():
    assert len(fields(Traits)) >= 25
    for number in range(200):
        someone = person(0, number)
        for name, (low, high) in RANGES.items():
            value = getattr(someone, name)
            assert type(value) is float
            assert low <= value <= high, (number, name, value)


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_each_action_unit_changes_the_picture_more_the_stronger(unit: int):
    steps = [picture(SOMEONE, single(unit, strength)) for strength in (0.0, 0.5, 1.0)]
    assert np.abs(steps[0] - steps[2]).max() > 25
    assert distance(steps[0], steps[2]) > distance(steps[0], steps[1]) > 0


def test_contempt_moves_one_half_of_the_face_only():
    for variant, moving, still in ((0.0, 0, 1), (1.0, 1, 0)):
        acts = actions(7, 1.0, Style(variants=(variant,) * 8, wobble=0.0), np.random.default_rng(0))
        assert acts[12][moving] > 0.4
        assert acts[14][moving] > 0.8
        assert acts[12][still] == acts[14][still] == 0.0


def test_neutral_is_the_resting_face_and_intensity_moves_away_from_it():
    plain = Style(wobble=0.0)
    rest = actions(0, 1.0, plain, np.random.default_rng(0))
    assert all(pair == (0.0, 0.0) for pair in rest.values())
    for expression in range(1, 8):
        shots = [
            picture(SOMEONE, actions(expression, intensity, plain, np.random.default_rng(0)))
            for intensity in (0.0, 0.4, 0.7, 1.0)
        ]
        away = [distance(shots[0], shot) for shot in shots]
        assert away[0] == 0
        assert all(later > earlier for earlier, later in pairwise(away)), EXPRESSIONS[expression]


def test_the_same_emotion_looks_different_on_different_people():
    """The paper's noise: with equal looks, two people's ways differ more than one person's two pictures."""
    shots = {}
    for number in (1, 2):
        for take in (0, 1):
            acts = actions(4, 0.8, style(0, number), np.random.default_rng(take))
            shots[number, take] = picture(SOMEONE, acts)
    within = distance(shots[1, 0], shots[1, 1]) + distance(shots[2, 0], shots[2, 1])
    between = distance(shots[1, 0], shots[2, 0]) + distance(shots[1, 1], shots[2, 1])
    assert between > 1.2 * within


def test_two_people_differ_more_than_two_expressions_of_one():
    faces = [
        [picture(person(0, n), actions(e, 0.8, style(0, n), np.random.default_rng(0))) for e in (0, 1)]
        for n in range(6)
    ]
    expression = np.mean([distance(*pair) for pair in faces])
    identity = np.mean([distance(a[0], b[0]) for a, b in pairwise(faces)])
    assert identity > 2 * expression


@pytest.mark.parametrize("size", [32, 48, 64, 200, 512])
def test_sizes(size: int):
    drawn = render(person(0, 1), 1, 0.8, size=size, nuisance=Nuisance(), rng=np.random.default_rng(0))
    assert drawn.shape == (size, size, 3)
    assert drawn.dtype == np.uint8
    assert drawn.std() > 20


def test_a_picture_is_the_same_at_every_size_but_for_detail():
    small, large = (picture(SOMEONE, size=size) for size in (64, 256))
    shrunk = large.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert distance(small, shrunk) < 3.0


def test_each_nuisance_changes_the_picture():
    amounts = {
        "yaw_degrees": 20.0,
        "pitch_degrees": 15.0,
        "roll_degrees": 15.0,
        "shift": 0.1,
        "gaze": 1.0,
        "light": 1.0,
        "background": 1.0,
        "blur_pixels": 3.0,
        "noise": 0.1,
        "occlusion": 1.0,
    }
    assert {*amounts, "jpeg_quality"} == {field.name for field in fields(Nuisance)}

    def shot(nuisance: Nuisance) -> np.ndarray:
        drawn = render(SOMEONE, 1, 0.8, size=64, nuisance=nuisance, rng=np.random.default_rng(5))
        return drawn.astype(np.float32)

    plain = shot(STUDIO)
    for name, value in amounts.items():
        assert distance(plain, shot(replace(STUDIO, **{name: value}))) > 0.05, name
    sizes = [
        len(next(generate(replace(SMALL, nuisance=replace(STUDIO, jpeg_quality=(q, q)))))[0].image) for q in (20, 95)
    ]
    assert sizes[0] < sizes[1]


def test_the_contact_sheet_has_people_by_expressions():
    sheet = contact_sheet(SMALL, people=3, size=32, zoom=2)
    assert sheet.width > 8 * 64
    assert sheet.height > 3 * 64
    assert decode(next(generate(SMALL))[0].image).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("people", 0),
        ("images_per_person", 0),
        ("size", 31),
        ("size", 513),
        ("seed", -1),
        ("first_person", -1),
        ("label_noise", 1.5),
        ("noise_kind", "symetric"),
        ("splits", (0.5, 0.5, 0.5)),
        ("splits", (1.2, -0.1, -0.1)),
        ("imbalance", 0.5),
    ],
)
def test_a_bad_config_is_one_line_naming_the_field(field: str, value: object):
    with pytest.raises(InputError) as caught:
        replace(SMALL, **{field: value})
    assert field in str(caught.value)
    assert "allowed" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("yaw_degrees", 80.0), ("light", -0.1), ("occlusion", 1.1), ("noise", 1.0), ("jpeg_quality", (95, 70))],
)
def test_a_bad_nuisance_is_one_line_naming_the_field(field: str, value: object):
    with pytest.raises(InputError) as caught:
        replace(STUDIO, **{field: value})
    assert f"nuisance.{field}" in str(caught.value)
