"""The ROC curve of pairs: area under it, and true accepts at the false-accept rates that the pairs can measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.evaluation.identity import FloatArray
from stargan_ray.evaluation.intervals import CONFIDENCE, Estimate, proportion, wilson
from stargan_ray.evaluation.pairs import Pairs

FARS = (1e-2, 1e-3)
_GROUPS = 20  # of people, left out in turn
_ENOUGH = 30  # false accepts below which a rate is coarse (Doddington's rule of 30: ± 30 % with 90 % confidence)


@dataclass(frozen=True)
class TrueAccepts:
    """What is accepted at one false-accept rate.

    Attributes:
        far: the rate.
        tar: share of same-person pairs that are accepted where at most ``far`` of the others are; None where there
            are fewer than 1/far pairs of different people, which cannot show such a rate.
        threshold: squared L2 distance up to which pairs are accepted.
        false_accepts: how many pairs of different people the rate allows; below 30 it is coarse.
    """

    far: float
    tar: Estimate | None
    threshold: float | None
    false_accepts: int

    def section(self) -> dict[str, Any]:
        """As a part of the report."""
        return {**vars(self), "coarse": self.false_accepts < _ENOUGH}


@dataclass(frozen=True)
class Roc:
    """The curve of some pairs.

    Attributes:
        false_accept, true_accept: (m,) the curve, rising from 0 to 1.
        auc: area under it; the interval leaves groups of people out in turn.
        at: true accepts at some false-accept rates.
        same, different: pairs of each kind.
    """

    false_accept: FloatArray
    true_accept: FloatArray
    auc: Estimate
    at: tuple[TrueAccepts, ...]
    same: int
    different: int

    def section(self) -> dict[str, Any]:
        """The figures as a section of the report, without the curve."""
        return {
            "auc": self.auc,
            "same": self.same,
            "different": self.different,
            "tar": {name_of(each.far): each.section() for each in self.at},
        }


def name_of(far: float) -> str:
    """A rate as a key of the report, which has no dots: 1e-3."""
    return f"{far:.0e}".replace("e-0", "e-")


def roc(distance: FloatArray, pairs: Pairs, persons: npt.NDArray[Any], fars: tuple[float, ...] = FARS) -> Roc:
    """The curve of pairs of both kinds.

    Args:
        distance: (p,) squared L2.
        pairs: p of them.
        persons: (n,) who the images show that the pairs index.
        fars: false-accept rates to read it at.
    """
    from sklearn.metrics import roc_curve

    false_accept, true_accept, scores = roc_curve(pairs.same, -distance, drop_intermediate=False)
    different = int((~pairs.same).sum())
    found = []
    for far in fars:
        allowed = int(far * different + 1e-9)  # 0.001 · 3000 is 2.9999… in binary
        if not allowed:
            found.append(TrueAccepts(far, None, None, 0))
            continue
        # the loosest threshold that keeps the false accepts at or below the rate
        threshold = -scores[np.flatnonzero(false_accept <= far)[-1]]
        accepted = distance[pairs.same] <= threshold
        tar = proportion(accepted, persons[pairs.first[pairs.same]])
        found.append(TrueAccepts(far, tar, float(threshold) if np.isfinite(threshold) else None, allowed))
    area = auc_estimate(distance, pairs, persons)
    return Roc(false_accept, true_accept, area, tuple(found), int(pairs.same.sum()), different)


def auc_estimate(distance: FloatArray, pairs: Pairs, persons: npt.NDArray[Any]) -> Estimate:
    """Area under the ROC curve; its interval is a jackknife that leaves out the people of one group after another.

    A pair belongs to two people, so neither pairs nor people alone can be resampled; a group that goes takes
    every pair with it that touches its people. Where no group changes the area, it is Wilson's for as many trials
    as there are people, instead of no width.
    """
    from scipy.stats import t
    from sklearn.metrics import roc_auc_score

    area = float(roc_auc_score(pairs.same, -distance))
    names, person = np.unique(persons[np.concatenate([pairs.first, pairs.second])], return_inverse=True)
    first, second = person[: len(pairs.first)], person[len(pairs.first) :]
    group = np.random.default_rng(0).permutation(len(names)) % min(_GROUPS, len(names))
    areas = []
    for left_out in range(group.max() + 1):
        stays = (group[first] != left_out) & (group[second] != left_out)
        if 0 < pairs.same[stays].sum() < stays.sum():
            areas.append(float(roc_auc_score(pairs.same[stays], -distance[stays])))
    groups = len(areas)
    spread = float(np.std(areas)) if groups > 1 else np.inf
    if spread == 0.0:
        agreed = wilson(round(area * len(names)), len(names))
        return Estimate(area, min(area, agreed.low), max(area, agreed.high), len(distance))
    # √((G − 1)/G · Σ(θ_g − θ̄)²); with one group nothing is known
    half = float(t.ppf(0.5 + CONFIDENCE / 2, groups - 1)) * spread * np.sqrt(groups - 1) if groups > 1 else 1.0
    return Estimate(area, max(0.0, area - half), min(1.0, area + half), len(distance))
