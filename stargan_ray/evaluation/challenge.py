"""A challenger against the champion: better beyond the interval of the paired difference, or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError, unknown
from stargan_ray.evaluation.intervals import Estimate, paired_difference

Values = Mapping[str, npt.NDArray[np.float64]]  # figure -> (n,) one number a translation

# What a difference means is known for these alone: of any other column nobody has said which way is better.
HIGHER_IS_BETTER = {
    "target_expression_accuracy": True,
    "rank1": True,
    "tar": True,
    "expression_gain": True,
    "similarity_distance": False,
    "similarity_cosine": False,
    "training_distance": False,
    "training_cosine": False,
    "background_l1": False,
}


@dataclass(frozen=True)
class Duel:
    """One figure of both models on the same translations.

    Attributes:
        metric: its name.
        difference: challenger minus champion, with its interval by person.
    """

    metric: str
    difference: Estimate

    @property
    def better(self) -> bool:
        """Whether the challenger is better by more than the interval."""
        return self.difference.low > 0 if HIGHER_IS_BETTER[self.metric] else self.difference.high < 0

    @property
    def worse(self) -> bool:
        """Whether the challenger is worse by more than the interval."""
        return self.difference.high < 0 if HIGHER_IS_BETTER[self.metric] else self.difference.low > 0

    def __str__(self) -> str:
        """``rank1 +0.0312 (95 % interval +0.0105 to +0.0519, higher is better)``."""
        ends = f"{self.difference.low:+.4g} to {self.difference.high:+.4g}"
        way = "higher" if HIGHER_IS_BETTER[self.metric] else "lower"
        return f"{self.metric} {self.difference.value:+.4g} (95 % interval {ends}, {way} is better)"


def duels(challenger: Values, champion: Values, persons: npt.NDArray[Any], metrics: Sequence[str]) -> tuple[Duel, ...]:
    """Challenger minus champion for each metric, paired translation by translation and resampled by person.

    Args:
        challenger: its values.
        champion: those of the same requests, in the same order.
        persons: (n,) whose translations they are.
        metrics: names of ``HIGHER_IS_BETTER``.

    Raises:
        InputError: A metric is not known or one of the models lacks it, a value is not finite, or there are fewer than
            two people.
    """
    found = []
    for name in metrics:
        allowed = [each for each in HIGHER_IS_BETTER if each in challenger and each in champion]
        if name not in allowed:
            raise unknown("metric", name, allowed)
        try:
            found.append(Duel(name, paired_difference(challenger[name], champion[name], persons)))
        except InputError as error:
            raise InputError(f"metric {name}: {error}") from error
    return tuple(found)


def objections(metrics: Sequence[Duel], no_worse: Sequence[Duel]) -> list[str]:
    """Why the champion stays, a phrase for each figure; none = the challenger takes its place.

    Args:
        metrics: on each of which the challenger must be better.
        no_worse: on none of which it may be worse.
    """
    missed = [f"not better: {duel}" for duel in metrics if not duel.better]
    return missed + [f"worse: {duel}" for duel in no_worse if duel.worse]
