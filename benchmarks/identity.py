"""Training of the identity embedder by the whole loop against its bare forward and backward pass.

    python benchmarks/identity.py

The bare loop computes embeddings of augmented faces that are in memory, the triplet loss of the same mining, its
gradient and the step of the same optimiser. The whole loop reads a data set on disk, decodes, augments, draws people,
averages weights, checks gradients, reports and writes its checkpoint; once where the decoded faces fit into
``data.cache_mib`` and are kept, once where they do not. All on one core (a worker of a machine shared with readers has
no more). 150 steps pass 9 times through the 1,024 faces, 2,000 steps of identity-64 pass 14 times through its 9,000.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from measure import alternate, report, throughput  # isort: skip
from stargan_ray.config import Recipe
from stargan_ray.data import transforms
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, ThreadSource
from stargan_ray.data.writing import write_dataset
from stargan_ray.methods.base import Step
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.plans import make_plan
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.loop import fresh_state, train
from stargan_ray.training.worker import LocalWorker

STEPS = 150
PEOPLE = 64


def batches_of(recipe: Recipe, dataset: Dataset, keep_bytes: int) -> Batches:
    """Those of a run that begins now: nothing is decoded yet."""
    plan = make_plan(recipe, dataset)
    lanes = recipe.data.shape.lanes_of(0, 1)
    source = ThreadSource(dataset, plan, lanes, recipe.data.size, keep_bytes)
    return Batches(source, plan, lanes, torch.device("cpu"))


def whole(recipe: Recipe, dataset: Dataset, folder: Path, keep_bytes: int) -> object:
    """A run of STEPS from its start; its one checkpoint is part of it."""
    worker = LocalWorker()
    batches = batches_of(recipe, dataset, keep_bytes)
    state = fresh_state(recipe, len(dataset.manifest.domains), worker, {})
    with tempfile.TemporaryDirectory(dir=folder) as out:
        return train(recipe, state, batches, worker, Checkpoints(out), meta={})


def augmented(recipe: Recipe, dataset: Dataset) -> list[dict[str, Tensor]]:
    """The batches of the first window as the whole loop trains on them: as easy to tell apart, so as many triplets."""
    shape, seed = recipe.data.shape, recipe.train.seed
    batches = list(batches_of(recipe, dataset, 0).steps(0, shape.window))
    for step, batch in enumerate(batches):
        drawn = transforms.draw(recipe.data.augment, shape.batch, (seed, step, 0))
        batch["source"] = transforms.apply(batch["source"], drawn)
    return batches


def bare(recipe: Recipe, batches: list[dict[str, Tensor]]) -> object:
    """The same number of steps on batches in memory."""
    method, shape = recipe.method, recipe.data.shape
    assert isinstance(method, IdentityMethod)
    torch.manual_seed(0)
    network = method.networks(recipe.data.size, 8)["embedder"].train()
    optimizer = method.optimizer("embedder", list(network.parameters()))
    for number in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = method.rate("embedder", number)
        step = Step(number, lambda _, width: torch.randn(shape.batch, width))
        batch = batches[number % len(batches)]
        loss = method.triplet({"embedder": network}, batch, step)["triplet"].value
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return network


def main() -> None:
    """Two recipes, alternating."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for recipe_name in ("identity-tiny", "identity-64"):
            base = recipe_named(recipe_name)
            recipe = replace(
                base,
                train=replace(base.train, steps=STEPS, validate_every=0, sample_every=0, checkpoint_every=STEPS),
            )
            uri = str(folder / recipe_name)
            faces = FacesConfig(people=PEOPLE, size=recipe.data.size, splits=(1.0, 0.0, 0.0))
            write_dataset(uri, read_faces(faces, 512))
            dataset = open_dataset(uri)
            seconds = alternate(
                5,
                bare=partial(bare, recipe, augmented(recipe, dataset)),
                whole=partial(whole, recipe, dataset, folder, recipe.data.cache_mib << 20),
                whole_nothing_kept=partial(whole, recipe, dataset, folder, 0),
            )
            report(
                recipe_name,
                "python benchmarks/identity.py",
                seconds,
                steps=STEPS,
                batch=recipe.data.shape.batch,
                size=recipe.data.size,
                throughput={name: throughput(seconds, name, "bare") for name in ("whole", "whole_nothing_kept")},
                throughput_cpu={
                    name: throughput(seconds, f"{name}_cpu", "bare_cpu") for name in ("whole", "whole_nothing_kept")
                },
            )


if __name__ == "__main__":
    main()
