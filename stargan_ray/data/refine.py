"""The filter of noisy labels as a pure decision, and its result as a data set beside the source.

The paper "removed those that had a low confidence score or a different label" (section III.A). Its classifier
knows seven expressions, its data has eight: taken literally, the rule deletes contempt. Here the policy says
what happens to labels that the classifier cannot predict, and by default they bypass the filter and are counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.manifest import UNLABELLED
from stargan_ray.data.schema import Row, Skipped
from stargan_ray.data.shards import Dataset
from stargan_ray.data.units import Source
from stargan_ray.errors import InputError

KEPT = "kept"
DISAGREES = "label disagrees"
LOW = "low confidence"
UNKNOWN = "class unknown to the classifier"
NO_LABEL = "no label"
UNREADABLE = "unreadable"
REASONS = (KEPT, DISAGREES, LOW, UNKNOWN, NO_LABEL, UNREADABLE)

Probabilities = npt.NDArray[np.floating[Any]]
Choice = Literal["keep", "drop"]


@dataclass(frozen=True)
class Policy:
    """When a row stays.

    Attributes:
        threshold: least probability of the row's own label; the paper names none. On generated faces of
            other people with a quarter of the labels wrong, a small classifier of 81 % accuracy that kept 0.4
            and more left 0.7 % wrong labels and 80 % of the right rows (0.9 % and 82 % without a threshold,
            0.1 % and 61 % at 0.7): disagreement does the work, a high threshold costs right rows.
        unknown_class: rows whose label the classifier cannot predict: ``keep`` (they bypass the filter and are
            counted) or ``drop`` (the literal rule).
        unlabelled: rows without a label: ``keep`` or ``drop``.
        warn_lost: a domain that loses more than this share is warned of.
        warn_under: so is a domain that ends with fewer rows than this.
    """

    threshold: float = 0.4
    unknown_class: Choice = "keep"
    unlabelled: Choice = "drop"
    warn_lost: float = 0.8
    warn_under: int = 50

    def __post_init__(self) -> None:
        """Refuse shares that do not exist."""
        for name in ("threshold", "warn_lost"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"policy.{name} = {getattr(self, name)}: allowed is 0 to 1")
        for name in ("unknown_class", "unlabelled"):
            if getattr(self, name) not in ("keep", "drop"):
                raise InputError(f"policy.{name} = {getattr(self, name)!r}: allowed are keep and drop")
        if self.warn_under < 0:
            raise InputError(f"policy.warn_under = {self.warn_under}: allowed are values >= 0")


@dataclass(frozen=True)
class Decisions:
    """What became of n rows; a reason other than ``kept`` on a kept row says why it bypassed the filter.

    Attributes:
        kept: (n,) bool.
        reason: (n,) of REASONS.
        predicted: (n,) name of the likeliest class, or None where there are no probabilities.
        confidence: (n,) its probability, NaN where there is none.
    """

    kept: npt.NDArray[np.bool_]
    reason: tuple[str, ...]
    predicted: tuple[str | None, ...]
    confidence: npt.NDArray[np.float64]


def decide(
    labels: Sequence[str | None], probabilities: Probabilities, classes: Sequence[str], policy: Policy
) -> Decisions:
    """Keep the rows whose label the classifier confirms.

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
    wide = probabilities.astype(np.float64)
    readable = np.atleast_1d(~np.isnan(wide).any(axis=1))
    best = np.where(readable[:, None], wide, 0.0).argmax(axis=1)
    confidence = np.where(readable, wide[np.arange(len(wide)), best], np.nan)
    known = frozenset(classes)
    kept, reason, predicted = np.zeros(len(labels), dtype=np.bool_), [], []
    for row, label in enumerate(labels):
        guess = classes[best[row]] if readable[row] else None
        keep, why = _decide_row(label, guess, float(confidence[row]), known, policy)
        kept[row] = keep
        reason.append(why)
        predicted.append(guess)
    return Decisions(kept, tuple(reason), tuple(predicted), confidence)


def _decide_row(
    label: str | None, predicted: str | None, confidence: float, known: frozenset[str], policy: Policy
) -> tuple[bool, str]:
    """One row; what cannot be read helps nobody, whatever its label."""
    if predicted is None:
        return False, UNREADABLE
    if label is None:
        return policy.unlabelled == "keep", NO_LABEL
    if label not in known:
        return policy.unknown_class == "keep", UNKNOWN
    if predicted != label:
        return False, DISAGREES
    return (True, KEPT) if confidence >= policy.threshold else (False, LOW)


@dataclass(frozen=True)
class Tally:
    """One domain before and after."""

    domain: str
    before: int
    after: int
    reasons: Mapping[str, int]


def tally(labels: Sequence[str | None], decisions: Decisions, domains: Sequence[str]) -> tuple[Tally, ...]:
    """Rows of each domain before and after, and how many for each reason; then those without a label."""
    names = [UNLABELLED if label is None else label for label in labels]
    before, after = Counter(names), Counter(name for name, kept in zip(names, decisions.kept, strict=True) if kept)
    pairs = Counter(zip(names, decisions.reason, strict=True))
    shown = [*domains, *([UNLABELLED] if UNLABELLED in before else [])]
    return tuple(
        Tally(name, before[name], after[name], {why: pairs[name, why] for why in REASONS if (name, why) in pairs})
        for name in shown
    )


def warnings(tallies: Sequence[Tally], policy: Policy) -> tuple[str, ...]:
    """One line for every domain that the filter has ruined; a domain that was empty before is no news."""
    told = []
    for each in tallies:
        if not each.before or each.domain == UNLABELLED:
            continue
        lost = 1 - each.after / each.before
        if lost > policy.warn_lost:
            told.append(f"{each.domain} loses {lost:.0%} of its rows ({each.before} to {each.after})")
        elif each.after < policy.warn_under:
            told.append(f"{each.domain} is left with {each.after} rows of {each.before}")
    return tuple(told)


def decision_table(
    keys: Sequence[str],
    labels: Sequence[str | None],
    probabilities: Probabilities,
    classes: Sequence[str],
    decisions: Decisions,
) -> pa.Table:
    """Every row and why: key, label, predicted, confidence, p_<class> of each class, kept, reason."""
    columns: dict[str, Any] = {
        "key": pa.array(keys, pa.string()),
        "label": pa.array(labels, pa.string()),
        "predicted": pa.array(decisions.predicted, pa.string()),
        "confidence": pa.array(decisions.confidence, pa.float32()),
    }
    columns |= {f"p_{name}": pa.array(probabilities[:, k], pa.float32()) for k, name in enumerate(classes)}
    columns["kept"] = pa.array(decisions.kept)
    columns["reason"] = pa.array(decisions.reason, pa.string())
    return pa.table(columns)


# -- the refined data set -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeptRows:
    """The kept rows of one shard of the source, as a unit of the refined data set."""

    number: int
    shard: str  # URI of the source's Parquet file
    shard_hash: str  # content hash of its rows
    rows: tuple[int, ...]  # positions in the shard, ascending

    @property
    def fingerprint(self) -> str:
        """Of the rows themselves, wherever they lie."""
        return hashlib.sha256(json.dumps(["refine", self.shard_hash, self.rows]).encode()).hexdigest()

    def produce(self) -> Iterator[Row]:
        """The rows as they are: same keys, same bytes, same labels."""
        try:
            table = pq.read_table(storage.open_input(self.shard)).take(pa.array(self.rows, pa.int64()))
        except (pa.ArrowInvalid, OSError) as error:
            raise storage.failure("read", self.shard, error) from error
        for row in table.drop_columns(["content_hash"]).to_pylist():
            yield Row(**row)


def refined(dataset: Dataset, decisions: Decisions, policy: Policy, classifier: str) -> Source:
    """The kept rows of a data set as a source; the dropped ones are its list of skipped keys.

    Args:
        dataset: what was scored.
        decisions: one for each row, in the order of its index.
        policy: what decided.
        classifier: what scored: a name and a hash.
    """
    shards = dataset.index["shard"].to_numpy()
    places = dataset.index["row"].to_numpy()
    units = tuple(
        KeptRows(
            number,
            storage.join(dataset.uri, shard.path),
            shard.hash,
            tuple(sorted(places[(shards == number) & decisions.kept].tolist())),
        )
        for number, shard in enumerate(dataset.manifest.shards)
    )
    keys = dataset.index["key"].to_pylist()
    dropped = (Skipped(keys[row], decisions.reason[row]) for row in np.flatnonzero(~decisions.kept))
    description = {
        "reader": "refine",
        "data": dataset.uri,
        "content_hash": dataset.manifest.content_hash,
        "classifier": classifier,
        "policy": asdict(policy),
    }
    return Source(description, dataset.manifest.domains, units, skipped=tuple(dropped))
