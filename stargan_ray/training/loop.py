"""The one loop that trains every method, on one worker or many, under Ray or without it."""

from __future__ import annotations

import contextlib
import copy
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stargan_ray.config import Recipe, to_json
from stargan_ray.data.stream import Batches
from stargan_ray.methods.base import fuse, quicken
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.graphs import GraphedStep, Part, require_fit
from stargan_ray.training.parts import cut
from stargan_ray.training.recording import Hooks, NoRecords, Recorder
from stargan_ray.training.step import State, check_marks, run_step
from stargan_ray.training.worker import Worker

STOPPED, PREEMPTED = "stopped", "preempted"  # why a run ends before its last step


@dataclass
class Outcome:
    """How a call of ``train`` ended; ``stopped`` says why where it was before the last step."""

    step: int
    finished: bool
    checkpoint: str
    metrics: dict[str, float] = field(default_factory=dict)
    stopped: str = ""


def fresh_state(recipe: Recipe, domains: int, worker: Worker, helpers: dict[str, nn.Module]) -> State:
    """Networks initialised from the seed (equal on every worker), optimisers and averages."""
    torch.manual_seed(recipe.train.seed)
    method = recipe.method
    networks = {n: placed(net, worker.device) for n, net in method.networks(recipe.data.size, domains).items()}
    if recipe.train.fuse:
        networks = {name: fuse(network) for name, network in networks.items()}
    if recipe.train.winograd and worker.device.type == "cpu":
        networks = {name: quicken(network) for name, network in networks.items()}
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
    preempted: Callable[[], str] | None = None,
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
        preempted: what is known of the end of this worker's machine, empty while it is to stay. When it is not, all
            workers stop after a step that they agree on, and rank 0 writes a checkpoint before all else.

    Raises:
        NonFiniteError: see ``run_step``; the last checkpoint is intact.
        LostWorkerError: another worker did not come to a collective in time; it names it.
        InputError: storage cannot be written.
    """
    run = _Run(recipe, state, batches, worker, checkpoints, meta, recorder or NoRecords(), hooks or Hooks(), preempted)
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    with worker.together(run.asked):
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
    preempted: Callable[[], str] | None
    history: list[dict[str, Tensor]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    since: float = 0.0
    waited: float = 0.0
    uri: str = ""

    def to_the_end(self) -> Outcome:
        config = self.recipe.train
        step = self._step()
        self.since = time.perf_counter()
        stopped = ""
        for raw in self.batches.steps(self.state.step, config.steps):
            self.worker.at(self.state.step)
            parts = cut(self.recipe, raw, self.batches.lanes, self.state.step)
            # Dropout draws from the global generator: seeded by step, a resumed run draws the same.
            _seed((config.seed << 40) + (self.state.step << 12) + self.worker.rank, self.worker.device)
            # ------------------------------------------------------------------------------------ the step
            values = step(parts)
            # ---------------------------------------------------------------------------------------------
            self.history.append(values)
            done = self.state.step
            if done % config.report_every == 0 or done == config.steps:
                self._report()
            stopped = self.worker.stops(done)
            self._milestones(last=done == config.steps, stopped=stopped)
            if stopped:
                break
            self.worker.at(done, "waiting for data")
        return Outcome(self.state.step, self.state.step >= config.steps, self.uri, self.metrics, stopped)

    def _step(self) -> Callable[[Sequence[Part]], dict[str, Tensor]]:
        """One iteration, launched kernel by kernel or recorded."""
        config = self.recipe.train
        ema, bf16 = config.ema, config.precision == "bf16"
        if config.graphs:
            require_fit(self.state.method, self.worker)
            return GraphedStep(self.state, self.worker, ema, bf16)
        return lambda parts: run_step(self.state, self.worker, parts, ema=ema, bf16=bf16)

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
        speed, workers = images / elapsed, float(self.worker.world_size)
        values |= {"speed/images_per_second": speed, "speed/workers": workers, **own}
        self.recorder.measured(self.worker.rank, own)
        self.history.clear()
        self.since, self.waited = time.perf_counter(), self.batches.waited
        self.metrics |= values
        if self.worker.rank == 0:
            self.recorder.metrics(step, values)

    def asked(self) -> str:
        """Why this worker should stop: a person asks rank 0, and the machine of any worker may be taken away."""
        if self.preempted and (notice := self.preempted()):
            return f"{PREEMPTED}: {notice}"
        return STOPPED if self.worker.rank == 0 and self.recorder.stop_requested() else ""

    def _milestones(self, last: bool, stopped: str) -> None:
        """Validation, sample grid and checkpoint where they are due; a machine that will be gone writes first."""
        config, step = self.recipe.train, self.state.step
        hurried, last = stopped.startswith(PREEMPTED), last or bool(stopped)
        saving = last or step % config.checkpoint_every == 0
        if saving:
            self._merge_buffers()
        if self.worker.rank:
            return
        if self.hooks.validate and not hurried and (last or _due(step, config.validate_every)):
            self.worker.at(step, "validating")
            with self._judged() as networks:
                values = self.hooks.validate(networks)
            self.metrics |= values
            self.recorder.metrics(step, values)
        if self.hooks.sample and not hurried and (last or _due(step, config.sample_every)):
            self.worker.at(step, "drawing samples")
            with self._judged() as networks:
                self.recorder.image(step, "samples", self.hooks.sample(networks))
        if saving:
            self.worker.at(step, "writing a checkpoint")
            meta = {"recipe": to_json(self.recipe), "metrics": self.metrics, **self.meta}
            self.recorder.secure()
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
