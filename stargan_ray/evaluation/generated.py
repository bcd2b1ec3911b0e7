"""The filter against the truth of generated faces: which of the labels that it judged were wrong."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.data.shards import Dataset
from stargan_ray.evaluation.filter_curves import Curve, policy_curves
from stargan_ray.evaluation.filtering import BoolArray, FilterScores, by_class, corrupted_rows, judge_filter
from stargan_ray.evaluation.truth import read_truth


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
