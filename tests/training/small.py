"""Small real runs: generated faces at 32 px, narrow networks, and the state of a training as bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.config import AnyMethod, DataConfig, Recipe, TrainConfig
from stargan_ray.data.embeddings import Embeddings
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.pools import load_pool
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, ThreadSource
from stargan_ray.data.transforms import Augment, to_float
from stargan_ray.data.writing import write_dataset
from stargan_ray.methods.fa_gan import FAGANStyle
from stargan_ray.methods.laun import LAUN
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.runtime.plans import make_plan
from stargan_ray.schedules import LinearDecay, UniformSteps
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.loop import Outcome, fresh_state, train
from stargan_ray.training.recording import Recorder
from stargan_ray.training.step import State
from stargan_ray.training.worker import LocalWorker, Worker

# Eight domains of eight expressions: a lane's window must hold 16 samples.
SHAPE = Shape(batch=4, lanes=2, window=8)
METHOD = StarGANv2Identity(
    first=4,
    largest=8,
    bottleneck=8,
    depth=1,
    style_dim=4,
    latent_dim=3,
    mapping_hidden=6,
    patch=2,
    identity_dim=5,
    lambda_ds=LinearDecay(1.0, 40),
    lambda_id=UniformSteps(0.2, 2.0, 2, 30, 3),
)
AUGMENT = Augment(rotation_degrees=5.0, scale=(0.9, 1.1), brightness=0.1)
RECIPE = Recipe(
    "small",
    "a test's",
    METHOD,
    DataConfig(size=32, shape=SHAPE, augment=AUGMENT),
    TrainConfig(steps=12, ema=0.9, report_every=5, sample_every=0, validate_every=0, checkpoint_every=100),
)


class Embedder(nn.Module):
    """A small f(x) of unit length, the same in every process."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, 5)
        with torch.no_grad():
            values = torch.arange(self.linear.weight.numel()).view_as(self.linear.weight)
            self.linear.weight.copy_((values * 0.7).sin() * 0.3)
            self.linear.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.linear(F.avg_pool2d(image, 4).flatten(1)).tanh())


class Features(nn.Module):
    """Small feature maps (b, 6, 8, 8), the same in every process and for every layer."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.arange(6 * 3 * 16, dtype=torch.get_default_dtype()).view(6, 3, 4, 4)
        self.weight = nn.Parameter((weight * 0.7).sin())

    def forward(self, image: Tensor, layer: str) -> Tensor:
        return F.relu(F.conv2d(image, self.weight, stride=4))


# One small instance of every method that translates, for what all of them promise.
_PLAIN = {name: value for name, value in vars(METHOD).items() if name in StarGANv2.__dataclass_fields__}
V1 = {"first": 4, "blocks": 1, "first_critic": 4, "largest": 8, "layers": 3, "n_critic": 2}
TRANSLATORS: dict[str, AnyMethod] = {
    "stargan-v2": StarGANv2(**_PLAIN),
    "stargan-v2-id": METHOD,
    "stargan-v1": StarGANv1(**V1),  # type: ignore[arg-type]
    "laun": LAUN(**V1, depth=3, cx_side=4),  # type: ignore[arg-type]
    "fa-gan": FAGANStyle(
        first=4, largest=8, bottleneck=8, depth=1, identity_dim=5, coarse_dim=3, fine_dim=2, latent_dim=3, r1_every=2
    ),
}


def helpers_of(method: AnyMethod, embedder: nn.Module | None = None) -> dict[str, nn.Module]:
    """The frozen networks that a method asks for, small."""
    known: dict[str, Callable[[], nn.Module]] = {"identity": lambda: embedder or Embedder(), "features": Features}
    return {name: known[name]() for name in method.helpers}


def faces(folder: Path) -> Dataset:
    """Five people with eight pictures each: ten steps an epoch."""
    config = FacesConfig(people=5, images_per_person=8, size=32, splits=(1.0, 0.0, 0.0))
    write_dataset(str(folder), read_faces(config))
    return open_dataset(str(folder))


def with_train(recipe: Recipe = RECIPE, **fields: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **fields))


def state_of(
    recipe: Recipe = RECIPE, worker: Worker | None = None, domains: int = 8, embedder: nn.Module | None = None
) -> State:
    return fresh_state(recipe, domains, worker or LocalWorker(), helpers_of(recipe.method, embedder))


def batches_of(dataset: Dataset, recipe: Recipe, worker: Worker, stored: Embeddings | None = None) -> Batches:
    plan = make_plan(recipe, dataset)
    lanes = recipe.data.shape.lanes_of(worker.rank, worker.world_size)
    return Batches(ThreadSource(dataset, plan, lanes, recipe.data.size), plan, lanes, worker.device, stored)


def embeddings_of(dataset: Dataset, embedder: nn.Module) -> Embeddings:
    """What jobs/embed.py would store of every image and its mirror image."""
    images = to_float(torch.from_numpy(load_pool(dataset, np.arange(len(dataset)), 32)))
    with torch.no_grad():
        vectors = torch.stack([embedder(images), embedder(images.flip(3))], 1).float()
    return Embeddings(vectors.numpy(), np.arange(len(dataset), dtype=np.int32))


def run(
    dataset: Dataset,
    recipe: Recipe,
    state: State,
    checkpoints: Checkpoints,
    *,
    worker: Worker | None = None,
    recorder: Recorder | None = None,
    stored: Embeddings | None = None,
    **options: Any,
) -> Outcome:
    worker = worker or LocalWorker()
    batches = batches_of(dataset, recipe, worker, stored)
    return train(recipe, state, batches, worker, checkpoints, meta={"domains": []}, recorder=recorder, **options)


def tensors(state: State) -> dict[str, Tensor]:
    """Everything that training changes, by name."""
    found = {f"{n}.{k}": v for n, net in state.networks.items() for k, v in net.state_dict().items()}
    found |= {f"{n}.average.{k}": v for n, net in state.averaged.items() for k, v in net.state_dict().items()}
    for n, optimizer in state.optimizers.items():
        for number, values in optimizer.state_dict()["state"].items():
            found |= {f"{n}.adam.{number}.{k}": torch.as_tensor(v) for k, v in values.items()}
    return {name: value.detach().clone() for name, value in found.items()}


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    """Names whose bits differ."""
    assert first.keys() == second.keys()
    return [n for n in first if first[n].dtype != second[n].dtype or not torch.equal(first[n], second[n])]
