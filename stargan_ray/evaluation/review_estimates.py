"""How well a filter finds wrong labels, estimated from a stratified sample that people have judged.

The figures are those of :mod:`stargan_ray.evaluation.filtering`, of the whole data set; there the truth is known,
here people have judged n_h of the N_h rows of each stratum h and found w_h of them to be labelled wrongly.

A share (precision, remaining noise) is Σ N_h p_h / Σ N_h with p_h = w_h / n_h. Its interval is Wilson's at the
effective number of rows

    n_eff = (Σ N_h)² / Σ N_h² (1 − f_h) / n_h,      1 − f_h = (N_h − n_h) / (N_h − 1)

which is Kish's (1965, section 11.7) for weights N_h / n_h, with the correction for finite strata: one stratum of
which few rows are judged has n_eff = n, and a stratum that is judged whole is not uncertain.

Noise, the share of wrong rows before the filter, is the sum of those two by their weights, and so is its interval
(MOVER: Zou and Donner, 2008): pooling rows that are mostly wrong with rows that are mostly right would say too little.

Recall is D / (D + K) with D = wrong rows among the dropped and K among the kept, and ``kept_correct`` likewise.
The rows behind it weigh very differently: one wrong label among the confidently kept may stand for a hundred, and
where by chance none is found there, Wilson's interval over the wrong rows that were found ends at 1 (in the test's
simulation it covers the truth in 73 % of the cases). So the interval is that of the ratio K / D, put together from
the intervals of D and of K (MOVER-R: Donner and Zou, 2012; Newcombe, 2016); K has a width also where it is 0.

A stratum with no judgement yet may hold any number of wrong rows: the interval allows for all of them. Rows are
drawn at random from the data set that the figures are about, so that people with several images need no correction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stargan_ray.data.review_outcomes import Outcome
from stargan_ray.data.review_sample import DROPPED, FILTERED, Sample
from stargan_ray.errors import InputError
from stargan_ray.evaluation.filtering import FilterScores
from stargan_ray.evaluation.intervals import Estimate, score_interval


@dataclass(frozen=True, kw_only=True)
class JudgedStratum:
    """A part of a data set of which people have judged a random sample.

    Attributes:
        label: the class that its rows were given.
        dropped: whether the filter dropped them (else it kept them).
        rows: N_h, in the data set.
        judged: n_h of them, chosen at random.
        wrong: w_h of those, whose label people found wrong.
    """

    label: str
    dropped: bool
    rows: int
    judged: int
    wrong: int

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        if not 0 <= self.wrong <= self.judged <= self.rows or not self.rows:
            raise InputError(
                f"{self.wrong} wrong of {self.judged} judged of {self.rows} rows labelled {self.label}: "
                "allowed are 0 <= wrong <= judged <= rows, rows >= 1"
            )


def judged_strata(sample: Sample, outcomes: Mapping[int, Outcome]) -> list[JudgedStratum]:
    """What people found in the strata of the filter's own work.

    Whoever would give a row another label, or drop it, has found its label wrong.

    Args:
        sample: n rows.
        outcomes: of those that are judged, by their place among the n.
    """
    judged, wrong = np.zeros(len(sample.strata), np.int64), np.zeros(len(sample.strata), np.int64)
    for place, outcome in outcomes.items():
        judged[sample.stratum[place]] += 1
        wrong[sample.stratum[place]] += outcome.action != "keep"
    return [
        JudgedStratum(
            label=each.label,
            dropped=each.kind == DROPPED,
            rows=each.rows,
            judged=int(judged[number]),
            wrong=int(wrong[number]),
        )
        for number, each in enumerate(sample.strata)
        if each.kind in FILTERED
    ]


def estimate_filter(strata: Sequence[JudgedStratum]) -> FilterScores:
    """The filter's figures with their intervals; ``n`` of each is the number of judged rows behind it.

    Args:
        strata: that cover what the figures are to be about, each row in one of them.
    """
    dropped, kept = [each for each in strata if each.dropped], [each for each in strata if not each.dropped]
    # Wrong (right) rows among the dropped and among the kept, as shares of those.
    wrong_dropped, wrong_kept = _share(dropped), _share(kept)
    rows_dropped, rows_kept = _rows(dropped), _rows(kept)
    return FilterScores(
        rows=rows_dropped + rows_kept,
        kept=rows_kept,
        precision=wrong_dropped,
        recall=_part(wrong_dropped, rows_dropped, wrong_kept, rows_kept),
        kept_correct=_part(_other(wrong_kept), rows_kept, _other(wrong_dropped), rows_dropped),
        noise=_together(wrong_dropped, rows_dropped, wrong_kept, rows_kept),
        remaining_noise=wrong_kept,
    )


def estimate_by_class(strata: Sequence[JudgedStratum]) -> dict[str, FilterScores]:
    """The same for each given class, in the order in which they appear."""
    names = dict.fromkeys(each.label for each in strata)
    return {name: estimate_filter([each for each in strata if each.label == name]) for name in names}


def _rows(strata: Iterable[JudgedStratum]) -> int:
    return sum(each.rows for each in strata)


def _share(strata: Sequence[JudgedStratum]) -> Estimate:
    """The share of wrong rows in some strata taken together."""
    seen = [each for each in strata if each.judged]
    covered, rows = _rows(seen), _rows(strata)
    if not covered:
        return Estimate(math.nan, 0.0, 1.0, 0)
    share = sum(each.rows * each.wrong / each.judged for each in seen) / covered
    spread = sum(each.rows**2 * _left(each) / each.judged for each in seen) / covered**2
    low, high = score_interval(share, 1 / spread if spread else math.inf)
    unseen = 1 - covered / rows
    return Estimate(share, low * (1 - unseen), high * (1 - unseen) + unseen, sum(each.judged for each in seen))


def _together(first: Estimate, rows_first: int, second: Estimate, rows_second: int) -> Estimate:
    """Two shares of so many rows as one share of them all."""
    if not rows_first or not rows_second:
        return first if rows_first else second
    weight = rows_first / (rows_first + rows_second)
    value = weight * first.value + (1 - weight) * second.value
    if math.isnan(value):
        return Estimate(math.nan, 0.0, 1.0, first.n + second.n)
    below = math.hypot(weight * (first.value - first.low), (1 - weight) * (second.value - second.low))
    above = math.hypot(weight * (first.high - first.value), (1 - weight) * (second.high - second.value))
    return Estimate(value, value - below, value + above, first.n + second.n)


def _left(stratum: JudgedStratum) -> float:
    """1 − f: 0 where every row is judged, near 1 where few are."""
    return (stratum.rows - stratum.judged) / max(stratum.rows - 1, 1)


def _other(share: Estimate) -> Estimate:
    return Estimate(1 - share.value, 1 - share.high, 1 - share.low, share.n)


def _part(first: Estimate, rows_first: int, second: Estimate, rows_second: int) -> Estimate:
    """First / (first + second) of two independent counts, given as shares of so many rows."""
    one, two = rows_first * first.value if rows_first else 0.0, rows_second * second.value if rows_second else 0.0
    n = first.n + second.n
    if not one + two > 0:  # no such row was found, or nothing is judged
        return Estimate(math.nan, 0.0, 1.0, n)
    above = _ratio_high(two, rows_second * second.high, one, rows_first * first.low)  # of second / first
    below = _ratio_high(one, rows_first * first.high, two, rows_second * second.low)  # of first / second
    value = one / (one + two)
    return Estimate(value, min(1 / (1 + above), value), max(1 - 1 / (1 + below), value), n)


def _ratio_high(top: float, top_high: float, bottom: float, bottom_low: float) -> float:
    """The upper end of top / bottom, by MOVER-R."""
    if top_high <= 0:
        return 0.0
    if bottom_low <= 0:
        return math.inf
    product = top * bottom
    below = bottom_low * (2 * bottom - bottom_low)
    root = math.sqrt(max(product**2 - top_high * (2 * top - top_high) * below, 0.0))
    return (product + root) / below
