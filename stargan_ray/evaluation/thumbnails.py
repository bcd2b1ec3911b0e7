"""Which images of a data set are worth showing, and their small pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from stargan_ray.data.decode import UndecodableError, whole
from stargan_ray.data.duplicates import find_copies
from stargan_ray.data.manifest import UNLABELLED
from stargan_ray.data.shards import Dataset

SIDE = 96  # longest side of a small picture in pixels; smaller images keep their size
EXTREMES = 8  # how many of the darkest, flattest, smallest and largest
COPIES = 12  # how many groups of copies have a picture
_QUALITY = 88

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Thumbnail:
    """A small picture with what is known of its image."""

    jpeg: bytes
    key: str
    split: str
    width: int  # pixels of the image itself
    height: int
    brightness: float
    contrast: float


@dataclass(frozen=True)
class Thumbnails:
    """The pictures of a page."""

    expressions: Mapping[str, Sequence[Thumbnail]]  # domain, or UNLABELLED -> a sample of it
    extremes: Mapping[str, Sequence[Thumbnail]]  # "darkest", "flattest", and where sizes differ "smallest", "largest"
    copies: Mapping[str, Thumbnail]  # content hash -> the image


def thumbnails(dataset: Dataset, facts: pa.Table, *, sample: int, seed: int) -> Thumbnails:
    """Choose and draw; the same data and seed give the same pictures.

    Args:
        dataset: What to show.
        facts: FACTS_SCHEMA of its index; rows with a fault are never chosen.
        sample: Images of every expression, 0 or more.
        seed: Of the sample, 0 or more.

    Raises:
        StorageError: If a shard that could be read has gone meanwhile.
    """
    usable = np.flatnonzero(facts["fault"].is_null().to_numpy())
    expressions = _sampled(dataset, usable, sample, seed)
    extremes = _extremes(facts, usable)
    readable = set(usable.tolist())
    groups = [
        each for each in find_copies(dataset.index, dataset.manifest.domains) if each.rows[0].position in readable
    ]
    copies = {each.content_hash: each.rows[0].position for each in groups[:COPIES]}
    chosen = [rows for rows in (*expressions.values(), *extremes.values()) if len(rows)]
    wanted = np.unique(np.concatenate([*chosen, np.fromiter(copies.values(), np.int64)]))
    drawn = _draw(dataset, facts, wanted)
    return Thumbnails(
        {name: [drawn[row] for row in rows.tolist() if row in drawn] for name, rows in expressions.items()},
        {name: [drawn[row] for row in rows.tolist() if row in drawn] for name, rows in extremes.items()},
        {content_hash: drawn[row] for content_hash, row in copies.items() if row in drawn},
    )


def _sampled(dataset: Dataset, usable: Ints, sample: int, seed: int) -> dict[str, Ints]:
    labels = dataset.index["expression"].fill_null(-1).to_numpy()[usable]
    chosen = {}
    for label, name in [*enumerate(dataset.manifest.domains), (-1, UNLABELLED)]:
        rows = usable[labels == label]
        if len(rows):
            drawn = np.random.default_rng([seed, label + 1]).permutation(len(rows))[:sample]
            chosen[name] = rows[np.sort(drawn)]
    return chosen


def _extremes(facts: pa.Table, usable: Ints) -> dict[str, Ints]:
    def lowest(values: npt.NDArray[Any]) -> Ints:
        return usable[np.argsort(values[usable], kind="stable")[:EXTREMES]]

    pixels = facts["width"].to_numpy().astype(np.float64) * facts["height"].to_numpy()
    found = {"darkest": lowest(facts["brightness"].to_numpy()), "flattest": lowest(facts["contrast"].to_numpy())}
    if len(np.unique(pixels[usable])) > 1:
        found |= {"smallest": lowest(pixels), "largest": lowest(-pixels)}
    return found


def _draw(dataset: Dataset, facts: pa.Table, rows: Ints) -> dict[int, Thumbnail]:
    """One row after the other in storage order: of all images only the small pictures stay in memory."""
    drawn = {}
    told = dataset.index.select(["key", "split"]).take(rows).to_pylist()
    facts_of = facts.select(["width", "height", "brightness", "contrast"]).take(rows).to_pylist()
    for row, line, fact in zip(rows.tolist(), told, facts_of, strict=True):
        try:
            jpeg = _jpeg(dataset.images(np.array([row]))[0])
        except UndecodableError:  # it could be decoded a moment ago
            continue
        drawn[row] = Thumbnail(jpeg, **line, **fact)
    return drawn


def _jpeg(data: bytes) -> bytes:
    image = whole(data).image
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
