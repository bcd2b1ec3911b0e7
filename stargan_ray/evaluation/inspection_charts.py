"""Charts of a data set's findings, each as the bytes of an SVG file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from stargan_ray.data.manifest import UNLABELLED
from stargan_ray.evaluation.charts import FAINT, INK, MARK, SECOND, THIRD, axes_of, saved

_COLOURS = {"train": MARK, "val": SECOND, "test": THIRD}
_SIZES = 12  # bars of sizes; with more different ones the shorter side is shown instead
_NAME = 24  # letters of a domain's name


def charts(found: Mapping[str, Any]) -> dict[str, bytes]:
    """What there is something to draw for: ``rows``, ``people``, ``brightness``, ``contrast``, ``sizes``."""
    drawn = {"rows": _rows(found["counts"])}
    if found["people"]["all"]:
        images = found["people"]["images"]
        drawn["people"] = _histogram(images, "images of one person", "people", shift=0.5)
    if found["images"]["decoded"]:
        drawn["brightness"] = _luma(found, "brightness", "mean luma of an image", "near_black")
        drawn["contrast"] = _luma(found, "contrast", "standard deviation of an image's luma", "near_empty")
        drawn["sizes"] = _sizes(found["images"]["sizes"])
    return drawn


def _rows(counts: Mapping[str, Any]) -> bytes:
    """Grouped bars: a domain a group, a split a bar."""
    splits = list(counts["splits"])
    names = [name for name in counts["rows"] if name != UNLABELLED or any(counts["rows"][name].values())]
    figure, axes = axes_of(6.4, 0.9 + 0.42 * len(names))
    thick = 0.8 / len(splits)
    places = np.arange(len(names))
    for number, split in enumerate(splits):
        values = [counts["rows"][name][split] for name in names]
        axes.barh(places + (number - (len(splits) - 1) / 2) * thick, values, thick, color=_COLOURS[split], label=split)
    axes.set_yticks(places, [_short(name) for name in names], parse_math=False)
    axes.invert_yaxis()
    axes.set(xlabel="rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    with warnings.catch_warnings():  # a letter that the font lacks is an empty box; the table beside has the name
        warnings.filterwarnings("ignore", "Glyph .* missing")
        return saved(figure, "svg")


def _luma(found: Mapping[str, Any], what: str, across: str, name: str) -> bytes:
    limit = found[name]["below"]
    return _histogram(found["images"][what], across, "images", limit=limit, limit_name=name.replace("_", "-"))


def _sizes(sizes: list[dict[str, int]]) -> bytes:
    if len(sizes) <= _SIZES:
        figure, axes = axes_of(6.4, 0.9 + 0.34 * len(sizes))
        places = range(len(sizes))
        axes.barh(places, [size["rows"] for size in sizes], 0.7, color=MARK)
        axes.set_yticks(places, [f"{size['width']} × {size['height']}" for size in sizes])
        axes.invert_yaxis()
        axes.set(xlabel="images")
        axes.spines[["top", "right"]].set_visible(False)
        return saved(figure, "svg")
    shorter = [min(size["width"], size["height"]) for size in sizes]
    edges = np.unique(np.rint(np.linspace(min(shorter), max(shorter) + 1, 31)).astype(int))
    counts = np.histogram(shorter, edges, weights=[size["rows"] for size in sizes])[0]
    told = {"edges": edges.tolist(), "counts": counts.tolist()}
    return _histogram(told, "shorter side in pixels", "images")


def _histogram(
    told: Mapping[str, Any], across: str, up: str, *, shift: float = 0.0, limit: float = 0.0, limit_name: str = ""
) -> bytes:
    """Bars between edges; ``shift`` centres the bars of whole numbers on them."""
    figure, axes = axes_of(6.4, 3.0)
    edges = np.asarray(told["edges"], dtype=np.float64)
    axes.bar(edges[:-1] - shift, told["counts"], np.diff(edges) * 0.94, align="edge", color=MARK)
    if limit_name:
        axes.axvline(limit, color=INK, linewidth=1, linestyle="--")
        axes.annotate(
            limit_name,
            (limit, 1),
            (4, -4),
            textcoords="offset points",
            va="top",
            color=FAINT,
            fontsize=9,
            xycoords=("data", "axes fraction"),
        )
    axes.set(xlabel=across, ylabel=up)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    return saved(figure, "svg")


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
