"""Recipes of identity embedders and of judges of identity."""

from __future__ import annotations

from dataclasses import replace

from stargan_ray.config import DataConfig, Recipe, TrainConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.transforms import Augment
from stargan_ray.methods.identity import COPIED_RECIPE, IdentityMethod
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.recipes.shared import CORES, FACES, STILL, adam, tiny, tiny_data

# what keeps a network from learning a few thousand photos by heart
CHANGED = Augment(
    crop=0.8,
    crop_scale=(0.6, 1.0),
    crop_ratio=(0.85, 1.18),
    rotation_degrees=15.0,
    scale=(0.85, 1.15),
    brightness=0.4,
    contrast=0.4,
    saturation=0.3,
    grey=0.3,
    erase=0.5,
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
            augment=FACES,
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


IDENTITY = (
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
        DataConfig(size=128, shape=Shape(batch=128, lanes=16, window=16), augment=STILL, images_per_person=2),
        # 30 epochs of the 8,000 images of LFW's people with several
        TrainConfig(
            steps=1_900, best="val/verification_accuracy", checkpoint_every=380, validate_every=380, sample_every=0
        ),
    ),
    Recipe(
        "identity-tiny",
        "Siamese Xception at an eighth of its width, 32 px: identity embeddings in a minute on a core",
        IdentityMethod(
            width=0.125, middle_blocks=2, stem_stride=1, hidden=128, embedding=128, solver=adam(500, peak=1e-3)
        ),
        tiny_data(batch=64, lanes=4),
        tiny(500, 250, best="val/verification_accuracy"),
        CORES,
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
        DataConfig(size=112, shape=Shape(batch=64, lanes=4, window=32), augment=FACES, images_per_person=2),
        tiny(3_000, 500, best="val/verification_accuracy"),
        CORES,
    ),
    Recipe(
        "identity-lfw",
        "Siamese Xception at half its width, contrastive loss, 64 px of LFW's upright faces: forty minutes of a core",
        IdentityMethod(
            width=0.5,
            middle_blocks=3,
            hidden=512,
            embedding=128,
            input_size=64,
            standardize=True,
            mirror=True,
            loss="contrastive",
            average=True,
            solver=Solver(kind="adamw", peak=1e-3, weight_decay=0.05, total=3_000, warmup=100),
        ),
        # 32 people with two images and 16 with one
        DataConfig(
            size=80, shape=Shape(batch=80, lanes=4, window=32), augment=CHANGED, images_per_person=2, singles=0.2
        ),
        # the last is the best: a few people of validation say less than the schedule
        replace(tiny(3_000, 500), ema=0.998),
        CORES,
    ),
    Recipe(
        "identity-64",
        "Siamese Xception at an eighth of its width, 64 px: identity embeddings in four minutes on a core",
        IdentityMethod(
            width=0.125, middle_blocks=2, hidden=128, embedding=128, average=True, solver=adam(2_000, peak=1e-3)
        ),
        DataConfig(size=64, shape=Shape(batch=64, lanes=4, window=32), augment=Augment(crop=0.0)),
        tiny(2_000, 500, best="val/verification_accuracy"),
        CORES,
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
            solver=adam(500, peak=4e-3),
        ),
        replace(tiny_data(batch=64, lanes=4), singles=0.0),
        # the last is the best: the demo's 25 validation people are told apart half-way already, strangers are not
        tiny(500, 250),
        CORES,
    ),
)
