"""One rank of ``network.py``: trains on random images and counts the bytes of its machine's interface.

Started there, once a machine; what it found is the last line that it prints, as JSON.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from costs import helper
from torch import Tensor

from stargan_ray.config import Recipe, override
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.recipes import recipe_named
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import GroupWorker

_WARM = 2  # steps: DistributedDataParallel sorts its buckets anew after the first
_SETTLE_S = 0.3  # until what is on its way has been counted


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        recipe: name of the recipe.
        size: of the images, pixels.
        batch: images of each worker.
        steps: that are counted.
        gradients: see ``ScaleConfig``.
        quiet_s: seconds without a step, in which only the workers' signs of life travel.
    """

    recipe: str
    size: int
    batch: int
    steps: int
    gradients: Literal["fp32", "bf16"] = "fp32"
    quiet_s: float = 5.0

    def built(self) -> Recipe:
        """The recipe at this size."""
        return override(recipe_named(self.recipe), {"data.size": self.size, "scale.gradients": self.gradients})


@dataclass(frozen=True)
class Counted:
    """Bytes that an interface has sent and received, and the time."""

    sent: int
    received: int
    at_s: float

    def since(self, before: Counted) -> dict[str, float]:
        """What came after."""
        return {
            "sent": self.sent - before.sent,
            "received": self.received - before.received,
            "seconds": round(self.at_s - before.at_s, 3),
        }


@dataclass(frozen=True)
class Interface:
    """The one by which this machine reaches the others."""

    name: str

    def read(self) -> Counted:
        """Its counters, once what all ranks have sent has arrived."""
        dist.barrier()
        time.sleep(_SETTLE_S)
        counters = Path("/sys/class/net", self.name, "statistics")
        sent, received = (int((counters / f"{way}_bytes").read_text()) for way in ("tx", "rx"))
        found = Counted(sent, received, time.monotonic())
        dist.barrier()
        return found


def reduced_bytes(state: State, steps: range, each: int) -> list[int]:
    """Bytes of the gradients that a step's phases average over the workers, of ``each`` bytes a number."""
    numbers = {name: sum(p.numel() for p in network.parameters()) for name, network in state.networks.items()}
    phases = state.method.phases()
    return [each * sum(numbers[n] for p in phases if p.due(step) for n in p.updates) for step in steps]


def batch_of(case: Case, rank: int) -> dict[str, Tensor]:
    """Random images of a step; every rank has others."""
    torch.manual_seed(rank)
    shape = (case.batch, 3, case.size, case.size)
    images = {name: torch.rand(shape) * 2 - 1 for name in ("source", "reference", "reference2")}
    return images | {n: torch.randint(len(EXPRESSIONS), (case.batch,)) for n in ("source_label", "target_label")}


def measure(case: Case, interface: Interface) -> dict[str, object]:
    """Train, be quiet, report; the bytes of each."""
    recipe = case.built()
    worker = GroupWorker(gradients=case.gradients)
    begin = interface.read()
    state = fresh_state(recipe, len(EXPRESSIONS), worker, {n: helper(n, recipe) for n in recipe.method.helpers})
    part = (batch_of(case, worker.rank), lambda _, width: torch.randn(case.batch, width))
    with worker.together(str):
        terms: dict[str, Tensor] = {}

        def train(steps: int) -> None:
            for _ in range(steps):
                worker.at(state.step)
                terms.update(run_step(state, worker, [part], ema=recipe.train.ema))
                worker.stops(state.step)

        train(_WARM)
        ready = interface.read()
        same = interface.read()  # twice without anything between: what counting itself sends
        first = state.step
        train(case.steps)
        trained = interface.read()
        worker.mean(torch.stack([value.float() for value in terms.values()]))
        reported = interface.read()
        time.sleep(case.quiet_s)
        quiet = interface.read()
    each = 2 if case.gradients == "bf16" else 4
    steps = range(first, first + case.steps)
    return {
        "rank": worker.rank,
        "workers": worker.world_size,
        "steps_counted": case.steps,
        "gradients": reduced_bytes(state, steps, each),
        "buckets": buckets(state, steps),
        "start": ready.since(begin),
        "counting": same.since(ready),
        "steps": trained.since(same),
        "report": reported.since(trained),
        "quiet": quiet.since(reported),
    }


def buckets(state: State, steps: range) -> float:
    """Collectives of a step: DistributedDataParallel's buckets of 25 MiB of what the due phases update."""
    size = {n: sum(p.numel() for p in net.parameters()) * 4 for n, net in state.networks.items()}
    phases = state.method.phases()
    each = [sum(math.ceil(size[n] / (25 << 20)) for p in phases if p.due(s) for n in p.updates) for s in steps]
    return sum(each) / len(each)


def main() -> None:
    """Join the group that the arguments name, measure, print."""
    rank, workers, address, port, name, case = sys.argv[1:]
    torch.set_num_threads(1)
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address, port
    dist.init_process_group("gloo", rank=int(rank), world_size=int(workers))
    given = Case(**json.loads(case))
    found = measure(given, Interface(name))
    dist.destroy_process_group()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
