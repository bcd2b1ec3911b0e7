"""Which labels are believed, as flags say it; what the rules are is in policies.py, which imports what they need."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Literal

from stargan_ray.errors import InputError, unknown

Choice = Literal["keep", "drop"]
Rule = Literal["paper", "confident-learning", "soft"]
Issues = Literal["prune_by_class", "prune_by_noise_rate", "both", "confident_learning"]

# Found on generated faces with known noise (docs/LOG.md has the curves).
_THRESHOLDS: dict[Rule, float] = {"paper": 0.25, "confident-learning": 0.0, "soft": 0.3}


@dataclass(frozen=True)
class Policy:
    """When a row stays.

    Attributes:
        rule: see the head of policies.py.
        threshold: least probability of the row's own label (``paper``, ``confident-learning``), or its least weight
            (``soft``), 0 to 1; None = 0.25 (twice what guessing gives among eight classes), 0 and 0.3. The paper names
            none. Disagreement does the work: where a third of the labels is wrong no honest probability is high, and a
            threshold of 0.5 cost a third of the right rows of a weak classifier.
        issues: which of cleanlab's ways of finding wrong labels ``confident-learning`` takes.
        unknown_class: rows whose label the classifier cannot predict: ``keep`` (they bypass the filter and are
            counted) or ``drop`` (the literal rule).
        unlabelled: rows without a label: ``keep`` or ``drop``.
        warn_lost: a domain that loses more than this share is warned of.
        warn_under: so is a domain that ends with fewer rows than this.
    """

    rule: Rule = "paper"
    threshold: float | None = None
    issues: Issues = "prune_by_class"
    unknown_class: Choice = "keep"
    unlabelled: Choice = "drop"
    warn_lost: float = 0.8
    warn_under: int = 50

    def __post_init__(self) -> None:
        """Refuse rules and shares that do not exist."""
        if self.rule not in typing.get_args(Rule):
            raise unknown("policy.rule", self.rule, typing.get_args(Rule))
        for name in ("threshold", "warn_lost"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"policy.{name} = {value}: allowed is 0 to 1")
        for name in ("unknown_class", "unlabelled"):
            if getattr(self, name) not in ("keep", "drop"):
                raise InputError(f"policy.{name} = {getattr(self, name)!r}: allowed are keep and drop")
        if self.warn_under < 0:
            raise InputError(f"policy.warn_under = {self.warn_under}: allowed are values >= 0")

    @property
    def least(self) -> float:
        """The threshold, or the rule's own."""
        return _THRESHOLDS[self.rule] if self.threshold is None else self.threshold
