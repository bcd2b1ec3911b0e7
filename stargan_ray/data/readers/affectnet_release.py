"""AffectNet's newer release: ``{train,val}_set/images/<id>.jpg`` and ``annotations/<id>_exp.npy``.

Each label is a file of its own, hundreds of thousands of them, so a unit reads those of its own images.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from stargan_ray.data.readers.affectnet_lists import expression_or_reason
from stargan_ray.data.readers.entries import Packed
from stargan_ray.data.readers.files import Layout, Limits, cut, row_of
from stargan_ray.data.schema import EXPRESSIONS, Row, Skipped
from stargan_ray.data.trees import File, Tree, read_files

_SETS = {"train_set": "train", "val_set": "val", "test_set": "test"}
_LABEL_BYTES = 4096  # a label is one short value behind a header


@dataclass(frozen=True)
class AnnotatedUnit:
    """Some images and the file with the label of each."""

    number: int
    entries: Packed
    labels: tuple[File, ...]
    limits: Limits

    @property
    def fingerprint(self) -> str:
        """Hash of the names, sizes and times of images and labels, and of the limits."""
        told = [[e.told() for e in self.entries], self.labels, self.limits.told()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Skipped]:
        """A row for every usable image with an expression, a reason for every other."""
        entries = list(self.entries)
        small = [entry.file for entry in entries if entry.file.size <= self.limits.max_bytes]
        contents = read_files([*self.labels, *small])  # together: an archive may be gone through once only
        told = [_label(next(contents)) for _ in self.labels]
        for entry, (expression, reason) in zip(entries, told, strict=True):
            data = next(contents) if entry.file.size <= self.limits.max_bytes else None
            if expression is None:
                yield Skipped(entry.key, reason)
            elif entry.file.size > self.limits.max_bytes:
                yield Skipped(entry.key, "oversized")
            else:
                yield row_of(entry, data, EXPRESSIONS.index(expression), "affectnet", self.limits)


def _label(data: bytes | None) -> tuple[str | None, str]:
    """The expression in a ``.npy`` file with one number or text, or None and why there is none."""
    if data is None or len(data) > _LABEL_BYTES:
        return None, "unreadable annotation"
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(file)
        if math.prod(shape) != 1 or kind.kind not in "iufUS":  # nothing that would be built from code
            return None, "unreadable annotation"
        file.seek(0)
        value = np.lib.format.read_array(file, allow_pickle=False).reshape(()).item()
    except (ValueError, EOFError, OSError):
        return None, "unreadable annotation"
    return expression_or_reason(value.decode("ascii", "replace") if isinstance(value, bytes) else str(value))


def release_units(tree: Tree, limits: Limits, shard_rows: int) -> tuple[tuple[AnnotatedUnit, ...], Layout] | None:
    """The units of a release, and what was found wrong before any ran; None where there is no such release.

    Args:
        tree: The folder with train_set and val_set.
        limits: What is refused.
        shard_rows: Most rows of one unit.
    """
    sets = [listed.name for listed in tree.list() if listed.folder and listed.name in _SETS]
    sets = [name for name in sets if any(each.folder and each.name == "images" for each in tree.list(name))]
    if not sets:
        return None
    layout = Layout()
    units: list[AnnotatedUnit] = []
    for name in sorted(sets, key=list(_SETS).index):
        found = {each.name: each for each in tree.list(name, "annotations")}
        labels: dict[str, File] = {}
        first = len(layout.entries)
        for image in tree.list(name, "images"):
            label = found.get(f"{image.name.rpartition('.')[0]}_exp.npy")
            if label is None:
                layout.skip(f"{name}/images/{image.name}", "no annotation")
                continue
            layout.take(tree, (name, "images"), image, split=_SETS[name])
            labels[f"{name}/images/{image.name}"] = tree.file((name, "annotations"), label)
        for entries in cut(islice(layout.entries, first, None), shard_rows):
            told = tuple(labels[e.key] for e in entries)
            units.append(AnnotatedUnit(len(units), Packed.of(entries), told, limits))
    return tuple(units), layout
