"""Every policy of the filter over its threshold, against the truth: what it gains and what it loses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.data.policies import RULES, Probabilities, decide
from stargan_ray.data.policy import Policy, Rule
from stargan_ray.evaluation.charts import INK, MARK, SECOND, THIRD, axes_grid, saved
from stargan_ray.evaluation.filtering import FilterScores, judge_filter

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(20))
_COLOURS = dict(zip(RULES, (MARK, SECOND, THIRD), strict=True))
_PANELS = {
    "precision": "dropped rows that were wrong (precision)",
    "recall": "wrong rows that were dropped (recall)",
    "kept_correct": "right rows that were kept",
    "remaining_noise": "wrong rows among the kept",
}


@dataclass(frozen=True)
class Curve:
    """One policy.

    Attributes:
        rule: its name.
        thresholds: where it was judged.
        scores: at each.
        least: the rule's own threshold.
        default: the scores there.
    """

    rule: Rule
    thresholds: tuple[float, ...]
    scores: tuple[FilterScores, ...]
    least: float
    default: FilterScores

    def section(self) -> dict[str, Any]:
        """The rule's own scores as a section of the report, and the curve as plain numbers."""
        curve = {name: [_finite(getattr(each, name).value) for each in self.scores] for name in _PANELS}
        return {"threshold": self.least, **self.default.section(), "curve": {"threshold": self.thresholds, **curve}}


def _finite(value: float) -> float | None:
    """JSON has no NaN: what could not be measured is null."""
    return value if math.isfinite(value) else None


def policy_curves(
    labels: Sequence[str | None],
    probabilities: Probabilities,
    classes: Sequence[str],
    corrupted: npt.ArrayLike,
    thresholds: Iterable[float] = THRESHOLDS,
) -> tuple[Curve, ...]:
    """Judge every rule at every threshold.

    Args:
        labels: n names as given; those of None are left out.
        probabilities: (n, K).
        classes: what the columns mean.
        corrupted: (n,) bool, whether the label is wrong.
        thresholds: 0 to 1.
    """
    labelled = np.array([label is not None for label in labels])
    given = [label for label in labels if label is not None]
    wide, wrong = np.asarray(probabilities)[labelled], np.asarray(corrupted, dtype=bool)[labelled]
    steps = tuple(thresholds)

    def scores(policy: Policy) -> FilterScores:
        return judge_filter(decide(given, wide, classes, policy).weight, wrong)

    curves = []
    for rule in RULES:
        policy = Policy(rule=rule)
        each = tuple(scores(replace(policy, threshold=step)) for step in steps)
        curves.append(Curve(rule, steps, each, policy.least, scores(policy)))
    return tuple(curves)


def curves_figure(curves: Sequence[Curve]) -> bytes:
    """Four panels, a line for each policy, a dot where its own threshold lies; an SVG.

    Where a policy drops nothing, its precision is not drawn.
    """
    figure, panels = axes_grid(2, 2, 8.4, 5.6)
    for axes, (name, title) in zip(panels.flat, _PANELS.items(), strict=True):
        for curve in curves:
            values = [100 * getattr(each, name).value for each in curve.scores]
            axes.plot(curve.thresholds, values, color=_COLOURS[curve.rule], label=curve.rule, linewidth=1.8)
            own = 100 * getattr(curve.default, name).value
            axes.plot([curve.least], [own], "o", color=_COLOURS[curve.rule], markersize=6, clip_on=False)
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        axes.set(xlim=(0, 1), xlabel="threshold", ylabel="%")
        axes.set_ylim(bottom=0)
        if name != "remaining_noise":
            axes.set_ylim(top=101)
        axes.spines[["top", "right"]].set_visible(False)
    panels.flat[0].legend(frameon=False, fontsize=9, loc="lower left")
    return saved(figure, "svg")
