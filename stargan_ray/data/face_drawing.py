"""Anti-aliased drawing in face coordinates: a posed pixel grid, coverage of edges, strokes, blobs.

Shapes are functions of position, so they have no resolution of their own: an edge is one pixel wide at any size.
Colours are linear light (the square of the stored value), planar, float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]  # float32 throughout
Colour = tuple[float, float, float]

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

    def paint(self, colour: Colour, alpha: Array) -> None:
        """Lay a colour over the patch with coverage ``alpha`` in 0..1."""
        for plane, value in zip(self.rgb, colour, strict=True):
            plane += alpha * (value - plane)

    def multiply(self, colour: Colour, alpha: Array) -> None:
        """Tint by ``colour`` (1 leaves as is) with strength ``alpha``: wrinkles, shadows, blush."""
        for plane, value in zip(self.rgb, colour, strict=True):
            plane *= 1.0 + alpha * (value - 1.0)

    def moved(self, dx: float, dy: float) -> Patch:
        """The same pixels seen from something that stands ``dx, dy`` aside (parallax)."""
        return Patch(self.x - dx, self.y - dy, self.rgb, self.pixel)

    def inside(self, distance: Array) -> Array:
        """Coverage of the region where ``distance`` (face units) is negative."""
        found: Array = np.minimum(np.maximum(0.5 - distance / self.pixel, 0.0), 1.0)
        return found

    def line(self, distance: Array, half_width: float | Array) -> Array:
        """Coverage of a line; one thinner than a pixel fades instead of breaking up."""
        drawn = np.maximum(half_width, 0.5 * self.pixel)
        return self.inside(np.abs(distance) - drawn) * (half_width / drawn)

    def stroke(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
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
            return np.exp(-((across / wide) ** 2)) * np.minimum(1.5 * bow, 1.0) * (half_width / wide)
        return self.line(across, half_width) * np.minimum(3.0 * bow, 1.0)


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
        for x in (left, right):
            for y in (top, bottom):
                sx = _turn(x, pose.yaw, _YAW_RADIUS)
                sy = _turn(y, pose.pitch, _PITCH_RADIUS)
                columns.append(sx * cos - sy * sin + pose.shift_x)
                rows.append(sx * sin + sy * cos + pose.shift_y)
        spans = []
        for values in (rows, columns):
            low, high = ((v * pose.zoom + 1.0) * size / 2 for v in (min(values), max(values)))
            spans.append(slice(max(0, int(low) - 1), max(0, min(size, int(high) + 2))))
        part = (spans[0], spans[1])
        return Patch(self.x[part], self.y[part], self.rgb[(slice(None), *part)], self.pixel)

    def parallax(self, depth: float) -> tuple[float, float]:
        """How far something ``depth`` in front of the face surface appears aside."""
        return depth * math.sin(self.pose.yaw), depth * math.sin(self.pose.pitch)


def _turn(value: float, angle: float, radius: float) -> float:
    bounded = max(-0.999, min(0.999, value / radius))
    return radius * (math.sin(math.asin(bounded) + angle) - _RECENTRE * math.sin(angle))


def _turn_back(value: Array, angle: float, radius: float) -> Array:
    """Inverse of :func:`_turn`: from the screen to the surface of the turned head."""
    if angle == 0.0:
        return value
    shifted = value / radius + _RECENTRE * math.sin(angle)
    turned = np.arcsin(np.minimum(np.maximum(shifted, -0.999), 0.999)) - angle
    # Beyond the rim the surface would fold back; go on straight instead, so that hair and ears stay simple.
    beyond = shifted - np.minimum(np.maximum(shifted, -0.999), 0.999)
    found: Array = radius * (np.sin(np.minimum(np.maximum(turned, -1.57), 1.57)) + beyond).astype(np.float32)
    return found


def smooth(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between; falls if ``low`` > ``high``."""
    t = np.minimum(np.maximum((value - low) / (high - low), 0.0), 1.0)
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
