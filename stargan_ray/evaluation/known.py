"""Faces whose expression is known, by the truth or by label, and whose person is, or nobody's in the whole split.

AffectNet and FER2013 name nobody. There a face stands for itself: whether a translation still shows the person can
only be asked against the source photo, and not against other photos of him.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch

from stargan_ray.data.pools import load_pool
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError
from stargan_ray.evaluation.translations import Faces
from stargan_ray.evaluation.truth import has_truth, read_truth

PEOPLE, NAMELESS = 100, 1_600  # who is judged on unless told: people, or images where nobody is named

Rows = npt.NDArray[np.int64]


def known_faces(dataset: Dataset, size: int, split: str, most_people: int | None = None) -> Faces:
    """The faces of a split whose expression and person are known, decoded; the first ``most_people`` people of it.

    Expressions are the true ones of a generated set, else the labels. Where the split names nobody, each image is a
    person of its own, called by its content hash.

    Raises:
        InputError: there is none.
    """
    rows = known_rows(dataset, split, most_people)
    labels, _ = shown_expressions(dataset, rows)
    images = to_float(torch.from_numpy(load_pool(dataset, rows, size, torch.get_num_threads())))
    return Faces(images, torch.from_numpy(labels), persons_of(dataset, rows))


def known_rows(dataset: Dataset, split: str, most_people: int | None = None) -> Rows:
    """Where these faces are in the index; errors as ``known_faces``."""
    inside = pc.equal(dataset.index["split"], split)
    if named := names_people(dataset, split):
        inside = pc.and_(inside, pc.is_valid(dataset.index["identity"]))
    rows = np.flatnonzero(inside.to_numpy(zero_copy_only=False)).astype(np.int64)
    labels, _ = shown_expressions(dataset, rows)
    rows = rows[labels >= 0]
    if not len(rows):
        what = "both a person and an expression" if named else "an expression"
        raise InputError(f"{dataset.uri}: no row of split {split!r} has {what}")
    persons = persons_of(dataset, rows)
    return rows[np.isin(persons, np.unique(persons)[:most_people])]


def names_people(dataset: Dataset, split: str) -> bool:
    """Whether any row of a split says who it shows."""
    index = dataset.index
    return bool(pc.any(pc.and_(pc.equal(index["split"], split), pc.is_valid(index["identity"]))).as_py())


def persons_of(dataset: Dataset, rows: Rows) -> npt.NDArray[np.str_]:
    """Who the rows show, (n,); an image of nobody by name is a person of its own, as are all copies of it together."""
    index = dataset.index.select(["identity", "content_hash"]).take(rows)
    return np.asarray(pc.coalesce(index["identity"], index["content_hash"]).to_pylist(), dtype=np.str_)


def shown_expressions(dataset: Dataset, rows: Rows) -> tuple[Rows, str | None]:
    """What the faces at positions of the index show: by the truth of a generated set, else by their labels.

    Returns:
        (n,) expressions, −1 where none is known; and ``truth``, ``labels``, or None where none is known at all.
    """
    if has_truth(dataset.uri):
        truth = read_truth(dataset.uri)
        keys = dataset.index["key"].take(rows).to_pylist()
        return np.array([truth[key].expression for key in keys], dtype=np.int64), "truth"
    labels = pc.fill_null(dataset.index["expression"], -1).to_numpy()[rows].astype(np.int64)
    return labels, "labels" if (labels >= 0).any() else None
