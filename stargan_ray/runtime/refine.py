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
from stargan_ray.data.refine import (
    REASONS,
    Policy,
    Tally,
    decide,
    decision_table,
    refined,
    tally,
    warnings,
)
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import write_table
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.score_store import BLOCK, Blocks, score_dataset
from stargan_ray.runtime.scoring import Scorer, Scores

_META = b"stargan-ray"


@dataclass(frozen=True)
class Refinement:
    """What was done, to be told."""

    manifest: Manifest
    tallies: tuple[Tally, ...]
    warnings: tuple[str, ...]
    decisions: str  # URI of the table


def refine(
    data: str,
    out: str,
    scorer: Scorer,
    policy: Policy,
    *,
    parallel: int = 1,
    overwrite: bool = False,
    block: int = BLOCK,
    on_scored: Callable[[int, int], None] = lambda _new, _of: None,
) -> Refinement:
    """Write the refined data set and the table of decisions.

    The scores are kept in the table: a second run over the same data by the same classifier, be it with
    another policy, does not score again. A run after a killed one goes on behind the last block it stored.

    Args:
        data: URI of the source.
        out: URI of the refined data set, another one.
        scorer: the classifier.
        policy: what stays.
        parallel: processes that score.
        overwrite: replace another data set at ``out``.
        block: rows that are scored and stored together.
        on_scored: told of (new rows, all rows), for progress.

    Raises:
        InputError: the source is missing, ``out`` is the source or another data set, or nothing would be left.
    """
    dataset = open_dataset(data)
    out = storage.absolute(out)
    if out == dataset.uri:
        raise InputError(f"--out {out} is the source itself: the refined data set goes beside it")
    table_uri = storage.join(out, "decisions.parquet")
    names = dataset.manifest.domains
    labels = [None if e is None else names[e] for e in dataset.index["expression"].to_pylist()]
    meta = {
        "content_hash": dataset.manifest.content_hash,
        "classifier": scorer.name,
        "classes": list(scorer.classes),
    }
    scores = _known_scores(table_uri, meta, len(dataset))
    if scores is None:
        storage.check_writable(out)
        blocks = Blocks(dataset, scorer, storage.join(out, "scores"), block)
        scores = score_dataset(blocks, parallel, lambda new: on_scored(new, len(dataset)))
    decisions = decide(labels, scores, scorer.classes, policy)
    table = decision_table(dataset.index["key"].to_pylist(), labels, scores, scorer.classes, decisions)
    tallies = tally(labels, decisions, names)
    source = refined(dataset, decisions, policy, scorer.name)
    manifest = write_dataset(out, source, overwrite=overwrite)
    write_table(table_uri, table.replace_schema_metadata({_META: json.dumps(meta)}))
    storage.delete(storage.join(out, "scores"))  # they are in the table now
    return Refinement(manifest, tallies, warnings(tallies, policy), table_uri)


def _known_scores(uri: str, meta: dict[str, Any], rows: int) -> Scores | None:
    """The scores in an earlier table of the same data and classifier, if there is one."""
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
    shown = Table("rows", "before", "after", *REASONS[1:])
    for each in done.tallies:
        counts = (str(each.reasons.get(why, 0)) for why in REASONS[1:])
        shown.add_row(each.domain, str(each.before), str(each.after), *counts)
    shown.add_section()
    total = [sum(each.reasons.get(why, 0) for each in done.tallies) for why in REASONS[1:]]
    before, after = sum(each.before for each in done.tallies), sum(each.after for each in done.tallies)
    shown.add_row("all", str(before), str(after), *map(str, total))
    return shown
