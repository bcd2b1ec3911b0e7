"""Recipes of StarGAN v2 without and with the identity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stargan_ray.config import Recipe
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.recipes.shared import CORES, published, tiny, tiny_data
from stargan_ray.schedules import LinearDecay, UniformSteps

# What the published architecture becomes on two cores, found by trying on the demo's faces (docs/LOG.md has the
# figures): full resolution at few channels beats folded pixels, D and E want more channels than G, and lambda_cls
# must not fade, without it G copies its input; edits by mask keep skin, hair and background.
_TINY: dict[str, Any] = {
    "first": 16,
    "first_critic": 24,
    "largest": 96,
    "bottleneck": 8,
    "depth": 1,
    "style_dim": 16,
    "latent_dim": 8,
    "mapping_hidden": 64,
    "compose": "mask",
    "lambda_r1": 0.5,
    "r1_every": 4,
    "reference_every": 2,
    "lambda_cls": LinearDecay(1.0, 3_000),
    "lambda_ds": LinearDecay(0.0, 0),
    "rate_g": 1e-3,
    "rate_d": 1e-3,
    "rate_e": 1e-3,
    "rate_f": 3e-4,
}


_CHEAPER: dict[str, tuple[str, dict[str, Any]]] = {
    "lazy-r1": ("R1 every 16th iteration at 16 times the weight", {"r1_every": 16}),
    "merged": ("one update of D and one of G an iteration", {"merged": True}),
}


def _cheaper(method: StarGANv2, name: str) -> Recipe:
    """The published settings at 256 px with other, cheaper mathematics."""
    about, fields = _CHEAPER[name]
    base = published(replace(method, **fields), 256, 100_000, 8)
    return replace(base, name=f"{base.name}-{name}", about=f"{base.name} with other mathematics: {about}")


STARGAN_V2: tuple[Recipe, ...] = (
    Recipe(
        "stargan-v2-tiny",
        "stargan-v2 for two cores and a few minutes: 32 px, edits by mask, guided by classification",
        StarGANv2(**_TINY),
        tiny_data(batch=16, lanes=2),
        tiny(1_000, 250),
        CORES,
    ),
    Recipe(
        "stargan-v2-id-tiny",
        "stargan-v2-id for two cores and a few minutes: 32 px, λ_id from 0.1 to 2",
        StarGANv2Identity(**_TINY, identity_dim=128, lambda_id=UniformSteps(0.1, 2.0, 300, 900, 25)),
        tiny_data(batch=16, lanes=2),
        tiny(1_000, 250, best="val/balance"),
        CORES,
    ),
    Recipe(
        "stargan-v2-id-tiny-long",
        "stargan-v2-id-tiny for an hour: more channels, six times the iterations, λ_id to 4, styles that differ",
        StarGANv2Identity(
            **_TINY
            | {
                "first": 24,
                "first_critic": 32,
                "largest": 128,
                "lambda_cls": LinearDecay(1.0, 12_000),
                "lambda_ds": LinearDecay(0.2, 4_000),
            },
            identity_dim=128,
            lambda_id=UniformSteps(0.1, 4.0, 1_500, 5_500, 100),
        ),
        tiny_data(batch=16, lanes=2),
        replace(tiny(6_000, 500, best="val/balance"), ema=0.998),
        CORES,
    ),
    *(published(StarGANv2(), size, 100_000, 8) for size in (64, 128, 256)),
    *(published(StarGANv2Identity(), size, 100_000, 8) for size in (64, 128, 256)),
    *(_cheaper(method, name) for method in (StarGANv2(), StarGANv2Identity()) for name in _CHEAPER),
)
