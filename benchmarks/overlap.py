"""How much of a step can hide the exchange of gradients: the time in which some are complete and others not yet.

    python benchmarks/overlap.py            # half a minute on one core

StarGAN v2's published networks at 64 px, batch 1, one rank, nothing sent: each bucket of DistributedDataParallel notes
when it is complete. From the first bucket of an update to its last, what is complete can travel behind the backward
pass; the last one cannot. A network that is called twice in a phase completes its gradients only in the second pass.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
import torch.distributed as dist
from measure import report
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.recipes import recipe_named
from stargan_ray.training.buckets import settled
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.step import run_step
from stargan_ray.training.worker import GroupWorker

RECIPE, SIZE, WARM, STEPS = "stargan-v2-64", 64, 2, 7
Span = tuple[float, float]


class Watching(GroupWorker):
    """Notes when the buckets of an update are complete: from the first to the last of them."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []

    def wrap(self, network: nn.Module) -> nn.Module:
        """As one of several, although it is alone: its gradients are their own mean."""
        wrapped = settled(DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True))
        begun: list[float] = []

        def note(_: object, bucket: Any) -> torch.futures.Future[torch.Tensor]:
            begun.append(time.perf_counter())
            if bucket.is_last():
                self.spans.append((begun[0], begun[-1]))
                begun.clear()
            done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
            done.set_result(bucket.buffer())
            return done

        note.__annotations__ = {}  # torch compares them by identity
        wrapped.register_comm_hook(None, note)
        return wrapped


def covered(spans: list[Span]) -> float:
    """Seconds that lie in one of the spans or in several."""
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    with tempfile.NamedTemporaryFile() as meeting:
        dist.init_process_group("gloo", init_method=f"file://{meeting.name}", rank=0, world_size=1)
        recipe, worker = recipe_named(RECIPE), Watching()
        state = fresh_state(recipe, len(EXPRESSIONS), worker, {})
        images = {name: torch.rand(1, 3, SIZE, SIZE) * 2 - 1 for name in ("source", "reference", "reference2")}
        labels = {name: torch.randint(len(EXPRESSIONS), (1,)) for name in ("source_label", "target_label")}
        part = (images | labels, lambda _, width: torch.randn(1, width))
        seconds: dict[str, list[float]] = {"step": [], "to_hide_behind": []}
        for number in range(WARM + STEPS):
            worker.spans.clear()
            begun = time.perf_counter()
            run_step(state, worker, [part], ema=recipe.train.ema)
            taken = time.perf_counter() - begun
            if number >= WARM:
                seconds["step"].append(taken)
                seconds["to_hide_behind"].append(covered(worker.spans))
        dist.destroy_process_group()
    shares = sorted(h / s for h, s in zip(seconds["to_hide_behind"], seconds["step"], strict=True))
    share = {"median": shares[STEPS // 2], "lowest": shares[0], "highest": shares[-1]}
    report(
        "overlap",
        "python benchmarks/overlap.py",
        seconds,
        batch=1,
        size=SIZE,
        share_to_hide_behind={name: round(value, 3) for name, value in share.items()},
    )


if __name__ == "__main__":
    main()
