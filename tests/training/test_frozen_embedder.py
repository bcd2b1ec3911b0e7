"""The embedder is a loss: while the GAN trains nothing of it moves, and its gradient reaches the image alone.

pytest tests/training/test_frozen_embedder.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import RECIPE, embeddings_of, run, state_of, with_train
from torch import Tensor, nn

from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import Augment
from stargan_ray.models.identity import SiameseXception
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.recording import Hooks


@pytest.fixture
def embedder() -> SiameseXception:
    """The real network, narrow, with statistics that no fresh network has."""
    torch.manual_seed(0)
    network = SiameseXception(width=0.05, middle_blocks=1, stem_stride=1, hidden=8, embedding=5, input_size=32)
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(16, 3, 32, 32) * 2 - 1)
    return network


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_nothing_of_the_embedder_moves_and_the_image_gets_its_gradient(
    stored: bool, bf16: bool, embedder: SiameseXception, dataset: Dataset, tmp_path: Path
) -> None:
    recipe = replace(
        with_train(steps=4, precision="bf16" if bf16 else "fp32", validate_every=2),
        data=replace(RECIPE.data, augment=Augment(crop=0.0)),
    )
    before = {name: value.clone() for name, value in embedder.state_dict().items()}
    names = [name for name in before if name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert len(names) > 30
    assert all(bool(before[name].any()) for name in names)
    state = state_of(recipe, embedder=embedder)
    found = embeddings_of(dataset, embedder) if stored else None
    gradients: list[Tensor] = []  # that come from the embedder alone, for each fake that it is shown

    def watch(_: nn.Module, given: tuple[Tensor]) -> Tensor:
        image = given[0].view_as(given[0])
        if image.requires_grad:
            image.register_hook(gradients.append)
        return image

    embedder.register_forward_pre_hook(watch)
    # validation puts the trained networks into eval mode and back: the embedder must not come back with them
    hooks = Hooks(validate=lambda _: {"val/score": 0.0})
    run(dataset, recipe, state, Checkpoints(str(tmp_path)), stored=found, hooks=hooks)
    after = embedder.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in embedder.parameters())
    assert not any(module.training for module in embedder.modules())
    assert len(gradients) == 2 * recipe.train.steps  # both updates of G
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert float(gradient.abs().amax((1, 2, 3)).min()) > 0  # every image
