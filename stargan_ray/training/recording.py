"""What the loop calls while it trains: where records go, and what judges the networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn


class Recorder(Protocol):
    """Where the records of a run go; rank 0 alone calls it, but for ``measured``."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step."""
        ...

    def measured(self, rank: int, values: Mapping[str, float]) -> None:
        """Numbers of one worker alone (its wait for data, its memory), told by every rank at each report."""
        ...

    def image(self, step: int, name: str, png: bytes) -> None:
        """A picture of a step."""
        ...

    def note(self, message: str) -> None:
        """What a person should know of the run, such as a damaged checkpoint."""
        ...

    def secure(self) -> None:
        """A checkpoint is about to be written, from which the run may go on: what was recorded must not be lost now."""
        ...

    def stop_requested(self) -> bool:
        """Whether a person asked the run to end after this step."""
        ...


class NoRecords:
    """A recorder that keeps nothing."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Forget."""

    def measured(self, rank: int, values: Mapping[str, float]) -> None:
        """Forget."""

    def image(self, step: int, name: str, png: bytes) -> None:
        """Forget."""

    def note(self, message: str) -> None:
        """Forget."""

    def secure(self) -> None:
        """There is nothing."""

    def stop_requested(self) -> bool:
        """Never."""
        return False


@dataclass
class Hooks:
    """What the loop calls back; networks are the averaged ones where the method keeps averages.

    Attributes:
        validate: networks -> ``val/<metric>``; rank 0 alone.
        sample: networks -> a PNG sample grid; rank 0 alone.
    """

    validate: Callable[[dict[str, nn.Module]], dict[str, float]] | None = None
    sample: Callable[[dict[str, nn.Module]], bytes] | None = None
