"""Iterations as CUDA graphs: recorded once, then started with a single call instead of thousands.

A step launches thousands of small kernels, and where launching takes longer than computing, the GPU waits for the
processor. A graph has what a step computes fixed, so everything that changes from step to step lies in tensors that
are filled before each start: images, labels, noise, scheduled weights, learning rates. What changes the kernels
themselves (phases that are not due, a weight that is 0) makes another kind of iteration with a graph of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Method, period, schedules_of
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import Worker

_WARM = 2  # iterations of each kind that run as they are: they set up optimisers and choose the kernels
Part = tuple[Batch, Callable[[str, int], Tensor]]
Kind = tuple[int, tuple[bool, ...]]


def require_fit(method: Method, worker: Worker) -> None:
    """Refuse what cannot be recorded before anything starts.

    Raises:
        InputError: there is no GPU, there are several workers, or the method's sizes depend on its numbers.
    """
    if worker.device.type != "cuda" or worker.world_size > 1:
        raise InputError("train.graphs: allowed with scale.use_gpu and one worker only")
    if getattr(method, "dynamic", False):
        raise InputError(f"train.graphs: not for the method {method.name}, whose sizes depend on its numbers")


def recorded(work: Callable[[], None], pool: Any = None) -> tuple[Callable[[], None], Any]:
    """Record what a function computes, without computing it; returns what starts it, and its memory pool."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        work()
    return graph.replay, graph.pool()


@dataclass
class _Inputs:
    """Tensors of fixed places for what a part of the batch brings."""

    batch: dict[str, Tensor]
    noise: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def normal(self, name: str, width: int) -> Tensor:
        """``Step.normal`` of a recorded iteration."""
        return self.noise[name, width]

    def noted(self, normal: Callable[[str, int], Tensor]) -> Callable[[str, int], Tensor]:
        """``Step.normal`` of an iteration that is not recorded: what it asks for is noted."""

        def asked(name: str, width: int) -> Tensor:
            value = normal(name, width)
            if (name, width) not in self.noise:
                self.noise[name, width] = torch.empty_like(value)
            return value

        return asked

    def fill(self, batch: Batch, normal: Callable[[str, int], Tensor]) -> None:
        """Put a new part there."""
        for name, value in batch.items():
            self.batch[name].copy_(value)
        for (name, width), place in self.noise.items():
            place.copy_(normal(name, width))


@dataclass
class GraphedStep:
    """``run_step`` with the same arguments and results, recorded.

    Attributes:
        state, worker, ema, bf16: see ``run_step``.
        record: how a function is recorded.
    """

    state: State
    worker: Worker
    ema: float
    bf16: bool
    record: Callable[..., tuple[Callable[[], None], Any]] = recorded
    _inputs: list[_Inputs] = field(default_factory=list)
    _warmed: dict[Kind, int] = field(default_factory=dict)
    _graphs: dict[Kind, Callable[[], None]] = field(default_factory=dict)
    _found: dict[Kind, tuple[list[str], Tensor]] = field(default_factory=dict)
    _weights: dict[Any, Tensor] = field(default_factory=dict)
    _pool: Any = None

    def __call__(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        """One iteration."""
        if not self._inputs:
            self._inputs = [_Inputs({n: torch.empty_like(v) for n, v in batch.items()}) for batch, _ in parts]
        kind, step = self._kind(), self.state.step
        if self._warmed.get(kind, 0) < _WARM:
            self._warmed[kind] = self._warmed.get(kind, 0) + 1
            noted = [(batch, each.noted(n)) for each, (batch, n) in zip(self._inputs, parts, strict=True)]
            return run_step(self.state, self.worker, noted, ema=self.ema, bf16=self.bf16)
        self._fill(parts)
        if kind not in self._graphs:
            self._graphs[kind], self._pool = self.record(lambda: self._work(kind), self._pool)
        self.state.step = step
        self._graphs[kind]()
        self.state.step = step + 1
        names, values = self._found[kind]
        return dict(zip(names, values.clone().unbind(), strict=True))  # the next start overwrites them

    def _work(self, kind: Kind) -> None:
        """What is recorded."""
        parts: list[Part] = [(each.batch, each.normal) for each in self._inputs]
        found = run_step(self.state, self.worker, parts, ema=self.ema, bf16=self.bf16, weights=self._weights)
        self._found[kind] = list(found), torch.stack([value.float() for value in found.values()])

    def _fill(self, parts: Sequence[Part]) -> None:
        """Bring everything that changes with the step to its place."""
        state, step = self.state, self.state.step
        for each, (batch, normal) in zip(self._inputs, parts, strict=True):
            each.fill(batch, normal)
        for schedule in schedules_of(state.method):
            self._place(self._weights, schedule).fill_(schedule(step))
        for name, optimizer in state.optimizers.items():
            self._place(state.rates, name).fill_(state.method.rate(name, step))
            for group in optimizer.param_groups:
                if "capturable" in group:
                    group["capturable"] = True

    def _place(self, places: dict[Any, Tensor], name: Any) -> Tensor:
        if name not in places:
            places[name] = torch.zeros((), device=self.worker.device)
        return places[name]

    def _kind(self) -> Kind:
        method, step = self.state.method, self.state.step
        return step % period(method), tuple(bool(schedule(step)) for schedule in schedules_of(method))
