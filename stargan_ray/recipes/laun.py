"""Recipes of LAUN."""

from __future__ import annotations

from typing import Any

from stargan_ray.config import Recipe
from stargan_ray.methods.laun import LAUN
from stargan_ray.recipes.shared import CORES, published, tiny, tiny_data
from stargan_ray.recipes.stargan_v1 import TINY

# As StarGAN v1's; a squared error is smaller than an absolute one, so its weight is larger. The maps are of 8 × 8
# positions at 32 px.
_TINY: dict[str, Any] = TINY | {"depth": 3, "lambda_rec": 5.0, "lambda_cx": 0.05, "cx_layer": "conv3_2"}

LAUN_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "laun-tiny",
        "laun for two cores and a few minutes: 32 px, edits by mask, two updates of D for one of G",
        LAUN(**_TINY),
        tiny_data(batch=16, lanes=2),
        tiny(4_000, 1_000),
        CORES,
    ),
    *(published(LAUN(), size, 200_000, 16) for size in (64, 128, 256)),
)
