"""What the readers of drawn sets share: rows are drawn where they are written, their truth goes beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stargan_ray.data.schema import Row, Truth
from stargan_ray.data.units import Source

Draw = Callable[[Any, int, int], Iterator[tuple[Row, Truth]]]  # (config, start, stop), a function of a module


@dataclass(frozen=True)
class DrawnUnit:
    """Rows ``start`` to ``stop`` of a drawn set."""

    number: int
    config: Any  # a dataclass
    draw: Draw
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
        for row, truth in self.draw(self.config, self.start, self.stop):
            yield row
            yield truth


def drawn_source(reader: str, config: Any, draw: Draw, rows: int, domains: tuple[str, ...], shard_rows: int) -> Source:
    """A drawn set as a source.

    Args:
        reader: its name, for the manifest.
        config: which set; a dataclass.
        draw: makes its rows.
        rows: how many it has.
        domains: names of its expressions.
        shard_rows: rows of one unit.
    """
    first, _ = next(draw(config, 0, 1))
    sample = hashlib.sha256(first.image).hexdigest()
    units = tuple(
        DrawnUnit(number, config, draw, sample, start, min(start + shard_rows, rows))
        for number, start in enumerate(range(0, rows, shard_rows))
    )
    return Source({"reader": reader, **dataclasses.asdict(config)}, domains, units)
