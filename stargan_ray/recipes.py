"""Named full configurations; flags only override their fields.

``<method>-tiny`` trains in minutes on two CPU cores at 32 px; ``-64``, ``-128`` and ``-256`` are for GPUs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stargan_ray.config import DataConfig, Recipe, ScaleConfig, TrainConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.transforms import Augment
from stargan_ray.errors import unknown
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.identity import COPIED_RECIPE, IdentityMethod
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.schedules import LinearDecay, UniformSteps

# The paper's augmentation (rotation, scaling, flip, colour); it gives no ranges.
_FACES = Augment(crop=0.5, rotation_degrees=5.0, scale=(0.95, 1.05), brightness=0.1, contrast=0.1, saturation=0.1)
_STILL = Augment(crop=0.0, flip=0.0)
# Halves, so that two trainings fit two cores side by side.
_CORES = ScaleConfig(num_workers=1, cpus_per_worker=0.5, cpus_per_reader=0.5)

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


def _tiny(steps: int, every: int, best: str = "") -> TrainConfig:
    return TrainConfig(
        steps=steps,
        ema=0.995,
        # Kernels this small gain nothing from a second thread, and lose threefold when the core is shared.
        threads=1,
        report_every=25,
        sample_every=every,
        validate_every=every,
        checkpoint_every=every,
        best=best,
    )


def _tiny_data(batch: int, lanes: int) -> DataConfig:
    # At 32 px any resampling blurs a mouth of ten pixels: mirror images only.
    return DataConfig(size=32, shape=Shape(batch, lanes, window=32), augment=Augment(crop=0.0))


def _adam(total: int, peak: float) -> Solver:
    return Solver(kind="adam", peak=peak, weight_decay=0.0, total=total, warmup=50)


def _adamw(total: int, peak: float, decay: float) -> Solver:
    return Solver(kind="adamw", peak=peak, weight_decay=decay, total=total, warmup=50)


def _expression() -> Recipe:
    return Recipe(
        "expression",
        "VGG19 expression classifier by the published recipe: 44-pixel crops of FER2013-like faces, 250 epochs",
        ExpressionMethod(input_size=44, cut=True, clip_value=0.1),
        DataConfig(
            size=48,
            shape=Shape(batch=128, lanes=16, window=16),
            augment=Augment(crop=0.0, crop_pixels=44),
            balance=False,
        ),
        TrainConfig(steps=56_000, best="val/accuracy", checkpoint_every=1_120, validate_every=1_120, sample_every=0),
    )


def _expression_short() -> Recipe:
    return Recipe(
        "expression-short",
        "VGG19 at three eighths of its width, 18 epochs of FER2013: three quarters of an hour on a core",
        ExpressionMethod(
            width=24,
            dropout=0.3,
            input_size=44,
            standardize=True,
            label_smoothing=0.1,
            average=True,
            solver=Solver(kind="sgd", peak=0.03, total=4_000, warmup=200),
        ),
        DataConfig(
            size=48,
            shape=Shape(batch=128, lanes=16, window=16),
            augment=Augment(crop=1.0, crop_scale=(0.75, 1.0), rotation_degrees=10.0, brightness=0.2, contrast=0.2),
            balance=False,
        ),
        TrainConfig(
            steps=4_000, threads=1, best="val/accuracy", checkpoint_every=500, validate_every=500, sample_every=0
        ),
        _CORES,
    )


def _identity(
    name: str, about: str, method: IdentityMethod | IdentityJudgeMethod, images_per_person: int, singles: float
) -> Recipe:
    return Recipe(
        name,
        about,
        method,
        DataConfig(
            size=128,
            shape=Shape(batch=128, lanes=16, window=16),
            augment=_FACES,
            images_per_person=images_per_person,
            singles=singles,
        ),
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
    _expression_short(),
    _identity(
        "identity",
        "Siamese Xception, semi-hard triplets, margin 0.2",
        IdentityMethod(average=True, solver=Solver(kind="adam", peak=1e-3, total=20_000, warmup=500)),
        images_per_person=4,
        singles=0.25,
    ),
    # classes want many people in a batch, not many images of one, and none with a single image
    _identity(
        "identity-judge",
        "ResNet-50, ArcFace with the published margin and scale: judges identities and never trains a translator",
        IdentityJudgeMethod(backbone="resnet50", average=True),
        images_per_person=2,
        singles=0.0,
    ),
    Recipe(
        "identity-paper",
        "the recipe behind the paper's 84.375 %: ImageNet's Xception, last 27 layers, random negatives, margin 1, ReLU",
        COPIED_RECIPE,
        DataConfig(size=128, shape=Shape(batch=128, lanes=16, window=16), augment=_STILL, images_per_person=2),
        # 30 epochs of the 8,000 images of LFW's people with several
        TrainConfig(
            steps=1_900, best="val/verification_accuracy", checkpoint_every=380, validate_every=380, sample_every=0
        ),
    ),
    Recipe(
        "expression-tiny",
        "VGG19 at an eighth of its width, 32 px: the filter of noisy labels in 90 seconds on a core",
        ExpressionMethod(
            width=8, dropout=0.0, centre=0.7, standardize=True, solver=_adamw(1_400, peak=8e-3, decay=0.05)
        ),
        _tiny_data(batch=32, lanes=4),
        _tiny(1_400, 350, best="val/accuracy"),
        _CORES,
    ),
    Recipe(
        "expression-64",
        "VGG19 at an eighth of its width, 64 px: a filter of noisy labels that learns from them, two minutes on a core",
        ExpressionMethod(
            width=8,
            dropout=0.0,
            input_size=40,
            centre=0.7,
            standardize=True,
            average=True,
            solver=_adamw(2_000, peak=8e-3, decay=0.05),
        ),
        DataConfig(size=64, shape=Shape(batch=64, lanes=4, window=32), augment=Augment(crop=0.0)),
        _tiny(2_000, 500, best="val/accuracy"),
        _CORES,
    ),
    Recipe(
        "identity-tiny",
        "Siamese Xception at an eighth of its width, 32 px: identity embeddings in a minute on a core",
        IdentityMethod(
            width=0.125, middle_blocks=2, stem_stride=1, hidden=128, embedding=128, solver=_adam(500, peak=1e-3)
        ),
        _tiny_data(batch=64, lanes=4),
        _tiny(500, 250, best="val/verification_accuracy"),
        _CORES,
    ),
    Recipe(
        "identity-lfw-short",
        "Siamese Xception at three sixteenths of its width, 64 px of LFW's faces: a quarter of an hour on a core",
        IdentityMethod(
            width=0.1875,
            middle_blocks=2,
            hidden=256,
            embedding=128,
            input_size=64,
            centre=0.6,
            standardize=True,
            average=True,
            solver=Solver(kind="adamw", peak=1e-3, weight_decay=0.05, total=3_000, warmup=100),
        ),
        DataConfig(size=112, shape=Shape(batch=64, lanes=4, window=32), augment=_FACES, images_per_person=2),
        _tiny(3_000, 500, best="val/verification_accuracy"),
        _CORES,
    ),
    Recipe(
        "identity-64",
        "Siamese Xception at an eighth of its width, 64 px: identity embeddings in four minutes on a core",
        IdentityMethod(
            width=0.125, middle_blocks=2, hidden=128, embedding=128, average=True, solver=_adam(2_000, peak=1e-3)
        ),
        DataConfig(size=64, shape=Shape(batch=64, lanes=4, window=32), augment=Augment(crop=0.0)),
        _tiny(2_000, 500, best="val/verification_accuracy"),
        _CORES,
    ),
    Recipe(
        "expression-judge-tiny",
        "a small ResNet that judges expressions and never trains a translator, 32 px",
        ExpressionMethod(
            backbone="test_resnet",
            input_size=48,
            dropout=0.1,
            centre=0.7,
            standardize=True,
            solver=_adamw(1_000, peak=4e-3, decay=0.02),
        ),
        _tiny_data(batch=32, lanes=4),
        _tiny(1_000, 500, best="val/accuracy"),
        _CORES,
    ),
    Recipe(
        "identity-judge-tiny",
        "a small ResNet that judges identities by ArcFace and never trains a translator, 32 px",
        IdentityJudgeMethod(
            backbone="test_resnet",
            input_size=48,
            hidden=128,
            embedding=128,
            margin_degrees=15.0,
            scale=16.0,
            solver=_adam(500, peak=4e-3),
        ),
        replace(_tiny_data(batch=64, lanes=4), singles=0.0),
        # the last is the best: the demo's 25 validation people are told apart half-way already, strangers are not
        _tiny(500, 250),
        _CORES,
    ),
    Recipe(
        "stargan-v2-tiny",
        "stargan-v2 for two cores and a few minutes: 32 px, edits by mask, guided by classification",
        StarGANv2(**_TINY),
        _tiny_data(batch=16, lanes=2),
        _tiny(1_000, 250),
        _CORES,
    ),
    Recipe(
        "stargan-v2-id-tiny",
        "stargan-v2-id for two cores and a few minutes: 32 px, λ_id from 0.1 to 2",
        StarGANv2Identity(**_TINY, identity_dim=128, lambda_id=UniformSteps(0.1, 2.0, 300, 900, 25)),
        _tiny_data(batch=16, lanes=2),
        _tiny(1_000, 250, best="val/balance"),
        _CORES,
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
        _tiny_data(batch=16, lanes=2),
        replace(_tiny(6_000, 500, best="val/balance"), ema=0.998),
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
