"""Charts of an embedder: confusion of same and different (Fig. 3 of the paper), ROC curve, histogram of distances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stargan_ray.evaluation.charts import FAINT, INK, MARK, SECOND, THIRD, axes_grid, axes_of, saved
from stargan_ray.evaluation.identity import FloatArray
from stargan_ray.evaluation.roc import Roc, name_of
from stargan_ray.evaluation.verification import KINDS, UNTOLD

_COLOURS = {KINDS[0]: MARK, UNTOLD: MARK, KINDS[1]: THIRD, KINDS[2]: SECOND}
_NAMES = ("same", "different")
_BINS = 60
_LEAST_FAR = 1e-4


def confusion_pair(panels: Mapping[str, Any]) -> bytes:
    """Confusion matrices side by side, counts and shares of each row; an SVG.

    Args:
        panels: title -> counts (2, 2), row = same, different in truth, column = called so.
    """
    figure, grid = axes_grid(1, len(panels), 3.3 * len(panels), 2.9)
    for axes, (title, counts) in zip(grid[0], panels.items(), strict=True):
        matrix = np.asarray(counts, dtype=np.float64)
        share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(2), _NAMES)
        axes.set_yticks(range(2), _NAMES)
        axes.set(xlabel="called", ylabel="truth", title=title)
        axes.tick_params(length=0)
        for (row, column), value in np.ndenumerate(share):
            colour = "white" if value > 0.55 else INK
            text = f"{matrix[row, column]:.0f}\n{value:.1%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    return saved(figure, "svg")


def roc_figure(curve: Roc, *, title: str) -> bytes:
    """True accepts over false accepts, the latter in powers of ten, with the rates that are reported; an SVG."""
    figure, axes = axes_of(5.6, 3.6)
    left = max(_LEAST_FAR, 1 / curve.different)
    shown = curve.false_accept >= left
    # the curve goes on to the left of what the pairs can show: there it is level with its last point
    before = curve.true_accept[~shown].max(initial=0.0)
    axes.plot(
        np.concatenate([[left], curve.false_accept[shown]]),
        np.concatenate([[before], curve.true_accept[shown]]),
        color=MARK,
        drawstyle="steps-post",
        linewidth=1.6,
    )
    chance = np.geomspace(left, 1, 100)
    axes.plot(chance, chance, color=FAINT, linewidth=1, linestyle=":", label="guessing")
    for each in curve.at:
        if each.tar is None:
            continue
        label = f"{each.tar.value:.1%} at FAR {name_of(each.far)}"
        axes.plot([each.far], [each.tar.value], "o", color=SECOND, markersize=5, label=label)
    axes.set(xscale="log", xlim=(left, 1), ylim=(0, 1.02), title=title)
    axes.set(xlabel="false-accept rate", ylabel="true-accept rate")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="best")
    return saved(figure, "svg")


def distance_figure(distances: Mapping[str, FloatArray], threshold: float | None, *, title: str) -> bytes:
    """Squared L2 distances of each kind of pair as shares of their kind, which differ in number; an SVG."""
    figure, axes = axes_of(6.4, 3.6)
    most = max(float(values.max()) for values in distances.values())
    edges = np.linspace(0, max(most, threshold or 0) * 1.02, _BINS)
    for kind, values in distances.items():
        share = np.full(len(values), 1 / len(values))
        look = {"weights": share, "color": _COLOURS[kind], "label": f"{kind} ({len(values)} pairs)"}
        axes.hist(values, edges, alpha=0.35, histtype="stepfilled", **look | {"label": None})
        axes.hist(values, edges, histtype="step", linewidth=1.4, **look)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle="--", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="squared L2 distance of the embeddings", ylabel="share of the pairs", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return saved(figure, "svg")
