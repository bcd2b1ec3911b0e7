"""What the verdicts of people come to: one outcome a key, and one a row of an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stargan_ray.data.reviews import Reviews, Verdict
from stargan_ray.errors import InputError, unknown


@dataclass(frozen=True)
class Outcome:
    """What people decided of a row."""

    action: Literal["keep", "drop", "relabel"]
    new_label: str | None = None  # for relabel


@dataclass(frozen=True)
class Settled:
    """Keys with an outcome, and those whose reviewers have no majority."""

    outcomes: Mapping[str, Outcome]
    disputed: tuple[str, ...]


def settled(verdicts: Iterable[Verdict]) -> Settled:
    """One outcome a key: that of more than half of its reviewers.

    Args:
        verdicts: that stand, at most one a reviewer and key.
    """
    votes: dict[str, Counter[Outcome]] = {}
    for each in verdicts:
        assert each.action != "undo", "an undo does not stand"
        votes.setdefault(each.key, Counter())[Outcome(each.action, each.new_label)] += 1
    first = {key: counted.most_common(1)[0] for key, counted in votes.items()}
    won = {key: outcome for key, (outcome, count) in first.items() if 2 * count > votes[key].total()}
    return Settled(won, tuple(sorted(votes.keys() - won.keys())))


@dataclass(frozen=True)
class Applied:
    """The verdicts laid on the rows of an index.

    Attributes:
        outcomes: of each row that people have settled, by its position in the index.
        disputed: keys without a majority.
        stale: verdicts on another image or label than the row has now; they count for nothing.
        unknown_keys: keys that have verdicts and no row.
    """

    outcomes: Mapping[int, Outcome]
    disputed: int
    stale: int
    unknown_keys: int


def apply(index: pa.Table, labels: Sequence[str | None], domains: Sequence[str], reviews: Reviews) -> Applied:
    """What people decided of each row.

    Args:
        index: ``key`` of n rows, each once, and ``content_hash`` of their images as they are now.
        labels: n names, None where a row has no label now.
        domains: names that a label may have.
        reviews: of the data set.

    Raises:
        InputError: If a verdict gives a label that is not in ``domains``.
    """
    judged = {each.key for each in reviews.standing}
    places = np.flatnonzero(pc.is_in(index["key"], value_set=pa.array(sorted(judged), pa.string()))).tolist()
    some = index.select(["key", "content_hash"]).take(pa.array(places, pa.int64())).to_pylist()
    place = {row["key"]: at for row, at in zip(some, places, strict=True)}
    rows = {row["key"]: (row["content_hash"], labels[place[row["key"]]]) for row in some}
    known = [each for each in reviews.standing if each.key in rows]
    current = [each for each in known if (each.content_hash, each.label) == rows[each.key]]
    for each in current:
        if each.new_label is not None and each.new_label not in domains:
            raise InputError(f"{each.reviewer} on {each.key!r}: {unknown('label', each.new_label, domains)}")
    result = settled(current)
    return Applied(
        {place[key]: outcome for key, outcome in result.outcomes.items()},
        disputed=len(result.disputed),
        stale=len(known) - len(current),
        unknown_keys=len(judged - rows.keys()),
    )
