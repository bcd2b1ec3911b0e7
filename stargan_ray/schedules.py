"""Quantities that vary with time, as pure functions of the step: nothing to save, nothing to restore.

Every schedule is frozen and callable: ``schedule(step) -> float`` with step counted from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stargan_ray.errors import InputError


@dataclass(frozen=True)
class LinearDecay:
    """From ``start`` at step 0 linearly to 0 at step ``over``, then 0 (λ_ds of StarGAN v2).

    ``over = 0`` means no decay: the value stays at ``start``.
    """

    start: float = 1.0
    over: int = 100_000

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        if not 0 <= self.start < math.inf:
            raise InputError(f"schedule start = {self.start}: allowed are finite values >= 0")
        if self.over < 0:
            raise InputError(f"schedule over = {self.over}: allowed are values >= 0 (0 = constant)")

    def __call__(self, step: int) -> float:
        """The value at a step."""
        if self.over == 0:
            return self.start
        return self.start * max(0.0, 1.0 - step / self.over)


@dataclass(frozen=True)
class HeldDecay:
    """``value`` until step ``until``, then linearly to 0 at step ``end`` (the learning rates of StarGAN).

    ``end = 0`` means no decay: the value stays.
    """

    value: float = 1e-4
    until: int = 100_000
    end: int = 200_000

    def __post_init__(self) -> None:
        """Refuse a decay that ends before it starts, and negative values."""
        if not 0 <= self.value < math.inf:
            raise InputError(f"schedule value = {self.value}: allowed are finite values >= 0")
        if self.until < 0:
            raise InputError(f"schedule until = {self.until}: allowed are values >= 0")
        if self.end and self.end <= self.until:
            raise InputError(f"schedule end = {self.end}: allowed are 0 (no decay) and values > until = {self.until}")

    def __call__(self, step: int) -> float:
        """The value at a step."""
        if self.end == 0 or step < self.until:
            return self.value
        return self.value * max(0.0, (self.end - step) / (self.end - self.until))


@dataclass(frozen=True)
class UniformSteps:
    """``start`` until ``ramp_start``, then up to ``end`` at ``ramp_end`` in equal steps, then ``end``.

    The paper gives λ_id "from 0.1 till 4 with linear uniform steps after 25 thousand iterations" and neither
    the step nor the last iteration; here the value rises every ``step_size`` iterations by the same amount
    and reaches ``end`` exactly at ``ramp_end``. ``step_size = 1`` is a plain linear ramp. ``power`` bends it: the share
    of the way that is gone is the share of the time to that power, so below 1 it rises early and above 1 late.
    """

    start: float = 0.1
    end: float = 4.0
    ramp_start: int = 25_000
    ramp_end: int = 100_000
    step_size: int = 1_000
    power: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a ramp that ends before it starts, negative values and steps."""
        if not (0 <= self.start < math.inf and 0 <= self.end < math.inf):
            raise InputError(f"lambda start, end = {self.start}, {self.end}: allowed are finite values >= 0")
        if self.ramp_start < 0:
            raise InputError(f"ramp_start = {self.ramp_start}: allowed are values >= 0")
        if self.ramp_end < self.ramp_start:
            raise InputError(f"ramp_end = {self.ramp_end}: allowed are values >= ramp_start = {self.ramp_start}")
        if self.step_size < 1:
            raise InputError(f"step_size = {self.step_size}: allowed are values >= 1")
        if not 0 < self.power < math.inf:
            raise InputError(f"power = {self.power}: allowed are finite values > 0 (1 = equal steps)")

    def __call__(self, step: int) -> float:
        """The value at a step."""
        if step >= self.ramp_end:
            return self.end
        if step < self.ramp_start:
            return self.start
        rises = -(-(self.ramp_end - self.ramp_start) // self.step_size)
        done = (step - self.ramp_start) // self.step_size
        return self.start + (self.end - self.start) * (done / rises) ** self.power


@dataclass(frozen=True)
class Pieces:
    """One value after another, each for ``every`` steps; the last one stays: what a population comes to."""

    values: tuple[float, ...] = (1.0,)
    every: int = 1_000

    def __post_init__(self) -> None:
        """Refuse nothing at all, negative values and no steps."""
        if not self.values or not all(0 <= value < math.inf for value in self.values):
            raise InputError(f"schedule values = {self.values}: allowed are finite values >= 0, at least one")
        if self.every < 1:
            raise InputError(f"schedule every = {self.every}: allowed are values >= 1")

    def __call__(self, step: int) -> float:
        """The value at a step."""
        return self.values[min(step // self.every, len(self.values) - 1)]
