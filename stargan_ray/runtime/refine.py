"""Score a data set once, decide, and write the refined one beside it; nothing of the source is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.overrule import REVIEWED, Ruling, overrule
from stargan_ray.data.policies import REASONS, Decisions, decide
from stargan_ray.data.policy import Policy
from stargan_ray.data.refine import DECISION_TEXTS, Tally, decision_groups, decision_schema, refined, tally, warnings
from stargan_ray.data.review_outcomes import Applied, apply
from stargan_ray.data.reviews import Reviews, read_reviews
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.units import write_groups
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.defaults import BLOCK
from stargan_ray.runtime.panel import Panel
from stargan_ray.runtime.scoring import Scores

_META = b"stargan-ray"
_REASONS = (*REASONS[1:], *REVIEWED)
TABLE = "decisions.parquet"


@dataclass(frozen=True)
class Refinement:
    """What was done, to be told."""

    manifest: Manifest
    tallies: tuple[Tally, ...]
    warnings: tuple[str, ...]
    decisions: str  # URI of the table
    reviewed: Applied


def refine(
    data: str,
    out: str,
    panel: Panel,
    policy: Policy,
    *,
    scores_of: str = "",
    parallel: int = 1,
    overwrite: bool = False,
    block: int = BLOCK,
    on_scored: Callable[[int, int], None] = lambda _new, _of: None,
) -> Refinement:
    """Write the refined data set and the table of decisions; what people said of the rows overrules the filter.

    The scores are kept in the table: a second run over the same data by the same classifiers, be it with
    another policy, does not score again. A run after a killed one goes on behind the last block it stored.

    Args:
        data: URI of the source.
        out: URI of the refined data set, another one.
        panel: the classifier, or those of the folds.
        policy: what stays.
        scores_of: URI of another refined data set of the same data and classifiers, whose scores are taken over.
        parallel: processes that score.
        overwrite: replace another data set at ``out``.
        block: rows that are scored and stored together.
        on_scored: told of (new rows, all rows), for progress.

    Raises:
        InputError: the source is missing, ``out`` is the source or another data set, ``scores_of`` has no scores of
            this data by these classifiers, or nothing would be left.
    """
    dataset = open_dataset(data)
    out = storage.absolute(out)
    if out == dataset.uri:
        raise InputError(f"--out {out} is the source itself: the refined data set goes beside it")
    scores = _scores(dataset, out, panel, scores_of, parallel, block, on_scored)
    labels = labels_of(dataset)
    decisions = decide(labels, scores, panel.classes, policy)
    reviews = read_reviews(dataset.uri)
    reviewed, ruling = _reviewed(dataset, labels, decisions, reviews)
    tallies = tally(labels, ruling, dataset.manifest.domains)
    told: dict[str, object] = {"classifier": panel.name}
    if reviews.standing:
        told["reviews"] = reviews.fingerprint
    manifest = write_dataset(out, refined(dataset, ruling, policy, told), overwrite=overwrite)
    where = storage.join(out, TABLE)
    schema = decision_schema(panel.classes).with_metadata({_META: json.dumps(_meta(dataset, panel))})
    groups = decision_groups(dataset.index["key"], labels, scores, panel.classes, decisions, ruling)
    write_groups(where, schema, (group.cast(schema) for group in groups), DECISION_TEXTS)
    storage.delete(storage.join(out, "scores"))  # they are in the table now
    noted = (*_notes(dataset, panel, reviewed), *warnings(tallies, policy))
    return Refinement(manifest, tallies, noted, where, reviewed)


def labels_of(dataset: Dataset) -> list[str | None]:
    """The name of each row's label, None where it has none."""
    names = dataset.manifest.domains
    return [None if e is None else names[e] for e in dataset.index["expression"].to_pylist()]


def _reviewed(
    dataset: Dataset, labels: list[str | None], decisions: Decisions, reviews: Reviews
) -> tuple[Applied, Ruling]:
    applied = apply(dataset.index, labels, dataset.manifest.domains, reviews)
    return applied, overrule(labels, decisions, applied.outcomes)


def _notes(dataset: Dataset, panel: Panel, reviewed: Applied) -> list[str]:
    """What a person should know before trusting the result."""
    notes = []
    if panel.has_seen(dataset):
        notes.append(
            "the classifier was trained on the labels that it judges here, and confirms what it learnt: train one "
            "for each fold instead (jobs/train.py --crossfit 3)"
        )
    if reviewed.disputed:
        notes.append(f"{reviewed.disputed} rows have reviewers without a majority: the filter decided")
    if reviewed.stale:
        notes.append(f"{reviewed.stale} verdicts are on an image or a label that the row no longer has: ignored")
    if reviewed.unknown_keys:
        notes.append(f"{reviewed.unknown_keys} keys that people judged are not in the data set: ignored")
    return notes


def _meta(dataset: Dataset, panel: Panel) -> dict[str, Any]:
    return {
        "content_hash": dataset.manifest.content_hash,
        "classifier": panel.name,
        "classes": list(panel.classes),
    }


def _scores(
    dataset: Dataset,
    out: str,
    panel: Panel,
    scores_of: str,
    parallel: int,
    block: int,
    on_scored: Callable[[int, int], None],
) -> Scores:
    """The scores of an earlier table where it has them, and new ones else."""
    meta = _meta(dataset, panel)
    if scores_of:
        table = storage.join(storage.absolute(scores_of), TABLE)
        found = _known_scores(table, meta, len(dataset))
        if found is None:
            raise InputError(f"--scores {scores_of}: {table} has no scores of {dataset.uri} by {panel.name}")
        return found
    found = _known_scores(storage.join(out, TABLE), meta, len(dataset))
    if found is None:
        storage.check_writable(out)
        folder = storage.join(out, "scores")
        found = panel.score(
            dataset, folder, parallel=parallel, block=block, on_scored=lambda new: on_scored(new, len(dataset))
        )
    return found


def _known_scores(uri: str, meta: dict[str, Any], rows: int) -> Scores | None:
    """The scores in an earlier table of the same data and classifiers, if there is one."""
    if not storage.exists(uri):
        return None
    try:
        table = pq.read_table(storage.open_input(uri))
        if json.loads((table.schema.metadata or {})[_META]) != meta or table.num_rows != rows:
            return None
        columns = [table[f"p_{name}"].to_numpy() for name in meta["classes"]]
    except (pa.ArrowInvalid, KeyError, ValueError, storage.StorageError):
        return None  # damaged or not ours: scored anew
    return np.stack(columns, axis=1).astype(np.float32)


def report(done: Refinement) -> Table:
    """Rows of each domain before and after, and what became of the rest, as a table to print."""
    total = {why: sum(each.reasons.get(why, 0) for each in done.tallies) for why in _REASONS}
    told = [why for why in _REASONS if total[why]]
    shown = Table("rows", "before", "after", *told)
    for each in done.tallies:
        shown.add_row(each.domain, str(each.before), str(each.after), *(str(each.reasons.get(why, 0)) for why in told))
    shown.add_section()
    before, after = sum(each.before for each in done.tallies), sum(each.after for each in done.tallies)
    shown.add_row("all", str(before), str(after), *(str(total[why]) for why in told))
    return shown
