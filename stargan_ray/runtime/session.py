"""What one training process does, whoever started it: open the data, build the state, resume, train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from stargan_ray.config import Recipe
from stargan_ray.data.plan import Plan
from stargan_ray.data.plan_identities import IdentityPlan
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, Source, ThreadSource
from stargan_ray.runtime.embedder_use import stored_embeddings
from stargan_ray.runtime.feature_use import helper_network
from stargan_ray.runtime.lineage import describe
from stargan_ray.runtime.plans import for_plan, make_plan
from stargan_ray.runtime.pretrained import local_weights, origins
from stargan_ray.runtime.resuming import latest_copy, require_same
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.starting import load_helpers, start_from
from stargan_ray.runtime.validation import make_hooks
from stargan_ray.training.checkpoint import load_folder, read_meta
from stargan_ray.training.host_memory import freed_is_kept
from stargan_ray.training.loop import Outcome, fresh_state, train
from stargan_ray.training.recording import Recorder
from stargan_ray.training.step import State
from stargan_ray.training.worker import Worker

MakeSource = Callable[[Dataset, Plan, Sequence[int], Recipe], Source]


def thread_source(dataset: Dataset, plan: Plan, lanes: Sequence[int], recipe: Recipe) -> Source:
    """Decode in a thread of this process."""
    return ThreadSource(dataset, plan, lanes, recipe.data.size, recipe.data.cache_mib << 20)


def run_worker(
    run: Run,
    worker: Worker,
    make_source: MakeSource,
    recorder: Recorder,
    preempted: Callable[[], str] | None = None,
) -> Outcome:
    """Train one run in one process; every worker of the run calls it.

    Args:
        run: what to train.
        worker: the process.
        make_source: of decoded images.
        recorder: where rank 0's records go.
        preempted: see ``train``.

    Raises:
        InputError: something given cannot be used.
        NonFiniteError: training diverged.
    """
    dataset = open_dataset(run.data, run.recipe.data.cache_mib << 20)
    plan = make_plan(run.recipe, dataset)
    run = replace(run, recipe=for_plan(run.recipe, plan))
    recipe = run.recipe
    lanes = recipe.data.shape.lanes_of(worker.rank, worker.world_size)
    loaded = load_helpers(run)
    helpers = {name: helper_network(name, model) for name, model in loaded.items()}
    meta = {"run": run.name, **describe(dataset, loaded)}
    stored = stored_embeddings(recipe, dataset, plan.rows, loaded) if run.embeddings else None
    if run.embeddings:
        meta["embeddings"] = "stored"
    if isinstance(plan, IdentityPlan):
        meta["people"] = plan.counts
    with latest_copy(run.checkpoints, worker, recorder.note) as copy:
        state, origin = _state(run, dataset, worker, helpers, copy)
    batches = Batches(make_source(dataset, plan, lanes, recipe), plan, lanes, worker.device, stored)
    hooks = make_hooks(recipe, dataset, run.judge, worker.device) if worker.rank == 0 else None
    with freed_is_kept(worker.device):
        return train(
            recipe,
            state,
            batches,
            worker,
            run.checkpoints,
            meta=meta | origin,
            recorder=recorder,
            hooks=hooks,
            preempted=preempted,
        )


def _state(
    run: Run, dataset: Dataset, worker: Worker, helpers: dict[str, nn.Module], copy: Path | None
) -> tuple[State, dict[str, Any]]:
    """What training begins with: a checkpoint, given as a local copy of its files, another model's weights, or chance.

    Returns:
        The state, and what its checkpoints say of where its weights are from.

    Raises:
        InputError: the checkpoint is of another recipe or of other data, or weights cannot be used.
    """
    recipe, domains = run.recipe, dataset.manifest.domains
    latest = read_meta(copy) if copy else {}
    if latest:
        require_same(run, latest, dataset.manifest.content_hash)
    with local_weights(recipe, wanted=not latest) as building:
        state = fresh_state(building, len(domains), worker, helpers)
    state.method = recipe.method
    known = latest.get("pretrained")
    origin = {"pretrained": origins(recipe, state.networks, continued=bool(run.init)) if known is None else known}
    if copy:
        load_folder(state, copy)
    elif run.init:
        origin["init"] = start_from(state, run.init, domains)
    return state, origin
