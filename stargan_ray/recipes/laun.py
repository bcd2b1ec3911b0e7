"""Recipes of LAUN."""

from __future__ import annotations

from stargan_ray.config import Recipe
from stargan_ray.methods.laun import LAUN
from stargan_ray.recipes.shared import CORES, published, tiny, tiny_data
from stargan_ray.recipes.stargan_v1 import TINY

LAUN_RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "laun-tiny",
        "laun for two cores and a few minutes: 32 px, edits by mask, as many updates of G as of D",
        LAUN(**TINY | {"depth": 3, "cx_layer": "conv3_2"}),
        tiny_data(batch=16, lanes=2),
        tiny(1_200, 300),
        CORES,
    ),
    *(published(LAUN(), size, 200_000, 16) for size in (64, 128, 256)),
)
