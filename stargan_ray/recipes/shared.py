"""What several recipes have in common."""

from __future__ import annotations

from stargan_ray.config import AnyMethod, DataConfig, Recipe, ScaleConfig, TrainConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.transforms import Augment
from stargan_ray.methods.solver import Solver

# The paper's augmentation (rotation, scaling, flip, colour); it gives no ranges.
FACES = Augment(crop=0.5, rotation_degrees=5.0, scale=(0.95, 1.05), brightness=0.1, contrast=0.1, saturation=0.1)
STILL = Augment(crop=0.0, flip=0.0)
# Halves, so that two trainings fit two cores side by side.
CORES = ScaleConfig(num_workers=1, cpus_per_worker=0.5, cpus_per_reader=0.5)


def tiny(steps: int, every: int, best: str = "") -> TrainConfig:
    """A run of minutes; sample grids, validation and checkpoints after ``every`` steps."""
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


def tiny_data(batch: int, lanes: int) -> DataConfig:
    """Faces of 32 px."""
    # At 32 px any resampling blurs a mouth of ten pixels: mirror images only.
    return DataConfig(size=32, shape=Shape(batch, lanes, window=32), augment=Augment(crop=0.0))


def adam(total: int, peak: float) -> Solver:
    """Adam with a cosine schedule."""
    return Solver(kind="adam", peak=peak, weight_decay=0.0, total=total, warmup=50)


def adamw(total: int, peak: float, decay: float) -> Solver:
    """AdamW with a cosine schedule."""
    return Solver(kind="adamw", peak=peak, weight_decay=decay, total=total, warmup=50)


def published(method: AnyMethod, size: int, steps: int, batch: int) -> Recipe:
    """A translator with its published settings, on a GPU for each worker."""
    return Recipe(
        f"{method.name}-{size}",
        f"{method.name} with the published settings at {size} px, for GPUs",
        method,
        DataConfig(size=size, shape=Shape(batch=batch, lanes=8, window=64), augment=Augment()),
        TrainConfig(steps=steps, best="val/balance" if "identity" in method.helpers else ""),
        ScaleConfig(use_gpu=True, cpus_per_worker=2.0),
    )
