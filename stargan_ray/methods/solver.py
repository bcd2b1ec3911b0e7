"""Optimiser and learning rate of the supporting networks, as one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from stargan_ray.errors import InputError


@dataclass(frozen=True)
class Solver:
    """What optimises a network, and how fast at each step.

    Attributes:
        kind: ``sgd`` with Nesterov-free momentum, ``adam``, or ``adamw`` (decoupled weight decay).
        peak: the largest learning rate.
        momentum: SGD's momentum, Adam's β₁.
        beta2, eps: Adam's.
        weight_decay: L2 penalty (AdamW: decay per unit of learning rate).
        shape: after the warm-up ``cosine`` falls to 0 at ``total``; ``steps`` multiplies by ``decay_factor``
            at ``decay_from`` and every ``decay_every`` after it; ``constant`` stays.
        total: steps of the whole run, in which the cosine ends.
        warmup: steps over which the rate rises linearly from near 0 to ``peak``.
        decay_from, decay_every, decay_factor: see ``steps``.
    """

    kind: Literal["sgd", "adam", "adamw"] = "sgd"
    peak: float = 0.01
    momentum: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 5e-4
    shape: Literal["cosine", "steps", "constant"] = "cosine"
    total: int = 56_000
    warmup: int = 0
    decay_from: int = 0
    decay_every: int = 1_000
    decay_factor: float = 0.9

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        for field, allowed, good in (
            ("peak", "values > 0", self.peak > 0),
            ("momentum", "0 <= momentum < 1", 0 <= self.momentum < 1),
            ("beta2", "0 <= beta2 < 1", 0 <= self.beta2 < 1),
            ("eps", "values > 0", self.eps > 0),
            ("weight_decay", "values >= 0", self.weight_decay >= 0),
            ("total", "values >= 1", self.total >= 1),
            ("warmup", f"0 to total = {self.total}", 0 <= self.warmup <= self.total),
            ("decay_from", "values >= 0", self.decay_from >= 0),
            ("decay_every", "values >= 1", self.decay_every >= 1),
            ("decay_factor", "0 < decay_factor <= 1", 0 < self.decay_factor <= 1),
        ):
            if not good:
                raise InputError(f"method.solver.{field} = {getattr(self, field)}: allowed is {allowed}")

    def rate(self, step: int) -> float:
        """The learning rate at a step counted from 0; after ``total`` it stays where it ended."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        if self.shape == "cosine":
            progress = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
            return self.peak * 0.5 * (1 + math.cos(math.pi * progress))
        if self.shape == "steps" and step >= self.decay_from:
            return float(self.peak * self.decay_factor ** (1 + (step - self.decay_from) // self.decay_every))
        return self.peak

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over the parameters of one network."""
        if self.kind == "sgd":
            return torch.optim.SGD(parameters, self.rate(0), self.momentum, weight_decay=self.weight_decay, fused=True)
        make = torch.optim.AdamW if self.kind == "adamw" else torch.optim.Adam
        return make(
            parameters,
            lr=self.rate(0),
            betas=(self.momentum, self.beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=True,
        )
