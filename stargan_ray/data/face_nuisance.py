"""What a picture shows beside person and expression: pose, light, background, camera, occlusion."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from PIL import Image

from stargan_ray.data.face_drawing import Array, Canvas, Colour, Pose
from stargan_ray.data.face_portrait import Scene
from stargan_ray.errors import InputError

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Nuisance:
    """How far pictures of the same person and expression differ; 0 switches a kind off.

    Angles are drawn from a normal distribution cut at the given value (half of it is one standard deviation),
    everything else uniformly from 0 or from -value to the value.
    """

    yaw_degrees: float = 12.0  # turn to the side, 0..30
    pitch_degrees: float = 7.0  # nod, 0..20
    roll_degrees: float = 5.0  # tilt, 0..30
    shift: float = 0.03  # misalignment of the crop, share of the picture, 0..0.2; zoom varies as much
    gaze: float = 0.5  # how far the eyes wander, 0..1
    light: float = 0.6  # 0 studio light .. 1 from far aside, coloured, under- and overexposed
    background: float = 0.7  # 0 plain grey wall and shirt .. 1 any colour and clutter
    blur_pixels: float = 0.6  # Gaussian radius at 64 pixels, 0..4; scales with the size
    noise: float = 0.012  # standard deviation of sensor noise, share of full scale, 0..0.2
    jpeg_quality: tuple[int, int] = (70, 95)  # lowest, highest; 10..100
    occlusion: float = 0.04  # share of pictures with something before the face, 0..1

    def __post_init__(self) -> None:
        limits = {
            "yaw_degrees": 30.0,
            "pitch_degrees": 20.0,
            "roll_degrees": 30.0,
            "shift": 0.2,
            "blur_pixels": 4.0,
            "noise": 0.2,
        }
        for field in fields(self):
            if field.name == "jpeg_quality":
                continue
            value, limit = getattr(self, field.name), limits.get(field.name, 1.0)
            if not 0.0 <= value <= limit:
                raise InputError(f"nuisance.{field.name} is {value}: allowed are 0 to {limit:g}")
        low, high = self.jpeg_quality
        if not 10 <= low <= high <= 100:
            raise InputError(f"nuisance.jpeg_quality is {low}, {high}: allowed are 10 <= lowest <= highest <= 100")

    @classmethod
    def none(cls) -> Nuisance:
        """A studio picture: frontal, sharp, plain wall, best quality."""
        return cls(
            yaw_degrees=0.0,
            pitch_degrees=0.0,
            roll_degrees=0.0,
            shift=0.0,
            gaze=0.0,
            light=0.0,
            background=0.0,
            blur_pixels=0.0,
            noise=0.0,
            jpeg_quality=(95, 95),
            occlusion=0.0,
        )


def scene(nuisance: Nuisance, rng: np.random.Generator) -> Scene:
    """Draw one picture's surroundings; a fixed number of draws, so that one setting moves one thing."""
    turn = rng.normal(0.0, 0.5, 3).clip(-1.0, 1.0)
    u = rng.uniform(-1.0, 1.0, 20).tolist()
    degree = math.pi / 180.0
    light, back = nuisance.light, nuisance.background
    plain = Scene()
    pose = Pose(
        yaw=float(turn[0]) * nuisance.yaw_degrees * degree,
        pitch=float(turn[1]) * nuisance.pitch_degrees * degree,
        roll=float(turn[2]) * nuisance.roll_degrees * degree,
        shift_x=2.0 * nuisance.shift * u[0],
        shift_y=2.0 * nuisance.shift * u[1],
        zoom=1.0 + 1.5 * nuisance.shift * u[2],
    )
    warm = 0.10 * light * u[7]
    return Scene(
        pose=pose,
        gaze=(0.035 * nuisance.gaze * u[3], 0.012 * nuisance.gaze * u[4]),
        light_azimuth=plain.light_azimuth * (1.0 - light) + 1.15 * light * u[5],
        light_elevation=plain.light_elevation + 0.45 * light * u[6],
        light_colour=(1.0 + warm, 1.0, 1.0 - warm),
        exposure=1.0 + 0.32 * light * u[8],
        wall=(_towards(plain.wall[0], u[9:12], back), _towards(plain.wall[1], u[12:15], back)),
        clutter=0.8 * back * abs(u[15]),
        clutter_phase=6.283 * u[16],
        cloth=_towards(plain.cloth, u[17:20], back),
        cloth_cut=0.5 + 0.5 * back * u[9],
    )


def _towards(colour: Colour, draws: list[float], share: float) -> Colour:
    """From a plain colour to any colour."""
    # Walls and clothes are seldom garish: a brightness, and a tint of a third of the way.
    bright = 0.55 + 0.20 * sum(draws)
    tints = (bright + 0.16 * d for d in draws)
    red, green, blue = (c + share * (min(1.0, max(0.04, t)) ** 2 - c) for c, t in zip(colour, tints, strict=True))
    return red, green, blue


def occlude(picture: Array, scene: Scene, nuisance: Nuisance, rng: np.random.Generator) -> None:
    """Now and then put an out-of-focus thing (a hand, a cup, a shoulder) before the face."""
    chance, side, angle, *colour = rng.random(6).tolist()
    if chance >= nuisance.occlusion:
        return
    canvas = Canvas(picture.shape[-1], scene.pose)
    # A bar that enters from the edge and covers up to a third of the face.
    turn = 6.283 * angle
    reach = canvas.screen_x * math.cos(turn) + canvas.screen_y * math.sin(turn)
    cross = canvas.screen_y * math.cos(turn) - canvas.screen_x * math.sin(turn) - 0.5 * (side - 0.5)
    distance = np.maximum(0.42 + 0.5 * cross * cross - reach, np.abs(cross) - 0.55)
    alpha = (0.5 - distance / 0.06).clip(0.0, 1.0)
    for plane, value in zip(picture, colour, strict=True):
        plane += alpha * ((0.15 + 0.35 * colour[0] + 0.3 * value) ** 2 - plane)


def develop(picture: Array, nuisance: Nuisance, rng: np.random.Generator) -> Picture:
    """The camera: from linear light (3, size, size) to (size, size, 3) bytes, with blur and sensor noise."""
    radius, level = rng.random(2).tolist()
    _blur(picture, radius * nuisance.blur_pixels * picture.shape[-1] / 64.0)
    stored: Array = np.sqrt(picture.clip(0.0, 1.0)) * 255.0
    if nuisance.noise > 0:
        stored += rng.standard_normal(picture.shape, np.float32) * (255.0 * nuisance.noise * level)
    stored += 0.5
    return np.ascontiguousarray(stored.clip(0.0, 255.0).astype(np.uint8).transpose(1, 2, 0))


def _blur(picture: Array, radius: float) -> None:
    """Gaussian blur in place: three-point averages whose variances add up to the radius squared."""
    rounds = math.ceil(radius * radius / 0.5)
    for _ in range(rounds):
        weight = 0.5 * radius * radius / rounds
        for axis in (picture, picture.swapaxes(1, 2)):
            middle = axis[:, 1:-1] * (1.0 - 2.0 * weight) + weight * (axis[:, 2:] + axis[:, :-2])
            axis[:, 1:-1] = middle


def encode(picture: Picture, nuisance: Nuisance, rng: np.random.Generator) -> bytes:
    """JPEG bytes at a quality from the nuisance's range."""
    low, high = nuisance.jpeg_quality
    buffer = io.BytesIO()
    Image.fromarray(picture).save(
        buffer,
        "JPEG",
        quality=int(rng.integers(low, high + 1)),
        # Halved chroma leaves a 32-pixel face 16 pixels of colour; real crops were larger when compressed.
        subsampling=0 if len(picture) < 128 else 2,
    )
    return buffer.getvalue()
