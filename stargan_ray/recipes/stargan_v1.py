"""Recipes of StarGAN v1."""

from __future__ import annotations

from typing import Any

from stargan_ray.config import Recipe
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.recipes.shared import CORES, published, tiny, tiny_data
from stargan_ray.schedules import HeldDecay

# What the published method becomes on two cores, found by trying on the demo's faces (docs/LOG.md has the figures).
# At 32 px the penalty, of the sum over D's patches, leaves little of the adversarial signal, so the other weights are a
# tenth: with them whole G pleases the classifier with specks. Patches of 4 × 4 see specks that 2 × 2 do not.
# 4,000 iterations take as long as the 1,000 of stargan-v2-tiny.
TINY: dict[str, Any] = {
    "first": 16,
    "blocks": 2,
    "first_critic": 32,
    "largest": 128,
    "layers": 3,
    "compose": "mask",
    "lambda_cls": 0.1,
    "lambda_rec": 1.0,
    "lambda_gp": 1.0,
    "n_critic": 2,
    "rate_g": HeldDecay(1e-3, 2_000, 4_000),
    "rate_d": HeldDecay(1e-3, 2_000, 4_000),
    "init": "he",
    "average": True,
}

STARGAN_V1: tuple[Recipe, ...] = (
    Recipe(
        "stargan-v1-tiny",
        "stargan-v1 for two cores and a few minutes: 32 px, edits by mask, two updates of D for one of G",
        StarGANv1(**TINY),
        tiny_data(batch=16, lanes=2),
        tiny(4_000, 1_000),
        CORES,
    ),
    *(published(StarGANv1(), size, 200_000, 16) for size in (64, 128, 256)),
)
