"""A studio set of generated faces: KDEF's layout and size, without KDEF.

Every person shows each of KDEF's seven expressions (no contempt) once in every session, frontal and before a plain
wall. Like the other generated faces a picture is a function of (seed, person, session, expression) alone, and a
population of another seed shares nobody with this one.

    from stargan_ray.data.studio import StudioConfig, generate
    for row, truth in generate(StudioConfig(size=32)): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stargan_ray.data.face_actions import style
from stargan_ray.data.face_nuisance import Nuisance, encode
from stargan_ray.data.face_traits import person
from stargan_ray.data.faces import render
from stargan_ray.data.schema import EXPRESSIONS, SPLITS, Row, Truth
from stargan_ray.errors import InputError

DOMAINS = EXPRESSIONS[:-1]  # KDEF has no contempt
_STREAM_PICTURE, _STREAM_SPLIT = 203, 204
_SPLIT_ENDS = (27 / 35, 31 / 35, 1.0)  # of each gender KDEF's reader trains on 27, and holds out 4 and 4


def _light() -> Nuisance:
    """A studio whose sitters move a little and whose camera is not perfect."""
    return Nuisance(
        yaw_degrees=3.0,
        pitch_degrees=3.0,
        roll_degrees=2.0,
        shift=0.015,
        gaze=0.2,
        light=0.15,
        background=0.1,
        blur_pixels=0.3,
        noise=0.006,
        jpeg_quality=(90, 95),
        occlusion=0.0,
    )


@dataclass(frozen=True)
class StudioConfig:
    """A studio set; the default has KDEF's 980 frontal images.

    Attributes:
        people: how many, 1..10,000.
        sessions: pictures of each person and expression, 1..26.
        size: side of a picture in pixels, 32..512.
        seed: which population; sets of other seeds share nobody with it.
        nuisance: pose, light, background, camera; little of each by default.
    """

    people: int = 70
    sessions: int = 2
    size: int = 64
    seed: int = 1998
    nuisance: Nuisance = field(default_factory=_light)

    def __post_init__(self) -> None:
        """Refuse sets that cannot be drawn."""
        bounds = {"people": (1, 10**4), "sessions": (1, 26), "size": (32, 512), "seed": (0, 2**32 - 1)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"studio.{name} is {value}: allowed are {low} to {high}")


def count(config: StudioConfig) -> int:
    """How many rows the set has."""
    return config.people * config.sessions * len(DOMAINS)


def generate(config: StudioConfig, start: int = 0, stop: int | None = None) -> Iterator[tuple[Row, Truth]]:
    """Rows ``start`` to ``stop`` with their truth: person by person, session by session; labels are all right."""
    splits = _splits(config)
    for index in range(start, count(config) if stop is None else min(stop, count(config))):
        number, shot = divmod(index, config.sessions * len(DOMAINS))
        yield _row(config, number, *divmod(shot, len(DOMAINS)), splits[number])


def _row(config: StudioConfig, number: int, session: int, expression: int, split: str) -> tuple[Row, Truth]:
    rng = np.random.default_rng([config.seed, _STREAM_PICTURE, number, session, expression])
    intensity = float(rng.uniform(0.5, 1.0))
    picture = render(
        person(config.seed, number),
        expression,
        intensity,
        size=config.size,
        nuisance=config.nuisance,
        rng=rng,
        style=style(config.seed, number),
    )
    identity = f"studio-{config.seed}-p{number:04d}"
    key = f"{identity}-{chr(ord('A') + session)}-{DOMAINS[expression]}"
    row = Row(key, encode(picture, config.nuisance, rng), expression, identity, split, "studio")
    return row, Truth(key, identity, expression, intensity, corrupted=False)


def _splits(config: StudioConfig) -> list[str]:
    """The split of each person, in the shares of KDEF's reader."""
    order = np.random.default_rng([config.seed, _STREAM_SPLIT]).permutation(config.people)
    ends = np.rint(np.array(_SPLIT_ENDS) * config.people)
    return [SPLITS[int(np.searchsorted(ends, place, side="right"))] for place in order]
