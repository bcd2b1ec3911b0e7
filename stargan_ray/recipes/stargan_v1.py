"""Recipes of StarGAN v1."""

from __future__ import annotations

from typing import Any

from stargan_ray.config import Recipe
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.recipes.shared import CORES, published, tiny, tiny_data
from stargan_ray.schedules import HeldDecay

TINY: dict[str, Any] = {
    "first": 16,
    "blocks": 2,
    "first_critic": 24,
    "largest": 96,
    "layers": 4,
    "compose": "mask",
    "n_critic": 1,
    "gp_every": 4,
    "rate_g": HeldDecay(1e-3, 600, 1_200),
    "rate_d": HeldDecay(1e-3, 600, 1_200),
    "average": True,
}

STARGAN_V1: tuple[Recipe, ...] = (
    Recipe(
        "stargan-v1-tiny",
        "stargan-v1 for two cores and a few minutes: 32 px, edits by mask, as many updates of G as of D",
        StarGANv1(**TINY),
        tiny_data(batch=16, lanes=2),
        tiny(1_200, 300),
        CORES,
    ),
    *(published(StarGANv1(), size, 200_000, 16) for size in (64, 128, 256)),
)
