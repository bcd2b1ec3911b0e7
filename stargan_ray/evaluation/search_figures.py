"""Figures of a search: where its trials lie between the two objectives, and which values led there. SVG bytes each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargan_ray.evaluation.charts import FAINT, INK, MARK, SECOND, axes_of, saved
from stargan_ray.evaluation.pareto import pareto_front


@dataclass(frozen=True)
class Point:
    """A trial that was trained to its end.

    Attributes:
        name: of a point that is always tried; else empty.
        values: path -> value of every searched field.
        objectives: both figures.
        score: their harmonic mean.
    """

    name: str
    values: Mapping[str, Any]
    objectives: tuple[float, float]
    score: float


def front_figure(points: Sequence[Point], names: tuple[str, str]) -> bytes:
    """Both objectives of each trial; those that no other one beats in both are joined.

    Args:
        points: at least one.
        names: of the objectives, the first is drawn upwards.
    """
    figure, axes = axes_of(6.8, 4.6)
    up, right = zip(*(point.objectives for point in points), strict=True)
    best = pareto_front([point.objectives for point in points])
    axes.scatter(right, up, color=FAINT, s=22, label="trials")
    order = sorted(np.flatnonzero(best), key=lambda k: right[k])
    axes.plot([right[k] for k in order], [up[k] for k in order], "o-", color=MARK, markersize=6, label="front")
    for point, x, y in zip(points, right, up, strict=True):
        if point.name:
            axes.scatter([x], [y], color=SECOND, s=30, zorder=3)
            axes.annotate(point.name, (x, y), (6, 6), textcoords="offset points", fontsize=9, color=INK)
    axes.set(xlabel=names[1].replace("_", " "), ylabel=names[0].replace("_", " "), title="What can be had together")
    axes.margins(0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return saved(figure, "svg")


def parallel_figure(points: Sequence[Point], logarithmic: Sequence[str]) -> bytes:
    """A line for each trial through its values and its score; the darker, the higher the score.

    Args:
        points: at least one, all with the same fields.
        logarithmic: paths that are drawn on a logarithmic scale.
    """
    paths = list(points[0].values)
    columns = [[point.values[path] for point in points] for path in paths]
    columns.append([point.score for point in points])
    headings = [*(path.removeprefix("method.") for path in paths), "score"]
    figure, axes = axes_of(max(6.0, 1.7 * len(headings)), 4.4)
    places = np.array([_places(c, p in logarithmic) for c, p in zip(columns, [*paths, ""], strict=True)])
    for number in np.argsort(columns[-1]):  # the best on top
        share = places[-1][number]
        colour = MARK if share > 0.8 else FAINT
        axes.plot(range(len(headings)), places[:, number], color=colour, alpha=0.15 + 0.75 * share, linewidth=1.6)
    for x, values in enumerate(columns):
        for value, y in {str(v): (v, p) for v, p in zip(values, places[x], strict=True)}.values():
            if isinstance(value, str) or y in (0.0, 1.0):
                told = f"{value:.3g}" if isinstance(value, float) else str(value)
                axes.annotate(told, (x, y), (4, 3), textcoords="offset points", fontsize=8, color=INK)
        axes.axvline(x, color=FAINT, linewidth=0.8)
    axes.set(xticks=range(len(headings)), yticks=[], ylim=(-0.05, 1.1))
    axes.set_xticklabels(headings, fontsize=8, rotation=15, ha="right")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return saved(figure, "svg")


def _places(values: Sequence[Any], logarithmic: bool) -> list[float]:
    """Places in [0, 1] along an axis; of values without an order, in the order of their names."""
    if any(isinstance(value, str | bool) for value in values):
        kinds = sorted({str(value) for value in values})
        return [kinds.index(str(value)) / max(1, len(kinds) - 1) for value in values]
    numbers = np.asarray(values, dtype=np.float64)
    if logarithmic:  # a 0 among them lies at the low end
        least = numbers[numbers > 0].min() if (numbers > 0).any() else 1.0
        numbers = np.log(np.maximum(numbers, least))
    span = numbers.max() - numbers.min()
    places: list[float] = ((numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)).tolist()
    return places


def schedules_figure(schedules: Sequence[tuple[Sequence[float], float]], every: int) -> bytes:
    """Values of λ_id over the steps, a stair for each schedule; the one with the highest score in colour.

    Args:
        schedules: values and score of each.
        every: steps of a value.
    """
    figure, axes = axes_of(6.8, 3.8)
    best = max(range(len(schedules)), key=lambda k: schedules[k][1])
    for number, (values, score) in enumerate(schedules):
        edges = [every * k for k in range(len(values) + 1)]
        colour, width = (MARK, 2.4) if number == best else (FAINT, 1.2)
        axes.stairs(values, edges, baseline=None, color=colour, linewidth=width, label=f"score {score:.3f}")
    axes.set(xlabel="step", ylabel="λ_id", yscale="log" if all(min(v) > 0 for v, _ in schedules) else "linear")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return saved(figure, "svg")
