"""Figures of a comparison: expression against identity, and what label noise does to both. SVG bytes each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stargan_ray.evaluation.charts import FAINT, INK, MARK, SECOND, axes_grid, axes_of, saved
from stargan_ray.evaluation.comparison import Row
from stargan_ray.evaluation.intervals import Estimate

_X, _Y = "rank1", "target_expression_accuracy"
_PANELS = {_Y: "wanted expression", _X: "rank-1"}


@dataclass(frozen=True)
class NoisePoint:
    """A method at a rate of label noise.

    Attributes:
        rate: share of wrong labels in the training data, in [0, 1].
        filtered: whether a filter took rows away before the training.
        row: what came of it.
    """

    rate: float
    filtered: bool
    row: Row


def trade_off_figure(rows: Sequence[Row], reference: Sequence[str]) -> bytes:
    """Each row by how often its person is found and its expression is seen; the best corner is the upper right one.

    A row without one of the two is not in it: real photos, where nobody is named.

    Args:
        rows: of the table.
        reference: names of rows that are no methods, which are drawn without colour.
    """
    figure, axes = axes_of(6.8, 4.4)
    for row in rows:
        figures = row.figures()
        if _X not in figures or _Y not in figures:
            continue
        x, y = figures[_X], figures[_Y]
        colour = FAINT if row.name in reference else MARK
        axes.errorbar(x.value, y.value, xerr=_bars(x), yerr=_bars(y), fmt="o", color=colour, capsize=2)
        axes.annotate(row.name, (x.value, y.value), (6, 6), textcoords="offset points", fontsize=9, color=INK)
    axes.set(xlabel="rank-1: the person is found", ylabel="the wanted expression is seen", title="What is traded")
    axes.margins(0.18)
    axes.spines[["top", "right"]].set_visible(False)
    return saved(figure, "svg")


def noise_figure(points: Sequence[NoisePoint]) -> bytes:
    """Expression and identity over the rate of wrong labels, a line for each method with and without the filter."""
    figure, grid = axes_grid(1, 2, 10.4, 4.0)
    methods = list(dict.fromkeys(point.row.name for point in points))
    for axes, (name, heading) in zip(grid[0], _PANELS.items(), strict=True):
        for method, colour in zip(methods, (MARK, SECOND, INK, FAINT), strict=False):
            for filtered, style in ((True, "-"), (False, ":")):
                line = sorted((p.rate, p.row.figures()[name]) for p in _of(points, method, filtered))
                if not line:
                    continue
                label = f"{method}, {'filtered' if filtered else 'as labelled'}"
                rates, values = [rate for rate, _ in line], [found for _, found in line]
                means = [found.value for found in values]
                axes.plot(rates, means, style, marker="o", markersize=4, color=colour, label=label)
                low, high = [found.low for found in values], [found.high for found in values]
                axes.fill_between(rates, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set(xlabel="share of wrong labels", ylabel=heading, ylim=(0, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].legend(frameon=False, fontsize=9)
    return saved(figure, "svg")


def _of(points: Sequence[NoisePoint], method: str, filtered: bool) -> list[Any]:
    return [point for point in points if point.row.name == method and point.filtered is filtered]


def _bars(found: Estimate) -> list[list[float]]:
    return [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]
