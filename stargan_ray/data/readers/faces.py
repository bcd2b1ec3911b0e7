"""Reader of the generated faces: rows are made where they are written, their truth goes beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from stargan_ray.data import faces
from stargan_ray.data.schema import EXPRESSIONS, Row, Truth
from stargan_ray.data.units import SHARD_ROWS, Source


@dataclass(frozen=True)
class FacesUnit:
    """Rows ``start`` to ``stop`` of a generated set."""

    number: int
    config: faces.FacesConfig
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
        for row, truth in faces.generate(self.config, self.start, self.stop):
            yield row
            yield truth


def read_faces(config: faces.FacesConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """Generated faces as a source.

    Args:
        config: Which set.
        shard_rows: Rows of one unit.
    """
    first, _ = next(faces.generate(config, 0, 1))
    sample = hashlib.sha256(first.image).hexdigest()
    rows = faces.count(config)
    starts = range(0, rows, shard_rows)
    units = tuple(
        FacesUnit(number, config, sample, start, min(start + shard_rows, rows)) for number, start in enumerate(starts)
    )
    return Source({"reader": "faces", **dataclasses.asdict(config)}, EXPRESSIONS, units)
