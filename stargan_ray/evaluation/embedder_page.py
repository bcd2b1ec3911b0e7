"""``evaluation.html`` of an identity embedder: every figure of every split, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargan_ray.evaluation.pages import data_uri, page
from stargan_ray.evaluation.report import at
from stargan_ray.evaluation.verification import EmbedderScores
from stargan_ray.evaluation.verification_charts import confusion_pair, distance_figure, roc_figure

# Figure -> its path within a split's section; each has an interval at the same path.
SHARES = {
    "one batch of triplets, recipe's threshold": "paper.at_recipe_threshold.accuracy",
    "one batch of triplets, own threshold": "paper.at_own_threshold.accuracy",
    "LFW protocol": "lfw_protocol.accuracy",
    "its pairs at the own threshold": "lfw_protocol.at_own_threshold",
    "true accepts at FAR 1e-2": "roc.tar.1e-2.tar",
    "true accepts at FAR 1e-3": "roc.tar.1e-3.tar",
    "rank-1": "rank1.accuracy",
}
AREAS = {"AUC": "roc.auc", "AUC, another expression against another person": "expressions.auc"}


def charts(judged: Mapping[str, EmbedderScores], report: Mapping[str, Any]) -> dict[str, dict[str, bytes]]:
    """Split -> name -> SVG.

    Args:
        judged: split -> its scores.
        report: the content of evaluation.json.
    """
    threshold = None if report["threshold"] is None else report["threshold"]["threshold"]
    found = {}
    for split, scores in judged.items():
        paper = report["splits"][split]["paper"]
        own = paper["at_own_threshold"]
        panels = {f"{split}: recipe, d ≤ {report['recipe_threshold']:.2f}": paper["at_recipe_threshold"]["confusion"]}
        if own is not None:
            panels[f"own threshold, d ≤ {own['threshold']:.2f}"] = own["confusion"]
        found[split] = {
            "confusion": confusion_pair(panels),
            "roc": roc_figure(scores.roc, title=f"{split}: ROC"),
            "distances": distance_figure(scores.distances, threshold, title=f"{split}: distances"),
        }
    return found


def render(report: Mapping[str, Any], figures: Mapping[str, Mapping[str, bytes]]) -> str:
    """The page.

    Args:
        report: the content of evaluation.json.
        figures: from :func:`charts`.
    """
    return page(
        "embedder.html.j2",
        {"percent": _percent, "three": _three, "ends": _ends},
        r=report,
        charts={
            split: {name: data_uri("image/svg+xml", data) for name, data in each.items()}
            for split, each in figures.items()
        },
        shares=SHARES,
        areas=AREAS,
        value=lambda split, path: at(report["splits"][split], path),
        inside=lambda split, path: at(report["intervals"]["splits"][split], path),
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _ends(interval: Mapping[str, Any] | None, unit: str = "%") -> str:
    if interval is None:
        return ""
    times, digits = (100, 1) if unit == "%" else (1, 4)
    return f"{times * interval['low']:.{digits}f} to {times * interval['high']:.{digits}f}"
