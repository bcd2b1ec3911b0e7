"""One training of Table II's classifier, on images in memory, and what it says of the held-out ones."""

from __future__ import annotations

import tempfile
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from stargan_ray.config import Recipe
from stargan_ray.data.plan_mixed import MemorySource, MixedPlan
from stargan_ray.data.pools import Pixels
from stargan_ray.data.stream import Batches
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.loop import fresh_state, train
from stargan_ray.training.worker import LocalWorker

_BATCH = 128  # held-out images in a forward pass
Logits = npt.NDArray[np.float32]


def prepared(recipe: Recipe, steps: int, seed: int) -> Recipe:
    """The recipe for one process that validates nothing and stores nothing on its way.

    Args:
        recipe: of an expression classifier.
        steps: of the training, with its rate falling to the end of them; 0 = the recipe's.
        seed: of the training.

    Raises:
        InputError: the recipe trains something else.
    """
    method = recipe.method
    if not isinstance(method, ExpressionMethod):
        raise InputError(f"recipe {recipe.name} trains {method.name}: allowed are expression classifiers")
    if steps:
        solver = replace(method.solver, total=steps, warmup=min(method.solver.warmup, steps))
        method = replace(method, solver=solver)
    count = steps or recipe.train.steps
    train_config = replace(
        recipe.train, steps=count, seed=seed, validate_every=0, sample_every=0, checkpoint_every=count, best=""
    )
    shape = replace(recipe.data.shape, lanes=1)
    return replace(recipe, method=method, data=replace(recipe.data, shape=shape), train=train_config)


def train_and_test(
    recipe: Recipe, classes: int, images: tuple[Pixels, ...], plan: MixedPlan, held_out: Pixels
) -> Logits:
    """Train on a plan's images to the recipe's last step; the logits (n, classes) of held-out images.

    The weights of the last step are judged, or their moving average where the method keeps one: nothing is chosen by
    what is held out.

    Args:
        recipe: as :func:`prepared` gives it.
        classes: how many expressions.
        images: real and translated ones, as the plan counts them.
        plan: of the batches.
        held_out: (n, 3, H, W) uint8.
    """
    worker = LocalWorker("cuda" if torch.cuda.is_available() else "cpu")
    state = fresh_state(recipe, classes, worker, {})
    batches = Batches(MemorySource(images, plan), plan, range(1), worker.device)
    with tempfile.TemporaryDirectory(prefix="augmentation-") as folder:  # the loop stores its last step
        train(recipe, state, batches, worker, Checkpoints(folder), meta={})
    network = state.averaged.get("classifier", state.networks["classifier"]).eval()
    parts = torch.split(torch.from_numpy(held_out), _BATCH)
    with torch.inference_mode():
        logits = torch.cat([network(to_float(part.to(worker.device))).float().cpu() for part in parts])
    found: Logits = logits.numpy()
    return found
