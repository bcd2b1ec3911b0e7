"""Score a data set once, decide, and write the refined one beside it; nothing of the source is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.table import Table
from torch import nn

from stargan_ray.data import storage
from stargan_ray.data.decode import UndecodableError, decode
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
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.data.units import write_table
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.cluster import require_cpus, start_ray
from stargan_ray.runtime.models import load_model

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Score = Callable[[Pixels], Scores]  # (n, 3, size, size) -> (n, K) probabilities
BATCH = 256
_META = b"stargan-ray"


@dataclass(frozen=True)
class Scorer:
    """A classifier as the filter needs it.

    Attributes:
        classes: what its columns mean.
        size: pixels of the images it takes.
        name: what the refined data set says of it: its place and a hash of its weights.
        make: makes the scoring function; picklable, called once in every process that scores.
    """

    classes: tuple[str, ...]
    size: int
    name: str
    make: Callable[[], Score]


def model_scorer(where: str) -> Scorer:
    """The scorer of a trained expression classifier.

    Args:
        where: a model folder, checkpoint, run or ``models:/…``, see ``load_model``.

    Raises:
        InputError: it is not there, or no expression classifier.
    """
    model = load_model(where)
    if model.kind != "expression":
        raise InputError(f"{where} is a model of kind {model.kind}: the filter needs an expression classifier")
    name = f"{model.where} {model.content_hash[:12]}"
    # the resolved place: the workers must not follow an alias that has moved meanwhile
    return Scorer(model.domains, model.size, name, partial(_load_score, model.where))


def _load_score(where: str) -> Score:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network_score(load_model(where, device).networks["classifier"], device)


def network_score(network: nn.Module, device: torch.device) -> Score:
    """Probabilities of a network in eval mode, the mean over an image and its mirror image."""

    def score(images: Pixels) -> Scores:
        with torch.inference_mode():
            batch = to_float(torch.from_numpy(images).to(device))
            both = network(torch.cat([batch, batch.flip(3)])).float().softmax(1)
            mean = both.unflatten(0, (2, -1)).mean(0).cpu().numpy()
        return np.asarray(mean, np.float32)

    return score


def score_rows(dataset: Dataset, rows: npt.NDArray[np.int64], scorer: Scorer, score: Score) -> Scores:
    """(n, K) probabilities of the images at positions of the index; NaN where one cannot be decoded."""
    found = np.full((len(rows), len(scorer.classes)), np.nan, np.float32)
    images, places = [], []
    for place, data in enumerate(dataset.images(rows)):
        try:
            images.append(decode(data, scorer.size))
            places.append(place)
        except UndecodableError:
            continue  # counted by its reason in the decisions
    if images:
        found[places] = score(np.stack(images))
    return found


def score_dataset(dataset: Dataset, scorer: Scorer, parallel: int = 1) -> Scores:
    """(N, K) probabilities of every row, each scored once.

    Args:
        dataset: what to score.
        scorer: by what.
        parallel: processes; 1 is this one, more are an actor pool of Ray Data.
    """
    scores = np.full((len(dataset), len(scorer.classes)), np.nan, np.float32)
    for rows, found in _score_here(dataset, scorer) if parallel == 1 else _score_ray(dataset, scorer, parallel):
        scores[rows] = found
    return scores


def _score_here(dataset: Dataset, scorer: Scorer) -> Iterator[tuple[npt.NDArray[np.int64], Scores]]:
    score = scorer.make()
    for rows in _batches(len(dataset)):
        yield rows, score_rows(dataset, rows, scorer, score)


class _Actor:
    """One member of the pool: the network is loaded once."""

    def __init__(self, dataset: Dataset, scorer: Scorer) -> None:
        self.dataset, self.scorer, self.score = dataset, scorer, scorer.make()

    def __call__(self, batch: dict[str, npt.NDArray[np.int64]]) -> dict[str, npt.NDArray[Any]]:
        rows = batch["row"]
        return {"row": rows, "score": score_rows(self.dataset, rows, self.scorer, self.score)}


def _score_ray(dataset: Dataset, scorer: Scorer, parallel: int) -> Iterator[tuple[npt.NDArray[np.int64], Scores]]:
    start_ray()
    import ray

    require_cpus(parallel, f"--parallel {parallel}")
    # One block a batch; blocks that are there already need no reading task, which would want a CPU of its own.
    blocks = [pa.table({"row": rows}) for rows in _batches(len(dataset))]
    scored = ray.data.from_arrow(blocks).map_batches(
        _Actor,
        fn_constructor_args=(dataset, scorer),
        compute=ray.data.ActorPoolStrategy(size=parallel),
        batch_size=None,
        num_cpus=1,
        num_gpus=1 if ray.cluster_resources().get("GPU", 0) >= parallel else 0,
    )
    for batch in scored.iter_batches(batch_size=None, batch_format="numpy"):
        yield batch["row"], batch["score"]


def _batches(rows: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, rows, BATCH):
        yield np.arange(start, min(start + BATCH, rows), dtype=np.int64)


@dataclass(frozen=True)
class Refinement:
    """What was done, to be told."""

    manifest: Manifest
    tallies: tuple[Tally, ...]
    warnings: tuple[str, ...]
    decisions: str  # URI of the table


def refine(
    data: str, out: str, scorer: Scorer, policy: Policy, *, parallel: int = 1, overwrite: bool = False
) -> Refinement:
    """Write the refined data set and the table of decisions.

    The scores are kept in the table: a second run over the same data by the same classifier, be it with
    another policy, does not score again.

    Args:
        data: URI of the source.
        out: URI of the refined data set, another one.
        scorer: the classifier.
        policy: what stays.
        parallel: processes that score.
        overwrite: replace another data set at ``out``.

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
        scores = score_dataset(dataset, scorer, parallel)
    decisions = decide(labels, scores, scorer.classes, policy)
    table = decision_table(dataset.index["key"].to_pylist(), labels, scores, scorer.classes, decisions)
    tallies = tally(labels, decisions, names)
    source = refined(dataset, decisions, policy, scorer.name)
    manifest = write_dataset(out, source, overwrite=overwrite)
    write_table(table_uri, table.replace_schema_metadata({_META: json.dumps(meta)}))
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
    except (pa.ArrowInvalid, KeyError, ValueError):
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
