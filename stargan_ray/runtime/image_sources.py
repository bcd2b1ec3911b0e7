"""The images that a path or URI means: a file, a folder or bucket's prefix, or a data set. Nothing is read yet."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True)
class SourceImage:
    """An image that is still to be read.

    Attributes:
        key: its path below the source, or its key in the data set.
        name: what its results are called: a path that is safe below any folder, and its own.
        read: gives the encoded bytes.
        domain: its expression as the data set has it.
    """

    key: str
    name: str
    read: Callable[[], bytes]
    domain: str | None = None


def list_images(source: str) -> list[SourceImage]:
    """The images of a source, in order of their keys, with names that no two share."""
    if storage.exists(storage.join(source, "manifest.json")):
        found = _of_dataset(source)
    elif _is_file(source):
        key = source.partition("?")[0].rsplit("/", 1)[-1]
        found = [SourceImage(key, "", _reader(source))]
    elif storage.exists(source):
        listed = sorted(_below(source))
        found = [SourceImage(key, "", _reader(storage.join(source, *key.split("/")))) for key in listed]
    else:
        raise InputError(f"{source} does not exist: give an image, a folder of images or a data set")
    names = [_name(image.key) for image in found]
    count = Counter(names)
    return [
        dataclasses.replace(
            image, name=name if count[name] == 1 else f"{name}-{hashlib.sha256(image.key.encode()).hexdigest()[:8]}"
        )
        for image, name in zip(found, names, strict=True)
    ]


def _of_dataset(uri: str) -> list[SourceImage]:
    dataset = open_dataset(uri)
    domains = dataset.manifest.domains
    keys, labels = (dataset.index.column(name).to_pylist() for name in ("key", "expression"))

    def reader(row: int) -> Callable[[], bytes]:
        return lambda: dataset.images(np.array([row]))[0]

    return [
        SourceImage(key, "", reader(row), None if label is None else domains[label])
        for row, (key, label) in enumerate(zip(keys, labels, strict=True))
    ]


def _below(uri: str, prefix: str = "") -> Iterator[str]:
    """Paths of the files below a folder that are named as images are; hidden ones are left out."""
    for item in storage.list_folder(storage.join(uri, *prefix.split("/")) if prefix else uri):
        path = f"{prefix}/{item.name}" if prefix else item.name
        if item.name.startswith("."):
            continue
        if item.folder:
            yield from _below(uri, path)
        elif item.name.lower().endswith(SUFFIXES):
            yield path


def _is_file(uri: str) -> bool:
    try:
        storage.size(uri)
    except storage.StorageError:
        return False
    return True


def _reader(uri: str) -> Callable[[], bytes]:
    return lambda: storage.read_bytes(uri)


def _name(key: str) -> str:
    """A key as a path that is safe below any folder, without its suffix."""
    parts = [re.sub(r"[^\w.-]", "_", part) for part in key.split("/") if part.strip(".")]
    return str(PurePosixPath(*parts).with_suffix("")) if parts else "image"
