"""Eyes, brows and forehead of a generated face, and how the action units move them.

Both halves of the face are drawn at once, in coordinates folded at the middle; what differs between them (a
unit's strength) comes from ``Patch.halves``.
"""

from __future__ import annotations

import numpy as np

from stargan_ray.data.face_drawing import Array, Canvas, Patch, blob, mix, rgb, shaded, smooth
from stargan_ray.data.face_head import CREASE, Look

_SCLERA = rgb(240, 234, 228)
_DARK = rgb(22, 14, 14)
_IRIS_RADIUS, _PUPIL_RADIUS = 0.066, 0.030


def draw_eyes(canvas: Canvas, look: Look, gaze: tuple[float, float]) -> None:
    """White, iris and lids of both eyes; AU 5 opens, AU 6 and 7 narrow from below."""
    traits = look.traits
    cx, cy = traits.eye_spacing, look.eye_y
    patch = canvas.patch(-cx - 0.28, cx + 0.28, cy - 0.25, cy + 0.20)
    half = 0.145 + 0.045 * traits.eye_size
    outward = np.abs(patch.x) - cx
    y = patch.y - cy + (0.16 * traits.eye_tilt) * outward
    s = outward * (1.0 / half)
    s2 = np.minimum(s * s, 1.0)
    up, down = _opening(look)
    # The upper lid peaks towards the nose, the lower one towards the ear.
    bulge = 1.0 - s2
    upper = -patch.halves(up) * bulge * (1.0 - 0.22 * s)
    lower = np.maximum(patch.halves(down) * bulge * (1.0 + 0.25 * s), upper)
    within = (s2 < 1.0).astype(np.float32)
    opening = patch.inside(np.maximum(upper - y, y - lower)) * within
    _folds(patch, look, (s, s2, y, upper, lower))
    patch.paint(_SCLERA, opening)
    patch.multiply((0.55, 0.50, 0.50), opening * smooth(0.05, 0.0, y - upper) * 0.75)
    _iris(patch, look, opening, (outward - patch.halves((-gaze[0], gaze[0])), y - gaze[1] + 0.008))
    rim = patch.line(y - lower, 0.006) * within
    patch.multiply((0.42, 0.30, 0.30), rim * 0.8)
    lash = patch.line(y - upper + 0.004, 0.009 + 0.011 * traits.lashes) * (np.abs(s) < 1.06)
    patch.paint(_DARK, np.minimum(lash * (0.55 + 0.45 * traits.lashes), 1.0))


def _opening(look: Look) -> tuple[tuple[float, float], tuple[float, float]]:
    """How far the upper and the lower lid stand off the middle, each (left, right)."""
    traits = look.traits
    high = 0.052 + 0.022 * traits.eye_size + 0.026 * traits.eye_roundness
    low = 0.034 + 0.014 * traits.eye_size + 0.012 * traits.eye_roundness
    up, down = [], []
    for side in (-1, 1):
        a4, a5, a6, a7, a9 = (look.at(unit, side) for unit in (4, 5, 6, 7, 9))
        up.append(max(0.015, high + 0.060 * a5 - 0.022 * a7 - 0.012 * a6 - 0.012 * a4 - 0.020 * a9))
        down.append(low + 0.012 * a5 - 0.034 * a7 - 0.044 * a6 - 0.022 * a9)
    return (up[0], up[1]), (down[0], down[1])


def _iris(patch: Patch, look: Look, opening: Array, at: tuple[Array, Array]) -> None:
    radius = np.sqrt(at[0] * at[0] + at[1] * at[1])
    patch.paint(shaded(look.iris, 0.45), opening * patch.inside(radius - _IRIS_RADIUS - 0.008))
    patch.paint(look.iris, opening * patch.inside(radius - _IRIS_RADIUS + 0.008))
    patch.paint(_DARK, opening * patch.inside(radius - _PUPIL_RADIUS))
    glint = blob(at[0], at[1], (-0.022, -0.026), (0.018, 0.018))
    patch.paint((1.0, 1.0, 1.0), opening * np.minimum(1.4 * glint, 1.0))


def _folds(patch: Patch, look: Look, at: tuple[Array, Array, Array, Array, Array]) -> None:
    """Shade above the lid, its crease, the pouch of a raised cheek and crow's feet."""
    s, s2, y, upper, lower = at
    traits = look.traits
    near = (1.0 - 0.7 * s2) * (np.abs(s) < 1.15)
    above = y - upper
    patch.multiply((0.62, 0.50, 0.46), near * smooth(-0.10, 0.0, above) * (above < 0) * 0.55)
    fold = (above + 0.036 + 0.01 * s) * (1.0 / max(0.014, 0.6 * patch.pixel))
    dark = np.exp(-(fold * fold)) * near * (0.85 * traits.lid_fold)
    squeeze = [min(0.8, 0.6 * look.at(6, side) + 0.6 * look.at(7, side)) for side in (-1, 1)]
    if max(squeeze) > 0.05:
        pouch = (y - lower - 0.045) * (1.0 / 0.020)
        dark += np.exp(-(pouch * pouch)) * near * patch.halves((squeeze[0], squeeze[1]))
    feet = [look.at(6, side) * (0.45 + 0.45 * traits.age_lines) for side in (-1, 1)]
    if max(feet) > 0.05:
        x = traits.eye_spacing + 0.17
        ends = [((x, look.eye_y + 0.2 * d), (x + 0.12, look.eye_y + d)) for d in (-0.07, 0.0, 0.06)]
        dark += patch.folded().strokes(ends, 0.0, 0.011) * patch.halves((feet[0], feet[1]))
    patch.multiply(CREASE, np.minimum(dark, 1.0))


def draw_brows(canvas: Canvas, look: Look) -> None:
    """Brows: AU 1 lifts the inner end, AU 2 the outer, AU 4 lowers and draws them together."""
    traits = look.traits
    outer_x = traits.eye_spacing + 0.215
    patch = canvas.patch(-0.66, 0.66, look.brow_y - 0.22, look.brow_y + 0.20)
    inner_x, inner_y, outer_y, arch = (patch.halves(pair) for pair in _brow_ends(look))
    span = outer_x - inner_x
    t = (np.abs(patch.x) - inner_x) / span
    inside = t.clip(0.0, 1.0)
    hump = inside * (1.0 - inside) * (2.4 + 3.2 * inside)
    off = patch.y - inner_y - (outer_y - inner_y) * inside + arch * hump
    thick = (0.021 + 0.024 * traits.brow_thickness) * (1.0 - 0.62 * inside * inside)
    ends = np.maximum(-t, t - 1.0) * span
    grain = 0.92 + 0.08 * np.sin(np.abs(patch.x) * 85.0 + off * 60.0)
    alpha = patch.inside(np.maximum(np.abs(off) - thick, ends)) * grain
    colour = mix(shaded(look.hair, 0.62), _DARK, 0.35)
    patch.paint(colour, alpha * (0.72 + 0.26 * traits.brow_thickness))


def _brow_ends(look: Look) -> list[tuple[float, float]]:
    """Inner x, inner y, outer y and arch, each (left, right)."""
    traits, found = look.traits, []
    for side in (-1, 1):
        a1, a2, a4, a9 = (look.at(unit, side) for unit in (1, 2, 4, 9))
        inner_x = 0.125 - 0.030 * a4 - 0.012 * a9
        inner_y = look.brow_y + 0.018 - 0.125 * a1 + 0.095 * a4 + 0.06 * a9
        drop = 0.030 - 0.035 * traits.brow_tilt
        outer_y = look.brow_y + drop - 0.105 * a2 + 0.035 * a4 + 0.02 * a9 + 0.025 * a1
        arch = 0.028 + 0.040 * traits.brow_arch + 0.012 * a2 - 0.012 * a4
        found.append((inner_x, inner_y, outer_y, arch))
    return [(left, right) for left, right in zip(*found, strict=True)]


def draw_forehead(canvas: Canvas, look: Look) -> None:
    """Lines of a raised (AU 1, 2) and of a knitted (AU 4) forehead; age leaves both in the skin."""
    lifted = min(1.0, 0.55 * look.both(1) + 0.55 * look.both(2)) + 0.35 * look.traits.age_lines
    if lifted > 0.06:
        patch = canvas.patch(-0.40, 0.40, look.brow_y - 0.36, look.brow_y - 0.08)
        rows = (look.brow_y - rise for rise in (0.16, 0.23, 0.30))
        lines = patch.strokes([((-0.36, y), (0.36, y)) for y in rows], -0.025 + 0.03 * look.both(1), 0.013)
        patch.multiply((0.60, 0.48, 0.44), lines * min(1.0, 0.8 * lifted))
    knit = min(1.2, look.both(4) + 0.5 * look.both(9)) + 0.25 * look.traits.age_lines
    if knit > 0.06:
        patch = canvas.patch(-0.14, 0.14, look.brow_y - 0.13, look.brow_y + 0.14)
        top, bottom = look.brow_y - 0.10, look.brow_y + 0.11
        line = patch.folded().stroke((0.055, top), (0.042, bottom), 0.0, 0.016)
        patch.multiply(CREASE, line * min(1.0, 0.9 * knit))
