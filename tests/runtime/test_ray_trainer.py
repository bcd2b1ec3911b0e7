"""Which helpers of Ray Train a run starts.

pytest tests/runtime/test_ray_trainer.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from stargan_ray.runtime.ray_trainer import LeanTorchTrainer


def helpers_of(trainer: Any) -> set[str]:
    return {type(each).__name__ for each in trainer._create_default_callbacks()}


@pytest.mark.parametrize(
    ("ends_with_driver", "left_out"),
    [(True, {"DatasetsCallback", "PlacementGroupCleanerCallback"}), (False, {"DatasetsCallback"})],
)
def test_all_of_rays_helpers_but_the_idle_ones(ends_with_driver: bool, left_out: set[str], tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "train_loop_per_worker": print,
        "scaling_config": ScalingConfig(num_workers=1),
        "run_config": RunConfig(name="x", storage_path=str(tmp_path)),
    }
    rays = helpers_of(TorchTrainer(**options))
    assert left_out < rays
    assert helpers_of(LeanTorchTrainer(ends_with_driver=ends_with_driver, **options)) == rays - left_out
