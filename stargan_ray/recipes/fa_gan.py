"""Recipes of the FA-GAN-style translator."""

from __future__ import annotations

from dataclasses import replace

from stargan_ray.config import Recipe
from stargan_ray.methods.fa_gan import FAGANStyle
from stargan_ray.recipes.shared import CORES, published, tiny, tiny_data
from stargan_ray.schedules import HeldDecay

# A reference says little beyond its label after so short a run: the codes of a domain's images differ by 1 % of what
# the prototypes of two domains do.
_TINY = FAGANStyle(
    # what stargan-v2-tiny has, for a comparison: channels, critics, edits by mask, R1 every fourth step
    first=16,
    first_critic=24,
    largest=96,
    bottleneck=8,
    depth=1,
    compose="mask",
    lambda_rec=0.0,  # a closed mask is a perfect reconstruction: nothing to learn from it
    lambda_cyc=2.0,  # twice the others': at 1 the background and the person changed more, at no better an expression
    lambda_r1=0.5,
    r1_every=4,
    identity_dim=64,
    coarse_dim=8,
    fine_dim=8,
    rate_g=HeldDecay(1e-3, 700, 1_000),
    rate_d=HeldDecay(1e-3, 700, 1_000),
)


def _sized(size: int) -> Recipe:
    recipe = published(FAGANStyle(), size, 100_000, 8)
    return replace(recipe, about=f"FA-GAN-style with our settings (none are public) at {size} px, for GPUs")


FA_GAN: tuple[Recipe, ...] = (
    Recipe(
        "fa-gan-tiny",
        "FA-GAN-style for two cores and a few minutes: 32 px, identity and deformation apart, a graph over regions",
        _TINY,
        tiny_data(batch=16, lanes=2),
        tiny(1_000, 250),
        CORES,
    ),
    *(_sized(size) for size in (64, 128, 256)),
)
