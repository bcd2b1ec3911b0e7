"""Workers stop after one and the same step when one of them is asked to, within seconds and not at the next report.

pytest tests/training/test_agreement.py
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from forked import forks
from small import differing, run, state_of, tensors, with_train

from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.presence import Presence
from stargan_ray.training.recording import Hooks, NoRecords
from stargan_ray.training.worker import GroupWorker, LocalWorker

FOREVER = with_train(steps=100_000, report_every=100_000, checkpoint_every=100_000, validate_every=100_000)
ROUNDS = 12


def _start(target: Callable[..., None], world_size: int, *args: Any) -> list[Any]:
    context = forks()
    found = [context.Process(target=target, args=(rank, world_size, *args)) for rank in range(world_size)]
    for process in found:
        process.start()
    return found


def _join(rank: int, world_size: int, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out / 'meeting'}", rank=rank, world_size=world_size)


# -- a training of two workers ---------------------------------------------------------------------------------


class Asked(NoRecords):
    """A person who asks when a file is there."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def stop_requested(self) -> bool:
        return self.file.exists()


def _train(rank: int, world_size: int, uri: str, out: Path) -> None:
    _join(rank, world_size, out)
    told: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: told.append("SIGTERM"))
    worker = GroupWorker()
    state, kept = state_of(FOREVER, worker), Checkpoints(str(out / "run"))
    hooks = Hooks(validate=lambda _: (out / "validated").touch() or {})
    (out / f"ready-{rank}").touch()
    options = {"hooks": hooks, "recorder": Asked(out / "stop"), "preempted": lambda: " ".join(told)}
    outcome = run(open_dataset(uri), FOREVER, state, kept, worker=worker, **options)  # type: ignore[arg-type]
    (out / f"outcome-{rank}").write_text(json.dumps([outcome.step, outcome.stopped]))
    dist.destroy_process_group()


@pytest.mark.parametrize(("who", "why"), [("rank 1", "preempted: SIGTERM"), ("a person", "stopped")])
def test_all_stop_with_a_checkpoint_before_the_next_report(
    who: str, why: str, dataset: Dataset, tmp_path: Path
) -> None:
    ranks = _start(_train, 2, dataset.uri, tmp_path)
    try:
        while not all((tmp_path / f"ready-{rank}").exists() for rank in range(2)):
            assert all(process.is_alive() for process in ranks)
            time.sleep(0.05)
        time.sleep(4)
        os.kill(ranks[1].pid, signal.SIGTERM) if who == "rank 1" else (tmp_path / "stop").touch()
        for process in ranks:
            process.join(60)  # the next report is hours away
        assert [process.exitcode for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
    (step, said), (other, also) = (json.loads((tmp_path / f"outcome-{rank}").read_text()) for rank in range(2))
    assert (said, also) == (why, why)
    assert step == other > 0
    kept = Checkpoints(str(tmp_path / "run"))
    assert kept.names() == [f"step-{step:08d}"]
    assert (tmp_path / "validated").exists() == (who == "a person")  # a machine that will be gone writes, no more
    state = state_of(FOREVER)
    assert kept.load_latest(state)
    assert state.step == step


def test_one_worker_stops_after_its_step(dataset: Dataset, tmp_path: Path) -> None:
    state, kept = state_of(), Checkpoints(str(tmp_path / "run"))
    recipe = with_train(steps=12, report_every=100)
    outcome = run(dataset, recipe, state, kept, preempted=lambda: "notice" if state.step == 7 else "")
    assert (outcome.step, outcome.finished, outcome.stopped) == (7, False, "preempted: notice")
    whole, again = state_of(), state_of()
    run(dataset, recipe, whole, Checkpoints(str(tmp_path / "whole")))
    assert kept.load_latest(again)
    run(dataset, recipe, again, kept)
    assert differing(tensors(whole), tensors(again)) == []


# -- the protocol alone, many times, with steps of any length ---------------------------------------------------


def _walk(rank: int, world_size: int, out: Path) -> None:
    _join(rank, world_size, out)
    Presence.beat_s = 0.2
    worker, stops = GroupWorker(), []
    for number in range(ROUNDS):
        plan, mine = random.Random(number), random.Random(number * 10 + rank)
        seconds, moment, who = 10 ** plan.uniform(-4, -0.7), plan.uniform(0, 1), plan.randrange(world_size)
        loose = plan.random() < 0.5  # steps in which ranks do not wait for each other, as on a GPU
        began, step, why = time.monotonic(), 0, ""

        def asked(until: float = began + moment, who: int = who) -> str:
            return "enough" if rank == who and time.monotonic() > until else ""

        with worker.together(asked):
            while not why:
                time.sleep(seconds * mine.uniform(0.5, 1.5))
                if not loose or step % 5 == 0:
                    worker.mean(torch.zeros(1))
                step += 1
                worker.at(step)
                why = worker.stops(step)
        stops.append((step, why, round(time.monotonic() - began - moment, 2)))
    (out / f"stops-{rank}").write_text(json.dumps(stops))
    dist.destroy_process_group()


def test_the_step_is_the_same_for_all_whatever_their_pace(tmp_path: Path) -> None:
    ranks = _start(_walk, 3, tmp_path)
    for process in ranks:
        process.join(150)
        process.kill()
    assert [process.exitcode for process in ranks] == [0, 0, 0]
    first, *others = (json.loads((tmp_path / f"stops-{rank}").read_text()) for rank in range(3))
    for stops in others:
        assert [(step, why) for step, why, _ in stops] == [(step, why) for step, why, _ in first]
    print([(step, late) for step, _, late in first])
    assert {why for _, why, _ in first} == {"enough"}
    assert max(late for *_, late in first) < 6


def test_a_local_worker_needs_no_group() -> None:
    worker = LocalWorker()
    with worker.together(lambda: "now"):
        assert worker.stops(3) == "now"
