"""The embedded default data: generated faces whose truth is known.

A picture is a function of (seed, person number, image number) alone, so any range of a set can be made
anywhere, in any order, and is the same to the byte. What a picture really shows is yielded beside the row as
a ``Truth``, for evaluation only.

    from stargan_ray.data.faces import FacesConfig, contact_sheet, generate
    contact_sheet(FacesConfig(), people=6, size=128).save("faces.png")
    for row, truth in generate(FacesConfig(people=250, size=32)): ...
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from stargan_ray.data.face_actions import Actions, Style, actions, style
from stargan_ray.data.face_nuisance import Nuisance, Picture, develop, encode, occlude, scene
from stargan_ray.data.face_portrait import portrait
from stargan_ray.data.face_traits import Traits, person
from stargan_ray.data.schema import EXPRESSIONS, SPLITS, Row, Truth
from stargan_ray.errors import InputError, unknown

__all__ = [
    "FacesConfig",
    "Nuisance",
    "Style",
    "Traits",
    "contact_sheet",
    "count",
    "generate",
    "person",
    "render",
    "render_actions",
    "style",
]

NOISE_KINDS = ("symmetric", "asymmetric")
_CONFUSED = {0: 2, 2: 0, 3: 4, 4: 3}  # neutral <-> sadness, surprise <-> fear
_RANKS = (1, 0, 2, 4, 5, 6, 3, 7)  # how common an expression is in AffectNet: happiness most, contempt least
_STREAM_PICTURE, _STREAM_PLAN, _STREAM_LABEL, _STREAM_SPLIT = 103, 104, 105, 106


@dataclass(frozen=True)
class FacesConfig:
    """A set of generated faces; checked when made.

    Attributes:
        people: how many people, 1 or more.
        images_per_person: pictures of each, 1 or more; 8 or more show every expression when balanced.
        size: side of a picture in pixels, 32..512.
        seed: which population, 0 or more; two seeds share nobody.
        first_person: number of the first person, so that two sets of one seed can have disjoint people.
        label_noise: chance that a row's label is wrong, 0..1. Symmetric: of every row. Asymmetric: of rows
            whose true expression is one of the four confused ones; the others are never touched, so a
            balanced set has half this share of wrong labels.
        noise_kind: "symmetric" (to any) or "asymmetric" (sadness <-> neutral, fear <-> surprise).
        splits: shares of people in train, val and test, summing to 1; nobody is in two splits.
        imbalance: most frequent : rarest expression, 1..1000; 1 is balanced, 30 is like AffectNet.
        nuisance: pose, light, background, camera.
    """

    people: int = 200
    images_per_person: int = 16
    size: int = 64
    seed: int = 0
    first_person: int = 0
    label_noise: float = 0.0
    noise_kind: str = "symmetric"
    splits: tuple[float, float, float] = (0.8, 0.1, 0.1)
    imbalance: float = 1.0
    nuisance: Nuisance = field(default_factory=Nuisance)

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "people": (1, 10**7),
            "images_per_person": (1, 10**5),
            "size": (32, 512),
            "seed": (0, 2**32 - 1),
            "first_person": (0, 2**32 - 1),
            "label_noise": (0, 1),
            "imbalance": (1, 1000),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}: allowed are {low} to {high}")
        if self.noise_kind not in NOISE_KINDS:
            raise unknown("noise_kind", self.noise_kind, NOISE_KINDS)
        if len(self.splits) != 3 or min(self.splits) < 0 or abs(sum(self.splits) - 1) > 1e-6:
            raise InputError(f"splits is {self.splits}: allowed are three shares of 0 or more that sum to 1")


def count(config: FacesConfig) -> int:
    """How many rows the set has."""
    return config.people * config.images_per_person


def render_actions(
    traits: Traits, acts: Actions, *, size: int, nuisance: Nuisance, rng: np.random.Generator
) -> Picture:
    """A picture of a person whose action units are given, (size, size, 3) uint8."""
    around = scene(nuisance, rng)
    # Below 64 pixels brows and lids are about a pixel thick: draw twice as fine and average.
    fine = 2 if size < 64 else 1
    picture = portrait(traits, acts, around, size * fine)
    if fine == 2:
        picture = picture.reshape(3, size, 2, size, 2).mean((2, 4))
    occlude(picture, around, nuisance, rng)
    return develop(picture, nuisance, rng)


def render(
    traits: Traits,
    expression: int,
    intensity: float,
    *,
    size: int,
    nuisance: Nuisance,
    rng: np.random.Generator,
    style: Style | None = None,
) -> Picture:
    """A picture of a person showing an expression.

    Args:
        traits: who, from :func:`person`.
        expression: index into ``schema.EXPRESSIONS``.
        intensity: 0 (resting face) .. 1 (full).
        size: side in pixels.
        nuisance: how far the picture may be from a studio portrait.
        rng: source of everything that is not given.
        style: the person's way of showing emotions; None is the textbook's.

    Returns:
        (size, size, 3) uint8.
    """
    acts = actions(expression, intensity, style or Style(), rng)
    return render_actions(traits, acts, size=size, nuisance=nuisance, rng=rng)


def generate(config: FacesConfig, start: int = 0, stop: int | None = None) -> Iterator[tuple[Row, Truth]]:
    """Rows ``start`` to ``stop`` of the set with their truth; a row does not depend on the range."""
    splits = _splits(config)
    for index in range(start, count(config) if stop is None else min(stop, count(config))):
        yield _row(config, index, splits)


def _row(config: FacesConfig, index: int, splits: tuple[str, ...]) -> tuple[Row, Truth]:
    place, image = divmod(index, config.images_per_person)
    number = config.first_person + place
    traits, way = _who(config.seed, number)
    expression = _plan(config.seed, number, config.images_per_person, config.imbalance)[image]
    label = _label(config, number, image, expression)
    rng = np.random.default_rng([config.seed, _STREAM_PICTURE, number, image])
    intensity = float(rng.uniform(0.5, 1.0))
    picture = render(traits, expression, intensity, size=config.size, nuisance=config.nuisance, rng=rng, style=way)
    key, identity = f"faces-{config.seed}-p{number:05d}-i{image:03d}", f"faces-{config.seed}-p{number:05d}"
    row = Row(key, encode(picture, config.nuisance, rng), label, identity, splits[place], "faces")
    return row, Truth(key, identity, expression, intensity, label != expression)


@lru_cache(maxsize=64)
def _who(seed: int, number: int) -> tuple[Traits, Style]:
    return person(seed, number), style(seed, number)


@lru_cache(maxsize=64)
def _plan(seed: int, number: int, images: int, imbalance: float) -> tuple[int, ...]:
    """Expressions of one person's pictures: shares fall geometrically from 1 to 1/imbalance."""
    weights = imbalance ** (-np.asarray(_RANKS) / (len(EXPRESSIONS) - 1))
    edges = np.cumsum(weights / weights.sum())
    rng = np.random.default_rng([seed, _STREAM_PLAN, number])
    # Evenly spaced samples give every person every expression as exactly as whole numbers allow.
    places = (np.arange(images) + rng.random()) / images
    found = np.minimum(np.searchsorted(edges, places, side="right"), len(EXPRESSIONS) - 1)
    return tuple(int(e) for e in rng.permutation(found))


@lru_cache(maxsize=64)
def _label_draws(seed: int, number: int, images: int) -> list[list[float]]:
    draws: list[list[float]] = np.random.default_rng([seed, _STREAM_LABEL, number]).random((images, 2)).tolist()
    return draws


def _label(config: FacesConfig, number: int, image: int, expression: int) -> int:
    chance, other = _label_draws(config.seed, number, config.images_per_person)[image]
    if chance >= config.label_noise:
        return expression
    if config.noise_kind == "asymmetric":
        return _CONFUSED.get(expression, expression)
    return (expression + 1 + int(other * (len(EXPRESSIONS) - 1))) % len(EXPRESSIONS)


@lru_cache(maxsize=8)
def _split_names(people: int, first: int, seed: int, shares: tuple[float, float, float]) -> tuple[str, ...]:
    order = np.random.default_rng([seed, _STREAM_SPLIT, first]).permutation(people)
    ends = np.rint(np.cumsum(shares) * people)
    return tuple(SPLITS[int(np.searchsorted(ends, place, side="right"))] for place in order)


def _splits(config: FacesConfig) -> tuple[str, ...]:
    """The split of each person of the set: exact shares, people drawn by the seed."""
    return _split_names(config.people, config.first_person, config.seed, config.splits)


def contact_sheet(
    config: FacesConfig | None = None,
    *,
    people: int = 6,
    size: int = 128,
    nuisance: Nuisance | None = None,
    zoom: int = 1,
) -> Image.Image:
    """People in rows, the eight expressions in columns, labelled.

    Args:
        config: whose population; the default set if None.
        people: how many rows.
        size: pixels of a picture.
        nuisance: overrides the config's.
        zoom: enlarges each pixel, to look at small sizes.
    """
    config = replace(config or FacesConfig(), size=size, nuisance=nuisance or (config or FacesConfig()).nuisance)
    cell, left, top = size * zoom, 44, 16
    sheet = Image.new("RGB", (left + 8 * cell, top + people * cell), (250, 250, 250))
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(EXPRESSIONS):
        pen.text((left + column * cell + 4, 2), name[: max(3, cell // 6)], fill=(20, 20, 20))
    for place in range(people):
        number = config.first_person + place
        traits, way = _who(config.seed, number)
        pen.text((2, top + place * cell + cell // 2 - 6), f"p{number:05d}", fill=(20, 20, 20))
        for column in range(len(EXPRESSIONS)):
            rng = np.random.default_rng([config.seed, _STREAM_PICTURE, number, 10**6 + column])
            face = render(traits, column, 0.9, size=size, nuisance=config.nuisance, rng=rng, style=way)
            picture = Image.open(io.BytesIO(encode(face, config.nuisance, rng))).resize(
                (cell, cell), Image.Resampling.NEAREST
            )
            sheet.paste(picture, (left + column * cell, top + place * cell))
    return sheet
