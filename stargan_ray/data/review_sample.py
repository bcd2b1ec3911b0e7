"""Which rows people should look at: a sample of every class, of what its filter dropped and of what it kept.

A stratum is a given class × what the filter did with the row. Within a stratum rows are taken in the order of a
hash of (seed, key). So every stratum's part is a simple random sample of it, which an estimate may weight by the
stratum's size; a larger sample contains the smaller one; and another border between strata leaves most of the
rows that were judged already in the sample.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stargan_ray.data.manifest import UNLABELLED
from stargan_ray.data.policies import KEPT, UNREADABLE
from stargan_ray.data.refined import Refined
from stargan_ray.errors import InputError

DROPPED = "dropped"
NEAR = "kept, near the threshold"
SURE = "kept with confidence"
BYPASSED = "kept, bypassing the filter"
NO_LABEL = "without a label"
KINDS = (DROPPED, NEAR, SURE, BYPASSED, NO_LABEL)
FILTERED = (DROPPED, NEAR, SURE, BYPASSED)  # the filter's own work on given labels: what an estimate is about


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How many rows, and of which.

    Attributes:
        per_class: rows of every given class, spread over its strata evenly; None = every row there is.
        near: a kept row is near the threshold where the probability of its own label (by the rule ``soft``: its
            weight) is less than this above the least of its class that was kept.
        seed: another one gives another sample.
    """

    per_class: int | None = 20
    near: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what gives no sample."""
        if self.per_class is not None and self.per_class < 1:
            raise InputError(f"--per-class {self.per_class}: allowed are values >= 1")
        if not 0 <= self.near <= 1:
            raise InputError(f"--near {self.near}: allowed is 0 to 1")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: allowed are values >= 0")


@dataclass(frozen=True)
class Stratum:
    """A part of the data set, and how much of it is in the sample."""

    label: str  # the given class, or UNLABELLED
    kind: str  # of KINDS
    rows: int  # there are
    sampled: int


@dataclass(frozen=True)
class Sample:
    """Rows to look at, in the order in which to show them.

    Attributes:
        strata: S of them, each with at least one row.
        rows: (n,) positions in the source's index; any beginning holds about equally much of every stratum.
        stratum: (n,) position in ``strata`` of each.
        left_out: rows that nobody can judge, because their image cannot be read.
    """

    strata: tuple[Stratum, ...]
    rows: npt.NDArray[np.int64]
    stratum: npt.NDArray[np.int64]
    left_out: int


def draw_sample(refined: Refined, config: SampleConfig) -> Sample:
    """Choose the rows; the same decisions and configuration give the same sample.

    Raises:
        InputError: If there is no row to judge.
    """
    labels = [UNLABELLED if label is None else label for label in refined.labels]
    kinds = _kinds(refined, labels, config.near)
    places: dict[tuple[str, str], list[int]] = {}
    for row, (label, kind) in enumerate(zip(labels, kinds, strict=True)):
        if kind is not None:
            places.setdefault((label, kind), []).append(row)
    if not places:
        raise InputError(f"{refined.uri}: there is no readable row to review")
    chance = _chances(refined.dataset.index["key"].to_pylist(), config.seed)
    names = [name for name in (*refined.dataset.manifest.domains, UNLABELLED) if name in set(labels)]
    strata: list[Stratum] = []
    chosen: list[tuple[int, bytes, int, int]] = []
    for name in names:
        present = [kind for kind in KINDS if (name, kind) in places]
        sizes = [len(places[name, kind]) for kind in present]
        for kind, size, count in zip(present, sizes, allot(sizes, config.per_class), strict=True):
            ordered = sorted(places[name, kind], key=chance.__getitem__)[:count]
            chosen += [(turn, chance[row], row, len(strata)) for turn, row in enumerate(ordered)]
            strata.append(Stratum(name, kind, size, count))
    shown = sorted(chosen)  # one of every stratum in each turn, mixed
    return Sample(
        tuple(strata),
        np.array([row for _, _, row, _ in shown], np.int64),
        np.array([stratum for *_, stratum in shown], np.int64),
        left_out=sum(kind is None for kind in kinds),
    )


def allot(sizes: Sequence[int], total: int | None) -> list[int]:
    """How many of each stratum, evenly; what a small one cannot give goes to the others, and more never means less.

    Args:
        sizes: of the strata.
        total: of the sample; None = everything.
    """
    if total is None or total >= sum(sizes):
        return list(sizes)
    counts = [0] * len(sizes)
    turns = itertools.cycle(range(len(sizes)))
    while total:
        place = next(turns)
        if counts[place] < sizes[place]:
            counts[place] += 1
            total -= 1
    return counts


def _kinds(refined: Refined, labels: Sequence[str], near: float) -> list[str | None]:
    """What became of each row; None for one whose image could not be read."""
    table = refined.decisions
    kept, reasons = table["kept"].to_pylist(), table["reason"].to_pylist()
    belief = _belief(refined, labels)
    borders: dict[str, float] = {}  # the least belief in each class that was kept: the threshold, whatever the rule
    for label, keep, reason, value in zip(labels, kept, reasons, belief.tolist(), strict=True):
        if keep and reason == KEPT:
            borders[label] = min(value, borders.get(label, value))
    kinds: list[str | None] = []
    for row, (label, keep, reason) in enumerate(zip(labels, kept, reasons, strict=True)):
        if reason == UNREADABLE:
            kinds.append(None)
        elif label == UNLABELLED:
            kinds.append(NO_LABEL)
        elif not keep:
            kinds.append(DROPPED)
        elif reason != KEPT:
            kinds.append(BYPASSED)
        else:
            kinds.append(NEAR if belief[row] < borders[label] + near else SURE)
    return kinds


def _belief(refined: Refined, labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """(n,) what the filter compared with its threshold; NaN where the classifier does not know the label."""
    belief, names = np.full(len(labels), np.nan), np.array(labels)
    table = {name: refined.decisions[f"p_{name}"].to_numpy() for name in refined.classes}
    for name, column in table.items():
        mine = names == name
        belief[mine] = column[mine]
    if refined.policy.get("rule") == "soft":
        belief /= np.max(list(table.values()), axis=0)
    return belief


def _chances(keys: Sequence[str], seed: int) -> list[bytes]:
    """A number by lot for each row, of its key and the seed alone."""
    return [hashlib.sha256(f"{seed} {key}".encode()).digest() for key in keys]
