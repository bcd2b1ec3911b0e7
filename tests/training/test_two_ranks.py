"""Two gloo ranks train as one process does, and stop together when one of them meets a NaN.

pytest tests/training/test_two_ranks.py
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import in_double, met, run_ranks
from small import RECIPE, TRANSLATORS, Embedder, batches_of, embeddings_of, run, state_of, tensors, with_train
from torch import Tensor, nn

from stargan_ray.config import Recipe
from stargan_ray.data import transforms
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.transforms import Augment
from stargan_ray.methods.base import Step
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.metric_losses import ArcFaceHead
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.step import NonFiniteError, State
from stargan_ray.training.worker import GroupWorker, LocalWorker, Worker

STEPS = 3
_FIELDS = {name: value for name, value in vars(RECIPE.method).items() if name in StarGANv2.__dataclass_fields__}
# Window 8: step 3 of 3 is in the middle of it. The rank's share is two images.
RECIPES: dict[str, Recipe] = {
    "identity": with_train(steps=STEPS),
    "accumulated": with_train(steps=STEPS, accumulate=2),
    "merged": replace(with_train(steps=STEPS), method=StarGANv2(**{**_FIELDS, "merged": True, "reference_every": 2})),
    "seldom": replace(with_train(steps=STEPS), method=StarGANv2(**{**_FIELDS, "r1_every": 2, "reference_every": 2})),
}
RECIPES["clipped"] = RECIPES["identity"]
# A rank's own two images are of one person: whatever negatives there are come from the other rank.
for mining in ("random", "batch-hard"):
    RECIPES[f"gathered {mining}"] = replace(
        with_train(steps=STEPS),
        method=IdentityMethod(mining=mining, margin=0.5),  # type: ignore[arg-type]
        data=replace(RECIPE.data, images_per_person=2),
    )
RECIPES["gathered contrastive"] = replace(
    RECIPES["gathered random"], method=IdentityMethod(loss="contrastive", temperature=0.5)
)
# f(source) is not computed but taken from storage, by the lanes of each rank.
RECIPES["stored"] = replace(RECIPES["identity"], name="stored", data=replace(RECIPE.data, augment=Augment(crop=0.0)))
RECIPES["centres"] = replace(
    with_train(steps=STEPS),
    method=IdentityJudgeMethod(people=5, scale=8.0),
    data=replace(RECIPE.data, images_per_person=2),
)
RECIPES |= {f"contract {name}": replace(with_train(steps=STEPS), method=method) for name, method in TRANSLATORS.items()}
# Losses that are means over images: cut in parts they are the same. FA-GAN-style compares the people of a part.
for name in ("stargan-v1", "laun", "stargan-v2"):
    RECIPES[f"accumulated {name}"] = replace(with_train(steps=STEPS, accumulate=2), method=TRANSLATORS[name])
NAN = "nan on one rank"
LIMIT = 1e-4  # far below most gradients of these networks


@contextlib.contextmanager
def scenario(name: str) -> Iterator[None]:
    """The gradient limit of the scenario that has one, and an embedder without batch norm, which looks at its rank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StarGANv2, "clip_value", LIMIT if name == "clipped" else 0.0)
        patch.setattr(IdentityMethod, "networks", lambda *_: {"embedder": Embedder()})
        patch.setattr(
            IdentityJudgeMethod,
            "networks",
            lambda method, *_: {
                "embedder": Embedder(),
                "centres": ArcFaceHead(method.people, 5, method.margin_degrees, method.scale),
            },
        )
        yield


def trained(dataset: Dataset, recipe: Recipe, worker: Worker, folder: Path) -> tuple[State, dict[str, float]]:
    """A state after the run, and its numbers; the identity inputs do not start at zero, so that they matter."""
    state = state_of(recipe, worker)
    for name in ("generator", "discriminator"):
        projection: Any = getattr(state.networks.get(name), "identity", None)
        if projection is not None:
            _waves(projection.weight)
    stored = embeddings_of(dataset, Embedder().float()) if recipe.name == "stored" else None
    outcome = run(dataset, recipe, state, Checkpoints(str(folder)), worker=worker, stored=stored)
    return state, outcome.metrics


def _waves(weight: Tensor) -> None:
    with torch.no_grad():
        weight.copy_((torch.arange(weight.numel()).view_as(weight) * 0.9).sin() * 0.1)


# -- the two ranks: started once, run every scenario, leave their results in files ------------------------------


def _rank(rank: int, uri: str, folder: str) -> None:
    out, dataset = Path(folder), open_dataset(uri)
    with met(out / "meeting", rank, 2), in_double():
        worker = GroupWorker()
        for name, recipe in RECIPES.items():
            with scenario(name):
                state, metrics = trained(dataset, recipe, worker, out / name)
            torch.save((tensors(state), metrics), out / f"{name}-{rank}.pt")
        torch.save(_poisoned(dataset, worker, out), out / f"{NAN}-{rank}.pt")


def _poisoned(dataset: Dataset, worker: GroupWorker, out: Path) -> dict[str, Any]:
    """Rank 1's second batch is NaN: what each rank raised, and its weights before and after."""
    recipe = RECIPES["identity"]
    state = state_of(recipe, worker)
    run(dataset, with_train(recipe, steps=1), state, Checkpoints(str(out / "nan")), worker=worker)
    before, apply = tensors(state), transforms.apply
    if worker.rank == 1:
        transforms.apply = lambda images, drawn: apply(images, drawn) * float("nan")
    try:
        run(dataset, recipe, state, Checkpoints(str(out / "nan")), worker=worker)
        raised = ""
    except NonFiniteError as error:
        raised = str(error)
    transforms.apply = apply
    return {"raised": raised, "before": before, "after": tensors(state), "step": state.step}


@pytest.fixture(scope="module")
def ranks(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(_rank, (dataset.uri, str(folder)), 2)
    return folder


def result(folder: Path, name: str, rank: int) -> Any:
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)


# -- what they show --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_two_ranks_equal_one_process(name: str, ranks: Path, dataset: Dataset, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    with in_double(), scenario(name):
        state, metrics = trained(
            dataset, replace(recipe, train=replace(recipe.train, accumulate=1)), LocalWorker(), tmp_path
        )
    expected = tensors(state)
    (weights, numbers), (others, _) = (result(ranks, name, rank) for rank in range(2))
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-8, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")
        assert torch.equal(weights[key], others[key]), f"{key} differs between the ranks"
    phases = {phase.name for phase in recipe.method.phases()}
    for key in (k for k in metrics if k.split("/")[0] in phases):
        assert numbers[key] == pytest.approx(metrics[key], rel=1e-5), key
    assert (ranks / name / f"step-{STEPS:08d}" / "meta.json").is_file()


def test_without_gathering_a_rank_chooses_among_its_own_images(dataset: Dataset) -> None:
    """One lane's two images are of one person: no triplet, and a loss of 0 with a graph."""
    recipe = RECIPES["gathered batch-hard"]
    batches = batches_of(dataset, recipe, LocalWorker())
    batch = next(batches.steps(0, 1))
    own = {name: (value[:2].float() if value.dtype == torch.uint8 else value[:2]) for name, value in batch.items()}
    terms = replace(recipe.method, gather=False).triplet(
        {"embedder": Embedder()}, own, Step(0, lambda _, w: torch.zeros(2, w))
    )  # type: ignore[union-attr]
    assert terms["triplet"].value == 0
    assert terms["triplet"].value.requires_grad


def test_a_nan_on_one_rank_stops_both_before_the_update(ranks: Path) -> None:
    for rank in range(2):
        told = result(ranks, NAN, rank)
        assert told["raised"].startswith("step 1, d_latent: a gradient is not finite"), rank
        assert told["step"] == 1
        assert all(torch.equal(told["before"][name], told["after"][name]) for name in told["before"])


def test_a_wrapped_network_gives_what_the_bare_one_gives() -> None:
    network = nn.Linear(2, 2)
    assert LocalWorker().wrap(network) is network
    value = torch.tensor([1.0, 2.0])
    assert LocalWorker().mean(value) is value
