"""The filter's result as a data set beside the source: decisions counted, tabled, and the kept rows as units.

Nothing of the source is deleted or changed: a refined data set holds its kept rows, with the labels and weights that
the decisions gave them, and names every other row as skipped, with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.manifest import UNLABELLED
from stargan_ray.data.overrule import REVIEWED, Ruling
from stargan_ray.data.policies import REASONS, Decisions, Probabilities
from stargan_ray.data.policy import Policy
from stargan_ray.data.schema import GROUP_ROWS, Row, Skipped
from stargan_ray.data.shards import Dataset
from stargan_ray.data.units import Source
from stargan_ray.errors import InputError


@dataclass(frozen=True)
class Tally:
    """One domain before and after."""

    domain: str
    before: int
    after: int
    reasons: Mapping[str, int]


def tally(labels: Sequence[str | None], ruling: Ruling, domains: Sequence[str]) -> tuple[Tally, ...]:
    """Rows of each domain before and after, and how many of those before for each reason; then those without a label.

    A row that a person gave another label is counted before under the old one and after under the new one.
    """
    old = [UNLABELLED if label is None else label for label in labels]
    new = [UNLABELLED if label is None else label for label in ruling.labels]
    before, after = Counter(old), Counter(name for name, kept in zip(new, ruling.kept, strict=True) if kept)
    pairs = Counter(zip(old, ruling.reason, strict=True))
    shown = [*domains, *([UNLABELLED] if UNLABELLED in before else [])]
    reasons = (*REASONS, *REVIEWED)
    return tuple(
        Tally(name, before[name], after[name], {why: pairs[name, why] for why in reasons if (name, why) in pairs})
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


DECISION_TEXTS = ("label", "predicted", "reason", "filter_reason", "new_label")


def decision_schema(classes: Sequence[str]) -> pa.Schema:
    """The columns of a table of decisions.

    Every row and why: key, label, predicted, confidence, p_<class> of each class, kept, weight, reason, new_label.
    ``new_label`` is the one that a person gave, null elsewhere. ``filter_kept`` and ``filter_reason`` are what the
    filter decided, whatever a person said afterwards: what its precision and recall are estimated from.
    """
    text, number, said = pa.string(), pa.float32(), pa.bool_()
    scored = [("key", text), ("label", text), ("predicted", text), ("confidence", number)]
    ruled = [("kept", said), ("weight", number), ("reason", text)]
    filtered = [("filter_kept", said), ("filter_reason", text), ("new_label", text)]
    return pa.schema([*scored, *((f"p_{name}", number) for name in classes), *ruled, *filtered])


def decision_groups(
    keys: pa.ChunkedArray,
    labels: Sequence[str | None],
    probabilities: Probabilities,
    classes: Sequence[str],
    decisions: Decisions,
    ruling: Ruling,
) -> Iterator[pa.Table]:
    """The table of decisions in parts of some thousand rows; see :func:`decision_schema`."""
    for start in range(0, len(labels), GROUP_ROWS):
        part = slice(start, start + GROUP_ROWS)
        old, new = labels[part], ruling.labels[part]
        columns = [
            keys[part],
            old,
            decisions.predicted[part],
            decisions.confidence[part].astype(np.float32),
            *probabilities[part].astype(np.float32).T,
            ruling.kept[part],
            ruling.weight[part].astype(np.float32),
            ruling.reason[part],
            decisions.kept[part],
            decisions.reason[part],
            [given if given != was else None for given, was in zip(new, old, strict=True)],
        ]
        yield pa.table(columns, schema=decision_schema(classes))


# -- the refined data set -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeptRows:
    """The kept rows of one shard of the source, as a unit of the refined data set."""

    number: int
    shard: str  # URI of the source's Parquet file
    shard_hash: str  # content hash of its rows
    rows: npt.NDArray[np.int32]  # positions in the shard, ascending
    weights: npt.NDArray[np.float32]  # of each, or none = all 1
    relabelled: tuple[tuple[int, int], ...]  # position in the shard, new domain

    @property
    def fingerprint(self) -> str:
        """Of the rows themselves, wherever they lie."""
        told = ["refine", self.shard_hash, self.rows.tolist(), self.weights.tolist(), self.relabelled]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def produce(self) -> Iterator[Row]:
        """The rows as they are, same keys, same bytes, with their weight and the label that a person gave them."""
        try:
            table = pq.read_table(storage.open_input(self.shard)).take(pa.array(self.rows))
        except (pa.ArrowInvalid, OSError) as error:
            raise storage.failure("read", self.shard, error) from error
        new = dict(self.relabelled)
        for place, row in enumerate(table.drop_columns(["content_hash"]).to_pylist()):
            if (position := int(self.rows[place])) in new:
                row["expression"] = new[position]
            if len(self.weights):
                row["weight"] = float(self.weights[place])
            yield Row(**row)


def refined(dataset: Dataset, ruling: Ruling, policy: Policy, told: Mapping[str, object]) -> Source:
    """The kept rows of a data set as a source; the dropped ones are its list of skipped keys.

    Args:
        dataset: what was scored.
        ruling: one entry for each row, in the order of its index.
        policy: what decided.
        told: what else the manifest says: the classifier, the reviews.

    Raises:
        InputError: nothing would be left.
    """
    if not ruling.kept.any():
        counts = ", ".join(f"{n} {why}" for why, n in sorted(Counter(ruling.reason).items()))
        raise InputError(f"{dataset.uri}: the policy keeps no row ({counts}): lower policy.threshold")
    gone = np.flatnonzero(~ruling.kept)
    keys = dataset.index["key"].take(pa.array(gone))
    dropped = (Skipped(key.as_py(), ruling.reason[row]) for key, row in zip(keys, gone.tolist(), strict=True))
    description = {
        "reader": "refine",
        "data": dataset.uri,
        "content_hash": dataset.manifest.content_hash,
        "policy": asdict(policy) | {"threshold": policy.least},
        **told,
    }
    return Source(description, dataset.manifest.domains, tuple(_units(dataset, ruling)), skipped=tuple(dropped))


def _units(dataset: Dataset, ruling: Ruling) -> Iterator[KeptRows]:
    shards = dataset.index["shard"].to_numpy()
    places = dataset.index["row"].to_numpy()
    domains = {name: number for number, name in enumerate(dataset.manifest.domains)}
    old = dataset.index["expression"].to_pylist()
    new = [None if label is None else domains[label] for label in ruling.labels]
    for number, shard in enumerate(dataset.manifest.shards):
        rows = np.flatnonzero((shards == number) & ruling.kept)
        rows = rows[np.argsort(places[rows])]
        weights = ruling.weight[rows].astype(np.float32)
        yield KeptRows(
            number,
            storage.join(dataset.uri, shard.path),
            shard.hash,
            places[rows].astype(np.int32),
            weights[:0] if (weights == 1).all() else weights,
            tuple((int(places[row]), label) for row in rows if (label := new[row]) is not None and label != old[row]),
        )
