"""The head of a generated face: derived colours and places, neck, ears, skin, relief, light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stargan_ray.data.face_actions import Actions
from stargan_ray.data.face_drawing import (
    Array,
    Canvas,
    Colour,
    Patch,
    blob,
    mix,
    palette,
    power,
    ramp,
    rgb,
    shaded,
    smooth,
)
from stargan_ray.data.face_traits import Traits

_SKIN = (
    (0.0, rgb(250, 219, 201)),
    (0.25, rgb(238, 192, 160)),
    (0.5, rgb(214, 158, 116)),
    (0.75, rgb(158, 103, 68)),
    (1.0, rgb(96, 60, 42)),
)
_HAIR = (
    (0.0, rgb(236, 205, 142)),
    (0.3, rgb(178, 128, 76)),
    (0.6, rgb(98, 64, 42)),
    (0.85, rgb(48, 33, 27)),
    (1.0, rgb(24, 20, 20)),
)
_IRIS = (
    (0.0, rgb(108, 166, 206)),
    (0.3, rgb(104, 150, 98)),
    (0.5, rgb(140, 112, 58)),
    (0.75, rgb(92, 56, 30)),
    (1.0, rgb(44, 27, 18)),
)

CREASE = (0.44, 0.32, 0.30)  # how much of each colour the shade of a fold in the skin leaves


@dataclass(frozen=True)
class Look:
    """What follows from a person's traits and the action of one picture; places in face units."""

    traits: Traits
    acts: Actions
    skin: Colour
    hair: Colour
    lips: Colour
    iris: Colour
    eye_y: float
    brow_y: float
    nose_y: float
    mouth_y: float
    chin_y: float

    def both(self, unit: int) -> float:
        """Mean strength of an action unit over the two halves."""
        left, right = self.acts[unit]
        return 0.5 * (left + right)

    def at(self, unit: int, side: int) -> float:
        """Strength of an action unit in one half of the picture: ``side`` -1 left, 1 right."""
        return self.acts[unit][(side + 1) // 2]


@lru_cache(maxsize=64)
def _colours(traits: Traits) -> tuple[Colour, Colour, Colour, Colour]:
    """Skin, hair, lips, irises."""
    skin = palette(_SKIN, traits.skin_tone)
    warm = traits.skin_warmth - 0.5
    skin = skin[0] * (1 + 0.04 * warm), skin[1] * (1 + 0.10 * warm), skin[2] * (1 - 0.34 * warm)
    hair = palette(_HAIR, traits.hair_dark)
    ginger = shaded(rgb(204, 96, 44), 1.15 - 0.85 * traits.hair_dark)
    hair = mix(hair, ginger, 0.75 * traits.hair_red)
    hair = mix(hair, rgb(196, 196, 200), 0.9 * traits.hair_grey)
    natural = mix(shaded(skin, 0.78), (skin[0] * 0.80, skin[1] * 0.36, skin[2] * 0.40), 0.45)
    painted = 0.25 + 0.25 * skin[0], 0.05 * skin[1] + 0.015, 0.06 * skin[2] + 0.03
    return skin, hair, mix(natural, painted, 0.62 * traits.lip_colour), palette(_IRIS, traits.iris)


def look(traits: Traits, acts: Actions) -> Look:
    """Colours and places of one picture."""
    skin, hair, lips, iris = _colours(traits)
    eye_y = -0.06 - 0.035 * traits.eye_height
    jaw_drop = 0.5 * (acts[26][0] + acts[26][1])
    return Look(
        traits=traits,
        acts=acts,
        skin=skin,
        hair=hair,
        lips=lips,
        iris=iris,
        eye_y=eye_y,
        brow_y=eye_y - 0.215 - 0.07 * (traits.brow_height - 0.5),
        nose_y=0.27 + 0.10 * (traits.nose_length - 0.5),
        mouth_y=0.565 - 0.035 * traits.mouth_height + 0.03 * (traits.nose_length - 0.5),
        chin_y=traits.face_length + 0.09 * jaw_drop,
    )


def outline(look: Look, x: Array, y: Array) -> Array:
    """Distance to the outline of the head, negative inside: a dome above, the person's jaw below."""
    traits = look.traits
    fall = np.maximum(y + 0.15, 0.0) / (look.chin_y + 0.15)
    rise = np.maximum(-0.15 - y, 0.0) / 0.80
    square = 2.0 + 0.9 * (traits.jaw - 0.15)
    full = (0.05 * traits.cheeks - 0.02) * blob(0.0 * y, y, (0.0, 0.32), (1.0, 0.28))
    wide = np.abs(x) / (traits.face_width + full - 0.05 * (1.0 - traits.jaw) * smooth(0.15, 0.75, y))
    below = power(power(wide, square) + power(fall, square), 1.0 / square)
    above = np.sqrt(wide * wide + rise * rise)
    found: Array = (np.where(y > -0.15, below, above) - 1.0) * 0.72
    return found


def draw_neck(canvas: Canvas, look: Look, cloth: Colour, cloth_cut: float) -> None:
    """Neck and shoulders: mostly the bottom corners of the crop; they stay behind when the head turns."""
    patch = canvas.patch(-1.6, 1.6, 0.25, 1.4).moved(*canvas.parallax(-0.6))
    x, y = patch.x, patch.y
    ax = np.abs(x)
    half = 0.36 + 0.10 * look.traits.jaw + 0.06 * look.traits.cheeks
    neck = patch.inside(np.maximum(ax - half - 0.25 * np.maximum(y - 0.9, 0.0), 0.3 - y))
    patch.cover(look.skin, 0.62 - 0.22 * smooth(0.1, -0.25, y - look.chin_y), neck)
    dip = x * (1.0 / 0.34)
    collar = 0.80 + 0.42 * cloth_cut * np.exp(-(dip * dip)) + 0.30 * np.maximum(ax - 0.35, 0.0)
    depth = y - collar
    body = patch.inside(depth * -0.8)
    hem = depth * (1.0 / 0.06)
    patch.cover(cloth, 1.0 - 0.3 * np.exp(-(hem * hem)), body)


def draw_ears(canvas: Canvas, look: Look) -> None:
    """Two ears behind the face; the turn of the head hides one of them."""
    traits = look.traits
    wide, high = 0.075 + 0.035 * traits.ear_size + 0.02 * traits.ear_stance, 0.14 + 0.08 * traits.ear_size
    cx = traits.face_width + 0.005 + 0.06 * traits.ear_stance
    patch = canvas.patch(-cx - 0.3, cx + 0.3, -0.22, 0.36).moved(*canvas.parallax(-0.45)).folded()
    y = (patch.y - 0.06) * (1.0 / high)
    x = (patch.x - cx) * (1.0 / wide) - 0.25 * y
    radius = np.sqrt(x * x + y * y)
    alpha = patch.inside((radius - 1.0) * 0.09)
    bowl = (radius - 0.45) * (1.0 / 0.28)
    patch.cover(shaded(look.skin, 0.80), 1.0 - 0.36 * np.exp(-(bowl * bowl)), alpha)


def draw_skin(canvas: Canvas, look: Look, head: Array) -> None:
    """Skin of the face with what belongs to it: blush, freckles, stubble shadow, mole, tired eyes."""
    traits = look.traits
    canvas.paint(look.skin, head)
    patch = canvas.patch(-0.70, 0.70, -0.15, 0.60)
    glow = blob(np.abs(patch.x), patch.y, (0.36, 0.22), (0.22, 0.17))
    glow += 0.8 * blob(patch.x, patch.y, (0.0, look.nose_y - 0.06), (0.13, 0.10))
    patch.multiply((1.0, 0.80, 0.80), head[patch.part] * glow * (0.15 + 0.85 * traits.blush))
    if traits.freckles > 0:
        _freckles(canvas.patch(-0.62, 0.62, -0.15, 0.5), traits)
    spot = canvas.patch(-0.55, 0.55, look.eye_y + 0.02, look.eye_y + 0.23).folded()
    bag = blob(spot.x, spot.y, (traits.eye_spacing - 0.01, look.eye_y + 0.125), (0.15, 0.045))
    spot.multiply((0.66, 0.55, 0.60), bag * (0.75 * traits.eye_bags))
    if traits.mole > 0:
        cx, cy = 0.20 * traits.mole_x, 0.36 + 0.26 * traits.mole_y
        cx += math.copysign(0.24, traits.mole_x)
        spot = canvas.patch(cx - 0.08, cx + 0.08, cy - 0.08, cy + 0.08)
        radius = np.hypot(spot.x - cx, spot.y - cy)
        size = 0.008 + 0.020 * traits.mole
        spot.multiply((0.25, 0.16, 0.12), spot.inside(radius - max(size, 0.6 * spot.pixel)))


def _freckles(patch: Patch, traits: Traits) -> None:
    """A sprinkle over nose and cheeks; a skewed grid of spots, each moved off its place by waves."""
    phase = 6.283 * traits.pattern
    u = patch.x * 42.0 + 1.6 * np.sin(patch.y * 11.0 + phase) + phase
    v = patch.y * 45.0 + 1.6 * np.sin(patch.x * 13.0 + 1.7 * phase) - phase
    spots = np.maximum(np.sin(u) * np.sin(v) - 0.25, 0.0) + np.maximum(np.cos(u * 0.7) * np.cos(v * 0.8) - 0.5, 0.0)
    where = blob(np.abs(patch.x), patch.y, (0.24, 0.15), (0.26, 0.17))
    patch.multiply((0.50, 0.32, 0.22), np.minimum(1.7 * spots, 1.0) * where * traits.freckles)


def draw_facial_hair(canvas: Canvas, look: Look, head: Array) -> None:
    """Stubble, beard and moustache; the lips are drawn over them afterwards."""
    traits = look.traits
    if traits.stubble <= 0 and traits.beard <= 0 and traits.moustache <= 0:
        return
    patch = canvas.patch(-0.80, 0.80, -0.12, 1.15)
    x, y = patch.x, patch.y
    # Full cover on the rim, or a line of skin would show between hair and background.
    face = np.minimum(2.0 * head[patch.part], 1.0)
    s = np.abs(x) * (1.0 / traits.face_width)
    cheek_line = look.mouth_y - 0.10 + 0.10 * np.cos(3.0 * s) - 0.62 * smooth(0.55, 1.0, s)
    area = smooth(-0.06, 0.07, y - cheek_line) * face
    grain = 0.82 + 0.18 * np.sin(x * 61 + 3 * np.sin(y * 23)) * np.sin(y * 47 + 3 * np.sin(x * 31))
    if traits.stubble > 0:
        lip = blob(x, y, (0.0, look.mouth_y - 0.11), (0.24, 0.07))
        shade = np.minimum(area + 0.8 * lip, 1.0) * (0.42 * traits.stubble)
        patch.multiply((0.50, 0.54, 0.60), shade * grain)
    hair = shaded(look.hair, 0.85)
    if traits.beard > 0:
        # A small beard stays around the chin; a full one reaches the sideburns.
        reach = smooth(0.45 + 0.75 * traits.beard, 0.15 + 0.75 * traits.beard, s)
        reach = np.maximum(reach, ramp(0.62, 0.85, traits.beard))
        patch.cover(hair, 0.75 + 0.25 * grain, np.minimum(area * reach * (0.72 + 0.5 * traits.beard), 1.0))
    if traits.moustache > 0:
        # Its ends go where the corners of the mouth go.
        ends = 0.9 * (look.both(15) - look.both(12))
        below = y - look.mouth_y + 0.155 - (0.9 + ends) * x * x
        inside = smooth(-0.02, 0.025, below) * smooth(0.02, -0.02, below - 0.055 - 0.06 * traits.moustache)
        cover = inside * smooth(0.36, 0.22, np.abs(x)) * min(1.0, 0.55 + 0.6 * traits.moustache)
        patch.cover(hair, 0.75 + 0.25 * grain, cover)


def relief(look: Look, canvas: Canvas) -> Array:
    """Height of the face above a plane, face units: what the light reads as forms."""
    traits = look.traits
    sx, sy = canvas.screen_x, canvas.screen_y + 0.05
    height: Array = 0.85 * np.sqrt(np.maximum(1.0 - 0.92 * sx * sx - 0.50 * sy * sy, 0.03))
    patch = canvas.patch(-0.74, 0.74, -0.52, look.chin_y + 0.1)
    x, y = patch.x, patch.y
    ax = np.abs(x)
    forms = -0.075 * blob(ax, y, (traits.eye_spacing, look.eye_y - 0.02), (0.20, 0.12))
    forms += 0.022 * blob(ax, y, (0.26, look.brow_y + 0.02), (0.24, 0.06))
    forms += (0.03 + 0.03 * traits.cheeks) * blob(ax, y, (0.37, 0.22), (0.20, 0.17))
    forms += 0.030 * blob(x, y, (0.0, look.chin_y - 0.13), (0.17, 0.11))
    forms += 0.022 * blob(x, y, (0.0, look.mouth_y), (0.26, 0.16))
    raised = 0.5 * look.both(6) + 0.45 * look.both(12) + 0.3 * look.both(9)
    if raised > 0.02:
        forms += (0.055 * raised) * blob(ax, y, (0.36, 0.17), (0.15, 0.11))
    height[patch.part] += forms
    ridge = 0.085 + 0.07 * traits.nose_bridge
    nose = canvas.patch(-0.34, 0.34, -0.24, look.nose_y + 0.12).moved(*canvas.parallax(0.5 * ridge))
    grow = smooth(-0.22, look.nose_y, nose.y) * smooth(look.nose_y + 0.10, look.nose_y, nose.y)
    wide = 0.055 + 0.055 * (0.6 + 0.8 * traits.nose_width) * smooth(-0.1, look.nose_y, nose.y)
    across = nose.x / wide
    height[nose.part] += ridge * grow * np.exp(-(across * across))
    return height


def light_on(canvas: Canvas, height: Array, direction: tuple[float, float, float]) -> tuple[Array, Array, Array]:
    """Light per colour plane on a relief, 1 where it falls straight.

    Red wraps further round than blue: light that entered the skin comes out again, so shadows turn warm.
    """
    slope_y, slope_x = np.empty_like(height), np.empty_like(height)
    step = 0.5 / canvas.pixel
    slope_x[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * step
    slope_y[1:-1, :] = (height[2:, :] - height[:-2, :]) * step
    slope_x[:, 0], slope_x[:, -1] = slope_x[:, 1], slope_x[:, -2]
    slope_y[0], slope_y[-1] = slope_y[1], slope_y[-2]
    lx, ly, lz = direction
    norm = 1.0 / np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
    facing = (lz - lx * slope_x - ly * slope_y) * norm
    red, green, blue = (
        np.maximum((facing + wrap) * (1.0 / (1.0 + wrap)), 0.0) * 0.86 + 0.20 for wrap in (0.34, 0.22, 0.18)
    )
    return red, green, blue


def light_direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Unit vector towards the light: angles in radians, 0, 0 is the camera; positive is right and up."""
    return (
        math.sin(azimuth) * math.cos(elevation),
        -math.sin(elevation),
        math.cos(azimuth) * math.cos(elevation),
    )
