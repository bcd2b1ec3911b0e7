"""Reader of FER+: ten votes for each image of FER2013's table, over eight expressions with contempt.

The label is what got the most votes. A tie, and a majority for *unknown* or *NF* (not a face), are left out
and counted. Both tables have a line for each image, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stargan_ray.data import storage
from stargan_ray.data.readers.fer2013 import TABLES, find_table
from stargan_ray.data.readers.names import expression_of
from stargan_ray.data.readers.pixels import Label, PixelsUnit, pixel_table
from stargan_ray.data.readers.tables import read_table
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.trees import Tree, locate, open_tree
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError

LABELS = "fer2013new.csv"
# In the published order; "Image name" is empty where the image shows no face.
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
_REASONS = {"unknown": "majority for unknown", "NF": "majority for not a face"}


@dataclass(frozen=True)
class FerplusConfig:
    """Which copies of FER2013's table and of the votes.

    Attributes:
        path: fer2013.csv, or the folder or archive with it; a path or a URI.
        labels: fer2013new.csv; None looks for it beside the images' table.
        allow_missing: accept an expression without images in train or in val.
    """

    path: str
    labels: str | None = None
    allow_missing: bool = False


def read_ferplus(config: FerplusConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """FER+ as a source.

    Args:
        config: Which copies.
        shard_rows: Most rows of one unit.

    Raises:
        InputError: If one of the tables is not there, lacks a column, or they have not the same number of lines.
    """
    tree = open_tree(config.path, "fer2013.csv, or the folder with it")
    layouts: dict[str, Callable[[Tree], Source | None]] = {
        " or ".join(TABLES): lambda here: _read(here, config, shard_rows)
    }
    return locate(tree, "FER+", layouts)


def _read(tree: Tree, config: FerplusConfig, shard_rows: int) -> Source | None:
    table = find_table(tree)
    if table is None:
        return None
    labels = _labels(tree, config)
    at, parts = pixel_table(*table, shard_rows)
    images = parts[-1].first + parts[-1].count
    if images != len(labels):
        raise InputError(f"{table[1]} has {images} images, the votes are for {len(labels)}: they belong line to line")
    units = tuple(
        PixelsUnit(number, "ferplus", part, at, (), labels[part.first : part.first + part.count])
        for number, part in enumerate(parts)
    )
    described = {"reader": "ferplus", "path": tree.root, "allow_missing": config.allow_missing}
    return Source(described, EXPRESSIONS, units, every_domain=not config.allow_missing)


def _labels(tree: Tree, config: FerplusConfig) -> tuple[Label, ...]:
    """What the votes make of each image."""
    if config.labels is not None:
        beside = open_tree(config.labels, LABELS)
        where, file = config.labels, beside.alone or beside.find(LABELS)
    elif tree.alone is not None:
        where = storage.join(storage.parent(tree.root), LABELS)
        file = open_tree(where, f"the votes with --labels {LABELS}").alone
    else:
        where, file = f"{tree.where}/{LABELS}", tree.find(LABELS)
    if file is None:
        raise InputError(f"{where} is not there: give the votes with --labels {LABELS}")
    rows = read_table(file, ("Usage", "Image name", *VOTES), where)
    return tuple(label_of(row) for _, row in rows)


def label_of(row: dict[str, str]) -> Label:
    """What the votes make of one image.

    Args:
        row: Values of the columns Usage, Image name and VOTES.
    """
    usage = row["Usage"]
    if not row["Image name"]:
        return Label(None, "no image name, which means no face", usage)
    if not all(row[name].isdecimal() and len(row[name]) < 4 for name in VOTES):
        return Label(None, "votes are no numbers", usage)
    votes = {name: int(row[name]) for name in VOTES}
    most = max(votes.values())
    first, *others = [name for name in VOTES if votes[name] == most]
    if most == 0:
        return Label(None, "no votes", usage)
    if others:
        return Label(None, "tie of votes", usage)
    expression = expression_of(first)
    if expression is None:
        return Label(None, _REASONS[first], usage)
    return Label(EXPRESSIONS.index(expression), "", usage)
