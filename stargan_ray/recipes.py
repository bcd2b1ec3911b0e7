"""Named full configurations; flags only override their fields.

``<method>-tiny`` trains in minutes on two CPU cores at 32 px; ``-64``, ``-128`` and ``-256`` are for GPUs.
"""

from __future__ import annotations

from dataclasses import replace

from stargan_ray.config import DataConfig, Recipe, ScaleConfig, TrainConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.transforms import Augment
from stargan_ray.errors import unknown
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.schedules import LinearDecay, UniformSteps

# The paper's augmentation (rotation, scaling, flip, colour); it gives no ranges.
_FACES = Augment(
    crop=0.5, rotation_degrees=5.0, scale=(0.95, 1.05), brightness=0.1, contrast=0.1, saturation=0.1
)
# At 32 px a crop of 80 % takes 3 pixels off a mouth of 10: milder, and no second blur for most images.
_SMALL_FACES = Augment(crop=0.3, crop_scale=(0.9, 1.0))
_CORES = ScaleConfig(num_workers=1, cpus_per_worker=1.0, cpus_per_reader=1.0)


def _tiny(steps: int, every: int) -> TrainConfig:
    return TrainConfig(
        steps=steps,
        ema=0.99,
        threads=2,
        report_every=25,
        sample_every=every,
        validate_every=every,
        checkpoint_every=every,
    )


def _expression() -> Recipe:
    return Recipe(
        "expression",
        "VGG19 expression classifier by the published recipe: 44-pixel crops of FER2013-like faces, 250 epochs",
        ExpressionMethod(),
        DataConfig(
            size=48, shape=Shape(batch=128, lanes=16, window=16), augment=Augment(crop_scale=(0.84, 0.84), crop=1.0)
        ),
        TrainConfig(steps=56_000, best="val/accuracy", checkpoint_every=1_120, validate_every=1_120, sample_every=0),
    )


def _identity(name: str, about: str, method: IdentityMethod) -> Recipe:
    return Recipe(
        name,
        about,
        method,
        DataConfig(size=128, shape=Shape(batch=128, lanes=16, window=16), augment=_FACES, images_per_person=4),
        TrainConfig(
            steps=20_000,
            best="val/verification_accuracy",
            checkpoint_every=1_000,
            validate_every=1_000,
            sample_every=0,
        ),
    )


def _translator(method: StarGANv2, size: int, steps: int, batch: int) -> Recipe:
    return Recipe(
        f"{method.name}-{size}",
        f"{method.name} with the published settings at {size} px, for GPUs",
        method,
        DataConfig(size=size, shape=Shape(batch=batch, lanes=8, window=64), augment=Augment()),
        TrainConfig(steps=steps, best="val/balance" if method.helpers else ""),
        ScaleConfig(use_gpu=True, cpus_per_worker=2.0),
    )


_ALL = (
    _expression(),
    _identity(
        "identity",
        "Siamese Xception, semi-hard triplets, margin 0.2",
        IdentityMethod(average=True, solver=Solver(kind="adam", peak=1e-3, total=20_000, warmup=500)),
    ),
    Recipe(
        "expression-tiny",
        "VGG19 at an eighth of its width, 32 px: the filter of noisy labels in a minute on two cores",
        ExpressionMethod(width=8, label_smoothing=0.1, dropout=0.2, solver=Solver(kind="adamw", peak=3e-3, total=500)),
        DataConfig(size=32, shape=Shape(batch=64, lanes=4, window=16), augment=_SMALL_FACES),
        replace(_tiny(500, 250), best="val/accuracy", sample_every=0),
        _CORES,
    ),
    Recipe(
        "identity-tiny",
        "Siamese Xception narrowed, 32 px: identity embeddings in a minute on two cores",
        IdentityMethod(width=0.25, middle_blocks=2, stem_stride=1, solver=Solver(kind="adam", peak=2e-3, total=300)),
        DataConfig(size=32, shape=Shape(batch=64, lanes=4, window=16), augment=_SMALL_FACES),
        replace(_tiny(300, 150), best="val/verification_accuracy", sample_every=0),
        _CORES,
    ),
    *(_translator(StarGANv2(), size, 100_000, 8) for size in (64, 128, 256)),
    *(_translator(StarGANv2Identity(), size, 100_000, 8) for size in (64, 128, 256)),
)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def recipe_named(name: str) -> Recipe:
    """A recipe, or an error with the nearest name."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]
