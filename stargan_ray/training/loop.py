"""The one loop that trains every method, on one worker or many, under Ray or without it."""

from __future__ import annotations

import contextlib
import copy
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stargan_ray.config import Recipe, to_json
from stargan_ray.data.stream import Batches
from stargan_ray.models.fused import fuse
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.parts import cut
from stargan_ray.training.recording import Hooks, NoRecords, Recorder
from stargan_ray.training.step import State, check_marks, run_step
from stargan_ray.training.worker import Worker


@dataclass
class Outcome:
    """How a call of ``train`` ended."""

    step: int
    finished: bool
    checkpoint: str
    metrics: dict[str, float] = field(default_factory=dict)


def fresh_state(recipe: Recipe, domains: int, worker: Worker, helpers: dict[str, nn.Module]) -> State:
    """Networks initialised from the seed (equal on every worker), optimisers and averages."""
    torch.manual_seed(recipe.train.seed)
    method = recipe.method
    networks = {n: placed(net, worker.device) for n, net in method.networks(recipe.data.size, domains).items()}
    if recipe.train.fuse:
        networks = {name: fuse(network) for name, network in networks.items()}
    averaged = {n: copy.deepcopy(networks[n]).eval().requires_grad_(False) for n in method.averaged}
    return State(
        method=method,
        networks=networks,
        wrapped={name: worker.wrap(network) for name, network in networks.items()},
        helpers={n: placed(net, worker.device).eval().requires_grad_(False) for n, net in helpers.items()},
        averaged=averaged,
        optimizers={name: method.optimizer(name, list(net.parameters())) for name, net in networks.items()},
    )


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on a device; on a GPU with channels last, which is how its matrix units read images."""
    network = network.to(device)
    return network.to(memory_format=torch.channels_last) if device.type == "cuda" else network


def train(
    recipe: Recipe,
    state: State,
    batches: Batches,
    worker: Worker,
    checkpoints: Checkpoints,
    *,
    meta: dict[str, Any],
    recorder: Recorder | None = None,
    hooks: Hooks | None = None,
) -> Outcome:
    """Train from ``state.step`` to ``recipe.train.steps``.

    Args:
        recipe: the run.
        state: fresh or restored; changed in place.
        batches: this worker's share of the global batches.
        worker: the process.
        checkpoints: where rank 0 writes.
        meta: added to every meta.json (data hash, domains, commit, …).
        recorder: where rank 0's records go.
        hooks: validation and sample grids of rank 0.

    Raises:
        NonFiniteError: see ``run_step``; the last checkpoint is intact.
        InputError: storage cannot be written.
    """
    run = _Run(recipe, state, batches, worker, checkpoints, meta, recorder or NoRecords(), hooks or Hooks())
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    return run.to_the_end()


@dataclass
class _Run:
    recipe: Recipe
    state: State
    batches: Batches
    worker: Worker
    checkpoints: Checkpoints
    meta: dict[str, Any]
    recorder: Recorder
    hooks: Hooks
    history: list[dict[str, Tensor]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    since: float = 0.0
    waited: float = 0.0
    uri: str = ""

    def to_the_end(self) -> Outcome:
        config = self.recipe.train
        self.since = time.perf_counter()
        stopped = False
        for raw in self.batches.steps(self.state.step, config.steps):
            parts = cut(self.recipe, raw, self.batches.lanes, self.state.step)
            # Dropout draws from the global generator: seeded by step, a resumed run draws the same.
            _seed((config.seed << 40) + (self.state.step << 12) + self.worker.rank, self.worker.device)
            # ------------------------------------------------------------------------------------ the step
            values = run_step(self.state, self.worker, parts, ema=config.ema, bf16=config.precision == "bf16")
            # ---------------------------------------------------------------------------------------------
            self.history.append(values)
            done = self.state.step
            if done % config.report_every == 0 or done == config.steps:
                self._report()
            stopped = self._stop_agreed()
            self._milestones(last=stopped or done == config.steps)
            if stopped:
                break
        return Outcome(self.state.step, self.state.step >= config.steps, self.uri, self.metrics)

    def _report(self) -> None:
        """Mean of every term since the last report, over steps and workers; the only wait for the device."""
        check_marks(self.state)
        names = sorted({name for values in self.history for name in values})
        means = [torch.stack([v[n].float() for v in self.history if n in v]).mean() for n in names]
        reduced = self.worker.mean(torch.stack(means)).tolist()
        elapsed = time.perf_counter() - self.since
        images = len(self.history) * self.recipe.data.shape.batch
        method, step = self.state.method, self.state.step
        values = dict(zip(names, reduced, strict=True))
        values |= {f"rate/{n}": method.rate(n, step - 1) for n in self.state.networks}
        values |= {f"schedule/{n}": value for n, value in schedules(method, step - 1).items()}
        own = {
            "speed/data_wait_share": (self.batches.waited - self.waited) / elapsed,
            "memory/rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
        }
        if self.worker.device.type == "cuda":
            own["memory/gpu_peak_bytes"] = float(torch.cuda.max_memory_allocated(self.worker.device))
        values |= {"speed/images_per_second": images / elapsed, **own}
        self.recorder.measured(self.worker.rank, own)
        self.history.clear()
        self.since, self.waited = time.perf_counter(), self.batches.waited
        self.metrics |= values
        if self.worker.rank == 0:
            self.recorder.metrics(step, values)

    def _stop_agreed(self) -> bool:
        """Whether rank 0 was asked to stop; workers ask one another at reports only, since asking costs a round."""
        if self.worker.world_size == 1:
            return self.recorder.stop_requested()
        if self.state.step % self.recipe.train.report_every:
            return False
        asked = float(self.worker.rank == 0 and self.recorder.stop_requested())
        return float(self.worker.mean(torch.tensor(asked, device=self.worker.device))) > 0

    def _milestones(self, last: bool) -> None:
        """Validation, sample grid and checkpoint where they are due."""
        config, step = self.recipe.train, self.state.step
        saving = last or step % config.checkpoint_every == 0
        if saving:
            self._merge_buffers()
        if self.worker.rank:
            return
        if self.hooks.validate and (last or _due(step, config.validate_every)):
            with self._judged() as networks:
                values = self.hooks.validate(networks)
            self.metrics |= values
            self.recorder.metrics(step, values)
        if self.hooks.sample and (last or _due(step, config.sample_every)):
            with self._judged() as networks:
                self.recorder.image(step, "samples", self.hooks.sample(networks))
        if saving:
            meta = {"recipe": to_json(self.recipe), "metrics": self.metrics, **self.meta}
            self.uri = self.checkpoints.save(self.state, meta)

    @contextlib.contextmanager
    def _judged(self) -> Iterator[dict[str, nn.Module]]:
        """The networks that leave the run, in eval mode: averages where there are some, helpers included."""
        trained = self.state.networks
        for network in trained.values():
            network.eval()
        try:
            yield {**self.state.helpers, **trained, **self.state.averaged}
        finally:
            for network in trained.values():
                network.train()

    def _merge_buffers(self) -> None:
        """Batch-norm statistics differ between workers, who saw different images: keep their mean."""
        if self.worker.world_size == 1:
            return
        for network in (*self.state.networks.values(), *self.state.averaged.values()):
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.worker.mean(buffer))


def _seed(seed: int, device: torch.device) -> None:
    """As ``torch.manual_seed``, which asks for devices of every kind and takes forty times as long."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def schedules(method: Any, step: int) -> dict[str, float]:
    """The value of every schedule field of a method at a step."""
    fields = {name: getattr(method, name) for name in method.__dataclass_fields__}
    return {name: value(step) for name, value in fields.items() if callable(value)}
