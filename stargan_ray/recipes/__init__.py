"""Named full configurations; flags only override their fields.

``<method>-tiny`` trains in minutes on two CPU cores at 32 px; ``-64``, ``-128`` and ``-256`` are for GPUs.
"""

from __future__ import annotations

from stargan_ray.config import Recipe
from stargan_ray.errors import unknown
from stargan_ray.recipes.expression import EXPRESSION
from stargan_ray.recipes.fa_gan import FA_GAN
from stargan_ray.recipes.identity import IDENTITY
from stargan_ray.recipes.laun import LAUN_RECIPES
from stargan_ray.recipes.stargan_v1 import STARGAN_V1
from stargan_ray.recipes.stargan_v2 import STARGAN_V2

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (*EXPRESSION, *IDENTITY, *STARGAN_V2, *STARGAN_V1, *LAUN_RECIPES, *FA_GAN)
}


def recipe_named(name: str) -> Recipe:
    """A recipe, or an error with the nearest name."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]
