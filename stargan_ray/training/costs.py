"""What an iteration of a method costs, counted on tensors without content: nothing is computed, no GPU is needed."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from stargan_ray.config import Recipe
from stargan_ray.methods.base import Batch, Step, period

_IMAGES, _LABELS = ("source", "reference", "reference2"), ("source_label", "target_label")


@dataclass(frozen=True)
class Costs:
    """Of one recipe.

    Attributes:
        parameters: of each trained network.
        gflop: per training image and iteration, 2 × multiply-accumulate, averaged over the iterations of a period.
        activations: most bytes per training image that are kept for a backward pass at one time, fp32.
        state: bytes of weights, gradients, Adam's moments and averages.
    """

    parameters: Mapping[str, int]
    gflop: float
    activations: float
    state: int


def costs(recipe: Recipe, domains: int, helpers: Mapping[str, nn.Module], *, images: int = 2) -> Costs:
    """Count an iteration.

    Args:
        recipe: of a translator.
        domains: K.
        helpers: frozen networks of the method; on the meta device they cost no memory.
        images: in the batch that is counted; what is counted is linear in it.
    """
    method, size = recipe.method, recipe.data.size
    with FakeTensorMode(allow_non_fake_inputs=True):
        networks = method.networks(size, domains)
        frozen = {name: net.eval().requires_grad_(False) for name, net in helpers.items()}
        flops, most = 0.0, 0
        steps = period(method)
        for index in range(steps):
            counted, kept = _iterate(recipe, {**frozen, **networks}, networks, index, images)
            flops, most = flops + counted, max(most, kept)
        parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    copies = {name: 5 if name in method.averaged else 4 for name in parameters}
    state = sum(4 * copies[name] * count for name, count in parameters.items())
    return Costs(parameters, flops / steps / images / 1e9, most / images, state)


def _iterate(
    recipe: Recipe, called: Mapping[str, nn.Module], networks: Mapping[str, nn.Module], index: int, images: int
) -> tuple[float, int]:
    """FLOP and most kept bytes of one step."""
    side, method = recipe.data.size, recipe.method
    batch: Batch = {name: torch.zeros(images, 3, side, side) for name in _IMAGES} | {
        name: torch.zeros(images, dtype=torch.int64) for name in _LABELS
    }
    step = Step(index, lambda _, width: torch.zeros(images, width))
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Whole()  # type: ignore[assignment]
    kept = _Kept({p.untyped_storage()._cdata for net in called.values() for p in net.parameters()})
    with counter, torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        for phase in method.phases():
            if not phase.due(index):
                continue
            for name, network in networks.items():
                network.requires_grad_(name in {*phase.updates, *phase.keeps})
            terms = phase.loss(called, batch, step)
            total: Any = sum(term.weighted for term in terms.values() if term.weight)
            total.backward()
            for network in networks.values():
                network.zero_grad()
            del terms, total
    return float(counter.get_total_flops()), kept.most


class _Whole:
    """Stands in for the counter's tracker of modules, whose hooks do not work under ``autograd.grad``."""

    parents = ("Global",)

    def __enter__(self) -> _Whole:
        return self

    def __exit__(self, *failure: object) -> None: ...


class _Held:
    """A tensor that a graph keeps; it goes when the graph does."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Kept:
    """Bytes of the storages that graphs keep, each counted once; weights are there anyway."""

    def __init__(self, weights: set[int]) -> None:
        self.weights = weights
        self.holders: dict[int, int] = {}
        self.bytes: dict[int, int] = {}
        self.most = 0

    def pack(self, tensor: Tensor) -> _Held:
        held = _Held(tensor.detach())  # an output would hold the graph that holds it
        key = tensor.untyped_storage()._cdata
        if key not in self.weights:
            self.holders[key] = self.holders.get(key, 0) + 1
            self.bytes[key] = tensor.untyped_storage().nbytes()
            self.most = max(self.most, sum(self.bytes.values()))
            weakref.finalize(held, self._drop, key)
        return held

    def unpack(self, held: _Held) -> Tensor:
        return held.tensor

    def _drop(self, key: int) -> None:
        self.holders[key] -= 1
        if not self.holders[key]:
            del self.holders[key], self.bytes[key]
