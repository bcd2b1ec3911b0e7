"""The contract between a method and the loop.

A method is a frozen dataclass of its own hyperparameters. It says which networks it has, which phases make up
one iteration and how each network is optimised; it holds no optimiser step, ``.backward()``, ``.item()``,
device, rank or file. The loop freezes what a phase does not update.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from stargan_ray import schedules
from stargan_ray.models.winograd_layer import with_winograd

# What a plan delivers for one step, on the device, this rank's share. Images are float in [-1, 1], (b, 3, H, W).
# Domain plan: source, source_label (b,), target_label (b,), reference, reference2 (images of the target domain), and
# source_embedding (b, I), f(source), where a run takes it from storage.
# Identity plan: source, source_label (b,), person (b,) int64, K consecutive images per person.
Batch = Mapping[str, Tensor]
Networks = Mapping[str, Any]  # name -> module (or its DDP wrapper while a phase updates it): callables


class Weight(float):
    """The weight of a term in an iteration that is recorded: the number of now, and the tensor that later ones fill."""

    tensor: Tensor

    @classmethod
    def of(cls, value: float, tensor: Tensor) -> Weight:
        """Both of them."""
        weight = cls(value)
        weight.tensor = tensor
        return weight

    def __mul__(self, times: float) -> Weight:
        return Weight.of(float(self) * times, self.tensor * times)

    def __neg__(self) -> Weight:
        return Weight.of(-float(self), -self.tensor)


class Term(NamedTuple):
    """One loss term: its raw value (a scalar tensor) and the weight it has at this step."""

    value: Tensor
    weight: float = 1.0

    @property
    def weighted(self) -> Tensor:
        """Value times weight."""
        return self.value * (self.weight.tensor if isinstance(self.weight, Weight) else self.weight)


Terms = dict[str, Term]


def _alone(value: Tensor) -> Tensor:
    """What one process gathers."""
    return value


@dataclass
class Step:
    """What a loss may know besides the batch.

    Attributes:
        index: the global step, from 0; schedules are functions of it.
        normal: ``normal(name, width)`` -> (b, width) standard normal numbers, a pure function of
            (seed, step, name, position in the global batch), so that they do not depend on the number of workers.
        gather: this worker's (b, …) -> that of all workers (B, …), in the order of the global batch, with gradients.
        scratch: lives for one step; phases of the step share work through it.
        weights: schedule -> the tensor that holds its value, where the iteration is recorded (training/graphs.py).
    """

    index: int
    normal: Callable[[str, int], Tensor]
    gather: Callable[[Tensor], Tensor] = _alone
    scratch: dict[str, Tensor] = field(default_factory=dict)
    weights: Mapping[Any, Tensor] | None = None

    def weight(self, schedule: Callable[[int], float]) -> float:
        """What a schedule gives at this step."""
        value = schedule(self.index)
        return value if self.weights is None else Weight.of(value, self.weights[schedule])

    def uniform(self, name: str, width: int) -> Tensor:
        """(b, width) uniform numbers in [0, 1]: those of ``normal`` through their distribution function."""
        return torch.special.ndtr(self.normal(name, width))


@dataclass(frozen=True)
class Phase:
    """A loss and the networks that its gradient updates.

    Attributes:
        name: prefix of the metrics (``<name>/<term>``).
        updates: networks stepped after this phase.
        loss: (networks, batch, step) -> named terms.
        every: the phase runs on every n-th step.
        offset: the first step that it runs on, 0 <= offset < every.
        keeps: networks that are not updated here, but whose graph is built here for a later phase of the step.
        defers: the gradients of its networks wait for the next phase of the step that updates them, and are added to
            those of that one.
    """

    name: str
    updates: tuple[str, ...]
    loss: Callable[[Networks, Batch, Step], Terms]
    every: int = 1
    offset: int = 0
    keeps: tuple[str, ...] = ()
    defers: bool = False

    def due(self, step: int) -> bool:
        """Whether the phase runs on this step."""
        return step % self.every == self.offset


class Method(Protocol):
    """A set of networks and the phases of one iteration."""

    name: ClassVar[str]

    @property
    def plan(self) -> str:
        """Which plan feeds it: ``domains`` or ``identities``."""
        ...

    @property
    def averaged(self) -> tuple[str, ...]:
        """Networks of which an exponential moving average is kept."""
        ...

    @property
    def helpers(self) -> tuple[str, ...]:
        """Frozen networks loaded from elsewhere: eval mode, never wrapped, optimised or checkpointed."""
        ...

    @property
    def clip_value(self) -> float:
        """Largest absolute value that an entry of a gradient keeps, over the whole batch; 0 = no limit."""
        ...

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:
        """Fresh trainable networks for images of ``size`` pixels and ``domains`` expressions."""
        ...

    def phases(self) -> tuple[Phase, ...]:
        """The phases of one iteration, in order."""
        ...

    def optimizer(self, name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of one network."""
        ...

    def rate(self, name: str, step: int) -> float:
        """Learning rate of one network at a step."""
        ...


class Target(NamedTuple):
    """Where a translation goes: a label with a latent code, or a reference image of that label's domain.

    Shapes: label (b,) int64; latent (b, L) or None; reference (b, 3, H, W) in [-1, 1] or None; exactly one of
    latent and reference is given; a method without latent codes takes (b, 0), and one without styles takes a
    reference's label alone.

    Attributes:
        intensity: in [0, 1]: 0 keeps the source's own expression, 1 is the full target.
        other: a second target, to interpolate towards.
        share: in [0, 1], of the other: 0 is this target, 1 the other.
    """

    label: Tensor
    latent: Tensor | None = None
    reference: Tensor | None = None
    intensity: float = 1.0
    other: Target | None = None
    share: float = 0.0


def period(method: Method) -> int:
    """Steps after which the phases and penalties that are due repeat."""
    penalties = (int(getattr(method, name, 1)) for name in ("r1_every", "gp_every"))
    return math.lcm(*(phase.every for phase in method.phases()), *penalties)


def fuse(network: nn.Module) -> nn.Module:
    """Let every block of a network that can (models/fused.py) use its compiled form; returns the network."""
    for module in network.modules():
        if hasattr(module, "fused"):
            module.fused = True  # type: ignore[assignment]
    return network


def quicken(network: nn.Module) -> nn.Module:
    """Let a network's wide 3 × 3 convolutions be those of models/winograd.py, for processors; returns the network."""
    return with_winograd(network)


def schedules_of(method: Method) -> list[Callable[[int], float]]:
    """The schedules among a method's fields."""
    values = [getattr(method, each.name) for each in dataclasses.fields(method)]  # type: ignore[arg-type]
    return [value for value in values if type(value).__module__ == schedules.__name__]


@runtime_checkable
class Translator(Method, Protocol):
    """A method that changes the expression of a face.

    What its generator is told is one vector a face, the code: a style code, or the target's one-hot label where the
    method has no styles. Codes can be interpolated, which gives intensities and the faces between two targets.
    """

    @property
    def latent_dim(self) -> int:
        """L, width of the latent codes; 0 = the method has none."""
        ...

    def code(self, networks: Networks, target: Target) -> Tensor:
        """The code (b, C) of a target, whatever its intensity."""
        ...

    def own_code(self, networks: Networks, image: Tensor, source_label: Tensor) -> Tensor:
        """The code (b, C) of what images (b, 3, H, W) of these labels (b,) show themselves."""
        ...

    def render(self, networks: Networks, image: Tensor, code: Tensor) -> Tensor:
        """Images (b, 3, H, W) with what the codes (b, C) say."""
        ...

    def translate(self, networks: Networks, image: Tensor, source_label: Tensor, target: Target) -> Tensor:
        """Translate images (b, 3, H, W) in [-1, 1] to the target; the same shape and range come back."""
        ...
