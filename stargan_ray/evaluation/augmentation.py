"""Table II: does a classifier recognise expressions better when translated images are added to its training?

Rows are arms (the classifier alone, and with the translations of a method) under a kind of split. Every image is held
out once for each seed; what is counted is whether it was recognised.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate, paired_difference, proportion

PLAIN = "VGG16"
# Kind of split -> how a table names it.
KINDS = {"people": "people apart", "images": "images at random, people in both"}
# What the paper's Table II prints for KDEF, per cent; nothing here was measured by this project.
PAPER = {PLAIN: 93.78, f"{PLAIN} + StarGAN": 94.00, f"{PLAIN} + LAUN": 95.97, f"{PLAIN} + the paper's": 96.38}
PAPER_DOUBTS = (
    "LAUN's abstract implies 93.78 for StarGAN (95.97 is 2.19 above it), the figure printed for VGG16 alone",
    "on about 490 test images 95.97 and 96.38 differ by less than the noise of ±1.7 points",
    "no interval, number of seeds or kind of split is printed",
)
_RESAMPLES = 9_999


@dataclass(frozen=True)
class Arm:
    """What one arm recognised, over all folds, under one kind of split.

    Attributes:
        name: ``VGG16``, or ``VGG16 + <method>``.
        kind: of KINDS.
        hits: (S, n) bool, for each seed and image whether it was recognised while it was held out.
        folds: (S, n) int, the fold that each image was held out with.
        persons: (n,) who each image shows.
    """

    name: str
    kind: str
    hits: npt.NDArray[np.bool_]
    folds: npt.NDArray[np.int64]
    persons: npt.NDArray[Any]

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit."""
        if self.hits.ndim != 2 or self.hits.shape != self.folds.shape or self.hits.shape[1:] != self.persons.shape:
            shapes = f"{self.hits.shape}, {self.folds.shape} and {self.persons.shape}"
            raise InputError(f"arm {self.name!r}: hits, folds and persons are of {shapes}: allowed are (S, n) and (n,)")

    @property
    def by_seed(self) -> list[float]:
        """Accuracy pooled over the folds, for each seed."""
        return [float(share) for share in self.hits.mean(axis=1)]

    @property
    def everyone(self) -> npt.NDArray[Any]:
        """(S · n,) the person of each hit in the order of ``hits.ravel()``."""
        return np.tile(self.persons, len(self.hits))

    def accuracy(self) -> Estimate:
        """Mean of the seeds' accuracies; its interval is over people, with every seed's images of a person together."""
        return proportion(self.hits.ravel(), self.everyone)

    def deviation(self) -> float | None:
        """Standard deviation of the seeds' accuracies; None of one seed."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.hits) > 1 else None


@dataclass(frozen=True)
class Gain:
    """An arm against the plain one, on the same images under the same seeds.

    Attributes:
        difference: of the accuracies; the interval resamples people.
        p_people: chance of a difference as large, either way, if for each person it were a coin's toss which arm
            did better: a sign-flip permutation test over people, since images of one person are not independent.
        p_trainings: the same over trainings (a seed's fold): one lucky network is better on all its people at once,
            which a test over people takes for evidence.
        trainings: how many there are; with n of them ``p_trainings`` is never below 2 / 2^n.
    """

    difference: Estimate
    p_people: float
    p_trainings: float
    trainings: int

    @property
    def p(self) -> float:
        """Chance that it is noise: the larger of the two, for a gain must hold for other people and other trainings."""
        return max(self.p_people, self.p_trainings)


def gain(arm: Arm, plain: Arm) -> Gain:
    """The difference of an arm to the plain one.

    Raises:
        InputError: They were not measured on the same images under as many seeds and the same folds.
    """
    if arm.kind != plain.kind or arm.hits.shape != plain.hits.shape or not np.array_equal(arm.folds, plain.folds):
        raise InputError(
            f"{arm.name} and {plain.name} were held out differently: allowed are the same images and folds"
        )
    difference = paired_difference(arm.hits.ravel(), plain.hits.ravel(), arm.everyone)
    trainings = (arm.folds + np.arange(len(arm.folds))[:, None] * (arm.folds.max() + 1)).ravel()
    each = (arm.hits.astype(np.float64) - plain.hits).ravel()
    many = len(np.unique(trainings))
    return Gain(difference, sign_flip(each, arm.everyone), sign_flip(each, trainings), many)


def sign_flip(differences: npt.ArrayLike, groups: npt.ArrayLike) -> float:
    """Two-sided p of a permutation test that flips the sign of each group's sum of differences.

    All flips are tried where they are at most 9,999, else 9,999 random ones (and p is at least 2 in 10,000).

    Args:
        differences: (n,) of each image.
        groups: (n,) what is flipped together.
    """
    from scipy.stats import permutation_test

    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(index.reshape(-1), weights=np.asarray(differences, dtype=np.float64))
    if len(sums) < 2:
        return 1.0  # one group tells nothing of others
    # Exchanging a sum with zero, and negating the pair, is flipping its sign: scipy swaps the halves of a pair.
    found = permutation_test(
        (sums / 2, -sums / 2),
        lambda first, second, axis: (first - second).sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


@dataclass(frozen=True)
class TableTwo:
    """The table: arms in order, each kind's plain one among them.

    Attributes:
        arms: of all kinds.
        facts: about all trainings, such as steps; shown below the table.
    """

    arms: tuple[Arm, ...]
    facts: Mapping[str, str | int | float]

    def __post_init__(self) -> None:
        """Refuse a kind without its plain arm: there would be nothing to compare with."""
        for kind in dict.fromkeys(arm.kind for arm in self.arms):
            if PLAIN not in [arm.name for arm in self.arms if arm.kind == kind]:
                raise InputError(f"split kind {kind!r} has no arm {PLAIN!r}: allowed is one in every kind")

    @functools.cached_property
    def gains(self) -> dict[tuple[str, str], Gain]:
        """(kind, name) -> the difference to the kind's plain arm."""
        plain = {arm.kind: arm for arm in self.arms if arm.name == PLAIN}
        return {(a.kind, a.name): gain(a, plain[a.kind]) for a in self.arms if a.name != PLAIN}

    def section(self) -> dict[str, Any]:
        """For a report: kind -> arm -> figures, the facts, and what the paper prints beside them."""
        found: dict[str, Any] = {}
        for arm in self.arms:
            values: dict[str, Any] = {"accuracy": arm.accuracy(), "seeds": len(arm.hits), "by_seed": arm.by_seed}
            values["deviation"] = arm.deviation()
            if (ours := self.gains.get((arm.kind, arm.name))) is not None:
                values |= {"difference": ours.difference, "p": ours.p}
                values |= {"p_people": ours.p_people, "p_trainings": ours.p_trainings}
            found.setdefault(arm.kind, {})[arm.name] = values
        return {**found, "facts": dict(self.facts), "paper_as_printed": dict(PAPER), "paper_doubts": list(PAPER_DOUBTS)}

    def as_csv(self) -> str:
        """Every figure, a line each: split, row, figure, value, low, high, n, seeds."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("split", "row", "figure", "value", "low", "high", "n", "seeds"))
        for arm in self.arms:
            head, seeds = (arm.kind, arm.name), len(arm.hits)
            lines: list[tuple[str, Estimate | float]] = [("accuracy", arm.accuracy())]
            if (ours := self.gains.get(head)) is not None:
                lines += [("difference", ours.difference), ("p_people", ours.p_people)]
                lines += [("p_trainings", ours.p_trainings)]
            for name, value in lines:
                ends = (value.value, value.low, value.high) if isinstance(value, Estimate) else (value, "", "")
                writer.writerow((*head, name, *ends, arm.hits.size, seeds))
        return out.getvalue()

    def as_markdown(self) -> str:
        """Our table, what all its trainings share, and the paper's as a table of its own."""
        lines = [["", "split", "accuracy", "seeds", f"difference to {PLAIN}", "p (noise)"]]
        for arm in self.arms:
            ours = self.gains.get((arm.kind, arm.name))
            against = ("–", "–") if ours is None else (points(ours.difference), chance(ours))
            lines.append([arm.name, KINDS.get(arm.kind, arm.kind), share(arm.accuracy()), seeds_told(arm), *against])
        told = ", ".join(f"{name}: {value}" for name, value in self.facts.items())
        printed = [["paper, as printed", "accuracy"], *([name, f"{value:.2f} %"] for name, value in PAPER.items())]
        doubts = "".join(f"- {doubt}\n" for doubt in PAPER_DOUBTS)
        return f"{_table(lines)}\n{told}\n\n{_table(printed)}\n{doubts}"


def share(found: Estimate) -> str:
    """A share in per cent with its interval."""
    return f"{found.value:.1%} [{found.low * 100:.1f}, {found.high * 100:.1f}]"


def points(found: Estimate) -> str:
    """A difference of shares in points with its interval."""
    return f"{found.value * 100:+.1f} [{found.low * 100:+.1f}, {found.high * 100:+.1f}]"


def chance(found: Gain) -> str:
    """The p of a cell, and whether there are too few trainings for a small one."""
    shown = f"{found.p:.3f}" if found.p >= 0.001 else "< 0.001"
    least = 2.0 ** (1 - found.trainings)
    return f"{shown} (of {found.trainings} trainings at least {least:.3g})" if least > 0.05 else shown


def seeds_told(arm: Arm) -> str:
    """How many seeds, and how far they are apart."""
    apart = arm.deviation()
    return "1 (how trainings vary is unknown)" if apart is None else f"{len(arm.hits)} (s.d. {apart * 100:.1f})"


def _table(lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])) + "\n"
