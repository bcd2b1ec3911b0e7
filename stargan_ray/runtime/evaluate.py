"""Evaluate a trained model on a data set and write what was found for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from rich.table import Table

from stargan_ray.data import storage
from stargan_ray.data.schema import SPLITS
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.errors import InputError, unknown
from stargan_ray.evaluation import figures
from stargan_ray.evaluation.classification import fit_temperature, judge_classifier, tempered
from stargan_ray.evaluation.classifier_page import render
from stargan_ray.evaluation.report import split_estimates
from stargan_ray.runtime.defaults import BLOCK
from stargan_ray.runtime.score_store import Blocks, score_dataset
from stargan_ray.runtime.scoring import Scorer, Scores

Ints = npt.NDArray[np.int64]


def evaluate_classifier(
    data: str,
    out: str,
    scorer: Scorer,
    *,
    splits: Sequence[str] = (),
    parallel: int = 1,
    block: int = BLOCK,
    on_scored: Callable[[int, int], None] = lambda _new, _of: None,
) -> dict[str, Any]:
    """Score every row of some splits and judge each; what was scored by a killed run is not scored again.

    A row whose image is also in train is counted: a classifier may know it by heart, so each split is judged
    without such rows too. The temperature is fitted on val and applied to the others.

    Args:
        data: URI of an ingested data set.
        out: URI of a folder for evaluation.json and evaluation.html.
        scorer: the classifier.
        splits: those to judge; none = all but train, which says little of a network that was trained on it.
        parallel: processes that score.
        block: rows that are scored and stored together.
        on_scored: told of (new rows, all rows), for progress.

    Returns:
        The content of evaluation.json.

    Raises:
        InputError: a split is not there, no row has a label that the classifier knows, or something cannot be read
            or written.
    """
    dataset, out = open_dataset(data), storage.absolute(out)
    wanted = wanted_splits(dataset, splits)
    storage.check_writable(out)
    rows = np.flatnonzero(np.isin(dataset.index["split"].to_pylist(), wanted))
    blocks = Blocks(dataset, scorer, storage.join(out, "scores"), block, rows)
    scores = score_dataset(blocks, parallel, lambda new: on_scored(new, len(rows)))
    results = judge_splits(dataset, scores, scorer, wanted)
    plain, intervals = split_estimates(results)
    report = {**plain, "intervals": intervals}
    charts = {
        name: figures.confusion_figure(split["confusion"], scorer.classes, title=f"{name}: label against seen")
        for name, split in results["splits"].items()
    }
    storage.write_bytes(storage.join(out, "evaluation.html"), render(report, charts).encode())
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(storage.join(out, "evaluation.json"), text.encode() + b"\n")
    storage.delete(storage.join(out, "scores"))
    return report


def wanted_splits(dataset: Dataset, splits: Sequence[str]) -> list[str]:
    """The splits to judge, in their usual order: those asked for, else all but train.

    Raises:
        InputError: the data set has no such split.
    """
    present = [split for split in SPLITS if split in dataset.manifest.rows_by_split]
    if absent := [split for split in splits if split not in present]:
        raise unknown(f"split of {dataset.uri}", absent[0], present)
    return [split for split in present if split in splits] or [s for s in present if s != "train"] or present


def judge_splits(dataset: Dataset, scores: Scores, scorer: Scorer, splits: Sequence[str]) -> dict[str, Any]:
    """The scores of every one of the splits that has rows, with estimates; see ``evaluate_classifier``."""
    split_of = np.asarray(dataset.index["split"].to_pylist())
    labels, counts = _labels(dataset, scores, scorer, np.isin(split_of, splits))
    hashes = dataset.index["content_hash"]
    in_train = pc.is_in(hashes, value_set=hashes.filter(pc.equal(dataset.index["split"], "train")).combine_chunks())
    known = in_train.to_numpy(zero_copy_only=False)
    rows = {split: np.flatnonzero((split_of == split) & (labels >= 0)) for split in splits}
    rows = {split: found for split, found in rows.items() if len(found)}
    if not rows:
        raise InputError(
            f"{dataset.uri}: no row has a label that the classifier knows ({', '.join(scorer.classes)}): {counts}"
        )
    temperature = fit_temperature(scores[rows["val"]], labels[rows["val"]]) if "val" in rows else None
    judged = {}
    for split, found in rows.items():
        section = judge_classifier(scores[found], labels[found], scorer.classes).section()
        if temperature is not None:
            after = judge_classifier(tempered(scores[found], temperature), labels[found], scorer.classes)
            section["tempered"] = {"log_loss": after.log_loss, "calibration_error": after.calibration_error}
        fresh = found[~known[found]]
        if split != "train":
            section["also_in_train"] = len(found) - len(fresh)
            if 0 < len(fresh) < len(found):
                section["without_copies"] = judge_classifier(scores[fresh], labels[fresh], scorer.classes).section()
        judged[split] = section
    return {
        "data": {"uri": dataset.uri, "content_hash": dataset.manifest.content_hash},
        "classifier": {"name": scorer.name, "classes": list(scorer.classes)},
        "temperature": temperature,
        "left_out": counts,
        "splits": judged,
    }


def _labels(
    dataset: Dataset, scores: Scores, scorer: Scorer, wanted: npt.NDArray[np.bool_]
) -> tuple[Ints, dict[str, int]]:
    """The class of every row, −1 for those left out, and how many of the wanted ones are left out for which reason."""
    places = {name: k for k, name in enumerate(scorer.classes)}
    to_class = np.array([places.get(name, -1) for name in dataset.manifest.domains] + [-2])
    given = pc.fill_null(dataset.index["expression"], -1).to_numpy().astype(np.int64)
    labels = to_class[given]  # the last entry, −2, is that of no label
    readable = ~np.isnan(scores).any(axis=1)
    counts = {
        "no label": int((wanted & (labels == -2)).sum()),
        "class unknown to the classifier": int((wanted & (labels == -1)).sum()),
        "unreadable": int((wanted & ~readable & (labels >= 0)).sum()),
    }
    return np.where(readable, labels, -1).clip(min=-1), {name: n for name, n in counts.items() if n}


def table(report: dict[str, Any]) -> Table:
    """The splits as a table to print."""
    shown = Table("split", "rows", "accuracy", "95 %", "macro F1", "log loss", "calibration error")
    for name, split in report["splits"].items():
        for label, part in ((name, split), (f"{name}, without copies of train", split.get("without_copies"))):
            if part is None:
                continue
            inside = report["intervals"]["splits"][name]
            ends = (inside if part is split else inside["without_copies"])["accuracy"]
            shown.add_row(
                label,
                str(part["rows"]),
                f"{part['accuracy']:.2%}",
                f"{ends['low']:.2%} to {ends['high']:.2%}",
                f"{part['macro_f1']:.3f}",
                f"{part['log_loss']:.3f}",
                f"{part['calibration_error']:.3f}",
            )
    return shown
