"""f(source) from storage: the training is the one that computes it in each step, and asks the embedder of fakes alone.

pytest tests/training/test_stored_embeddings.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import RECIPE, Embedder, differing, embeddings_of, run, state_of, tensors, with_train
from torch import Tensor, nn

from stargan_ray.config import Recipe
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import Augment
from stargan_ray.models.identity import SiameseXception
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.step import State


class OneByOne(Embedder):
    """Sees each image alone, so that what it says of one does not depend, even in the last bit, on the batch."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([super(OneByOne, self).forward(each[None]) for each in image])


def recipe_of(flip: float, accumulate: int = 1, steps: int = 4) -> Recipe:
    augment = Augment(crop=0.0, flip=flip)
    return replace(with_train(steps=steps, accumulate=accumulate), data=replace(RECIPE.data, augment=augment))


def trained(dataset: Dataset, recipe: Recipe, embedder: nn.Module, folder: Path, *, stored: bool) -> State:
    """The state after the run; the identity inputs do not start at zero, so that f(source) matters."""
    state = state_of(recipe, embedder=embedder)
    for name in ("generator", "discriminator"):
        weight = state.networks[name].identity.weight  # type: ignore[union-attr]
        with torch.no_grad():
            weight.copy_((torch.arange(weight.numel()).view_as(weight) * 0.9).sin() * 0.1)  # type: ignore[arg-type]
    found = embeddings_of(dataset, state.helpers["identity"]) if stored else None
    if found is not None and not recipe.data.augment.flip:
        found = replace(found, vectors=found.vectors[:, :1])  # all that is loaded then
    run(dataset, recipe, state, Checkpoints(str(folder)), stored=found)
    return state


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_stored_embeddings_train_to_the_same_bits(flip: float, dataset: Dataset, tmp_path: Path) -> None:
    recipe = recipe_of(flip)
    computed = trained(dataset, recipe, OneByOne(), tmp_path / "a", stored=False)
    taken = trained(dataset, recipe, OneByOne(), tmp_path / "b", stored=True)
    assert differing(tensors(computed), tensors(taken)) == []


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_papers_network_differs_by_rounding_alone(accumulate: int, dataset: Dataset, tmp_path: Path) -> None:
    """Convolutions over another number of images round otherwise, and no more than that comes of it.

    Compared are gradients (Adam's first moment at β1 = 0): biases before a norm have none but rounding, which Adam
    turns into steps of the full rate.
    """
    torch.manual_seed(0)
    embedder = SiameseXception(width=0.05, middle_blocks=0, stem_stride=1, hidden=8, embedding=5, input_size=32)
    recipe = recipe_of(0.5, accumulate, steps=2)
    computed, taken = (
        tensors(trained(dataset, recipe, embedder, tmp_path / str(stored), stored=stored)) for stored in (False, True)
    )
    gradients = [name for name in computed if name.endswith("exp_avg")]
    assert max(float(computed[name].abs().max()) for name in gradients) > 0.1
    for name in gradients:
        torch.testing.assert_close(taken[name], computed[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_the_embedder_is_asked_of_fakes_alone(dataset: Dataset, tmp_path: Path) -> None:
    def asked(stored: bool) -> list[bool]:
        """For each call of the embedder in training, whether it was shown a fake, which has a graph."""
        embedder, calls = Embedder(), []
        state = state_of(recipe_of(0.5, steps=3), embedder=embedder)
        found = embeddings_of(dataset, embedder) if stored else None
        embedder.register_forward_pre_hook(lambda _, given: calls.append(given[0].grad_fn is not None))
        run(dataset, recipe_of(0.5, steps=3), state, Checkpoints(str(tmp_path / str(stored))), stored=found)
        return calls

    assert asked(stored=False) == [False, True, True] * 3  # the source, then the fakes of both updates of G
    assert asked(stored=True) == [True, True] * 3
