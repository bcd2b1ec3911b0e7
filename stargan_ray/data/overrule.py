"""A person's last word: verdicts of reviewers laid over what the filter decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stargan_ray.data.policies import UNREADABLE, Bools, Decisions, Wide
from stargan_ray.data.review_outcomes import Outcome

PERSON_KEEPS = "kept by a person"
PERSON_DROPS = "dropped by a person"
PERSON_RELABELS = "relabelled by a person"
REVIEWED = (PERSON_KEEPS, PERSON_DROPS, PERSON_RELABELS)
_REASONS = {"keep": PERSON_KEEPS, "drop": PERSON_DROPS, "relabel": PERSON_RELABELS}


@dataclass(frozen=True)
class Ruling:
    """What finally becomes of n rows.

    Attributes:
        labels: n names, None where a row has none; another than before where a person gave one.
        reason: (n,) of REASONS and REVIEWED.
        weight: (n,) in (0, 1] where a row is kept, 0 where it is not.
    """

    labels: tuple[str | None, ...]
    reason: tuple[str, ...]
    weight: Wide

    @property
    def kept(self) -> Bools:
        """(n,) which rows stay."""
        return self.weight > 0


def overrule(labels: Sequence[str | None], decisions: Decisions, outcomes: Mapping[int, Outcome]) -> Ruling:
    """The filter's decisions, and a person's where there is one.

    What a person confirms or relabels has the full weight. An image that could not be read stays dropped: whatever
    the person saw, no training could read it either.

    Args:
        labels: n names, None where a row has no label.
        decisions: the filter's.
        outcomes: of the rows that people have settled, by their place among the n.
    """
    final, reason, weight = list(labels), list(decisions.reason), decisions.weight.copy()
    for row, outcome in outcomes.items():
        if decisions.reason[row] == UNREADABLE:
            continue
        reason[row] = _REASONS[outcome.action]
        weight[row] = float(outcome.action != "drop")
        if outcome.action == "relabel":
            final[row] = outcome.new_label
    return Ruling(tuple(final), tuple(reason), np.asarray(weight, np.float64))
