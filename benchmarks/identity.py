"""Training of the identity embedder by the whole loop against its bare forward and backward pass.

    python benchmarks/identity.py

The bare loop computes embeddings of one batch that is in memory, the triplet loss of the same mining, its gradient and
the optimiser's step. The whole loop reads a data set on disk, decodes, augments, draws people, averages weights,
checks gradients and reports. Both on one core (a worker of a machine shared with readers has no more).
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from measure import alternate, report  # isort: skip
from stargan_ray.config import Recipe
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, ThreadSource
from stargan_ray.data.writing import write_dataset
from stargan_ray.methods.base import Step
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.session import make_plan
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.loop import fresh_state, train
from stargan_ray.training.worker import LocalWorker

STEPS = 150
PEOPLE = 64


def whole(recipe: Recipe, dataset: Dataset, folder: Path) -> object:
    """A run of STEPS from its start; its one checkpoint is part of it."""
    worker = LocalWorker()
    plan = make_plan(recipe, dataset)
    lanes = recipe.data.shape.lanes_of(0, 1)
    batches = Batches(ThreadSource(dataset, plan, lanes, recipe.data.size), plan, lanes, worker.device)
    state = fresh_state(recipe, len(dataset.manifest.domains), worker, {})
    with tempfile.TemporaryDirectory(dir=folder) as out:
        return train(recipe, state, batches, worker, Checkpoints(out), meta={})


def bare(recipe: Recipe) -> object:
    """The same number of steps on one batch in memory."""
    method, shape = recipe.method, recipe.data.shape
    assert isinstance(method, IdentityMethod)
    torch.manual_seed(0)
    network = method.networks(recipe.data.size, 8)["embedder"].train()
    optimizer = method.optimizer("embedder", list(network.parameters()))
    images = torch.rand(shape.batch, 3, recipe.data.size, recipe.data.size) * 2 - 1
    person = torch.arange(shape.batch) // recipe.data.images_per_person
    for number in range(STEPS):
        step = Step(number, lambda _, width: torch.randn(shape.batch, width))
        loss = method.triplet({"embedder": network}, {"source": images, "person": person}, step)["triplet"].value
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
                bare=lambda recipe=recipe: bare(recipe),  # type: ignore[misc]
                whole=lambda recipe=recipe, dataset=dataset: whole(recipe, dataset, folder),  # type: ignore[misc]
            )
            report(
                recipe_name,
                "python benchmarks/identity.py",
                seconds,
                steps=STEPS,
                batch=recipe.data.shape.batch,
                size=recipe.data.size,
            )


if __name__ == "__main__":
    main()
