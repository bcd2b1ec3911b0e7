"""Hair and glasses of a generated face."""

from __future__ import annotations

import numpy as np

from stargan_ray.data.face_drawing import Array, Canvas, Colour, mix, power, ramp, rgb, smooth
from stargan_ray.data.face_head import Look


def strands(canvas: Canvas, look: Look) -> Array:
    """Brightness pattern of the hair, about -1..1: waves across strands that fall from the parting."""
    traits = look.traits
    x, y = canvas.x, canvas.y
    phase = 6.283 * traits.pattern
    fall = (x - 0.35 * traits.parting) / np.maximum(y + 1.45, 0.25)
    curl = traits.hair_curl
    wave = fall + curl * (0.10 * np.sin(9.0 * y + 5.0 * x + phase) + 0.05 * np.sin(21.0 * y - 13.0 * x))
    lines: Array = 0.6 * np.sin(31.0 * wave + phase) + 0.4 * np.sin(74.0 * wave + 2.0 * phase)
    if curl < 0.35:
        return lines
    u, v = x * 19.0 + 1.5 * np.sin(y * 11.0 + phase), y * 19.0 + 1.5 * np.sin(x * 13.0 - phase)
    knots = np.sin(u) * np.sin(v) + 0.5 * np.sin(1.9 * u + 1.0) * np.sin(2.1 * v)
    share = min(1.0, (curl - 0.35) / 0.4)
    found: Array = (1.0 - share) * lines + share * knots
    return found


def _outer(canvas: Canvas, look: Look, texture: Array) -> Array:
    """Distance to the outer edge of the hair: an egg around the skull, drawn down by its length."""
    traits = look.traits
    kept = 1.0 - traits.baldness
    side = 0.015 + 0.05 * kept + 0.17 * traits.hair_volume * kept * (0.45 + 0.55 * traits.hair_curl)
    top = 0.02 + (0.05 + 0.17 * traits.hair_volume) * kept
    dx, dy = canvas.parallax(-0.25)
    x, y = canvas.screen_x - dx, canvas.screen_y - dy
    drop = 0.05 + 1.3 * traits.hair_length
    from_centre = np.where(y > -0.2, np.maximum(y + 0.2 - drop, 0.0) / 0.45, (y + 0.2) / (0.66 + top))
    flare = 1.0 + 0.16 * traits.hair_length * smooth(-0.2, 0.9, y)
    across = x / ((traits.face_width + side) * flare)
    ragged = (0.008 + 0.05 * traits.hair_curl * traits.hair_volume) * texture
    found: Array = (np.sqrt(across * across + from_centre * from_centre) - 1.0) * 0.75 + ragged
    return found


def draw_back_hair(canvas: Canvas, look: Look, texture: Array) -> Array:
    """Hair behind head and neck; returns the coverage of the whole hair silhouette for the front part."""
    silhouette = canvas.inside(_outer(canvas, look, texture))
    end = 0.02 + 2.4 * look.traits.hair_length
    end_soft = smooth(end + 0.10, end - 0.06, canvas.screen_y + 0.04 * texture)
    alpha = silhouette * end_soft
    canvas.cover(look.hair, 0.52 + 0.16 * texture, alpha)
    return alpha


def hairline(look: Look, x: Array, y: Array, texture: Array) -> Array:
    """Distance to the edge of the hair on the face, negative where hair is."""
    traits = look.traits
    s = np.abs(x) / traits.face_width
    top = -0.56 - 0.13 * (traits.hairline - 0.5) - 0.50 * traits.baldness
    temples = 0.30 * (s * s) ** 2 - 0.30 * traits.hair_peak * np.exp(-(((s - 0.55) / 0.22) ** 2))
    edge = top + temples
    if traits.fringe > 0:
        off_part = np.abs(x - 0.34 * traits.parting)
        hang = 1.0 - (0.95 - 0.6 * traits.fringe) * np.exp(-((off_part / (0.20 - 0.10 * traits.fringe)) ** 2))
        edge = edge + (0.10 + 0.12 * traits.fringe) * hang * smooth(1.05, 0.75, s) + 0.025 * texture
    curtain = ramp(0.15, 0.45, traits.hair_length)
    inner = traits.face_width * (0.955 - 0.10 * curtain) + 0.05 * smooth(0.2, 0.9, y) * curtain
    side_end = 0.05 + 1.6 * traits.hair_length
    sides = np.maximum(inner - np.abs(x), y - side_end)
    found: Array = np.minimum(y - edge, sides) + 0.012 * texture
    return found


def draw_front_hair(canvas: Canvas, look: Look, silhouette: Array, head: Array, texture: Array) -> None:
    """Hair on top and beside the face, with its shadow on the skin and a band of shine."""
    traits = look.traits
    edge = hairline(look, canvas.x, canvas.y, texture)
    shadow = smooth(0.11, -0.02, edge) * head
    canvas.multiply((0.60, 0.50, 0.48), shadow * 0.6 * (1.0 - 0.8 * traits.baldness))
    alpha = np.maximum(silhouette, head * (canvas.y < 0.0)) * canvas.inside(edge)
    band = np.exp(-(((canvas.screen_y + 0.66 + 0.25 * canvas.screen_x**2) / 0.13) ** 2))
    bright = 0.92 + 0.24 * texture + band * (0.42 + 0.25 * texture)
    if traits.baldness > 0.75:
        alpha = alpha * (1.0 - 0.55 * (traits.baldness - 0.75) / 0.25)
    canvas.cover(look.hair, bright, alpha)


def draw_glasses(canvas: Canvas, look: Look) -> None:
    """A frame with two lenses, a bridge and arms, standing a little in front of the face."""
    traits = look.traits
    if traits.glasses <= 0:
        return
    frame: Colour = mix(rgb(168, 150, 118), rgb(24, 20, 22), traits.glasses_dark)
    half_line = 0.010 + 0.018 * traits.glasses
    rx, ry = (
        0.185 + 0.045 * traits.glasses_size,
        0.125 + 0.055 * traits.glasses_size + 0.02 * traits.glasses_round,
    )
    corner = 4.5 - 2.5 * traits.glasses_round
    patch = canvas.patch(-0.85, 0.85, look.eye_y - 0.3, look.eye_y + 0.36).moved(*canvas.parallax(0.10))
    ax, y = np.abs(patch.x), patch.y - look.eye_y - 0.02
    cx = max(traits.eye_spacing + 0.015, rx + 0.035)
    ring = power(power(np.abs(ax - cx) / rx, corner) + power(np.abs(y) / ry, corner), 1.0 / corner) - 1.0
    distance = ring * (0.8 * ry + 0.2 * rx)
    lens = patch.inside(distance)
    glare = smooth(-0.05, 0.06, patch.x * 0.6 - y) * np.exp(-(((ax - cx + 0.6 * y) / 0.07) ** 2))
    patch.paint((0.95, 0.97, 1.0), lens * (0.015 + 0.08 * glare))
    alpha = patch.line(distance, half_line)
    bridge = patch.line(y + 0.035 - 0.5 * ax * ax, half_line) * (ax < cx - 0.9 * rx)
    arms = patch.line(y + 0.03, half_line) * (ax > cx + 0.97 * rx) * (ax < traits.face_width - 0.01)
    patch.multiply((0.6, 0.55, 0.55), np.exp(-(((distance - 0.03) / 0.03) ** 2)) * 0.25)
    patch.paint(frame, np.maximum(alpha, np.maximum(bridge, arms)))
