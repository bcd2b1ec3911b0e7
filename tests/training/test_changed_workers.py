"""A run that goes on with another number of workers continues at the exact next global batch.

pytest tests/training/test_changed_workers.py
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ranks import in_double, met, run_ranks
from small import RECIPE, batches_of, differing, run, state_of, tensors, with_train
from torch import Tensor

from stargan_ray.config import Recipe
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.training import loop
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.worker import GroupWorker, LocalWorker, Worker

STEPS = 12  # windows are of eight steps: changes fall within one
SIX = replace(RECIPE.data.shape, batch=6, lanes=6, window=16)
Seen = dict[int, list[list[str]]]  # step -> what each image and label of the batch is, in order of the lanes


@contextlib.contextmanager
def watched(seen: Seen) -> Iterator[None]:
    """Keep what every step is given."""
    real = loop.cut

    def cut(recipe: Recipe, raw: dict[str, Tensor], lanes: object, step: int):  # type: ignore[no-untyped-def]
        rows = zip(*(raw[name] for name in sorted(raw)), strict=True)
        seen[step] = [[hashlib.sha1(value.numpy().tobytes()).hexdigest() for value in row] for row in rows]
        return real(recipe, raw, lanes, step)

    loop.cut = cut  # type: ignore[assignment]
    try:
        yield
    finally:
        loop.cut = real


def go_on(dataset: Dataset, kept: Checkpoints, worker: Worker, until: int) -> tuple[dict[str, Tensor], Seen]:
    """Train from where the run stands to a step; its state, and what the steps were given."""
    recipe, seen = with_train(steps=until), Seen()
    if worker.world_size == 3:
        recipe = replace(recipe, data=replace(recipe.data, shape=SIX))
    state = state_of(recipe, worker)
    kept.load_latest(state)
    with watched(seen):
        run(dataset, recipe, state, kept, worker=worker)
    return tensors(state), seen


def _rank(rank: int, uri: str, kept: Checkpoints, until: int, out: str, workers: int) -> None:
    with met(Path(out, f"meeting-{until}"), rank, workers), in_double():
        torch.save(go_on(open_dataset(uri), kept, GroupWorker(), until), f"{out}/{until}-{rank}.pt")


def go_on_with(
    workers: int, dataset: Dataset, kept: Checkpoints, until: int, out: Path
) -> tuple[dict[str, Tensor], Seen]:
    """As ``go_on``, with so many workers; the lanes of all of them in order."""
    if workers == 1:
        with in_double():
            return go_on(dataset, kept, LocalWorker(), until)
    out.mkdir(exist_ok=True)
    run_ranks(_rank, (dataset.uri, kept, until, str(out), workers), workers)
    found = [torch.load(out / f"{until}-{rank}.pt", weights_only=True) for rank in range(workers)]
    return found[0][0], {step: [row for _, seen in found for row in seen[step]] for step in found[0][1]}


@pytest.fixture(scope="module")
def whole(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Seen]:
    """One worker, without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    return go_on_with(1, dataset, Checkpoints(str(folder / "run")), STEPS, folder)


def test_one_two_and_one_worker_see_the_batches_of_one(
    whole: tuple[dict[str, Tensor], Seen], dataset: Dataset, tmp_path: Path
) -> None:
    expected, batches = whole
    kept, seen = Checkpoints(str(tmp_path / "run")), Seen()
    for workers, until in ((1, 3), (2, 7), (1, 9), (2, STEPS)):
        found, part = go_on_with(workers, dataset, kept, until, tmp_path / "ranks")
        assert not set(part) & set(seen), "a step was repeated"
        seen |= part
    assert sorted(seen) == list(range(STEPS)), "a step was skipped"
    assert seen == batches
    assert len({str(batch) for batch in batches.values()}) == STEPS  # the comparison tells batches apart
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_workers_with_a_stop_are_bit_equal_to_as_many_without(dataset: Dataset, tmp_path: Path, workers: int) -> None:
    """With three, the order in which gradients are added shows."""
    one, _ = go_on_with(workers, dataset, Checkpoints(str(tmp_path / "one")), 8, tmp_path / "whole")
    kept = Checkpoints(str(tmp_path / "other"))
    for until in (5, 8):
        other, _ = go_on_with(workers, dataset, kept, until, tmp_path / "parts")
    assert differing(one, other) == []


def test_every_number_of_workers_cuts_the_same_batch(dataset: Dataset) -> None:
    """Six lanes with 1, 2, 3 and 6 workers, at any step."""
    recipe = replace(RECIPE, data=replace(RECIPE.data, shape=SIX))

    class At(LocalWorker):
        def __init__(self, rank: int, world_size: int) -> None:
            super().__init__()
            self.rank, self.world_size = rank, world_size  # type: ignore[misc]

    for step in (0, 5, 15, 16, 31):
        cuts = []
        for workers in (1, 2, 3, 6):
            parts = [
                next(batches_of(dataset, recipe, At(rank, workers)).steps(step, step + 1)) for rank in range(workers)
            ]
            cuts.append({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
        for other in cuts[1:]:
            assert all(torch.equal(other[name], value) for name, value in cuts[0].items())
