"""Rows that hold the same image bytes, what their labels say, and people who are in several splits.

Equal bytes have equal content hashes. Near duplicates (another crop, another compression) are not looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from stargan_ray.data.schema import SPLITS


@dataclass(frozen=True)
class Copy:
    """One of several rows with the same image."""

    position: int  # in the index
    key: str
    split: str
    expression: str | None
    identity: str | None


@dataclass(frozen=True)
class Copies:
    """All rows with one image, in storage order; two or more."""

    content_hash: str
    rows: tuple[Copy, ...]

    @property
    def leak(self) -> bool:
        """Whether they are in more than one split."""
        return len({row.split for row in self.rows}) > 1

    @property
    def expressions(self) -> tuple[str, ...]:
        """The different expressions that they carry, sorted; a row without one says nothing."""
        return tuple(sorted({row.expression for row in self.rows if row.expression is not None}))

    @property
    def identities(self) -> tuple[str, ...]:
        """The different people that they are said to show, sorted."""
        return tuple(sorted({row.identity for row in self.rows if row.identity is not None}))


def find_copies(index: pa.Table, domains: Sequence[str]) -> list[Copies]:
    """Every group of rows with equal image bytes, those in several splits first, then by first position.

    Args:
        index: INDEX_SCHEMA.
        domains: Names of the expressions.
    """
    hashes = index["content_hash"].combine_chunks().dictionary_encode()
    code = hashes.indices.to_numpy()
    repeated = np.flatnonzero(np.bincount(code, minlength=1)[code] > 1) if len(code) else np.empty(0, np.int64)
    groups: dict[str, list[Copy]] = {}
    columns = ("content_hash", "key", "split", "expression", "identity")
    for position, line in zip(repeated.tolist(), index.select(columns).take(repeated).to_pylist(), strict=True):
        name = None if line["expression"] is None else domains[line["expression"]]
        copy = Copy(position, line["key"], line["split"], name, line["identity"])
        groups.setdefault(line["content_hash"], []).append(copy)
    found = [Copies(content_hash, tuple(rows)) for content_hash, rows in groups.items()]
    return sorted(found, key=lambda each: (not each.leak, each.rows[0].position))


def people_in_several_splits(index: pa.Table) -> dict[str, dict[str, int]]:
    """Person -> split -> images, for the people who are in more than one split, by name."""
    people: dict[str, dict[str, int]] = {}
    for line in index.group_by(["identity", "split"]).aggregate([([], "count_all")]).to_pylist():
        if line["identity"] is not None:
            people.setdefault(line["identity"], {})[line["split"]] = line["count_all"]
    return {
        name: {split: people[name][split] for split in SPLITS if split in people[name]}
        for name in sorted(people)
        if len(people[name]) > 1
    }
