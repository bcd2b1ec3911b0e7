"""Augmentation: the identity draw is exact, the flip flips, draws follow from their key alone and keep to their ranges.

pytest tests/data/test_transforms.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    affine,
    horizontal_flip,
    rgb_to_grayscale,
)

from stargan_ray.config import DataConfig
from stargan_ray.data.transforms import Augment, Draw, apply, draw, to_float
from stargan_ray.errors import InputError

NOTHING = Augment(crop=0.0, flip=0.0)
ALL = Augment(crop=0.7, rotation_degrees=10, scale=(0.8, 1.3), brightness=0.2, contrast=0.3, saturation=0.4, flip=0.5)


def images(batch: int = 6, size: int = 32) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), dtype=np.uint8))


def smooth(batch: int = 4, size: int = 32) -> Tensor:
    """Images without steps, in which a resampling error shows as a number and not as an edge."""
    y, x = torch.meshgrid(torch.linspace(0, 3, size), torch.linspace(0, 2, size), indexing="ij")
    waves = [torch.stack([(x + k).sin(), (y * (1 + k)).cos(), (x + y - k).sin()]) for k in range(batch)]
    return ((torch.stack(waves) + 1) * 127.5).round().to(torch.uint8)


def test_bytes_become_minus_one_to_one() -> None:
    x = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(x, torch.tensor([-1.0, -0.6, 1.0]))
    assert x.dtype == torch.float32
    assert torch.equal(to_float(images()), images().float() / 127.5 - 1)


@pytest.mark.parametrize("size", [16, 32, 48, 64])
def test_no_augmentation_returns_the_image(size: int) -> None:
    """Up to the rounding of fp32 coordinates: a thousandth of a grey level."""
    x = images(size=size)
    torch.testing.assert_close(apply(x, draw(NOTHING, 6, (0, 0, 0))), to_float(x.clone()), rtol=0, atol=1e-5)


def test_colour_factors_of_one_return_the_image() -> None:
    still = draw(NOTHING, 6, (0, 0, 0))
    x = images()
    out = apply(x, Draw(still.geometry, torch.ones(6, 3)))
    torch.testing.assert_close(out, to_float(x.clone()), rtol=0, atol=1e-5)


def test_a_flip_mirrors_left_and_right() -> None:
    x = images()
    out = apply(x, draw(Augment(crop=0.0, flip=1.0), 6, (0, 0, 0)))
    torch.testing.assert_close(out, to_float(x.flip(3)), rtol=0, atol=1e-5)


def test_half_of_the_images_are_flipped_and_cropped() -> None:
    drawn = draw(Augment(), 4_000, (0, 0, 0))
    mirrored = (drawn.geometry[:, 0, 0] < 0).float().mean()
    cropped = (drawn.geometry[:, 0, 0].abs() * drawn.geometry[:, 1, 1] < 1).float().mean()
    assert mirrored.item() == pytest.approx(0.5, abs=0.03)
    assert cropped.item() == pytest.approx(0.5, abs=0.03)


def test_a_quarter_turn_turns() -> None:
    """90° through the same geometry as small angles: rows become columns."""
    x = smooth()
    turned = Draw(torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]]).expand(4, 2, 3), None)
    out = apply(x, turned)
    assert min((out - to_float(torch.rot90(x, k, (2, 3)))).abs().max() for k in (1, 3)) < 2e-5


def test_a_crop_is_the_part_enlarged() -> None:
    """The left upper quarter, by geometry, equals that quarter up-sampled."""
    x = smooth()
    quarter = Draw(torch.tensor([[[0.5, 0.0, -0.5], [0.0, 0.5, -0.5]]]).expand(4, 2, 3), None)
    expected = torch.nn.functional.interpolate(
        to_float(x[:, :, :16, :16].clone()), scale_factor=2, mode="bilinear", align_corners=False
    )
    inside = slice(0, -2)  # at the inner edges the resampling sees pixels that the cut does not have
    out = apply(x, quarter)
    torch.testing.assert_close(out[..., inside, inside], expected[..., inside, inside], rtol=0, atol=1e-4)


def same(first: Draw, second: Draw) -> bool:
    colours = first.colour is None and second.colour is None
    return torch.equal(first.geometry, second.geometry) and (colours or torch.equal(first.colour, second.colour))  # type: ignore[arg-type]


def test_a_draw_follows_from_its_key_alone() -> None:
    first = draw(ALL, 8, (7, 3, 1))
    draw(ALL, 5, (7, 4, 1))
    assert same(first, draw(ALL, 8, (7, 3, 1)))
    for other in ((8, 3, 1), (7, 4, 1), (7, 3, 2)):
        assert not same(first, draw(ALL, 8, other))


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_parts_make_the_global_result(workers: int) -> None:
    x, drawn = images(8), draw(ALL, 8, (0, 5, 0))
    each = 8 // workers
    parts = [apply(x[n * each : (n + 1) * each], drawn.rows(n * each, (n + 1) * each)) for n in range(workers)]
    assert torch.equal(torch.cat(parts), apply(x, drawn))


def test_geometry_keeps_to_its_ranges() -> None:
    config = Augment(crop=1.0, crop_scale=(0.6, 0.9), crop_ratio=(0.8, 1.25), flip=0.0)
    theta = draw(config, 4_000, (0, 0, 0)).geometry.double()
    wide, high = theta[:, 0, 0], theta[:, 1, 1]
    assert (wide * high).min() >= 0.6 - 1e-6
    assert (wide * high).max() <= 0.9 + 1e-6
    free = (wide < 1) & (high < 1)  # a crop is cut off where it would be larger than the image
    assert (wide / high)[free].min() >= 0.8 - 1e-6
    assert (wide / high)[free].max() <= 1.25 + 1e-6
    for half, shift in ((wide, theta[:, 0, 2]), (high, theta[:, 1, 2])):
        assert (shift.abs() + half).max() <= 1 + 1e-6  # a crop lies within the image
        assert shift.std() > 0.05


def test_rotation_and_zoom_keep_to_their_ranges() -> None:
    theta = draw(Augment(crop=0, flip=0, rotation_degrees=10, scale=(0.8, 1.25)), 4_000, (0, 0, 0)).geometry
    angle = torch.rad2deg(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]))
    zoom = 1 / theta[:, :, :2].double().det().sqrt()
    for value, low, high in ((angle, -10, 10), (zoom, 0.8, 1.25)):
        assert low - 1e-4 <= value.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < value.max() <= high + 1e-4


def test_colour_keeps_to_its_ranges_and_is_off_by_default() -> None:
    assert draw(Augment(), 4, (0, 0, 0)).colour is None
    colour = draw(ALL, 4_000, (0, 0, 0)).colour
    assert colour is not None
    for factor, width in zip(colour.T, (0.2, 0.3, 0.4), strict=True):
        assert 1 - width <= factor.min() < 1 - 0.9 * width
        assert 1 + 0.9 * width < factor.max() <= 1 + width


def test_colour_changes_what_its_name_says() -> None:
    x = smooth()
    still = draw(NOTHING, 4, (0, 0, 0)).geometry
    plain = apply(x, Draw(still, None))

    def coloured(*factors: float) -> Tensor:
        return apply(x, Draw(still, torch.tensor([factors], dtype=torch.float32).expand(4, 3)))

    torch.testing.assert_close(coloured(0.5, 1, 1), (plain + 1) * 0.5 - 1, rtol=0, atol=1e-5)
    flat = coloured(1, 0, 1)
    weights = torch.tensor([0.299, 0.587, 0.114])
    mean = torch.einsum("c,bchw->b", weights, plain) / 32**2
    torch.testing.assert_close(flat, mean[:, None, None, None].expand_as(plain), rtol=0, atol=1e-5)
    grey = coloured(1, 1, 0)
    torch.testing.assert_close(grey[:, 0], grey[:, 2], rtol=0, atol=1e-5)
    torch.testing.assert_close(grey[:, 0], torch.einsum("c,bchw->bhw", weights, plain), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [Augment(), ALL, NOTHING])
def test_what_comes_out_is_in_range(config: Augment) -> None:
    out = apply(images(), draw(config, 6, (0, 1, 0)))
    assert out.shape == (6, 3, 32, 32)
    assert out.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"crop": 1.5}, "crop = 1.5"),
        ({"flip": -0.1}, "flip = -0.1"),
        ({"saturation": 2.0}, "saturation = 2.0"),
        ({"brightness": math.nan}, "brightness = nan"),
        ({"crop_scale": (0.9, 0.8)}, "crop_scale = (0.9, 0.8)"),
        ({"crop_scale": (0.9, 1.5)}, "crop_scale = (0.9, 1.5)"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio = (0.0, 1.0)"),
        ({"scale": (1.0, math.inf)}, "scale = (1.0, inf)"),
        ({"rotation_degrees": math.nan}, "rotation_degrees = nan"),
        ({"rotation_degrees": -5.0}, "rotation_degrees = -5.0"),
        ({"grey": 1.5}, "grey = 1.5"),
        ({"erase": -0.5}, "erase = -0.5"),
        ({"erase_side": (0.0, 0.5)}, "erase_side = (0.0, 0.5)"),
        ({"erase_side": (0.5, 1.5)}, "erase_side = (0.5, 1.5)"),
    ],
)
def test_a_range_that_does_not_exist_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as caught:
        Augment(**fields)
    assert str(caught.value).startswith(f"data.augment.{named}: allowed is ")


# -- against torchvision --------------------------------------------------------------------------------------


def moved(angle: float, scale: float) -> Draw:
    """A zoom by ``scale`` and a turn by about ``angle`` degrees, found among many draws."""
    config = Augment(crop=0.0, flip=0.0, scale=(scale, scale))
    if not angle:
        return draw(config, 4, (0, 0, 0))
    drawn = draw(replace(config, rotation_degrees=abs(angle)), 400, (0, 0, 0)).geometry
    degrees = torch.rad2deg(torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    return Draw(drawn[(degrees - angle).abs().argmin()].expand(4, 2, 3), None)


@pytest.mark.parametrize(
    ("angle", "scale"), [(20.0, 1.0), (-20.0, 1.0), (0.0, 1.25), (0.0, 0.8), (20.0, 1.25), (-9.0, 0.9)]
)
def test_rotation_and_scaling_are_torchvisions(angle: float, scale: float) -> None:
    x = smooth()
    drawn = moved(angle, scale)
    seen = float(torch.rad2deg(torch.atan2(drawn.geometry[0, 1, 0], drawn.geometry[0, 0, 0])))
    assert seen == pytest.approx(angle, abs=0.5)
    # ours maps output to input in image coordinates (y down): a positive angle turns the image against the clock
    expected = affine(to_float(x.clone()), -seen, [0, 0], scale, [0.0], InterpolationMode.BILINEAR)
    inside = slice(10, 22)  # beyond, torchvision fills with black where we reflect
    torch.testing.assert_close(apply(x, drawn)[..., inside, inside], expected[..., inside, inside], rtol=0, atol=1e-4)


def test_a_mirror_image_is_torchvisions() -> None:
    x = images()
    out = apply(x, draw(Augment(crop=0.0, flip=1.0), 6, (0, 0, 0)))
    assert torch.equal(out, to_float(horizontal_flip(x)))


def test_what_is_known_of_an_image_and_its_mirror_image_follows_the_draw() -> None:
    """Also of a worker's part of the batch, and where the mirror image is not known because it is never drawn."""
    config = Augment(crop=0.0)
    x, drawn = images(8), draw(config, 8, (3, 1, 0))
    known = torch.stack([to_float(x.clone()).flatten(1), to_float(x.flip(3)).flatten(1)], 1)
    assert 0 < drawn.mirrored.sum() < 8
    for start, stop in ((0, 8), (3, 7)):
        part = drawn.rows(start, stop)
        assert torch.equal(part.of_view(known[start:stop]), apply(x[start:stop], part).flatten(1))
    never = draw(replace(config, flip=0.0), 8, (3, 1, 0))
    assert torch.equal(never.of_view(known[:, :1]), known[:, 0])


@pytest.mark.parametrize(
    ("fields", "beyond"),
    [
        ({"crop": 0.0}, ()),
        ({"crop": 0.0, "flip": 0.0}, ()),
        ({}, ("crop",)),
        ({"crop": 0.0, "crop_pixels": 8}, ("crop_pixels",)),
        ({"crop": 0.0, "rotation_degrees": 1.0, "scale": (1.0, 1.1)}, ("rotation_degrees", "scale")),
        (
            {"crop": 0.0, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1},
            ("brightness", "contrast", "saturation"),
        ),
        ({"crop": 0.0, "grey": 1.0}, ("grey",)),
        ({"crop": 0.0, "erase": 1.0}, ("erase",)),
    ],
)
def test_what_does_more_than_mirror_is_told(fields: dict[str, Any], beyond: tuple[str, ...]) -> None:
    """And what does not keeps every pixel."""
    config = Augment(**fields)
    assert config.beyond_mirror == beyond
    x = smooth()
    out = apply(x, draw(config, 4, (0, 0, 0)))
    plain = to_float(x.clone())
    kept = out.shape == plain.shape and all(
        torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(out, plain, strict=True)
    )
    assert kept is not bool(beyond)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2])
@pytest.mark.parametrize(("place", "reference"), [(0, adjust_brightness), (1, adjust_contrast), (2, adjust_saturation)])
def test_colour_is_torchvisions(place: int, reference: Callable[[Tensor, float], Tensor], factor: float) -> None:
    x = smooth() // 2 + 40  # no value is cut off
    factors = torch.ones(4, 3)
    factors[:, place] = factor
    out = apply(x, Draw(draw(NOTHING, 4, (0, 0, 0)).geometry, factors))
    expected = reference(x.float() / 255, factor)
    torch.testing.assert_close((out + 1) / 2, expected, rtol=0, atol=2e-4)


# -- without colours, and without a part --------------------------------------------------------------------------


def test_an_image_without_colours_is_torchvisions_and_as_many_are_as_was_asked_for() -> None:
    x = images(400)
    drawn = draw(replace(NOTHING, grey=0.3), 400, (0, 0, 0))
    assert drawn.grey is not None
    assert 0.22 < drawn.grey.float().mean() < 0.38
    out = apply(x, drawn)
    expected = rgb_to_grayscale(x[drawn.grey].float() / 127.5 - 1, num_output_channels=3)
    torch.testing.assert_close(out[drawn.grey], expected, rtol=0, atol=2e-4)
    assert torch.equal(out[~drawn.grey], to_float(x[~drawn.grey]))


def test_a_rectangle_becomes_grey_and_the_rest_stays() -> None:
    x = images(300)
    drawn = draw(replace(NOTHING, erase=0.5, erase_side=(0.25, 0.5)), 300, (0, 0, 0))
    assert drawn.erased is not None
    out, plain = apply(x, drawn), to_float(x)
    with_one = drawn.erased.any(1)
    assert 0.4 < with_one.float().mean() < 0.6
    assert torch.equal(out[~with_one], plain[~with_one])
    for found, before, sides in zip(out[with_one], plain[with_one], drawn.erased[with_one] * 32, strict=True):
        top, left, bottom, right = (round(float(side)) for side in sides)
        inside = torch.zeros(32, 32, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        assert 8 <= bottom - top <= 16
        assert 8 <= right - left <= 16
        assert torch.equal(found, before.masked_fill(inside, 0.0))


def test_they_change_nothing_else_of_a_draw_and_workers_parts_make_the_global_result() -> None:
    more = replace(ALL, grey=0.5, erase=0.5)
    drawn = draw(more, 8, (0, 5, 0))
    assert same(replace(drawn, grey=None, erased=None), draw(ALL, 8, (0, 5, 0)))
    x = images(8)
    parts = [apply(x[n : n + 4], drawn.rows(n, n + 4)) for n in (0, 4)]
    assert torch.equal(torch.cat(parts), apply(x, drawn))


# -- windows of a number of pixels ----------------------------------------------------------------------------


def test_a_window_is_a_part_of_the_image_as_it_is_and_every_place_comes() -> None:
    x = images(batch=400, size=48)
    drawn = draw(Augment(crop=0.0, crop_pixels=44), 400, (0, 0, 0))
    out = apply(x, drawn)
    assert out.shape == (400, 3, 44, 44)
    places = set()
    for image, mirrored, window, corner in zip(x, drawn.geometry[:, 0, 0] < 0, out, drawn.corner, strict=True):  # type: ignore[arg-type]
        top, left = (corner * 5).long().tolist()
        seen = to_float(image.flip(2) if mirrored else image.clone())
        assert torch.equal(window, seen[:, top : top + 44, left : left + 44])
        places.add((top, left))
    assert len(places) == 25
    assert 0.4 < (drawn.geometry[:, 0, 0] < 0).float().mean() < 0.6


def test_every_place_of_a_window_is_as_likely() -> None:
    """Read off images whose pixels tell where they are; 400 of 10,000 at each of 25 places, give or take five sigma."""
    down, across = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    x = torch.stack([down, across, down]).to(torch.uint8).expand(10_000, 3, 12, 12)
    out = apply(x, draw(Augment(crop=0.0, crop_pixels=8, flip=0.0), 10_000, (0, 0, 0)))
    top, left = ((out[:, :2, 0, 0] + 1) * 127.5).round().long().unbind(1)
    counts = torch.bincount(5 * top + left, minlength=25)
    assert len(counts) == 25
    assert (counts - 400).abs().max() < 5 * 400**0.5


def test_a_window_of_the_whole_image_is_the_image() -> None:
    x = images()
    assert torch.equal(apply(x, draw(Augment(crop=0, crop_pixels=32, flip=0), 6, (0, 0, 0))), to_float(x.clone()))


def test_a_window_of_a_turned_image_is_cut_from_the_one_resampling() -> None:
    x = smooth()
    turned = Augment(crop=0.0, crop_pixels=24, flip=0.0, rotation_degrees=10, scale=(0.9, 1.1), brightness=0.2)
    drawn = draw(turned, 4, (3, 0, 0))
    assert not drawn.still
    whole = apply(x, Draw(drawn.geometry, drawn.colour))
    for image, window, corner in zip(whole, apply(x, drawn), drawn.corner, strict=True):  # type: ignore[arg-type]
        top, left = (corner * 9).long().tolist()
        assert torch.equal(window, image[:, top : top + 24, left : left + 24])


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_windows_make_the_global_result(workers: int) -> None:
    x, drawn = images(8), draw(Augment(crop=0.0, crop_pixels=20), 8, (0, 5, 0))
    each = 8 // workers
    parts = [apply(x[n * each : (n + 1) * each], drawn.rows(n * each, (n + 1) * each)) for n in range(workers)]
    assert torch.equal(torch.cat(parts), apply(x, drawn))


def test_windows_that_no_image_has_are_refused() -> None:
    with pytest.raises(InputError, match=r"data\.augment\.crop_pixels = 44 with crop = 0\.5: allowed"):
        Augment(crop_pixels=44)
    with pytest.raises(InputError, match=r"data\.augment\.crop_pixels = 49: allowed are 0 to 48"):
        DataConfig(size=48, augment=Augment(crop=0.0, crop_pixels=49))
