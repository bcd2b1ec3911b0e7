"""How well a filter finds wrong labels, measured where the truth is known.

In the sense of noise detection: a *positive* is a dropped row, right when the row's label was wrong.

    precision        share of the dropped rows that are corrupted
    recall           share of the corrupted rows that are dropped
    kept_correct     share of the right rows that are kept (what the filter spares)
    noise            share of corrupted rows before the filter
    remaining_noise  share of corrupted rows among those kept

A filter may keep a row with a weight instead; each share then counts it in parts.
A filter that drops at random has precision = noise and remaining_noise = noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.data.schema import Truth
from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate, score_interval, wilson

BoolArray = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FilterScores:
    """A filter against the truth; the shares are defined in the module's head, rows are counts."""

    rows: int
    kept: int
    precision: Estimate
    recall: Estimate
    kept_correct: Estimate
    noise: Estimate
    remaining_noise: Estimate

    def section(self) -> dict[str, Any]:
        """The scores as a section of the report."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def corrupted_rows(keys: Sequence[str], truth: Mapping[str, Truth]) -> BoolArray:
    """Whether each row's label is wrong (n,), looked up by key.

    Raises:
        InputError: If a row has no truth.
    """
    missing = [key for key in keys if key not in truth]
    if missing:
        raise InputError(f"{len(missing)} of {len(keys)} rows have no truth, the first is {missing[0]!r}")
    return np.array([truth[key].corrupted for key in keys], dtype=bool)


def judge_filter(kept: npt.ArrayLike, corrupted: npt.ArrayLike) -> FilterScores:
    """Compare decisions with the truth.

    Args:
        kept: (n,) the filter's decision on each labelled row: bool, or the weight in [0, 1] with which it stays. A row
            of weight w counts as kept by w and as dropped by 1 − w in every share.
        corrupted: (n,) bool, whether the row's label is wrong.

    Raises:
        InputError: If there are no rows, the lengths differ or a weight is none.
    """
    weight, wrong = np.asarray(kept, dtype=np.float64), np.asarray(corrupted, dtype=bool)
    if weight.shape != wrong.shape or weight.ndim != 1 or not len(weight):
        raise InputError(f"a filter is judged on one decision a row: got {weight.shape} decisions, {wrong.shape} rows")
    if not ((weight >= 0) & (weight <= 1)).all():
        raise InputError(f"weights {weight.min()} to {weight.max()}: allowed are 0 to 1")
    return FilterScores(
        rows=len(weight),
        kept=int((weight > 0).sum()),
        precision=_share(wrong, 1 - weight),
        recall=_expected(1 - weight, wrong),
        kept_correct=_expected(weight, ~wrong),
        noise=wilson(int(wrong.sum()), len(wrong)),
        remaining_noise=_share(wrong, weight),
    )


def by_class(
    labels: npt.ArrayLike, kept: npt.ArrayLike, corrupted: npt.ArrayLike, domains: Sequence[str]
) -> dict[str, FilterScores]:
    """The same for each label as it was given; labels without a row are left out.

    Args:
        labels: (n,) int, index into ``domains``.
        kept: (n,) bool, or weights, as :func:`judge_filter` takes them.
        corrupted: (n,) bool.
        domains: names of the labels.
    """
    given = np.asarray(labels)
    keep, wrong = np.asarray(kept, dtype=np.float64), np.asarray(corrupted, dtype=bool)
    if given.shape != keep.shape:
        raise InputError(f"a label is needed for every row: got {given.shape} labels and {keep.shape} rows")
    if len(given) and not 0 <= given.min() <= given.max() < len(domains):
        raise InputError(f"labels {given.min()}..{given.max()}: allowed are 0..{len(domains) - 1}")
    present = [index for index in range(len(domains)) if (given == index).any()]
    return {domains[index]: judge_filter(keep[given == index], wrong[given == index]) for index in present}


def _share(hits: BoolArray, weight: Weights) -> Estimate:
    """The share of hits by weight, with Wilson's interval at Kish's effective number of rows."""
    total = float(weight.sum())
    rows = int((weight > 0).sum())
    if not rows:
        return Estimate(math.nan, 0.0, 1.0, 0)
    share = min(1.0, float(weight[hits].sum()) / total)
    return Estimate(share, *score_interval(share, total**2 / float(np.square(weight).sum())), rows)


def _expected(weight: Weights, of: BoolArray) -> Estimate:
    """The mean weight of some rows, with Wilson's interval: a row of weight w is kept with chance w."""
    rows = int(of.sum())
    if not rows:
        return Estimate(math.nan, 0.0, 1.0, 0)
    share = min(1.0, float(weight[of].mean()))
    return Estimate(share, *score_interval(share, rows), rows)
