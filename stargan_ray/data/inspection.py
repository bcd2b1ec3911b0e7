"""The findings on a data set as one nested mapping of JSON values: what ``inspect.json`` holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stargan_ray.data.duplicates import Copies, find_copies, people_in_several_splits
from stargan_ray.data.image_facts import NEAR_BLACK, NEAR_EMPTY
from stargan_ray.data.manifest import UNLABELLED, Manifest
from stargan_ray.data.shards import Dataset

TRAINABLE = 2  # images a domain needs in train: a step takes two references of its target
# The paper's own figure, its number of images after the filter and its number of expressions.
PAPER_PAIRS, PAPER_IMAGES, PAPER_DOMAINS = 21_250_000, 19_628, 8
_PERSON_BARS = 30
_BRIGHTNESS_EDGES = np.arange(0, 257, 8)
_CONTRAST_EDGES = np.arange(0, 129, 4)


def findings(dataset: Dataset, facts: pa.Table) -> dict[str, Any]:
    """Everything there is to say of a data set, but for the verdict.

    Args:
        dataset: Its manifest and index are read, no image.
        facts: FACTS_SCHEMA, one line a row of the index in its order.

    Returns:
        JSON values in sections ``data``, ``counts``, ``people``, ``images``, ``unreadable``, ``near_black``,
        ``near_empty``, ``copies``, ``conflicts`` and ``pairs``.
    """
    manifest, index = dataset.manifest, dataset.index
    copies = find_copies(index, manifest.domains)
    return {
        "data": {
            "uri": dataset.uri,
            "content_hash": manifest.content_hash,
            "rows": manifest.rows,
            "domains": list(manifest.domains),
        },
        "counts": _counts(manifest),
        "people": _people(index, manifest),
        "images": _images(facts),
        "unreadable": _unreadable(index, facts),
        "near_black": _below(index, facts, "brightness", NEAR_BLACK),
        "near_empty": _below(index, facts, "contrast", NEAR_EMPTY),
        "copies": {
            "across_splits": [_group(each) for each in copies if each.leak],
            "within_split": [_group(each) for each in copies if not each.leak],
        },
        "conflicts": {
            "expression": [_group(each) for each in copies if len(each.expressions) > 1],
            "identity": [_group(each) for each in copies if len(each.identities) > 1],
        },
        "pairs": pairs(_in_train(manifest)),
    }


def pairs(images: Mapping[str, int]) -> dict[str, Any]:
    """The ordered (source, reference) pairs whose two images show different expressions: Σ_a Σ_{b≠a} n_a·n_b.

    Args:
        images: Domain -> images n_a, 0 or more; those without an expression are left out.

    Returns:
        ``total`` and ``by_target`` (domain of the reference -> pairs) as exact integers, and the paper's figure
        with the most that its number of images could give: equal domains, rounded down where they cannot be.
    """
    everything = sum(images.values())
    by_target = {name: count * (everything - count) for name, count in images.items()}
    return {
        "total": sum(by_target.values()),
        "by_target": by_target,
        "images": everything,
        "paper": PAPER_PAIRS,
        "paper_images": PAPER_IMAGES,
        "paper_at_most": PAPER_IMAGES**2 * (PAPER_DOMAINS - 1) // PAPER_DOMAINS,
    }


def _in_train(manifest: Manifest) -> dict[str, int]:
    rows = manifest.rows_by_domain.get("train", {})
    return {name: rows.get(name, 0) for name in manifest.domains}


def _counts(manifest: Manifest) -> dict[str, Any]:
    train = _in_train(manifest)
    present = [count for count in train.values() if count]
    labelled = any(name != UNLABELLED for split in manifest.rows_by_domain.values() for name in split)
    return {
        "splits": dict(manifest.rows_by_split),
        "rows": {
            name: {split: rows.get(name, 0) for split, rows in manifest.rows_by_domain.items()}
            for name in (*manifest.domains, UNLABELLED)
        },
        "labelled": labelled,
        # A set without any label trains an embedder, one without train rows only judges: neither lacks domains.
        "too_few": {name: n for name, n in train.items() if n < TRAINABLE} if labelled and any(present) else {},
        "imbalance": max(present) / min(present) if present else None,
        "skipped": dict(manifest.skipped),
    }


def _people(index: pa.Table, manifest: Manifest) -> dict[str, Any]:
    known = index["identity"].drop_null()
    images = known.value_counts().field("counts").to_numpy() if len(known) else np.empty(0, np.int64)
    step = -(-int(images.max(initial=1)) // _PERSON_BARS)
    edges = np.arange(1, int(images.max(initial=1)) + step + 1, step)
    return {
        "by_split": dict(manifest.identities),
        "all": len(images),
        "rows_without": index.num_rows - len(known),
        "images": {**_spread(images), **_histogram(images, edges)},
        "in_several_splits": people_in_several_splits(index),
    }


def _images(facts: pa.Table) -> dict[str, Any]:
    good = facts.filter(pc.is_null(facts["fault"]))
    size = Counter(zip(good["width"].to_pylist(), good["height"].to_pylist(), strict=True))
    return {
        "decoded": good.num_rows,
        "sizes": [{"width": w, "height": h, "rows": n} for (w, h), n in sorted(size.items(), key=_commonest)],
        "modes": _tally(good["mode"]),
        "formats": _tally(good["format"]),
        "bytes": {**_spread(good["bytes"].to_numpy()), "sum": int(good["bytes"].to_numpy().sum())},
        "brightness": _measured(good["brightness"].to_numpy(), _BRIGHTNESS_EDGES),
        "contrast": _measured(good["contrast"].to_numpy(), _CONTRAST_EDGES),
    }


def _unreadable(index: pa.Table, facts: pa.Table) -> dict[str, Any]:
    rows = np.flatnonzero(pc.is_valid(facts["fault"]).to_numpy())
    told = facts.take(rows).select(["fault", "detail"]).to_pylist()
    return {
        "by_reason": _tally(facts["fault"].drop_null()),
        "rows": [line | why for line, why in zip(_lines(index, rows), told, strict=True)],
    }


def _below(index: pa.Table, facts: pa.Table, column: str, limit: float) -> dict[str, Any]:
    """The rows whose measured value is below a limit, lowest first."""
    values = facts[column].to_numpy().astype(np.float64)  # NaN where there is none
    rows = np.flatnonzero(values < limit)
    rows = rows[np.argsort(values[rows], kind="stable")]
    told = [{column: round(value, 2)} for value in values[rows].tolist()]
    return {"below": limit, "rows": [line | more for line, more in zip(_lines(index, rows), told, strict=True)]}


def _group(copies: Copies) -> dict[str, Any]:
    rows = [
        {"key": row.key, "split": row.split, "expression": row.expression, "identity": row.identity}
        for row in copies.rows
    ]
    return {"content_hash": copies.content_hash, "rows": rows}


def _lines(index: pa.Table, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = index.select(["key", "split"]).take(rows).to_pylist()
    return lines


def _tally(names: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(names.to_pylist()).items(), key=_commonest))


def _commonest(item: tuple[Any, int]) -> tuple[int, Any]:
    return -item[1], item[0]


def _spread(values: npt.NDArray[Any]) -> dict[str, float | None]:
    if not len(values):
        return {"min": None, "median": None, "max": None}
    return {"min": values.min().item(), "median": float(np.median(values)), "max": values.max().item()}


def _histogram(values: npt.NDArray[Any], edges: npt.NDArray[Any]) -> dict[str, list[int]]:
    return {"edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()}


def _measured(values: npt.NDArray[Any], edges: npt.NDArray[Any]) -> dict[str, Any]:
    spread: dict[str, float | None] = {n: None if v is None else round(v, 2) for n, v in _spread(values).items()}
    return {**spread, **_histogram(values, edges)}


def rows_named(groups: Sequence[Mapping[str, Any]]) -> int:
    """How many rows are in groups of copies."""
    return sum(len(group["rows"]) for group in groups)
