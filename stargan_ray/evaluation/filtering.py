"""How well a filter finds wrong labels, measured where the truth is known.

In the sense of noise detection: a *positive* is a dropped row, right when the row's label was wrong.

    precision        share of the dropped rows that are corrupted
    recall           share of the corrupted rows that are dropped
    kept_correct     share of the right rows that are kept (what the filter spares)
    noise            share of corrupted rows before the filter
    remaining_noise  share of corrupted rows among those kept

A filter that drops at random has precision = noise and remaining_noise = noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.data.schema import Truth
from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate, wilson

BoolArray = npt.NDArray[np.bool_]


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
        kept: (n,) bool, the filter's decision on each labelled row.
        corrupted: (n,) bool, whether the row's label is wrong.

    Raises:
        InputError: If there are no rows or the lengths differ.
    """
    keep, wrong = np.asarray(kept, dtype=bool), np.asarray(corrupted, dtype=bool)
    if keep.shape != wrong.shape or keep.ndim != 1 or not len(keep):
        raise InputError(f"a filter is judged on one decision a row: got {keep.shape} decisions, {wrong.shape} rows")
    return FilterScores(
        rows=len(keep),
        kept=int(keep.sum()),
        precision=_share(wrong, of=~keep),
        recall=_share(~keep, of=wrong),
        kept_correct=_share(keep, of=~wrong),
        noise=_share(wrong, of=np.ones_like(wrong)),
        remaining_noise=_share(wrong, of=keep),
    )


def by_class(
    labels: npt.ArrayLike, kept: npt.ArrayLike, corrupted: npt.ArrayLike, domains: Sequence[str]
) -> dict[str, FilterScores]:
    """The same for each label as it was given; labels without a row are left out.

    Args:
        labels: (n,) int, index into ``domains``.
        kept: (n,) bool.
        corrupted: (n,) bool.
        domains: names of the labels.
    """
    given = np.asarray(labels)
    keep, wrong = np.asarray(kept, dtype=bool), np.asarray(corrupted, dtype=bool)
    if given.shape != keep.shape:
        raise InputError(f"a label is needed for every row: got {given.shape} labels and {keep.shape} rows")
    if len(given) and not 0 <= given.min() <= given.max() < len(domains):
        raise InputError(f"labels {given.min()}..{given.max()}: allowed are 0..{len(domains) - 1}")
    present = [index for index in range(len(domains)) if (given == index).any()]
    return {domains[index]: judge_filter(keep[given == index], wrong[given == index]) for index in present}


def threshold_curve(
    score: npt.ArrayLike, corrupted: npt.ArrayLike, thresholds: Sequence[float]
) -> list[tuple[float, FilterScores]]:
    """The scores of every threshold: a row is kept where its score reaches it.

    Args:
        score: (n,) the classifier's confidence in the row's label; −inf where it says another label, +inf
            where the row bypasses the filter.
        corrupted: (n,) bool.
        thresholds: in the order wanted.
    """
    confidence = np.asarray(score, dtype=np.float64)
    return [(threshold, judge_filter(confidence >= threshold, corrupted)) for threshold in thresholds]


def _share(hits: BoolArray, of: BoolArray) -> Estimate:
    return wilson(int((hits & of).sum()), int(of.sum()))
