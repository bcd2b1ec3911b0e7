"""``evaluation.html`` of a translator: every figure beside copies of the input and real images, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargan_ray.evaluation.charts import MARK, axes_of, saved
from stargan_ray.evaluation.comparison import COLUMNS, NOBODY_NAMED, cell
from stargan_ray.evaluation.pages import data_uri, page
from stargan_ray.evaluation.report import estimate_of

_ROWS = {"translator": "translator", "copy_input": "copies of the input", "real": "real images"}


def intensity_figure(means: Mapping[str, float], *, title: str) -> bytes:
    """Mean p(target) by the judge at growing intensities; an SVG."""
    figure, axes = axes_of(4.6, 3.2)
    axes.plot([float(x) for x in means], list(means.values()), "o-", color=MARK)
    axes.set(xlabel="intensity", ylabel="mean p(target)", ylim=(0, 1), title=title)
    axes.spines[["top", "right"]].set_visible(False)
    return saved(figure, "svg")


def render(report: Mapping[str, Any], charts: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        report: the content of evaluation.json.
        charts: name -> SVG.
    """
    return page(
        "translator.html.j2",
        {},
        r=report,
        rows=_ROWS,
        columns=COLUMNS,
        nobody_named=NOBODY_NAMED,
        cell=lambda section, name: _cell(report, section, name),
        charts={name: data_uri("image/svg+xml", data) for name, data in charts.items()},
    )


def _cell(report: Mapping[str, Any], path: str, name: str) -> str:
    """A figure with its interval, by the dotted path of its section."""
    plain: Any = report
    ends: Any = report["intervals"]
    for key in path.split("."):
        plain, ends = plain.get(key, {}), ends.get(key, {})
    return cell(name, estimate_of(plain, ends, name))
