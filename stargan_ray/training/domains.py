"""Weights of a network with other domains: the entries of those that both know, by their names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


def domain_axes(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Tensors of a network with an entry for each domain: full name -> (axis, index of the first domain on it).

    A module says so itself, by an attribute ``domain_axes`` of names relative to it.
    """
    found: dict[str, tuple[int, int]] = {}
    for prefix, module in network.named_modules():
        for name, place in getattr(module, "domain_axes", {}).items():
            found[f"{prefix}.{name}" if prefix else name] = place
    return found


@dataclass(frozen=True)
class Entries:
    """A tensor's entries of domains.

    Attributes:
        axis: along which they lie.
        first: index of the first domain on it; what lies before or behind is not of domains.
        before: domains of the tensor that is taken over.
        now: domains of the tensor that it goes to.
    """

    axis: int
    first: int
    before: tuple[str, ...]
    now: tuple[str, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """Domains that only the new tensor has."""
        return tuple(name for name in self.now if name not in self.before)

    def fit(self, theirs: Tensor, mine: Tensor) -> bool:
        """Whether the tensors differ in nothing but the number of domains."""
        if theirs.ndim != mine.ndim:
            return False
        wanted = list(mine.shape)
        wanted[self.axis] += len(self.before) - len(self.now)
        return list(theirs.shape) == wanted

    def merged(self, theirs: Tensor, mine: Tensor) -> Tensor:
        """The new tensor with everything of the old one but the entries of its unknown domains."""
        last = self.first + len(self.before)
        entries = theirs.narrow(self.axis, self.first, len(self.before)).unbind(self.axis)
        fresh = mine.narrow(self.axis, self.first, len(self.now)).unbind(self.axis)
        place = dict(zip(self.before, entries, strict=True))
        chosen = [place.get(name, own) for name, own in zip(self.now, fresh, strict=True)]
        return torch.cat(
            [
                theirs.narrow(self.axis, 0, self.first),
                torch.stack(chosen, self.axis),
                theirs.narrow(self.axis, last, theirs.shape[self.axis] - last),
            ],
            self.axis,
        )
