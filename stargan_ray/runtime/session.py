"""What one training process does, whoever started it: open the data, build the state, resume, train."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

import stargan_ray
from stargan_ray.config import Recipe, flatten, from_json
from stargan_ray.data import storage
from stargan_ray.data.folds import seen_rows
from stargan_ray.data.plan import Plan
from stargan_ray.data.plan_domains import DomainPlan
from stargan_ray.data.plan_identities import IdentityPlan
from stargan_ray.data.plan_rows import RowPlan
from stargan_ray.data.schema import ROW_GROUP
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, Source, ThreadSource
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Translator
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.runtime.dlib_identity import DLIB
from stargan_ray.runtime.embedder_use import require_fit, stored_embeddings
from stargan_ray.runtime.feature_use import IMAGENET, helper_network, open_helper
from stargan_ray.runtime.judges import refuse_name, refuse_start, require_helper
from stargan_ray.runtime.models import LoadedModel
from stargan_ray.runtime.pretrained import absolute_weights, local_weights, origins
from stargan_ray.runtime.validation import make_hooks
from stargan_ray.training.checkpoint import Checkpoints, load_matching, local_copy, read_meta
from stargan_ray.training.loop import Outcome, Recorder, fresh_state, train
from stargan_ray.training.step import State
from stargan_ray.training.worker import Worker

MakeSource = Callable[[Dataset, Plan, Sequence[int], Recipe], Source]
# Fields that a resumed run may change: they decide how long and where, not what a step computes.
_FREE = ("train.steps", "train.threads", "train.report_every", "train.sample_every", "train.validate_every")
_FREE_PREFIXES = (
    "scale.",
    "train.checkpoint_every",
    "train.best",
    "train.higher",
    "data.cache",
    "data.readers",
    "about",
)


@dataclass(frozen=True)
class Run:
    """One run, as it travels to the workers.

    Attributes:
        recipe: what to compute.
        data: URI of an ingested or refined data set.
        storage: URI under which the run's folder lies.
        name: of the run; the same name and storage continue it.
        helpers: helper name -> model (folder, run, URI or ``models:/…``), for the methods that need one.
        judge: a classifier for choosing the best checkpoint of a translator; empty = none.
        init: model or checkpoint whose weights a new run starts from; empty = the seed's.
        embeddings: whether f(source) is read from beside the data (``jobs/embed.py``) instead of computed in each
            step. It is the same number but for rounding, so a run may go on with or without.
    """

    recipe: Recipe
    data: str
    storage: str
    name: str
    helpers: Mapping[str, str] = field(default_factory=dict)
    judge: str = ""
    init: str = ""
    embeddings: bool = False

    def absolute(self) -> Run:
        """The same run with local paths that hold in any working directory: workers have their own."""
        return replace(
            self,
            recipe=absolute_weights(self.recipe),
            data=storage.absolute(self.data),
            storage=storage.absolute(self.storage),
            helpers={name: _absolute(where) for name, where in self.helpers.items()},
            judge=_absolute(self.judge),
            init=_absolute(self.init),
        )

    @property
    def uri(self) -> str:
        """The run's folder."""
        return storage.join(self.storage, self.name)

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        config = self.recipe.train
        return Checkpoints(storage.join(self.uri, "checkpoints"), config.best, config.higher_is_better)


def each_fold(run: Run, folds: int) -> list[Run]:
    """The runs of a cross-fitting: one that leaves out each fold, named after it."""
    recipe = run.recipe
    return [
        replace(
            run,
            recipe=replace(recipe, data=replace(recipe.data, folds=folds, fold=fold)),
            name=f"{run.name}-fold-{fold}",
        )
        for fold in range(folds)
    ]


def _absolute(where: str) -> str:
    return where if where in ("", DLIB, IMAGENET) or where.startswith("models:") else storage.absolute(where)


def make_plan(recipe: Recipe, dataset: Dataset) -> Plan:
    """The plan that a method's batches come from, over the training rows of a data set."""
    index, manifest = dataset.index, dataset.manifest
    column = "identity" if recipe.method.plan == "identities" else "expression"
    usable = pc.and_(pc.equal(index["split"], "train"), pc.is_valid(index[column]))
    usable = pc.and_(usable, seen_rows(index, recipe.data.folds, recipe.data.fold))
    rows = np.flatnonzero(usable.to_numpy(zero_copy_only=False)).astype(np.int64)
    if not len(rows):
        raise InputError(f"{dataset.uri}: no training row has an {column}; {recipe.method.name} needs them")
    labels = pc.fill_null(index["expression"], -1).to_numpy()[rows].astype(np.int64)
    groups = index["shard"].to_numpy().astype(np.int64) << 32 | index["row"].to_numpy() // ROW_GROUP
    shape, seed = recipe.data.shape, recipe.train.seed
    if recipe.method.plan == "identities":
        names = pc.dictionary_encode(index["identity"].combine_chunks()).indices
        people = pc.fill_null(names, -1).to_numpy()[rows].astype(np.int64)
        data = recipe.data
        return IdentityPlan(rows, labels, people, groups, shape, seed, data.images_per_person, data.singles)
    given = pc.fill_null(index["weight"], 1.0).to_numpy()[rows].astype(np.float64)
    weights = None if (given == 1).all() else given
    pairs = isinstance(recipe.method, Translator)
    if not recipe.data.balance:
        if pairs:
            raise InputError(f"data.balance = False: {recipe.method.name} needs every domain as source and as target")
        return RowPlan(rows, labels, groups, shape, seed, weights)
    return DomainPlan(rows, labels, manifest.domains, groups, shape, seed, pairs, weights)


def for_plan(recipe: Recipe, plan: Plan) -> Recipe:
    """The recipe with what only the data can say: how many people a judge learns to tell apart.

    Raises:
        InputError: the recipe says another number.
    """
    method = recipe.method
    if not isinstance(method, IdentityJudgeMethod):
        return recipe
    assert isinstance(plan, IdentityPlan)
    if method.people not in (0, plan.classes):
        raise InputError(
            f"method.people = {method.people}: the batches are of {plan.classes} people of the data; "
            f"allowed are 0 and {plan.classes}"
        )
    return replace(recipe, method=replace(method, people=plan.classes))


def thread_source(dataset: Dataset, plan: Plan, lanes: Sequence[int], recipe: Recipe) -> Source:
    """Decode in a thread of this process."""
    return ThreadSource(dataset, plan, lanes, recipe.data.size)


def run_worker(run: Run, worker: Worker, make_source: MakeSource, recorder: Recorder) -> Outcome:
    """Train one run in one process; every worker of the run calls it.

    Raises:
        InputError: something given cannot be used.
        NonFiniteError: training diverged.
    """
    dataset = open_dataset(run.data, run.recipe.data.cache_mib << 20)
    plan = make_plan(run.recipe, dataset)
    run = replace(run, recipe=for_plan(run.recipe, plan))
    recipe = run.recipe
    lanes = recipe.data.shape.lanes_of(worker.rank, worker.world_size)
    if len(lanes) * recipe.data.shape.share % recipe.train.accumulate:
        raise InputError(
            f"train.accumulate = {recipe.train.accumulate}: allowed are divisors of a worker's "
            f"{len(lanes) * recipe.data.shape.share} images a step"
        )
    loaded = load_helpers(run)
    helpers = {name: helper_network(name, model) for name, model in loaded.items()}
    meta = {"run": run.name, **describe(dataset, loaded)}
    stored = stored_embeddings(recipe, dataset, plan.rows, loaded) if run.embeddings else None
    if run.embeddings:
        meta["embeddings"] = "stored"
    if isinstance(plan, IdentityPlan):
        meta["people"] = plan.counts
    checkpoints = run.checkpoints
    latest = _latest_meta(checkpoints)
    if latest:
        _require_same(run, latest)
    with local_weights(recipe, wanted=not latest) as building:
        state = fresh_state(building, len(dataset.manifest.domains), worker, helpers)
    state.method = recipe.method
    meta["pretrained"] = (
        latest["pretrained"] if "pretrained" in latest else origins(recipe, state.networks, continued=bool(run.init))
    )
    if latest:
        checkpoints.load_latest(state)
    elif run.init:
        meta["init"] = start_from(state, run.init)
    batches = Batches(make_source(dataset, plan, lanes, recipe), plan, lanes, worker.device, stored)
    hooks = make_hooks(recipe, dataset, run.judge, worker.device) if worker.rank == 0 else None
    return train(recipe, state, batches, worker, checkpoints, meta=meta, recorder=recorder, hooks=hooks)


def require_helpers(run: Run) -> None:
    """Every frozen network that the method names must be given."""
    if missing := sorted(set(run.recipe.method.helpers) - set(run.helpers)):
        raise InputError(
            f"{run.recipe.method.name} needs a model for {missing[0]!r}: give --{missing[0]} with a run, "
            "a folder, a URI or models:/NAME@ALIAS"
        )
    for name in run.recipe.method.helpers:
        refuse_name(name, run.helpers[name])


def load_helpers(run: Run) -> dict[str, LoadedModel]:
    """The frozen networks that the method names."""
    require_helpers(run)
    names = sorted(run.recipe.method.helpers)
    loaded = {name: require_helper(name, open_helper(name, run.helpers[name])) for name in names}
    require_fit(run.recipe.method, loaded)
    return loaded


def describe(dataset: Dataset, helpers: Mapping[str, LoadedModel]) -> dict[str, Any]:
    """What every meta.json of the run says besides recipe, step and metrics."""
    return {
        "domains": list(dataset.manifest.domains),
        "data_uri": dataset.uri,
        "data_hash": dataset.manifest.content_hash,
        "commit": commit(),
        "version": stargan_ray.__version__,
        "helpers": {
            n: {"uri": m.where, "content_hash": m.content_hash, "pretrained": m.meta["pretrained"]}
            for n, m in helpers.items()
        },
    }


def commit() -> str:
    """The commit of the package's checkout with ``+changes`` where it was edited; empty outside of one."""
    folder = Path(stargan_ray.__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()


def start_from(state: State, where: str) -> dict[str, Any]:
    """Take over the weights that fit from another run or model; returns what was taken and what stays fresh.

    The averages start from the other's averages where it has them, as its networks do where it has no others.
    """
    folder = local_copy(where)
    refuse_start(state.method, read_meta(folder), where)
    report: dict[str, Any] = {"from": where, "fresh": []}
    for name, network in state.networks.items():
        plain, average = folder / f"{name}.safetensors", folder / f"{name}.average.safetensors"
        if not plain.is_file():
            report["fresh"].append(name)
            continue
        _, fresh = load_matching(network, plain)
        report["fresh"] += [f"{name}.{tensor}" for tensor in fresh]
        if name in state.averaged:
            load_matching(state.averaged[name], average if average.is_file() else plain)
    return report


def _latest_meta(checkpoints: Checkpoints) -> dict[str, Any]:
    """What the latest checkpoint says of itself; nothing where there is none."""
    names = checkpoints.names()
    if not names:
        return {}
    found: dict[str, Any] = json.loads(storage.read_bytes(storage.join(checkpoints.uri, names[-1], "meta.json")))
    return found


def _require_same(run: Run, latest: Mapping[str, Any]) -> None:
    """A name continues one computation: a changed field would make a run that no config describes."""
    # rebuilt, so that a field which is younger than the run has its default
    before = flatten(from_json(latest["recipe"]))
    now = flatten(run.recipe)
    for name in sorted({*before, *now}):
        if name not in _FREE and not name.startswith(_FREE_PREFIXES) and before.get(name) != now.get(name):
            raise InputError(
                f"run {run.name!r} exists with {name} = {before.get(name)!r}, now {now.get(name)!r}: "
                "give another --name, or the same value to continue it"
            )
