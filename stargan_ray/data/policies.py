"""Which labels are believed: three policies over the probabilities that a classifier gives, as a pure decision.

``paper``               the paper "removed those that had a low confidence score or a different label" (section III.A)
``confident-learning``  cleanlab's: the rates of confusion between classes are estimated from the probabilities, and
                        as many rows of each class go as they say (Northcutt, Jiang & Chuang, JAIR 2021)
``soft``                rows stay with a weight: how likely their label is against the likeliest one

All three believe a classifier, so it must not have learnt the labels that it judges (``data/folds.py``). The paper's
classifier knows seven expressions, its data has eight: taken literally, its rule deletes contempt. Here the policy
says what happens to labels that the classifier cannot predict, and by default they bypass the filter and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stargan_ray.data.policy import Issues, Policy, Rule
from stargan_ray.data.schema import GROUP_ROWS
from stargan_ray.errors import InputError

KEPT = "kept"
DISAGREES = "label disagrees"
LOW = "low confidence"
UNLIKELY = "label unlikely"
UNKNOWN = "class unknown to the classifier"
NO_LABEL = "no label"
UNREADABLE = "unreadable"
REASONS = (KEPT, DISAGREES, LOW, UNLIKELY, UNKNOWN, NO_LABEL, UNREADABLE)

Probabilities = npt.NDArray[np.floating[Any]]
Wide = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Decisions:
    """What became of n rows; a reason other than ``kept`` on a kept row says why it bypassed the filter.

    Attributes:
        kept: (n,) bool.
        reason: (n,) of REASONS.
        predicted: (n,) name of the likeliest class, or None where there are no probabilities.
        confidence: (n,) its probability, NaN where there is none.
        weight: (n,) in (0, 1] where a row is kept and 0 where it is not; below 1 by ``soft`` alone.
    """

    kept: Bools
    reason: tuple[str, ...]
    predicted: tuple[str | None, ...]
    confidence: Wide
    weight: Wide


def decide(
    labels: Sequence[str | None], probabilities: Probabilities, classes: Sequence[str], policy: Policy
) -> Decisions:
    """Keep the rows whose label the classifier confirms, in the sense of the policy.

    Args:
        labels: n names, None where a row has no label.
        probabilities: (n, K), rows summing to 1; a row of NaN is an image that could not be read.
        classes: what the K columns mean.
        policy: the rest.
    """
    if probabilities.shape != (len(labels), len(classes)):
        raise InputError(
            f"probabilities are {probabilities.shape}, {len(labels)} rows and {len(classes)} classes need "
            f"({len(labels)}, {len(classes)})"
        )
    places = {name: k for k, name in enumerate(classes)}
    label = np.array([-2 if name is None else places.get(name, -1) for name in labels], dtype=np.int64)
    readable: Bools = np.atleast_1d(~np.isnan(probabilities).any(axis=1))
    best = probabilities.argmax(axis=1)  # of a row that cannot be read any
    weight, reason = np.zeros(len(label)), np.full(len(label), UNREADABLE, dtype=object)
    # what cannot be read helps nobody, whatever its label
    for code, why, choice in ((-2, NO_LABEL, policy.unlabelled), (-1, UNKNOWN, policy.unknown_class)):
        found = readable & (label == code)
        weight[found], reason[found] = float(choice == "keep"), why
    judged = np.flatnonzero(readable & (label >= 0))
    if len(judged):
        weight[judged], reason[judged] = RULES[policy.rule](label[judged], probabilities[judged], policy)
    return Decisions(
        kept=weight > 0,
        reason=tuple(reason),
        predicted=tuple(classes[k] if ok else None for k, ok in zip(best, readable, strict=True)),
        confidence=np.where(readable, own_probability(best, probabilities), np.nan),
        weight=weight,
    )


Verdicts = tuple[Wide, npt.NDArray[np.object_]]  # weight, 0 = dropped, and reason of each row


def _named(codes: npt.NDArray[Any], reasons: tuple[str, ...]) -> npt.NDArray[np.object_]:
    """The reason of each row; there is one text of each, where an array of texts would have one a row."""
    return np.array(reasons, dtype=object)[codes.astype(np.intp)]


def own_probability(label: Ints, probabilities: Probabilities) -> Wide:
    """(n,) the probability that each row's own label has."""
    own: Wide = probabilities[np.arange(len(label)), label].astype(np.float64)
    return own


Judge = Callable[[Ints, Probabilities, Policy], Verdicts]


def _row_by_row(judge: Judge) -> Judge:
    """The same rule on some thousand rows at a time: what it computes on the way is then small."""

    def in_parts(label: Ints, probabilities: Probabilities, policy: Policy) -> Verdicts:
        starts = range(0, len(label), GROUP_ROWS)
        some = [judge(label[at : at + GROUP_ROWS], probabilities[at : at + GROUP_ROWS], policy) for at in starts]
        weight, reason = zip(*some, strict=True)
        return np.concatenate(weight), np.concatenate(reason)

    return in_parts


def _paper(label: Ints, probabilities: Probabilities, policy: Policy) -> Verdicts:
    agrees = probabilities.argmax(axis=1) == label
    sure = own_probability(label, probabilities) >= policy.least
    return (agrees & sure).astype(np.float64), _named(np.where(agrees, sure, 2), (LOW, KEPT, DISAGREES))


def _confident_learning(label: Ints, probabilities: Probabilities, policy: Policy) -> Verdicts:
    wrong = label_issues(label, probabilities, policy.issues)
    sure = own_probability(label, probabilities) >= policy.least
    return (~wrong & sure).astype(np.float64), _named(np.where(wrong, 2, sure), (LOW, KEPT, UNLIKELY))


def label_issues(label: Ints, probabilities: Probabilities, issues: Issues) -> Bools:
    """(n,) the rows that cleanlab takes for mislabelled.

    Raises:
        InputError: cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues  # seconds of import, and only this rule needs it
    except ImportError as error:
        raise InputError("policy.rule = 'confident-learning' needs cleanlab: pip install cleanlab") from error
    # It wants a row of every class it is told of: columns without one would stop it.
    present = np.unique(label)
    if len(present) < 2:
        return np.zeros(len(label), dtype=np.bool_)
    some = probabilities[:, present].astype(np.float64)
    share = some / np.maximum(some.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found: Bools = find_label_issues(np.searchsorted(present, label), share, filter_by=issues, n_jobs=1)
    return found


def _soft(label: Ints, probabilities: Probabilities, policy: Policy) -> Verdicts:
    weight = label_weight(label, probabilities)
    enough = (weight >= policy.least) & (weight > 0)
    return np.where(enough, weight, 0.0), _named(enough, (UNLIKELY, KEPT))


def label_weight(label: Ints, probabilities: Probabilities) -> Wide:
    """(n,) how likely each row's label is against the likeliest one, in [0, 1]; 1 where they are the same."""
    weight: Wide = own_probability(label, probabilities) / probabilities.max(axis=1).astype(np.float64)
    return weight


RULES: dict[Rule, Judge] = {
    "paper": _row_by_row(_paper),
    "confident-learning": _confident_learning,
    "soft": _row_by_row(_soft),
}
