"""Anti-aliased drawing in face coordinates: a posed pixel grid, coverage of edges, strokes, blobs.

Shapes are functions of position without a resolution of their own: an edge is one pixel wide at any size.
Colours are linear light (the square of the stored value), planar, float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]  # float32 throughout
Colour = tuple[float, float, float]
Point = tuple[float, float]

_YAW_RADIUS = 1.05  # the head turns as a cylinder of this radius, face units
_PITCH_RADIUS = 1.5
_RECENTRE = 0.8  # share of the turn's shift that the face aligner takes out


@dataclass(frozen=True)
class Pose:
    """Where the head is: angles in radians, shift in face units, zoom as a factor."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0


@dataclass(eq=False)
class Patch:
    """A rectangle of the picture: face coordinates and the colours there, which drawing changes in place."""

    x: Array
    y: Array
    rgb: Array  # (3, height, width)
    pixel: float  # side of a pixel in face units
    part: tuple[slice, slice] = (slice(None), slice(None))  # which rows and columns of the picture

    def paint(self, colour: Colour, alpha: Array) -> None:
        """Lay a colour over the patch with coverage ``alpha`` in 0..1."""
        self.rgb += alpha * (_column(colour) - self.rgb)

    def multiply(self, colour: Colour, alpha: Array) -> None:
        """Tint by ``colour`` (1 leaves as is) with strength ``alpha``: wrinkles, shadows, blush."""
        self.rgb *= alpha * (_column(colour) - 1.0) + 1.0

    def cover(self, colour: Colour, brightness: Array, alpha: Array) -> None:
        """Lay a colour of varying brightness over the patch."""
        self.rgb += alpha * (_column(colour) * brightness - self.rgb)

    def moved(self, dx: float, dy: float) -> Patch:
        """The same pixels seen from something that stands ``dx, dy`` aside (parallax)."""
        return Patch(self.x - dx, self.y - dy, self.rgb, self.pixel, self.part)

    @cached_property
    def _right(self) -> Array:
        return (self.x > 0).astype(np.float32)

    def folded(self) -> Patch:
        """The same pixels in coordinates folded at the middle of the face: both halves drawn at once."""
        return Patch(np.abs(self.x), self.y, self.rgb, self.pixel, self.part)

    def halves(self, pair: Point) -> float | Array:
        """The first number in the left half of the picture's face, the second in the right half."""
        left, right = pair
        return left if left == right else left + (right - left) * self._right

    def inside(self, distance: Array) -> Array:
        """Coverage of the region where ``distance`` (face units) is negative."""
        return (0.5 - distance * (1.0 / self.pixel)).clip(0.0, 1.0)

    def line(self, distance: Array, half_width: float | Array) -> Array:
        """Coverage of a line; one thinner than a pixel fades instead of breaking up."""
        drawn = np.maximum(half_width, 0.5 * self.pixel)
        return self.inside(np.abs(distance) - drawn) * (half_width / drawn)

    def stroke(
        self,
        start: Point,
        end: Point,
        bend: float,
        half_width: float,
        soft: bool = True,
    ) -> Array:
        """Coverage of a tapering stroke from ``start`` to ``end`` bowed by ``bend`` (+y for +x strokes)."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy)
        ux, uy = dx / length, dy / length
        rx, ry = self.x - start[0], self.y - start[1]
        along = (rx * ux + ry * uy) / length
        bow = np.maximum(4.0 * along * (1.0 - along), 0.0)
        across = ry * ux - rx * uy - bend * bow
        if soft:
            wide = max(half_width, 0.6 * self.pixel)
            across *= 1.0 / wide
            faint = half_width / wide
            found: Array = np.exp(-(across * across)) * np.minimum(1.5 * faint * bow, faint)
            return found
        return self.line(across, half_width) * np.minimum(3.0 * bow, 1.0)

    def strokes(self, ends: list[tuple[Point, Point]], bend: float, half_width: float) -> Array:
        """Coverage of several soft strokes together."""
        found = self.stroke(*ends[0], bend, half_width)
        for start, end in ends[1:]:
            np.maximum(found, self.stroke(start, end, bend, half_width), out=found)
        return found


class Canvas(Patch):
    """The whole picture, posed; also knows the screen coordinates and cuts out patches."""

    def __init__(self, size: int, pose: Pose) -> None:
        """A black picture of ``size`` pixels with face coordinates for ``pose``."""
        scale = 1.0 / pose.zoom
        ticks = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0) * scale
        column, row = ticks[None, :] - pose.shift_x, ticks[:, None] - pose.shift_y
        cos, sin = math.cos(pose.roll), math.sin(pose.roll)
        screen_x, screen_y = column * cos + row * sin, row * cos - column * sin
        x = _turn_back(screen_x, pose.yaw, _YAW_RADIUS)
        y = _turn_back(screen_y, pose.pitch, _PITCH_RADIUS)
        super().__init__(x, y, np.zeros((3, size, size), np.float32), 2.0 / size * scale)
        self.screen_x, self.screen_y, self.pose = screen_x, screen_y, pose

    def patch(self, left: float, right: float, top: float, bottom: float) -> Patch:
        """The rectangle of pixels that covers this rectangle of the face."""
        size, pose = self.rgb.shape[-1], self.pose
        cos, sin = math.cos(pose.roll), math.sin(pose.roll)
        columns, rows = [], []
        across = [_turn(x, pose.yaw, _YAW_RADIUS) for x in (left, right)]
        down = [_turn(y, pose.pitch, _PITCH_RADIUS) for y in (top, bottom)]
        for sx in across:
            for sy in down:
                columns.append(sx * cos - sy * sin + pose.shift_x)
                rows.append(sx * sin + sy * cos + pose.shift_y)
        spans = []
        for values in (rows, columns):
            low, high = ((v * pose.zoom + 1.0) * size / 2 for v in (min(values), max(values)))
            spans.append(slice(max(0, int(low) - 1), max(0, min(size, int(high) + 2))))
        part = (spans[0], spans[1])
        return Patch(self.x[part], self.y[part], self.rgb[(slice(None), *part)], self.pixel, part)

    def parallax(self, depth: float) -> tuple[float, float]:
        """How far something ``depth`` in front of the face surface appears aside."""
        return depth * math.sin(self.pose.yaw), depth * math.sin(self.pose.pitch)


def _turn(value: float, angle: float, radius: float) -> float:
    """Where a point of the head's surface appears on the screen when the head has turned."""
    t = max(-0.999, min(0.999, value / radius))
    return radius * (t * math.cos(angle) + (math.sqrt(1.0 - t * t) - _RECENTRE) * math.sin(angle))


def _turn_back(value: Array, angle: float, radius: float) -> Array:
    """Inverse of :func:`_turn`: from the screen to the surface of the turned head.

    Beyond the rim the surface folds back; there it goes on straight, so that hair and ears stay simple.
    """
    if angle == 0.0:
        return value
    shifted = value * (1.0 / radius) + _RECENTRE * math.sin(angle)
    t = shifted.clip(-0.999, 0.999)
    found: Array = (t * math.cos(angle) - np.sqrt(1.0 - t * t) * math.sin(angle) + (shifted - t)) * radius
    return found


def _column(colour: Colour) -> Array:
    """The colour shaped to meet (3, height, width): one operation for all planes costs half."""
    return np.array(colour, np.float32).reshape(3, 1, 1)


def power(base: Array, exponent: float) -> Array:
    """``base ** exponent`` for base >= 0, faster than numpy's."""
    found: Array = np.exp(exponent * np.log(base + 1e-6))
    return found


def smooth(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between; falls if ``low`` > ``high``."""
    t = ((value - low) * (1.0 / (high - low))).clip(0.0, 1.0)
    found: Array = t * t * (3.0 - 2.0 * t)
    return found


def ramp(low: float, high: float, value: float) -> float:
    """:func:`smooth` of one number; a numpy scalar would turn float32 arrays into float64."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3.0 - 2.0 * t)


def blob(x: Array, y: Array, centre: tuple[float, float], radius: tuple[float, float]) -> Array:
    """A soft round spot, 1 in its centre."""
    dx, dy = (x - centre[0]) * (1.0 / radius[0]), (y - centre[1]) * (1.0 / radius[1])
    found: Array = np.exp(-(dx * dx + dy * dy))
    return found


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Between two colours, ``share`` of the second."""
    a, b, c = (p + share * (q - p) for p, q in zip(first, second, strict=True))
    return a, b, c


def shaded(colour: Colour, factor: float) -> Colour:
    """The colour made darker or lighter."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def rgb(red: int, green: int, blue: int) -> Colour:
    """A colour as people write it (0..255), in linear light."""
    return (red / 255) ** 2, (green / 255) ** 2, (blue / 255) ** 2


def palette(stops: tuple[tuple[float, Colour], ...], place: float) -> Colour:
    """A colour along a scale of stops, ``place`` in 0..1."""
    places = [stop for stop, _ in stops]
    red, green, blue = (float(np.interp(place, places, [c[k] for _, c in stops])) for k in range(3))
    return red, green, blue
