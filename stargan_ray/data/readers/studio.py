"""Reader of the studio set: rows are drawn where they are written, their truth goes beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from stargan_ray.data import studio
from stargan_ray.data.schema import Row, Truth
from stargan_ray.data.units import SHARD_ROWS, Source


@dataclass(frozen=True)
class StudioUnit:
    """Rows ``start`` to ``stop`` of a studio set."""

    number: int
    config: studio.StudioConfig
    sample: str  # hash of the set's first image: another generator, another fingerprint
    start: int
    stop: int

    @property
    def fingerprint(self) -> str:
        """Hash of the configuration, the range and what the generator makes of it."""
        told = [dataclasses.asdict(self.config), self.sample, self.start, self.stop]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Truth]:
        """The rows, each followed by its truth."""
        for row, truth in studio.generate(self.config, self.start, self.stop):
            yield row
            yield truth


def read_studio(config: studio.StudioConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """The studio set as a source of seven domains.

    Args:
        config: Which set.
        shard_rows: Rows of one unit.
    """
    first, _ = next(studio.generate(config, 0, 1))
    sample = hashlib.sha256(first.image).hexdigest()
    rows = studio.count(config)
    units = tuple(
        StudioUnit(number, config, sample, start, min(start + shard_rows, rows))
        for number, start in enumerate(range(0, rows, shard_rows))
    )
    return Source({"reader": "studio", **dataclasses.asdict(config)}, studio.DOMAINS, units)
