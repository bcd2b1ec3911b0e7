"""One portrait, from back to front: background, hair, neck, ears, head, features, light, hair, glasses."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stargan_ray.data.face_actions import Actions
from stargan_ray.data.face_drawing import Array, Canvas, Colour, Pose, rgb, smooth
from stargan_ray.data.face_hair import draw_back_hair, draw_front_hair, draw_glasses, strands
from stargan_ray.data.face_head import (
    draw_ears,
    draw_facial_hair,
    draw_neck,
    draw_skin,
    light_direction,
    light_on,
    look,
    outline,
    relief,
)
from stargan_ray.data.face_lower import draw_folds, draw_mouth, draw_nose
from stargan_ray.data.face_traits import Traits
from stargan_ray.data.face_upper import draw_brows, draw_eyes, draw_forehead

_WALL = (rgb(148, 160, 172), rgb(196, 202, 208))
_CLOTH = rgb(70, 84, 110)


@dataclass(frozen=True)
class Scene:
    """Everything about one picture that is neither who nor what they feel."""

    pose: Pose = field(default_factory=Pose)
    gaze: tuple[float, float] = (0.0, 0.0)  # shift of the irises, face units
    light_azimuth: float = -0.45  # radians, positive from the right of the picture
    light_elevation: float = 0.45
    light_colour: Colour = (1.0, 1.0, 1.0)
    exposure: float = 1.0
    wall: tuple[Colour, Colour] = _WALL  # background, bottom and top
    clutter: float = 0.0  # 0 plain wall .. 1 strong out-of-focus shapes
    clutter_phase: float = 0.0
    cloth: Colour = _CLOTH
    cloth_cut: float = 0.5  # 0 high collar .. 1 deep neck


def portrait(traits: Traits, acts: Actions, scene: Scene, size: int) -> Array:
    """Draw a picture.

    Returns:
        Linear light, (3, size, size) float32, 0..1 (not clipped).
    """
    canvas = Canvas(size, scene.pose)
    person = look(traits, acts)
    _background(canvas, scene)
    texture = strands(canvas, person)
    silhouette = draw_back_hair(canvas, person, texture)
    draw_neck(canvas, person, scene.cloth, scene.cloth_cut)
    draw_ears(canvas, person)
    distance = outline(person, canvas.x, canvas.y)
    head = canvas.inside(distance)
    # The skin turns away at the rim; a soft dark edge sets the cheek off from neck and ears.
    canvas.multiply((0.45, 0.40, 0.40), smooth(0.07, 0.0, distance) * (1.0 - head) * 0.7)
    draw_skin(canvas, person, head)
    draw_folds(canvas, person)
    draw_nose(canvas, person)
    draw_facial_hair(canvas, person, head)
    draw_mouth(canvas, person)
    draw_eyes(canvas, person, scene.gaze)
    draw_brows(canvas, person)
    draw_forehead(canvas, person)
    _light(canvas, relief(person, canvas), head, scene)
    draw_front_hair(canvas, person, silhouette, head, texture)
    draw_glasses(canvas, person)
    canvas.rgb *= np.asarray(scene.light_colour, np.float32)[:, None, None] * np.float32(scene.exposure)
    return canvas.rgb


def _background(canvas: Canvas, scene: Scene) -> None:
    """A wall with a gradient, and lights or furniture far out of focus."""
    low, high = scene.wall
    share = smooth(1.0, -1.0, canvas.screen_y)
    x, y, phase = canvas.screen_x, canvas.screen_y, scene.clutter_phase
    shapes: float | Array = 0.0
    if scene.clutter > 0:
        shapes = scene.clutter * (
            np.sin(2.3 * x + 1.9 * np.sin(1.3 * y + phase) + 2.0 * phase) + np.sin(3.1 * y - 1.7 * x + 3.0 * phase)
        )
    for plane, bottom, top in zip(canvas.rgb, low, high, strict=True):
        plane[:] = (bottom + share * (top - bottom)) * (1.0 + 0.35 * shapes)


def _light(canvas: Canvas, height: Array, head: Array, scene: Scene) -> None:
    """Shade face by relief; neck, ears and cloth get the mean light only."""
    planes = light_on(canvas, height, light_direction(scene.light_azimuth, scene.light_elevation))
    for plane, light in zip(canvas.rgb, planes, strict=True):
        plane *= 1.0 + head * (light - 1.0)
