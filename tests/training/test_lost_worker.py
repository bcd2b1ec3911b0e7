"""A worker that dies, stops, is slow or fails is named by those that wait for it, within the time-out.

pytest tests/training/test_lost_worker.py
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forked import forks
from small import run, state_of, with_train

from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.training import loop
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.presence import LostWorkerError, Presence
from stargan_ray.training.worker import GroupWorker

TIMEOUT_S, BEAT_S = 5, 0.25
AT = 3  # the step in which rank 1 meets its end
RECIPE = with_train(steps=6, report_every=100)


def _raise() -> None:
    raise RuntimeError("the disk is gone")


ENDS: dict[str, Callable[[], object]] = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "slow": lambda: time.sleep(60),
    "failed": _raise,
}


def _rank(rank: int, uri: str, out: Path, lost: int, end: str) -> None:
    torch.set_num_threads(1)
    logging.basicConfig(filename=out / f"log-{rank}", format="%(message)s")
    Presence.beat_s = BEAT_S
    limit = timedelta(seconds=TIMEOUT_S)
    dist.init_process_group("gloo", init_method=f"file://{out / 'meeting'}", rank=rank, world_size=2, timeout=limit)
    worker, real = GroupWorker(timeout_s=TIMEOUT_S), loop.run_step

    def step(state, *rest, **more):  # type: ignore[no-untyped-def]
        if state.step == AT and rank == lost:
            time.sleep(3 * BEAT_S)  # its last sign is from this step
            (out / "when").write_text(repr(time.time()))
            ENDS[end]()
        return real(state, *rest, **more)

    loop.run_step = step
    try:
        run(open_dataset(uri), RECIPE, state_of(RECIPE, worker), Checkpoints(str(out / "run")), worker=worker)
    except (LostWorkerError, RuntimeError) as error:
        (out / f"{type(error).__name__}-{rank}").write_text(f"{time.time()!r} {error}")
    os._exit(0)


def lose(dataset: Dataset, out: Path, lost: int, end: str) -> tuple[str, float, int]:
    """What the other rank raised, how long after the end of the lost one, and the pid of that."""
    context = forks()
    ranks = [context.Process(target=_rank, args=(rank, dataset.uri, out, lost, end)) for rank in range(2)]
    for process in ranks:
        process.start()
    try:
        ranks[1 - lost].join(120)
        said = (out / f"LostWorkerError-{1 - lost}").read_text()
    finally:
        for process in ranks:
            process.kill()
    moment, _, message = said.partition(" ")
    return message, float(moment) - float((out / "when").read_text()), int(ranks[lost].pid or 0)


@pytest.mark.parametrize(
    ("lost", "end", "expected", "bound_s"),
    [
        (1, "killed", r"gives no sign of life since step 3 \(training\): stopped or dead", 30),
        (1, "stopped", r"gives no sign of life since step 3 \(training\): stopped or dead", TIMEOUT_S + 30),
        (1, "slow", r"is alive but did not come: it is in step 3 \(training\)", TIMEOUT_S + 30),
        (1, "failed", r"ended in step 3: the disk is gone", 30),
        (0, "killed", r"which keeps the signs of all, does not answer: stopped, dead or cut off", 30),
        (0, "stopped", r"which keeps the signs of all, does not answer: stopped, dead or cut off", TIMEOUT_S + 30),
    ],
)
def test_the_lost_worker_is_named(
    lost: int, end: str, expected: str, bound_s: float, dataset: Dataset, tmp_path: Path
) -> None:
    message, after_s, pid = lose(dataset, tmp_path, lost, end)
    who = rf"rank {lost} \({re.escape(socket.gethostname())}, 127\.0\.0\.1, pid {pid}\)"
    assert re.fullmatch(rf"step 3: {who},? {expected}", message), message
    assert after_s < bound_s
    if end in ("stopped", "slow"):  # said before the time-out too, at which NCCL would end the process
        log = (tmp_path / f"log-{1 - lost}").read_text()
        named = "every worker is alive and in this step" if end == "slow" else rf"{who},? {expected}"
        assert re.fullmatch(rf"step 3 takes \d+ s \(training\): {named}.*\n", log), log
