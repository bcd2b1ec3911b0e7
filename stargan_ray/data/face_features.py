"""Eyes, brows, nose and mouth of a generated face, and how the action units move them."""

from __future__ import annotations

import numpy as np

from stargan_ray.data.face_drawing import Array, Canvas, Patch, blob, mix, rgb, shaded, smooth
from stargan_ray.data.face_head import Look

_SCLERA = rgb(240, 234, 228)
_TEETH = rgb(244, 238, 226)
_MOUTH_INSIDE = rgb(74, 22, 24)
_TONGUE = rgb(186, 92, 92)
_DARK = rgb(22, 14, 14)


def draw_eyes(canvas: Canvas, look: Look, gaze: tuple[float, float]) -> None:
    """Both eyes: white, iris, lids; AU 5 opens, AU 6 and 7 narrow from below."""
    for side in (-1, 1):
        _eye(canvas, look, side, gaze)


def _eye(canvas: Canvas, look: Look, side: int, gaze: tuple[float, float]) -> None:
    traits = look.traits
    cx, cy = side * traits.eye_spacing, look.eye_y
    patch = canvas.patch(cx - 0.30, cx + 0.30, cy - 0.26, cy + 0.22)
    half = 0.145 + 0.045 * traits.eye_size
    raise_, cheek, tight = look.at(5, side), look.at(6, side), look.at(7, side)
    up = 0.052 + 0.022 * traits.eye_size + 0.026 * traits.eye_roundness
    up += 0.060 * raise_ - 0.022 * tight - 0.012 * cheek - 0.012 * look.at(4, side) - 0.02 * look.at(9, side)
    up = max(up, 0.015)
    down = 0.034 + 0.014 * traits.eye_size + 0.012 * traits.eye_roundness + 0.012 * raise_
    down = down - 0.034 * tight - 0.044 * cheek - 0.022 * look.at(9, side)
    tilt = -0.16 * traits.eye_tilt
    outward = (patch.x - cx) * side
    y = patch.y - cy - tilt * outward
    s = outward / half
    s2 = np.minimum(s * s, 1.0)
    # The upper lid peaks towards the nose, the lower one towards the ear.
    upper = -up * (1.0 - s2) * (1.0 - 0.22 * s)
    lower = np.maximum(down * (1.0 - s2) * (1.0 + 0.25 * s), upper)
    opening = patch.inside(np.maximum(upper - y, y - lower)) * (np.abs(s) < 1.0)
    _lids(patch, look, side, (s, s2, y, upper, lower))
    patch.paint(_SCLERA, opening)
    patch.multiply((0.55, 0.50, 0.50), opening * smooth(0.05, 0.0, y - upper) * 0.75)
    _iris(patch, look, opening, (outward - side * gaze[0], y - gaze[1] + 0.008))
    lash = patch.line(y - upper + 0.004, 0.009 + 0.011 * traits.lashes) * (np.abs(s) < 1.06)
    patch.paint(_DARK, np.minimum(lash * (0.55 + 0.45 * traits.lashes), 1.0))
    rim = patch.line(y - lower, 0.006) * (np.abs(s) < 1.0)
    patch.multiply((0.42, 0.30, 0.30), rim * 0.8)


def _iris(patch: Patch, look: Look, opening: Array, at: tuple[Array, Array]) -> None:
    radius = np.hypot(*at)
    size = 0.066
    patch.paint(shaded(look.iris, 0.45), opening * patch.inside(radius - size - 0.008))
    patch.paint(look.iris, opening * patch.inside(radius - size + 0.008))
    patch.paint(_DARK, opening * patch.inside(radius - 0.030))
    glint = np.hypot(at[0] + 0.022, at[1] + 0.026)
    patch.paint((1.0, 1.0, 1.0), opening * patch.inside(glint - 0.016))


def _lids(patch: Patch, look: Look, side: int, at: tuple[Array, Array, Array, Array, Array]) -> None:
    """Creases and folds around the opening, crow's feet when the cheek rises."""
    s, s2, y, upper, lower = at
    traits = look.traits
    near = np.maximum(1.0 - 0.7 * s2, 0.0) * (np.abs(s) < 1.15)
    patch.multiply((0.62, 0.50, 0.46), near * smooth(-0.10, 0.0, y - upper) * (y < upper) * 0.55)
    crease = np.exp(-(((y - upper + 0.036 + 0.01 * s) / max(0.014, 0.6 * patch.pixel)) ** 2))
    patch.multiply((0.45, 0.33, 0.30), crease * near * 0.85 * traits.lid_fold)
    squeeze = 0.6 * look.at(6, side) + 0.6 * look.at(7, side)
    if squeeze > 0.05:
        pouch = np.exp(-(((y - lower - 0.045) / 0.020) ** 2))
        patch.multiply((0.55, 0.42, 0.40), pouch * near * min(0.8, squeeze))
    feet = look.at(6, side) * (0.5 + 0.5 * traits.age_lines)
    if feet > 0.05:
        base = side * (traits.eye_spacing + 0.17)
        for lift in (-0.07, 0.0, 0.06):
            line = patch.stroke(
                (base, look.eye_y + 0.2 * lift), (base + side * 0.12, look.eye_y + lift), 0.0, 0.010
            )
            patch.multiply((0.45, 0.33, 0.30), line * feet)


def draw_brows(canvas: Canvas, look: Look) -> None:
    """Brows: AU 1 lifts the inner end, AU 2 the outer, AU 4 lowers and draws them together."""
    traits = look.traits
    colour = mix(shaded(look.hair, 0.62), _DARK, 0.35)
    for side in (-1, 1):
        a1, a2, a4, a9 = (look.at(unit, side) for unit in (1, 2, 4, 9))
        inner_x = 0.125 - 0.030 * a4 - 0.012 * a9
        outer_x = traits.eye_spacing + 0.215
        tilt = 0.035 * traits.brow_tilt
        inner_y = look.brow_y + 0.018 - 0.125 * a1 + 0.095 * a4 + 0.06 * a9
        outer_y = look.brow_y + 0.030 - tilt - 0.105 * a2 + 0.035 * a4 + 0.02 * a9 + 0.025 * a1
        arch = 0.028 + 0.040 * traits.brow_arch + 0.012 * a2 - 0.012 * a4
        patch = canvas.patch(*_span(side, 0.03, 0.68), look.brow_y - 0.26, look.brow_y + 0.24)
        t = (patch.x * side - inner_x) / (outer_x - inner_x)
        inside = np.minimum(np.maximum(t, 0.0), 1.0)
        middle = (
            inner_y
            + (outer_y - inner_y) * inside
            - arch * 4.0 * inside * (1.0 - inside) * (0.6 + 0.8 * inside)
        )
        thick = (0.021 + 0.024 * traits.brow_thickness) * (1.0 - 0.62 * inside * inside)
        ends = np.maximum(-t, t - 1.0) * (outer_x - inner_x)
        grain = 0.90 + 0.10 * np.sin(patch.x * 150 * side + patch.y * 90)
        alpha = patch.inside(np.maximum(np.abs(patch.y - middle) - thick, ends)) * grain
        patch.paint(colour, alpha * (0.72 + 0.26 * traits.brow_thickness))
    _forehead(canvas, look)


def _forehead(canvas: Canvas, look: Look) -> None:
    """Lines of a raised (AU 1, 2) and of a knitted (AU 4) forehead; age leaves both in the skin."""
    lifted = min(1.0, 0.55 * look.both(1) + 0.55 * look.both(2)) + 0.35 * look.traits.age_lines
    if lifted > 0.06:
        patch = canvas.patch(-0.5, 0.5, look.brow_y - 0.36, look.brow_y - 0.02)
        for rise in (0.16, 0.23, 0.30):
            y = look.brow_y - rise
            line = patch.stroke((-0.36, y), (0.36, y), -0.025 + 0.03 * look.both(1), 0.011)
            patch.multiply((0.58, 0.46, 0.42), line * min(1.0, 0.85 * lifted))
    knit = min(1.2, look.both(4) + 0.5 * look.both(9)) + 0.25 * look.traits.age_lines
    if knit > 0.06:
        patch = canvas.patch(-0.16, 0.16, look.brow_y - 0.16, look.brow_y + 0.16)
        for side in (-1, 1):
            line = patch.stroke(
                (side * 0.055, look.brow_y - 0.10), (side * 0.042, look.brow_y + 0.11), -side * 0.012, 0.014
            )
            patch.multiply((0.42, 0.30, 0.28), line * min(1.0, 0.9 * knit))


def draw_nose(canvas: Canvas, look: Look) -> None:
    """Nostrils, wings and the fold beside them; AU 9 wrinkles the bridge and lifts the wings."""
    traits = look.traits
    wrinkle, lift = look.both(9), 0.030 * look.both(9) + 0.012 * look.both(10)
    y0 = look.nose_y - lift
    wide = 0.098 + 0.060 * traits.nose_width + 0.012 * wrinkle + 0.008 * look.both(12)
    patch = canvas.patch(-0.36, 0.36, -0.3, 0.5).moved(*canvas.parallax(0.05 + 0.06 * traits.nose_bridge))
    under = blob(patch.x, patch.y, (0.0, y0 + 0.055), (0.9 * wide, 0.035))
    patch.multiply((0.62, 0.48, 0.45), under * 0.55)
    for side in (-1, 1):
        hole = blob(patch.x, patch.y, (side * 0.50 * wide, y0 + 0.026), (0.042 + 0.1 * (wide - 0.1), 0.022))
        patch.multiply((0.16, 0.10, 0.10), np.minimum(hole * 1.25, 1.0) * 0.9)
        wing = patch.stroke(
            (side * 0.86 * wide, y0 - 0.055), (side * 0.80 * wide, y0 + 0.035), -side * 0.026, 0.012
        )
        patch.multiply((0.42, 0.30, 0.28), wing * 0.85)
    tip = blob(patch.x, patch.y, (-0.01, y0 - 0.035), (0.034, 0.030))
    bridge = np.exp(-((patch.x / 0.022) ** 2)) * smooth(-0.2, 0.0, patch.y) * smooth(y0, y0 - 0.1, patch.y)
    patch.multiply((1.22, 1.22, 1.22), tip + 0.45 * traits.nose_bridge * bridge)
    if wrinkle > 0.05:
        for y in (-0.16, -0.105, -0.05):
            line = patch.stroke((-0.10, y), (0.10, y), -0.020, 0.012)
            patch.multiply((0.42, 0.30, 0.28), line * min(1.0, wrinkle))
        for side in (-1, 1):
            for y in (-0.02, 0.05):
                line = patch.stroke((side * 0.05, y), (side * 0.17, y + 0.045), side * 0.01, 0.012)
                patch.multiply((0.42, 0.30, 0.28), line * min(1.0, 0.9 * wrinkle))


def _span(side: int, near: float, far: float) -> tuple[float, float]:
    return (near, far) if side > 0 else (-far, -near)


def draw_folds(canvas: Canvas, look: Look) -> None:
    """The fold from nose to mouth corner: deep with AU 9, 10 and 12, and with age."""
    for side in (-1, 1):
        smile, raised = look.at(12, side), look.at(10, side)
        depth = 0.32 * look.traits.age_lines + 0.70 * smile + 0.8 * raised + 0.45 * look.at(9, side)
        depth = min(1.0, depth + 0.1 * look.traits.cheeks)
        start = (side * (0.165 + 0.03 * smile), look.nose_y - 0.035 - 0.02 * raised)
        end = (side * (0.335 + 0.07 * smile), look.mouth_y + 0.02 - 0.03 * smile)
        patch = canvas.patch(*_span(side, 0.08, 0.56), look.nose_y - 0.12, look.mouth_y + 0.16)
        line = patch.stroke(start, end, side * -0.035, 0.020)
        patch.multiply((0.46, 0.34, 0.32), line * depth)


def draw_mouth(canvas: Canvas, look: Look) -> None:
    """Lips, teeth and the inside of the mouth."""
    traits = look.traits
    patch = canvas.patch(-0.50, 0.50, look.mouth_y - 0.26, look.mouth_y + 0.44)
    s, s2, middle, dome = _mouth_line(look, patch)
    a10, a17, a20, a23, a25, a26 = (look.both(unit) for unit in (10, 17, 20, 23, 25, 26))
    gap_up = 0.012 * a25 + 0.045 * a10 * min(1.0, a25 * 2) + 0.020 * a26
    gap_down = 0.042 * a25 + 0.175 * a26 + 0.012 * a20 * min(1.0, a25)
    thin = max(0.30, 1.0 - 0.55 * a23 - 0.20 * a20 - 0.15 * look.both(12))
    upper_in, lower_in = middle - gap_up * dome, middle + gap_down * dome
    bow = 1.0 + 0.22 * np.exp(-(((np.abs(s) - 0.26) / 0.16) ** 2)) - 0.20 * np.exp(-((s / 0.12) ** 2))
    round_ = np.sqrt(1.0 - s2)
    upper_out = (
        upper_in
        - (0.034 + 0.044 * traits.upper_lip) * thin * bow * round_ * (1.0 - 0.25 * s2)
        - 0.028 * a10 * dome
    )
    lower_out = lower_in + (0.052 + 0.056 * traits.lower_lip) * (thin + 0.20 * a17) * round_
    width = (s2 < 1.0).astype(np.float32)
    lips = patch.inside(np.maximum(upper_out - patch.y, patch.y - lower_out)) * width
    patch.multiply(
        (0.55, 0.42, 0.40), blob(patch.x, patch.y, (0.0, _floor(lower_out) + 0.045), (0.15, 0.035)) * 0.6
    )
    patch.paint(look.lips, lips)
    patch.multiply((0.72, 0.66, 0.66), lips * smooth(0.004, -0.010, patch.y - middle))
    shine = np.exp(-(((patch.y - lower_in - 0.036) / 0.018) ** 2)) * np.maximum(1.0 - 1.6 * s2, 0.0)
    patch.multiply((1.30, 1.34, 1.34), shine * lips * 0.8)
    inside = patch.inside(np.maximum(upper_in - patch.y, patch.y - lower_in)) * width
    if gap_up + gap_down > 0.008:
        _cavity(patch, look, inside, (s, upper_in, lower_in))
    seam = patch.line(patch.y - (upper_in + 0.5 * (lower_in - upper_in) * (gap_up + gap_down < 0.02)), 0.009)
    patch.multiply((0.22, 0.13, 0.13), seam * (s2 < 1.0) * 0.9)
    _corners(patch, look, middle, s)


def _floor(edge: Array) -> float:
    return float(edge.max()) if edge.size else 0.0


def _mouth_line(look: Look, patch: Patch) -> tuple[Array, Array, Array, Array]:
    """Place along the mouth (-1..1), its square, the height of the seam, and how the opening bulges."""
    half, corner = [], []
    for side in (-1, 1):
        a12, a14, a15, a20, a23 = (look.at(unit, side) for unit in (12, 14, 15, 20, 23))
        wide = 0.205 + 0.065 * look.traits.mouth_width + 0.085 * a12 + 0.085 * a20
        wide = wide - 0.055 * a23 + 0.025 * a14 - 0.035 * look.both(26) - 0.01 * look.both(17)
        half.append(max(0.13, wide))
        corner.append(-0.098 * a12 - 0.022 * a14 + 0.095 * a15 + 0.02 * a20)
    right = patch.x > 0
    s = patch.x / np.where(right, np.float32(half[1]), np.float32(half[0]))
    s2 = np.minimum(s * s, 1.0)
    centre = look.mouth_y - 0.038 * look.both(17) + 0.022 * look.both(12) - 0.016 * look.both(10)
    ends = np.where(right, np.float32(corner[1]), np.float32(corner[0]))
    middle = centre + ends * s2 * (0.55 + 0.45 * s2)
    square = min(1.0, look.both(20) + 0.6 * look.both(10) + 0.5 * look.both(23))
    dome = 1.0 - s2 * (1.0 - square + square * s2 * s2)
    return s, s2, middle, dome


def _cavity(patch: Patch, look: Look, inside: Array, at: tuple[Array, Array, Array]) -> None:
    s, upper_in, lower_in = at
    patch.paint(_MOUTH_INSIDE, inside)
    tongue = blob(patch.x, patch.y, (0.0, _floor(lower_in) + 0.01), (0.16, 0.075))
    patch.paint(_TONGUE, inside * tongue * 0.85)
    shown = min(1.0, look.both(12) + look.both(10) + 0.8 * look.both(20) + 0.55 * look.both(25))
    edge = smooth(1.0, 0.80, np.abs(s))
    top = patch.inside(patch.y - upper_in - 0.030 - 0.045 * shown)
    patch.paint(_TEETH, inside * top * edge)
    bared = min(1.0, look.both(20) + 0.8 * look.both(23) + 0.5 * look.both(10))
    if bared > 0.05:
        bottom = patch.inside(lower_in - patch.y - 0.034 * bared)
        patch.paint(shaded(_TEETH, 0.86), inside * bottom * edge)
        line = patch.line(patch.y - lower_in + 0.034 * bared, 0.006)
        patch.multiply((0.4, 0.3, 0.3), inside * line * edge * bared)
    gaps = np.abs(np.sin(s * 11.0)) < 0.12
    patch.multiply((0.85, 0.80, 0.78), inside * gaps * 0.6)


def _corners(patch: Patch, look: Look, middle: Array, s: Array) -> None:
    """Shadows at the corners; AU 14 presses a dimple, AU 15 drags a line down, AU 17 puckers the chin."""
    for side in (-1, 1):
        a12, a14, a15 = look.at(12, side), look.at(14, side), look.at(15, side)
        near = np.exp(-(((s - side) / 0.14) ** 2) - ((patch.y - middle) / 0.030) ** 2)
        patch.multiply((0.40, 0.28, 0.27), near * min(0.9, 0.45 + 0.4 * a12 + 0.4 * a15 + 0.5 * a14))
        if a14 > 0.05:
            dimple = np.exp(-(((s - side * 1.22) / 0.10) ** 2) - ((patch.y - middle + 0.012) / 0.075) ** 2)
            patch.multiply((0.30, 0.21, 0.20), dimple * min(1.0, a14))
        if a15 > 0.05:
            drag = np.exp(-(((s - side * 1.12) / 0.10) ** 2) - ((patch.y - middle - 0.055) / 0.06) ** 2)
            patch.multiply((0.45, 0.33, 0.31), drag * min(1.0, 0.9 * a15))
    a17 = look.both(17)
    if a17 > 0.05:
        y = look.chin_y - 0.17
        for cx, cy in ((-0.07, 0.0), (0.0, 0.03), (0.07, 0.0), (-0.035, 0.06), (0.04, 0.065)):
            pit = blob(patch.x, patch.y, (cx, y + cy), (0.026, 0.022))
            patch.multiply((0.48, 0.37, 0.35), pit * min(1.0, 0.8 * a17))
