"""Named full configurations; flags only override their fields.

``<method>-tiny`` trains in minutes on two CPU cores at 32 px; ``-64``, ``-128`` and ``-256`` are for GPUs.
"""

from __future__ import annotations

import json

from stargan_ray.config import Recipe, from_json
from stargan_ray.data import storage
from stargan_ray.errors import InputError, unknown
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
    """A recipe by its name, or of a file: a path or URI that ends with ``.json``, such as a search's ``best.json``.

    Raises:
        InputError: there is no such recipe, with the nearest name, or the file holds none.
    """
    if name.endswith(".json"):
        try:
            return from_json(json.loads(storage.read_bytes(storage.absolute(name))))
        except (ValueError, AttributeError, TypeError) as error:
            raise InputError(
                f"{name} is no recipe: allowed is JSON as `jobs/train.py RECIPE --dry-run` prints it"
            ) from error
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def baseline_of(recipe: Recipe) -> Recipe:
    """The recipe of plain StarGAN v2 that another one is to be held against: of its size, and as long.

    Raises:
        InputError: there is none of the size.
    """
    suffix = recipe.name.removeprefix(recipe.method.name)
    same = [r for r in RECIPES.values() if r.method.name == "stargan-v2" and r.data.size == recipe.data.size]
    if not same:
        raise InputError(f"there is no recipe of stargan-v2 with {recipe.data.size} pixels: pass --no-baseline")
    return next((r for r in same if r.name == f"stargan-v2{suffix}"), same[0])
