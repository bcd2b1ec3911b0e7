"""Nose, cheek folds and mouth of a generated face, and how the action units move them."""

from __future__ import annotations

import numpy as np

from stargan_ray.data.face_drawing import Array, Canvas, Patch, blob, rgb, shaded, smooth
from stargan_ray.data.face_head import CREASE, Look

_TEETH = rgb(244, 238, 226)
_MOUTH_INSIDE = rgb(74, 22, 24)
_TONGUE = rgb(186, 92, 92)


def draw_nose(canvas: Canvas, look: Look) -> None:
    """Nostrils, wings and tip; AU 9 wrinkles the bridge and lifts the wings."""
    traits = look.traits
    wrinkle, lift = look.both(9), 0.030 * look.both(9) + 0.012 * look.both(10)
    y0 = look.nose_y - lift
    wide = 0.098 + 0.060 * traits.nose_width + 0.012 * wrinkle + 0.008 * look.both(12)
    aside = canvas.parallax(0.05 + 0.06 * traits.nose_bridge)
    patch = canvas.patch(-0.27, 0.27, y0 - 0.16, y0 + 0.17).moved(*aside)
    under = blob(patch.x, patch.y, (0.0, y0 + 0.055), (0.9 * wide, 0.035))
    patch.multiply((0.62, 0.48, 0.45), under * 0.55)
    half = patch.folded()
    wing = half.stroke((0.86 * wide, y0 - 0.055), (0.80 * wide, y0 + 0.035), -0.026, 0.012)
    half.multiply(CREASE, wing * 0.85)
    hole = blob(half.x, half.y, (0.50 * wide, y0 + 0.026), (0.042 + 0.1 * (wide - 0.1), 0.022))
    half.multiply((0.16, 0.10, 0.10), np.minimum(hole * 1.25, 1.0) * 0.9)
    tip = blob(patch.x, patch.y, (-0.01, y0 - 0.035), (0.034, 0.030))
    patch.multiply((1.22, 1.22, 1.22), tip)
    _bridge(canvas, look, aside, wrinkle)


def _bridge(canvas: Canvas, look: Look, aside: tuple[float, float], wrinkle: float) -> None:
    """The ridge catches light; AU 9 lays creases across it and down its sides."""
    patch = canvas.patch(-0.24, 0.24, -0.22, look.nose_y).moved(*aside)
    ridge = patch.x * (1.0 / 0.024)
    along = smooth(-0.2, 0.0, patch.y) * smooth(look.nose_y, look.nose_y - 0.12, patch.y)
    patch.multiply((1.22, 1.22, 1.22), np.exp(-(ridge * ridge)) * along * (0.5 * look.traits.nose_bridge))
    if wrinkle > 0.05:
        half = patch.folded()
        across = half.strokes([((-0.10, y), (0.10, y)) for y in (-0.16, -0.10, -0.04)], -0.022, 0.015)
        beside = half.strokes([((0.06, y), (0.18, y + 0.05)) for y in (-0.01, 0.06)], 0.0, 0.015)
        half.multiply(CREASE, np.maximum(across, beside) * min(1.0, 0.9 * wrinkle))


def draw_folds(canvas: Canvas, look: Look) -> None:
    """The fold from nose to mouth corner: deep with AU 9, 10 and 12, and with age."""
    depths = []
    for side in (-1, 1):
        deed = 0.70 * look.at(12, side) + 0.8 * look.at(10, side) + 0.45 * look.at(9, side)
        depths.append(min(1.0, 0.32 * look.traits.age_lines + 0.1 * look.traits.cheeks + deed))
    smile, raised = look.both(12), look.both(10)
    patch = canvas.patch(-0.48, 0.48, look.nose_y - 0.10, look.mouth_y + 0.06)
    start = (0.165 + 0.03 * smile, look.nose_y - 0.035 - 0.02 * raised)
    end = (0.335 + 0.07 * smile, look.mouth_y + 0.02 - 0.03 * smile)
    line = patch.folded().stroke(start, end, -0.035, 0.020)
    patch.multiply(CREASE, line * patch.halves((depths[0], depths[1])))


def draw_mouth(canvas: Canvas, look: Look) -> None:
    """Lips, teeth and the inside of the mouth."""
    patch = canvas.patch(-0.47, 0.47, look.mouth_y - 0.23, look.chin_y + 0.02)
    s, s2, middle, dome = _mouth_line(look, patch)
    a10, a20, a25, a26 = (look.both(unit) for unit in (10, 20, 25, 26))
    gap_up = 0.012 * a25 + 0.045 * a10 * min(1.0, a25 * 2) + 0.020 * a26
    gap_down = 0.042 * a25 + 0.175 * a26 + 0.012 * a20 * min(1.0, a25)
    upper_in, lower_in = middle - gap_up * dome, middle + gap_down * dome
    width = (s2 < 1.0).astype(np.float32)
    _corners(patch, look, middle, s)
    _lips(patch, look, (s, s2, middle, dome, upper_in, lower_in), width)
    seam = middle
    if gap_up + gap_down > 0.008:
        inside = patch.inside(np.maximum(upper_in - patch.y, patch.y - lower_in)) * width
        _cavity(patch, look, inside, (s, upper_in, lower_in))
        seam = upper_in
    patch.multiply((0.22, 0.13, 0.13), patch.line(patch.y - seam, 0.009) * width * 0.9)


def _lips(patch: Patch, look: Look, at: tuple[Array, ...], width: Array) -> None:
    """Both lips, the shadow under them and the shine of the lower one; AU 23 presses them thin."""
    s, s2, middle, dome, upper_in, lower_in = at
    traits, y = look.traits, patch.y
    thin = max(0.30, 1.0 - 0.55 * look.both(23) - 0.20 * look.both(20) - 0.15 * look.both(12))
    peaks, dip = (np.abs(s) - 0.26) * (1.0 / 0.16), s * (1.0 / 0.12)
    bow = 1.0 + 0.22 * np.exp(-(peaks * peaks)) - 0.20 * np.exp(-(dip * dip))
    round_ = np.sqrt(1.0 - s2)
    high = (0.034 + 0.044 * traits.upper_lip) * thin
    low = (0.052 + 0.056 * traits.lower_lip) * (thin + 0.20 * look.both(17))
    upper_out = upper_in - high * bow * round_ * (1.0 - 0.25 * s2) - 0.028 * look.both(10) * dome
    lower_out = lower_in + low * round_
    shadow = blob(patch.x, y, (0.0, _floor(lower_out) + 0.045), (0.15, 0.035))
    patch.multiply((0.55, 0.42, 0.40), shadow * 0.6)
    lips = patch.inside(np.maximum(upper_out - y, y - lower_out)) * width
    patch.paint(look.lips, lips)
    patch.multiply((0.72, 0.66, 0.66), lips * smooth(0.004, -0.010, y - middle))
    gloss = (y - lower_in - 0.036) * (1.0 / 0.018)
    shine = np.exp(-(gloss * gloss)) * np.maximum(1.0 - 1.6 * s2, 0.0)
    patch.multiply((1.30, 1.34, 1.34), shine * lips * 0.8)


def _floor(edge: Array) -> float:
    return float(edge.max()) if edge.size else 0.0


def _mouth_line(look: Look, patch: Patch) -> tuple[Array, Array, Array, Array]:
    """Place along the mouth (-1..1), its square, the height of the seam, and how the opening bulges."""
    wide, corner = [], []
    for side in (-1, 1):
        a12, a14, a15, a20, a23 = (look.at(unit, side) for unit in (12, 14, 15, 20, 23))
        half = 0.205 + 0.065 * look.traits.mouth_width + 0.085 * a12 + 0.085 * a20
        half += 0.025 * a14 - 0.055 * a23 - 0.035 * look.both(26) - 0.01 * look.both(17)
        wide.append(1.0 / max(0.13, half))
        corner.append(-0.098 * a12 - 0.022 * a14 + 0.095 * a15 + 0.02 * a20)
    s = patch.x * patch.halves((wide[0], wide[1]))
    s2 = np.minimum(s * s, 1.0)
    centre = look.mouth_y - 0.038 * look.both(17) + 0.022 * look.both(12) - 0.016 * look.both(10)
    middle = centre + patch.halves((corner[0], corner[1])) * s2 * (0.55 + 0.45 * s2)
    square = min(1.0, look.both(20) + 0.6 * look.both(10) + 0.5 * look.both(23))
    dome = 1.0 - s2 * (1.0 - square + square * s2 * s2)
    return s, s2, middle, dome


def _cavity(patch: Patch, look: Look, inside: Array, at: tuple[Array, Array, Array]) -> None:
    """Tongue and teeth: a smile shows the upper row, fear and anger both."""
    s, upper_in, lower_in = at
    patch.paint(_MOUTH_INSIDE, inside)
    tongue = blob(patch.x, patch.y, (0.0, _floor(lower_in) + 0.01), (0.16, 0.075))
    patch.paint(_TONGUE, inside * tongue * 0.85)
    shown = min(1.0, look.both(12) + look.both(10) + 0.8 * look.both(20) + 0.55 * look.both(25))
    edge = inside * smooth(1.0, 0.80, np.abs(s))
    patch.paint(_TEETH, edge * patch.inside(patch.y - upper_in - 0.030 - 0.045 * shown))
    bared = min(1.0, look.both(20) + 0.8 * look.both(23) + 0.5 * look.both(10))
    if bared > 0.05:
        rise = lower_in - patch.y - 0.034 * bared
        patch.paint(shaded(_TEETH, 0.86), edge * patch.inside(rise))
        patch.multiply((0.4, 0.3, 0.3), edge * patch.line(rise, 0.006) * bared)
    gaps = np.abs(np.sin(s * 11.0)) < 0.12
    patch.multiply((0.85, 0.80, 0.78), inside * gaps * 0.6)


def _corners(patch: Patch, look: Look, middle: Array, s: Array) -> None:
    """Shadows at the corners; AU 14 presses a dimple, AU 15 drags a line down, AU 17 puckers the chin."""
    out, y = np.abs(s), patch.y - middle
    a12, a14, a15 = (look.acts[unit] for unit in (12, 14, 15))
    near = [min(0.9, 0.45 + 0.4 * a12[k] + 0.4 * a15[k] + 0.5 * a14[k]) for k in (0, 1)]
    dark = blob(out, y, (1.0, 0.0), (0.14, 0.030)) * patch.halves((near[0], near[1]))
    if max(a14) > 0.05:
        pressed = blob(out, y, (1.20, -0.015), (0.075, 0.065))
        dark += pressed * patch.halves((min(1.2, 1.2 * a14[0]), min(1.2, 1.2 * a14[1])))
    if max(a15) > 0.05:
        dragged = blob(out, y, (1.12, 0.055), (0.10, 0.06))
        dark += dragged * patch.halves((min(1.0, 0.9 * a15[0]), min(1.0, 0.9 * a15[1])))
    a17 = look.both(17)
    if a17 > 0.05:
        x, chin = np.abs(patch.x), look.chin_y - 0.17
        for place in ((0.07, chin), (0.0, chin + 0.03), (0.037, chin + 0.065)):
            dark += blob(x, patch.y, place, (0.028, 0.024)) * min(0.9, 0.7 * a17)
    patch.multiply(CREASE, np.minimum(dark, 1.15))
