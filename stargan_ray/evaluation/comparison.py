"""Methods side by side: rows judged on the same requests, pooled over seeds, as tables."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate, bootstrap_mean, proportion
from stargan_ray.evaluation.judging import FIGURES, SHARES, Verdict

# Column -> its heading; arrows say which way is better. Shares are printed in per cent.
COLUMNS = {
    "target_expression_accuracy": "wanted expression ↑",
    "expression_gain": "Δp(target) ↑",
    "rank1": "rank-1 ↑",
    "tar": "TAR at FAR 1e-3 ↑",
    "similarity_distance": "similarity distance, judge ↓",
    "training_distance": "similarity distance, training embedder ↓",
    "background_l1": "background L1 ↓",
    "frechet": "Fréchet distance ↓",
    "monotone": "monotone intensity ↑",
}
_SHARES = (*SHARES, "monotone")
TOO_FEW = "too few images"
NOBODY_NAMED = (
    "Nobody is named here, so each image stands for itself: rank-1 and TAR ask whether a translation is nearest to "
    "the photo that it was made from, copies of it are perfect by construction, and for real photos there is no other "
    "photo of the same person to ask."
)


@dataclass(frozen=True)
class Judged:
    """One trained network, or copies of the input, before the judges.

    Attributes:
        verdict: image by image.
        frechet: mean over the targets on the expression judge's features; None = not measured.
        monotone: see ``IntensityCurve.monotone``; None = there is no intensity.
        intensity: mean p(target) at growing intensities.
        facts: about its training: steps, images, seconds, parameters.
        reference: the verdict where images of other people guide; None = not measured.
        reference_frechet: its Fréchet distance.
        pictures: (K, 3, H, W), some people with the K expressions, the same for every row; None = none.
    """

    verdict: Verdict
    frechet: Estimate | None = None
    monotone: Estimate | None = None
    intensity: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    reference: Verdict | None = None
    reference_frechet: Estimate | None = None
    pictures: Tensor | None = None


@dataclass(frozen=True)
class Row:
    """A row of the table: a method's runs, one for each seed."""

    name: str
    runs: tuple[Judged, ...]

    def __post_init__(self) -> None:
        """Refuse a row of nothing."""
        if not self.runs:
            raise InputError(f"row {self.name!r}: no run was judged")

    def figures(self) -> dict[str, Estimate]:
        """Each figure over all seeds.

        Intervals of what is measured image by image resample people, with every seed's images of a person together;
        those of the Fréchet distance and of monotony are means of the seeds' intervals.
        """
        found = _pooled([run.verdict for run in self.runs])
        for name in ("frechet", "monotone"):
            each = [value for run in self.runs if (value := getattr(run, name)) is not None]
            if each:
                found[name] = _mean(each)
        return found

    def by_reference(self) -> dict[str, Estimate]:
        """The same where images of other people guide; empty where that was not measured."""
        verdicts = [run.reference for run in self.runs if run.reference is not None]
        found = _pooled(verdicts) if verdicts else {}
        if each := [run.reference_frechet for run in self.runs if run.reference_frechet is not None]:
            found["frechet"] = _mean(each)
        return found

    def section(self, domains: Sequence[str]) -> dict[str, Any]:
        """The row for a report: pooled figures, and each seed's own."""
        return {
            **self.figures(),
            "by_reference": self.by_reference(),
            "confusion": np.sum([run.verdict.confusion for run in self.runs], axis=0).tolist(),
            "seeds": len(self.runs),
            "runs": [
                {
                    **{name: value.value for name, value in Row(self.name, (run,)).figures().items()},
                    "by_target": {
                        name: value.value for name, value in run.verdict.section(domains)["by_target"].items()
                    },
                    "intensity": dict(run.intensity),
                    **run.facts,
                }
                for run in self.runs
            ],
        }


def _pooled(verdicts: Sequence[Verdict]) -> dict[str, Estimate]:
    """Every figure that all have, over all images; a person's images of all seeds are resampled together."""
    persons = np.concatenate([each.persons for each in verdicts])
    found = {}
    for name in FIGURES:
        if all(name in each.values for each in verdicts):
            values = np.concatenate([each.values[name] for each in verdicts])
            found[name] = (proportion if name in _SHARES else bootstrap_mean)(values, persons)
    return found


def _mean(each: Sequence[Estimate]) -> Estimate:
    value, low, high = (float(np.mean([getattr(e, end) for e in each])) for end in ("value", "low", "high"))
    return Estimate(value, low, high, sum(e.n for e in each))


def as_markdown(rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """The table for a README.

    Args:
        rows: in the order of the table.
        facts: fact of the runs -> its heading, for columns at the right; numbers are averaged over the seeds.
    """
    lines = [["", *COLUMNS.values(), *facts.values()]]
    for row in rows:
        figures = row.figures()
        cells = [cell(name, figures.get(name)) for name in COLUMNS]
        lines.append([row.name, *cells, *(_fact(row, name) for name in facts)])
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """Every figure with its ends, a line each: row, figure, value, low, high, n, seeds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "figure", "value", "low", "high", "n", "seeds"))
    for row in rows:
        for name, found in row.figures().items():
            writer.writerow((row.name, name, found.value, found.low, found.high, found.n, len(row.runs)))
    return out.getvalue()


def cell(name: str, found: Estimate | None) -> str:
    """A figure as a table shows it: value, and its interval behind it; – where it has no meaning for a row."""
    if found is None:
        return "–"
    if math.isnan(found.value):
        return TOO_FEW
    if math.isnan(found.low):
        return f"{found.value:.1%} ({TOO_FEW})" if name in _SHARES else f"{found.value:.3f} ({TOO_FEW})"
    if name in _SHARES:
        return f"{found.value:.1%} [{found.low * 100:.1f}, {found.high * 100:.1f}]"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _fact(row: Row, name: str) -> str:
    values = [run.facts[name] for run in row.runs if run.facts.get(name) is not None]
    if not values:
        return "–"
    if isinstance(values[0], str):
        return str(values[0])
    mean = float(np.mean(values))
    return f"{mean:,.0f}" if abs(mean) >= 100 else f"{mean:.3g}"
