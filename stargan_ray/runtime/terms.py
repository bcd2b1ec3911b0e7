"""What a challenger has to show before it gets the champion's alias."""

from __future__ import annotations

from dataclasses import dataclass

from stargan_ray.errors import InputError


@dataclass(frozen=True)
class Terms:
    """What a challenger has to show.

    Attributes:
        evaluation: URI of the folder of its evaluation.
        against: URI of the champion's; empty = no one holds the alias yet.
        metrics: figures on each of which it must be better beyond the interval.
        no_worse: figures on none of which it may be worse beyond the interval.
    """

    evaluation: str = ""
    against: str = ""
    metrics: tuple[str, ...] = ()
    no_worse: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse terms that decide nothing."""
        if not self.evaluation and (self.against or self.metrics or self.no_worse):
            raise InputError("--against, --metrics and --no-worse need the challenger's own --evaluation")
        if bool(self.against) != bool(self.metrics):
            raise InputError("--against and --metrics go together: whom to beat, and on which figures")
        if self.no_worse and not self.against:
            raise InputError("--no-worse needs --against: not worse than whom")
