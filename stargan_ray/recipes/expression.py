"""Recipes of expression classifiers: the filter of noisy labels, judges, and the VGG16 of Table II."""

from __future__ import annotations

from stargan_ray.config import DataConfig, Recipe, ScaleConfig, TrainConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.transforms import Augment
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.recipes.shared import CORES, adamw, tiny, tiny_data


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
        CORES,
    )


def _vgg16() -> Recipe:
    # 980 frontal images of KDEF, 784 of them to train on in five folds: 4,900 steps of 32 are 200 passes.
    steps = 4_900
    return Recipe(
        "vgg16",
        "VGG16 of the paper's Table II at full width, 224 px, from random weights, for a GPU",
        ExpressionMethod(
            backbone="vgg16_bn", average=True, solver=Solver(peak=0.01, momentum=0.9, total=steps, warmup=100)
        ),
        DataConfig(
            size=224,
            shape=Shape(batch=32, lanes=4, window=16),
            augment=Augment(crop=0.5, rotation_degrees=10.0, brightness=0.1, contrast=0.1),
            balance=False,
        ),
        TrainConfig(steps=steps, sample_every=0, validate_every=0, checkpoint_every=steps),
        ScaleConfig(use_gpu=True, cpus_per_worker=2.0),
    )


def _vgg16_tiny() -> Recipe:
    steps = 800
    return Recipe(
        "vgg16-tiny",
        "VGG16 at an eighth of its width, 32 px: a training of Table II on the studio set in 15 seconds of a core",
        ExpressionMethod(
            backbone="vgg16_bn",
            width=8,
            dropout=0.0,
            centre=0.7,
            standardize=True,
            solver=adamw(steps, peak=8e-3, decay=0.05),
        ),
        DataConfig(size=32, shape=Shape(batch=32, lanes=4, window=32), augment=Augment(crop=0.0), balance=False),
        tiny(steps, steps),
        CORES,
    )


EXPRESSION = (
    _expression(),
    _expression_short(),
    _vgg16(),
    _vgg16_tiny(),
    Recipe(
        "expression-tiny",
        "VGG19 at an eighth of its width, 32 px: the filter of noisy labels in 90 seconds on a core",
        ExpressionMethod(
            width=8, dropout=0.0, centre=0.7, standardize=True, solver=adamw(1_400, peak=8e-3, decay=0.05)
        ),
        tiny_data(batch=32, lanes=4),
        tiny(1_400, 350, best="val/accuracy"),
        CORES,
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
            solver=adamw(2_000, peak=8e-3, decay=0.05),
        ),
        DataConfig(size=64, shape=Shape(batch=64, lanes=4, window=32), augment=Augment(crop=0.0)),
        tiny(2_000, 500, best="val/accuracy"),
        CORES,
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
            solver=adamw(1_000, peak=4e-3, decay=0.02),
        ),
        tiny_data(batch=32, lanes=4),
        tiny(1_000, 500, best="val/accuracy"),
        CORES,
    ),
)
