"""Recorded iterations compute what plain ones do: here with a recorder that repeats the work, on a GPU with graphs.

What must be filled anew each step is the same for both: a weight, a rate, an image or noise that is not would stay
what it was when the iteration was recorded.

pytest tests/training/test_graphs.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small import RECIPE, TRANSLATORS, helpers_of
from torch import Tensor

from stargan_ray.config import Recipe
from stargan_ray.errors import InputError
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.schedules import HeldDecay, LinearDecay, UniformSteps
from stargan_ray.training.graphs import GraphedStep, recorded, require_fit
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.step import State, check_marks, run_step
from stargan_ray.training.worker import LocalWorker

BATCH, SIZE = 4, RECIPE.data.size
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]
# Weights that rise, fall and end, phases and penalties that are not always due, rates that fall.
METHODS: dict[str, Any] = {
    "stargan-v2-id": replace(
        TRANSLATORS["stargan-v2-id"],  # type: ignore[type-var]
        lambda_id=UniformSteps(0.0, 2.0, 3, 12, 1),
        lambda_ds=LinearDecay(1.0, 8),
        lambda_cls=LinearDecay(1.0, 6),
        r1_every=2,
        reference_every=2,
    ),
    "fa-gan": replace(TRANSLATORS["fa-gan"], rate_g=HeldDecay(1e-3, 5, 20)),  # type: ignore[type-var]
    "stargan-v1": TRANSLATORS["stargan-v1"],
    "expression": ExpressionMethod(width=4, dropout=0.0, solver=Solver(shape="cosine", total=14, warmup=3)),
    "expression-adam": ExpressionMethod(
        width=4, dropout=0.0, solver=Solver(kind="adamw", shape="cosine", total=14, warmup=3)
    ),
}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Everything in fp64 here, since a rate in a tensor of fp32 is another rate; on a GPU at least no TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    yield lambda: torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)


def repeated(work: Callable[[], None], pool: Any = None) -> tuple[Callable[[], None], Any]:
    """A recorder for machines without a GPU: the work itself, which sees what lies in the fixed places."""
    return work, pool


def part_of(step: int, device: str) -> tuple[dict[str, Tensor], Callable[[str, int], Tensor]]:
    rng = np.random.default_rng(step)
    images = {n: rng.uniform(-1, 1, (BATCH, 3, SIZE, SIZE)) for n in ("source", "reference", "reference2")}
    labels = {n: rng.integers(0, 8, BATCH) for n in ("source_label", "target_label")}
    batch = {n: torch.from_numpy(v).to(device, torch.get_default_dtype()) for n, v in images.items()}

    def normal(name: str, width: int) -> Tensor:
        numbers = np.random.default_rng((step, *name.encode())).standard_normal((BATCH, width))
        return torch.from_numpy(numbers).to(device, torch.get_default_dtype())

    return batch | {n: torch.from_numpy(v).to(device) for n, v in labels.items()}, normal


def after(recipe: Recipe, device: str, step_of: Callable[[State], Callable[[Any], dict[str, Tensor]]]) -> Any:
    """Weights and values of 14 iterations."""
    state = fresh_state(recipe, 8, LocalWorker(device), helpers_of(recipe.method))
    step, values = step_of(state), []
    for _ in range(14):
        found = step([part_of(state.step, device)])
        values.append({name: value.item() for name, value in found.items()})
    check_marks(state)
    networks = [*state.networks.values(), *state.averaged.values()]
    return torch.cat([t.detach().double().flatten() for net in networks for t in net.state_dict().values()]), values


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", METHODS)
def test_recorded_iterations_are_the_plain_ones(name: str, device: str, wide: Callable[[], None]) -> None:
    if device == "cpu":
        wide()
    recipe, worker = replace(RECIPE, method=METHODS[name]), LocalWorker(device)
    record = repeated if device == "cpu" else recorded
    plain, expected = after(recipe, device, lambda state: lambda parts: run_step(state, worker, parts, ema=0.9))
    ours, found = after(recipe, device, lambda state: GraphedStep(state, worker, 0.9, False, record))
    assert [sorted(each) for each in found] == [sorted(each) for each in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=2e-2, abs=2e-3)
    assert (ours - plain).norm() <= (1e-9 if device == "cpu" else 2e-2) * plain.norm()


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="one worker"):
        require_fit(TRANSLATORS["stargan-v2"], LocalWorker())
    with pytest.raises(InputError, match="method identity"):
        require_fit(IdentityMethod(), LocalWorker("cuda"))
