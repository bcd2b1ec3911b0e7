"""A small sound data set, and what it takes to plant a fault in it; every picture is generated."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from stargan_ray.data.manifest import Manifest
from stargan_ray.data.schema import Row, Skipped
from stargan_ray.data.units import Source, write_table
from stargan_ray.data.writing import write_dataset

DOMAINS = ("calm", "glad")
UNIT = 100  # rows of a unit: more than one row group


@dataclass(frozen=True)
class GivenUnit:
    number: int
    rows: tuple[Row | Skipped, ...]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Skipped]:
        yield from self.rows


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def noise(number: int, low: int = 0, high: int = 256, size: tuple[int, int] = (12, 16)) -> Image.Image:
    """Random colours in [low, high), another picture for every number; size is (width, height)."""
    drawn = np.random.default_rng(number).integers(low, high, (size[1], size[0], 3))
    return Image.fromarray(drawn.astype(np.uint8))


def row(
    key: str,
    image: bytes | None = None,
    *,
    expression: int | None = 0,
    identity: str | None = None,
    split: str = "train",
) -> Row:
    """A row that is sound unless told otherwise: its picture is drawn from its key."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4])
    return Row(key, encoded(noise(number)) if image is None else image, expression, identity, split, "planted")


def sound(per_domain: int = 80) -> list[Row]:
    """Two domains; 20 people in train, 4 in val, 4 in test; nothing is wrong with it."""
    rows = []
    for split, count, people in (("train", per_domain, 20), ("val", 8, 4), ("test", 8, 4)):
        for number in range(2 * count):
            who = f"{split}-person-{number // 2 % people}"
            rows.append(row(f"{split}/{number:03d}.png", expression=number % 2, identity=who, split=split))
    return rows


def write(folder: Path, rows: Sequence[Row | Skipped], domains: Sequence[str] = DOMAINS) -> Manifest:
    """Write rows as a data set."""
    starts = range(0, len(rows), UNIT)
    units = tuple(GivenUnit(n, tuple(rows[start : start + UNIT])) for n, start in enumerate(starts))
    return write_dataset(str(folder), Source({"reader": "planted"}, tuple(domains), units))


def damage(folder: Path, key: str, image: bytes) -> None:
    """Put other bytes where a row's image is, as a failing disk would, and leave index and manifest alone."""
    for shard in sorted((folder / "rows").iterdir()):
        table = pq.read_table(shard)
        keys = table["key"].to_pylist()
        if key in keys:
            images = table["image"].to_pylist()
            images[keys.index(key)] = image
            place = table.column_names.index("image")
            changed = table.set_column(place, table.schema.field("image"), pa.array(images, pa.binary()))
            write_table(str(shard), changed)
            return
    raise KeyError(key)
