"""``evaluation.html`` of a classifier: every split with its classes, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargan_ray.evaluation.pages import data_uri, page


def render(report: Mapping[str, Any], charts: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        report: the content of evaluation.json.
        charts: split -> SVG of its confusion matrix.
    """
    return page(
        "classifier.html.j2",
        {"percent": lambda value: f"{100 * value:.1f} %", "ends": _ends, "three": lambda value: f"{value:.3f}"},
        r=report,
        charts={name: data_uri("image/svg+xml", data) for name, data in charts.items()},
    )


def _ends(interval: Mapping[str, Any]) -> str:
    return f"{100 * interval['low']:.1f} to {100 * interval['high']:.1f}"
