"""One iteration: the phases of a method in order, each updating exactly the networks it names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stargan_ray.methods.base import Batch, Method, Phase, Step
from stargan_ray.training.rounding import rounded
from stargan_ray.training.worker import Worker, without_sync


class NonFiniteError(RuntimeError):
    """A gradient was NaN or infinite; no network was updated by that phase on any worker."""


@dataclass
class State:
    """Everything that training changes.

    Attributes:
        networks: the trained modules, bare.
        wrapped: the same modules as a phase that updates them calls them (DDP).
        helpers: frozen modules, in eval mode.
        averaged: exponential moving averages of some networks, in eval mode.
        optimizers: one per trained network.
        step: iterations done.
    """

    method: Method
    networks: dict[str, nn.Module]
    wrapped: dict[str, nn.Module]
    helpers: dict[str, nn.Module]
    averaged: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    step: int = 0
    rates: dict[str, Tensor] = field(default_factory=dict)  # learning rates on the device, where steps are recorded
    grad: dict[str, bool] = field(default_factory=dict)  # which networks require gradients now
    _parameters: dict[str, list[nn.Parameter]] = field(default_factory=dict)
    _moves: dict[str, _Moves] = field(default_factory=dict)

    def parameters(self, name: str) -> list[nn.Parameter]:
        """Those of a trained network, looked up once: a walk over its modules costs as much as the update."""
        if name not in self._parameters:
            self._parameters[name] = list(self.networks[name].parameters())
        return self._parameters[name]

    def moves(self, name: str) -> _Moves:
        """What follows what when a network is averaged, looked up once."""
        if name not in self._moves:
            self._moves[name] = _moves(self.averaged[name], self.networks[name])
        return self._moves[name]


@dataclass(frozen=True)
class _Moves:
    """Tensors of an average and those of the network that they follow, in the same order."""

    averages: list[Tensor]
    values: list[Tensor]
    copies: list[Tensor]  # counters of batch norm
    counters: list[Tensor]


def _moves(average: nn.Module, network: nn.Module) -> _Moves:
    buffers = list(zip(average.buffers(), network.buffers(), strict=True))
    pairs = [*zip(average.parameters(), network.parameters(), strict=True), *buffers]
    moving = [pair for pair in pairs if pair[0].is_floating_point()]
    counting = [pair for pair in pairs if not pair[0].is_floating_point()]
    return _Moves(*([pair[side] for pair in group] for group in (moving, counting) for side in (0, 1)))


def run_step(
    state: State,
    worker: Worker,
    parts: Sequence[tuple[Batch, Callable[[str, int], Tensor]]],
    *,
    ema: float,
    bf16: bool = False,
    weights: Mapping[Any, Tensor] | None = None,
) -> dict[str, Tensor]:
    """One iteration on this worker's share of the global batch.

    Args:
        state: changed in place.
        worker: the process.
        parts: the share cut for gradient accumulation, usually one part: (batch, its ``Step.normal``).
        ema: decay of the averages per iteration.
        bf16: run forward passes under bfloat16 autocast.
        weights: see ``Step``.

    Returns:
        ``<phase>/<term>`` -> detached raw value, on the device: nothing waits for the device here.

    Raises:
        NonFiniteError: a gradient is NaN or infinite (after reduction, so every rank raises).
    """
    steps = [Step(state.step, normal, worker.gather, weights=weights) for _, normal in parts]
    values: dict[str, Tensor] = {}
    for phase in state.method.phases():
        if not phase.due(state.step):
            continue
        _freeze_all_but(state, {*phase.updates, *phase.keeps})
        views = _views(state, phase)
        for i, (batch, _) in enumerate(parts):
            last = i == len(parts) - 1
            if len(parts) > 1:  # holding every part's graph for a later phase would undo what accumulation saves
                steps[i].scratch = {}
            reduced = last and not phase.defers
            synced = contextlib.nullcontext() if reduced else without_sync([views[n] for n in phase.updates])
            with synced, rounded(worker.device, bf16):
                with torch.autocast(worker.device.type, torch.bfloat16, enabled=bf16):
                    terms = phase.loss(views, batch, steps[i])
                total = sum(term.weighted for term in terms.values() if term.weight)
                (total / len(parts)).backward()  # type: ignore[union-attr]
            for name, term in terms.items():
                key = f"{phase.name}/{name}"
                values[key] = values.get(key, 0.0) + term.value.detach() / len(parts)
        if not phase.defers:
            _update(state, phase)
    _average(state, ema)
    state.step += 1
    return values


def _freeze_all_but(state: State, trained: set[str]) -> None:
    """Only these networks build graphs; toggled where it changes, since it touches every parameter."""
    for name, network in state.networks.items():
        wanted = name in trained
        if state.grad.get(name) is not wanted:
            network.requires_grad_(wanted)
            state.grad[name] = wanted


def _views(state: State, phase: Phase) -> dict[str, Any]:
    """What a phase calls: wrapped where gradients are reduced, bare where frozen."""
    trained = {*phase.updates, *phase.keeps}
    own = {n: state.wrapped[n] if n in trained else net for n, net in state.networks.items()}
    return {**state.helpers, **own}


def _update(state: State, phase: Phase) -> None:
    """Step the optimisers of a phase, unless a gradient is not finite."""
    gradients = [p.grad for name in phase.updates for p in state.parameters(name) if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).sum()
    if norm.device.type == "cpu":
        if not torch.isfinite(norm):
            raise NonFiniteError(_message(state.step, phase.name))
    else:
        # Reading the flag would make the device wait. Fused optimisers skip the update on the device
        # instead; the loop reads the flag at its next report and stops there.
        _mark(state, phase, ~torch.isfinite(norm))
    if limit := state.method.clip_value:  # reduced over ranks and parts, so that the limit is the global batch's
        torch._foreach_clamp_min_(gradients, -limit)
        torch._foreach_clamp_max_(gradients, limit)
    for name in phase.updates:
        optimizer = state.optimizers[name]
        for group in optimizer.param_groups:
            group["lr"] = state.rates[name] if name in state.rates else state.method.rate(name, state.step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _mark(state: State, phase: Phase, bad: Tensor) -> None:
    """Make every later update of this run a no-op on the device once a gradient was not finite."""
    for optimizer in state.optimizers.values():
        seen = getattr(optimizer, "found_inf", None)
        if seen is None:
            optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        else:  # in its place, which a recorded step knows
            torch.maximum(seen, bad.float(), out=seen)
    for name in phase.updates:
        assert state.optimizers[name].defaults.get("fused"), f"{name}: only fused optimisers can skip an update"


def check_marks(state: State) -> None:
    """Stop if an update was skipped on the device since the last call."""
    for optimizer in state.optimizers.values():
        seen = getattr(optimizer, "found_inf", None)
        if seen is not None and bool(seen):
            raise NonFiniteError(_message(state.step, "a phase since the last report"))


def _message(step: int, phase: str) -> str:
    return (
        f"step {step}, {phase}: a gradient is not finite; training stopped before the update. "
        "Lower the learning rate or the λ of the growing term, or train in fp32"
    )


@torch.no_grad()
def _average(state: State, decay: float) -> None:
    """Average += (1 − decay) · (weights − average); the statistics of batch norm with the weights they belong to."""
    for name in state.averaged:
        moves = state.moves(name)
        torch._foreach_lerp_(moves.averages, moves.values, 1 - decay)
        if moves.copies:
            torch._foreach_copy_(moves.copies, moves.counters)
