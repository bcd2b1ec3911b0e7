"""A search by Ray Tune: trials that train and are judged side by side, the worse ones stopped half-way.

The ledger on storage is all that a later call needs: what is over teaches the sampler and the scheduler, what was cut
off goes on first. Tune's own state is not used for that, since it is written only now and then, is bound to the
program that pickled it, and cannot take more trials than were asked for at first.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import stargan_ray
from stargan_ray.config import flatten
from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Translator
from stargan_ray.recipes.searches import Search
from stargan_ray.runtime import launch
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.examination import Docket
from stargan_ray.runtime.heartbeat import Heartbeat
from stargan_ray.runtime.judges import JudgeModels, refuse_trainers
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.mlflow_store import tracking_uri
from stargan_ray.runtime.run import absolute_model
from stargan_ray.runtime.search_ledger import Ledger, Trial, trial_of
from stargan_ray.runtime.search_record import SearchRecord
from stargan_ray.runtime.search_report import write_report
from stargan_ray.runtime.search_room import process_bundle, room_for
from stargan_ray.runtime.search_table import SearchTable
from stargan_ray.runtime.search_trial import Task, tune_trial
from stargan_ray.runtime.search_watch import CRASHES, Watch
from stargan_ray.runtime.strangers import require_judged_strangers
from stargan_ray.runtime.trials import OVER
from stargan_ray.runtime.troubles import in_a_line


@dataclass(frozen=True)
class Job:
    """A search as it is asked for.

    Attributes:
        search: what is varied.
        data: URI of the data set that is learnt from.
        judged: URI of the data set whose people a checkpoint is judged on.
        storage: URI under which the search's folder lies.
        name: of the search; the same name and storage continue it.
        trials: in all.
        helpers: name -> model, for the methods that need one.
        judge: classifier for choosing the best checkpoint of a translator.
        expression_judge, identity_judge: of translators; they must not have trained anything here.
        split, people, translations: of ``judged``.
        scheduler: which trials are stopped early: by successive halving, below the median, or none.
        first_rung: share of the training after which a trial may be stopped.
        parallel: trials at once; 0 = as many as fit.
        seed: of the sampler.
    """

    search: Search
    data: str
    judged: str
    storage: str
    name: str
    trials: int = 16
    helpers: Mapping[str, str] = field(default_factory=dict)
    judge: str = ""
    expression_judge: str = ""
    identity_judge: str = ""
    split: str = "val"
    people: int | None = None
    translations: int = 800
    scheduler: Literal["asha", "median", "none"] = "asha"
    first_rung: float = 0.5
    parallel: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no search."""
        if self.trials < len(self.search.anchors) or self.parallel < 0:
            raise InputError(
                f"--trials {self.trials}, --parallel {self.parallel}: allowed are >= {len(self.search.anchors)} (the "
                f"points that are always tried: {', '.join(self.search.anchors)}) and >= 0"
            )
        if not 0 < self.first_rung <= 1:
            raise InputError(f"--first-rung {self.first_rung}: allowed is 0 < share <= 1")
        if self.translates and not (self.expression_judge and self.identity_judge):
            raise InputError("--expression-judge, --identity-judge: both are needed to judge translators")

    @property
    def translates(self) -> bool:
        """Whether it is translators that are searched."""
        return isinstance(self.search.recipe.method, Translator)


def search(job: Job, *, stop: threading.Event, table: SearchTable, say: Any = print) -> list[Trial]:
    """Try points until there are as many as asked for.

    Args:
        job: the search.
        stop: once set, running trials end where their last checkpoint stands.
        table: shows the trials; not entered yet.
        say: told in a sentence what is about to start.

    Returns:
        All trials of the ledger.

    Raises:
        InputError: something given cannot be used, nothing fits the cluster, or trial after trial fails.
        KeyboardInterrupt: ``stop`` is set.
    """
    task = open_task(job)
    fresh = not task.ledger.all()
    require_same(task.ledger, job, task)
    known, queue = plan(job, task.ledger)
    os.environ.setdefault("MLFLOW_TRACKING_URI", tracking_uri())  # the same store for all processes
    start_ray(dashboard=True)  # without it Ray does not notice what a killed trial leaves behind
    launch.prepare()
    launch.check(task.runs((queue or known)[0])[0])  # what cannot be trained is said before Tune starts anything
    room = room_for(job.search.trained({}), job.parallel)
    say(f"{job.trials} trials, {len(known)} of them are over; {room.said}; judged at steps {_steps(task)}")
    heartbeat = Heartbeat(task.uri, job.trials, step=len(known), unit="trials")
    record = SearchRecord(job.name, parameters(job, task), tags_of(job, task), heartbeat, fresh=fresh)
    status, why, files = "FAILED", "", dict[str, bytes]()
    try:
        task = replace(task, tags={"stargan_ray.search": job.name, **record.nested()})
        with table:
            table.known(known)
            watch = Watch(task, table, record, known, stop)
            if (missing := job.trials - len(known)) > 0:
                with watch.passing_on():
                    _tune(job, task, queue, known, missing, room.at_once, watch)
        trials = task.ledger.all()
        files = write_report(job, trials, task.uri)  # also of a part: it is what there is
        if stop.is_set():
            raise KeyboardInterrupt
        if watch.broken:
            raise InputError(f"trial after trial failed, the last one: {watch.broken}; the same command goes on")
        status = "FINISHED"
        return trials
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Exception as error:
        why = in_a_line(error)
        raise
    finally:
        record.close(status, files, why)


def open_task(job: Job) -> Task:
    """What the trials share, with every place absolute and every judge resolved.

    Raises:
        InputError: something given cannot be used.
    """
    uri = storage.absolute(storage.join(job.storage, job.name))
    storage.check_writable(uri)
    dataset = open_dataset(job.judged)
    size = job.search.recipe.data.size
    docket = Docket.of(dataset, size, job.split, job.people, job.translations)
    judges = None
    if job.translates:
        trainers = {**job.helpers, "checkpoint-choosing": job.judge}
        refuse_trainers({"expression": job.expression_judge, "identity": job.identity_judge}, trainers)
        judges = JudgeModels.of(job.expression_judge, job.identity_judge)
        for model in judges.models():
            require_judged_strangers(docket, model.meta)
        docket.court()
    helpers = {name: absolute_model(where) for name, where in job.helpers.items()}
    data, judge = storage.absolute(job.data), absolute_model(job.judge)
    return Task(job.search, data, uri, job.name, docket, judges, _rungs(job), helpers, judge)


def _rungs(job: Job) -> tuple[int, ...]:
    """Steps at which a trial is judged: each twice as far as the one before, where a checkpoint is written."""
    train = job.search.recipe.train
    share, rungs = job.first_rung, {train.steps}
    while share < 1:
        every = train.checkpoint_every
        rungs.add(min(train.steps, max(every, round(share * train.steps / every) * every)))
        share *= 2
    return tuple(sorted(rungs))


def plan(job: Job, ledger: Ledger) -> tuple[list[Trial], list[Trial]]:
    """What is over, and what comes first: trials that were cut off, then points that must be tried."""
    found = ledger.all()
    known = [trial for trial in found if trial.status in OVER]
    cut = [trial for trial in found if trial.status not in OVER]
    keys = {trial.key for trial in found}
    order = max((trial.order for trial in found), default=-1)
    fixed = []
    for label, fields in job.search.anchors.items():
        trial = trial_of(job.search, fields, label, order + 1)
        if trial.key not in keys:
            keys.add(trial.key)
            order += 1
            fixed.append(trial)
    return known, (cut + fixed)[: max(0, job.trials - len(known))]


def require_same(ledger: Ledger, job: Job, task: Task, more: Mapping[str, Any] = MappingProxyType({})) -> None:
    """A folder holds one search: figures of other data, judges or people do not belong beside each other.

    Args:
        ledger: of the folder.
        job: the search.
        task: of it.
        more: further facts that must not change.

    Raises:
        InputError: an earlier call had another one of them.
    """
    told = {
        **more,
        "recipe": _fixed(job.search),
        "data": open_dataset(task.data).manifest.content_hash,
        "judged": [task.docket.content_hash, job.split, task.docket.people, job.translations],
        "judges": list(task.judges.hashes()) if task.judges else [],
        "rungs": list(task.rungs),
    }
    where = storage.join(ledger.uri, "search.json")
    if storage.exists(where):
        before = json.loads(storage.read_bytes(where))
        recipe = {**told["recipe"], **before.pop("recipe")}
        changed = [path for path, value in told["recipe"].items() if recipe[path] != value]
        changed += [name for name, value in before.items() if told.get(name) != value]
        if changed:
            raise InputError(f"--name {job.name} is a search with other {changed[0]} than now: choose another name")
        told["recipe"] = recipe
    storage.write_bytes(where, json.dumps(told).encode())


def _fixed(search: Search) -> dict[str, Any]:
    """The recipe without what is searched: the ranges may change between calls, the rest may not."""
    flat = flatten(search.recipe)
    return {
        path: value
        for path, value in flat.items()
        if not path.startswith(("method.lambda_id.", "scale."))
        and path not in search.space
        and path not in ("name", "about")
    }


def _steps(task: Task) -> str:
    return ", ".join(map(str, task.rungs))


def parameters(job: Job, task: Task) -> dict[str, Any]:
    """What MLflow is told of a search."""
    space = {f"space.{path}": repr(dimension) for path, dimension in job.search.space.items()}
    own = {"search": job.search.name, "trials": job.trials, "scheduler": job.scheduler, "rungs": _steps(task)}
    return {**own, **space, **flatten(job.search.recipe)}


def tags_of(job: Job, task: Task) -> dict[str, str]:
    """Where a search comes from, for MLflow."""
    told = {"commit": commit(), "data_hash": open_dataset(task.data).manifest.content_hash}
    return {**told, "version": stargan_ray.__version__, "stargan_ray.search": job.name}


def _tune(
    job: Job, task: Task, queue: Sequence[Trial], known: Sequence[Trial], missing: int, at_once: int, watch: Watch
) -> None:
    """Hand the missing trials to Ray Tune."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is the job's
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # the spool and a local MLflow are where the job runs
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # it shows a box of its own at any verbosity
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a trial that reaches no storage reports that alone
    os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"  # the ledger and the watch say it in a line
    from ray import tune

    from stargan_ray.runtime.search_scheduler import scheduler_of
    from stargan_ray.runtime.searcher import OptunaSearcher

    bundle = process_bundle(tracking_uri())
    trainable = tune.with_resources(tune.with_parameters(tune_trial, task=task), tune.PlacementGroupFactory([bundle]))
    with tempfile.TemporaryDirectory(prefix="tune-", ignore_cleanup_errors=True) as temporary:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearcher(job.search, queue, known, job.seed, watch),
                scheduler=scheduler_of(job.scheduler, task.rungs, known, task.ledger),
                num_samples=missing,
                max_concurrent_trials=at_once,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=job.name,
                storage_path=temporary,
                callbacks=[watch.callback()],
                failure_config=tune.FailureConfig(max_failures=CRASHES),
                verbose=0,
                log_to_file=False,
            ),
        ).fit()


def _name(trial: Any) -> str:
    return f"{trial.config['trial'].key}-{trial.trial_id}"
