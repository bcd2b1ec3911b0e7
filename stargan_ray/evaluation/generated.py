"""Generated faces against their truth: who a held-out face really shows, and which labels were wrong."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from stargan_ray.data import storage
from stargan_ray.data.pools import load_pool
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError
from stargan_ray.evaluation.filter_curves import Curve, policy_curves
from stargan_ray.evaluation.filtering import BoolArray, FilterScores, by_class, corrupted_rows, judge_filter
from stargan_ray.evaluation.translations import Faces
from stargan_ray.evaluation.truth import has_truth, read_truth


def known_faces(dataset: Dataset, size: int, split: str, most_people: int | None = None) -> Faces:
    """The faces of a split whose expression and person are known, decoded; the first ``most_people`` people of it.

    Expressions are the true ones of a generated set, else the labels.

    Raises:
        InputError: there is none.
    """
    rows = known_rows(dataset, split, most_people)
    labels, _ = shown_expressions(dataset, rows)
    images = to_float(torch.from_numpy(load_pool(dataset, rows, size, torch.get_num_threads())))
    return Faces(images, torch.from_numpy(labels), np.asarray(dataset.index["identity"].take(rows).to_pylist()))


def known_rows(dataset: Dataset, split: str, most_people: int | None = None) -> npt.NDArray[np.int64]:
    """Where these faces are in the index; errors as ``known_faces``."""
    inside = pc.and_(pc.equal(dataset.index["split"], split), pc.is_valid(dataset.index["identity"]))
    rows = np.flatnonzero(inside.to_numpy(zero_copy_only=False)).astype(np.int64)
    labels, _ = shown_expressions(dataset, rows)
    rows = rows[labels >= 0]
    if not len(rows):
        raise InputError(f"{dataset.uri}: no row of split {split!r} has both a person and an expression")
    persons = np.asarray(dataset.index["identity"].take(rows).to_pylist())
    return rows[np.isin(persons, np.unique(persons)[:most_people])]


def shown_expressions(dataset: Dataset, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], str | None]:
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


def filter_against_truth(dataset: Dataset, decisions_uri: str) -> tuple[FilterScores, dict[str, FilterScores]]:
    """A decisions table of ``jobs/refine.py`` against the truth of the set it judged; overall and by label."""
    table, corrupted = _labelled(dataset, decisions_uri)
    kept = table["weight"].to_numpy()
    domains = dataset.manifest.domains
    labels = [domains.index(name) for name in table["label"].to_pylist()]
    return judge_filter(kept, corrupted), by_class(labels, kept, corrupted, domains)


def curves_against_truth(dataset: Dataset, decisions_uri: str) -> tuple[Curve, ...]:
    """Every policy over its threshold, by the probabilities in a decisions table."""
    table, corrupted = _labelled(dataset, decisions_uri)
    classes = [name.removeprefix("p_") for name in table.column_names if name.startswith("p_")]
    probabilities = np.stack([table[f"p_{name}"].to_numpy() for name in classes], axis=1)
    return policy_curves(table["label"].to_pylist(), probabilities, classes, corrupted)


def _labelled(dataset: Dataset, decisions_uri: str) -> tuple[pa.Table, BoolArray]:
    """The rows of a decisions table that have a label, and whether it is wrong."""
    table = pq.read_table(io.BytesIO(storage.read_bytes(decisions_uri)))
    table = table.filter(pc.is_valid(table["label"]))
    return table, corrupted_rows(table["key"].to_pylist(), read_truth(dataset.uri))
