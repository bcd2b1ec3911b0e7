"""Gradients that travel in bfloat16: what rounding they get, that all ranks get the same, and that a run may change.

pytest tests/training/test_gradients_in_bf16.py
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.distributed as dist
from ranks import in_double, met, run_ranks
from small import METHOD, batches_of, differing, run, state_of, tensors, with_train
from torch import Tensor

from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.training import step as step_module
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.parts import cut
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import GroupWorker, LocalWorker, Worker

U = 2.0**-8  # the largest relative error of a rounding to bfloat16, which has 8 significant bits
WAYS = ("own", "fp32", "bf16")
# Weights stay as they are, so that every phase of the step can be compared, also after the first update.
STILL = replace(with_train(steps=1), method=replace(METHOD, rate_g=0.0, rate_d=0.0, rate_e=0.0, rate_f=0.0))
CHANGES: tuple[tuple[Literal["fp32", "bf16"], int], ...] = (("bf16", 3), ("fp32", 5), ("bf16", 6))
Gradients = dict[str, Tensor]


def gradients_of(dataset: Dataset, group: GroupWorker, way: str) -> Gradients:
    """``<phase>/<network>.<parameter>`` -> what the update of a step is given; ``own`` = not reduced."""
    state = state_of(STILL, LocalWorker() if way == "own" else group)
    found, real = Gradients(), step_module._update

    def update(state: State, phase: Any) -> None:
        for name in phase.updates:
            own = state.networks[name].named_parameters()
            found.update({f"{phase.name}/{name}.{key}": p.grad.clone() for key, p in own if p.grad is not None})
        real(state, phase)

    batches = batches_of(dataset, STILL, group)
    (raw,) = batches.steps(0, 1)
    step_module._update = update
    try:
        run_step(state, LocalWorker() if way == "own" else group, cut(STILL, raw, batches.lanes, 0), ema=0.9)
    finally:
        step_module._update = real
    return found


def go_on(dataset: Dataset, kept: Checkpoints, worker: Worker, until: int) -> dict[str, Tensor]:
    """Train from where the run stands to a step."""
    recipe = with_train(steps=until)
    state = state_of(recipe, worker)
    assert kept.load_latest(state) is bool(kept.names())
    run(dataset, recipe, state, kept, worker=worker)
    return tensors(state)


def _rank(rank: int, uri: str, folder: str) -> None:
    out, dataset = Path(folder), open_dataset(uri)
    with met(out / "meeting", rank, 2), in_double():
        for way in WAYS:
            found = gradients_of(dataset, GroupWorker(gradients="bf16" if way == "bf16" else "fp32"), way)
            torch.save(found, out / f"{way}-{rank}.pt")
        for way, until in CHANGES:
            kept = Checkpoints(str(out / "run"))
            found = go_on(dataset, kept, GroupWorker(gradients=way), until)
            torch.save(found, out / f"{until}-{rank}.pt")
            if rank == 0:
                shutil.copytree(out / "run", out / f"run-{until}")
            dist.barrier()  # rank 0 has written


@pytest.fixture(scope="module")
def ranks(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(_rank, (dataset.uri, str(folder)), 2)
    return folder


def result(folder: Path, name: str, rank: int) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(folder / f"{name}-{rank}.pt", weights_only=True)
    return found


def test_fp32_is_the_mean_of_the_ranks(ranks: Path) -> None:
    first, second, mean = result(ranks, "own", 0), result(ranks, "own", 1), result(ranks, "fp32", 0)
    assert {name.split("/")[0] for name in mean} == {"d_latent", "d_reference", "g_latent", "g_reference"}
    assert first.keys() == second.keys() == mean.keys()
    for name, value in mean.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2, rtol=1e-9, atol=1e-12)


def test_bf16_is_fp32_within_the_rounding_of_two_values_and_of_their_sum(ranks: Path) -> None:
    """Each value is off by at most u times itself, halving it is exact, and so is the sum by u times itself."""
    own = [result(ranks, "own", rank) for rank in range(2)]
    exact, rounded = result(ranks, "fp32", 0), result(ranks, "bf16", 0)
    assert rounded.keys() == exact.keys()
    used = []
    for name, value in rounded.items():
        size = (own[0][name].abs() + own[1][name].abs()) / 2
        bound = size * (2 * U + U**2) + 1e-12
        off = (value - exact[name]).abs()
        assert bool((off <= bound).all()), f"{name}: {float((off - bound).max())} above the bound"
        assert torch.equal(value, value.bfloat16().double()), f"{name} did not travel in bf16"
        used.append(float((off / bound).max()))
    assert max(used) > 0.25, "a bound that is never nearly met shows nothing"


def test_both_ranks_receive_the_same_bits(ranks: Path) -> None:
    for way in WAYS[1:]:
        assert differing(result(ranks, way, 0), result(ranks, way, 1)) == [], way
    assert differing(result(ranks, "own", 0), result(ranks, "own", 1))  # which they would not have by themselves
    for _, until in CHANGES:
        assert differing(result(ranks, str(until), 0), result(ranks, str(until), 1)) == [], until


def test_a_run_goes_on_in_the_other_precision(ranks: Path, dataset: Dataset, tmp_path: Path) -> None:
    """From the checkpoint of a run in bf16, two ranks in fp32 are one process again, and then go on in bf16."""
    (_, first), (_, second), _ = CHANGES
    shutil.copytree(ranks / f"run-{first}", tmp_path / "run")
    with in_double():
        alone = go_on(dataset, Checkpoints(str(tmp_path / "run")), LocalWorker(), second)
    together = result(ranks, str(second), 0)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-8, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    assert differing(result(ranks, str(first), 0), together)
    assert (ranks / "run" / f"step-{CHANGES[-1][1]:08d}" / "meta.json").is_file()
