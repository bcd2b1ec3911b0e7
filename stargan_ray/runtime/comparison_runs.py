"""The runs of a comparison: each is trained once, with checkpoints of its own, and judged on the same people."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from rich.progress import Progress

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.comparison import Judged
from stargan_ray.methods.base import Translator
from stargan_ray.runtime import launch
from stargan_ray.runtime.examination import Docket, examination_of, examine
from stargan_ray.runtime.judgement import Bench
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.models import LoadedModel, load_model, own_networks
from stargan_ray.runtime.progress import counting
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.strangers import require_judged_strangers

OnJudged = Callable[[int, int], None]  # told of (new translations, all)


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        data: URI of the data set that the methods learn from.
        judged: URI of the data set whose held-out people are translated; usually the set before filtering.
        storage: URI under which the runs' folders lie.
        name: of the comparison; runs are called ``<name>-<recipe>-<seed>``.
        recipes: one row each.
        seeds: each row is trained with each.
        helpers: name -> model, for the methods that ask for one.
        checkpoint_judge: classifier for choosing the best checkpoint; empty = none.
        expression_judge, identity_judge: never used in training.
        split: whose people are translated.
        people: of it, at most; None = see ``Docket.of``.
        translations: how many.
        models: name of a further row -> a translator that is trained already, e.g. ``models:/…@champion``.
    """

    data: str
    judged: str
    storage: str
    name: str
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    helpers: Mapping[str, str] = field(default_factory=dict)
    checkpoint_judge: str = ""
    expression_judge: str = ""
    identity_judge: str = ""
    split: str = "test"
    people: int | None = None
    translations: int = 1_600
    models: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what gives no table."""
        if not self.recipes or not self.seeds:
            raise InputError("recipes, seeds: at least one of each is needed")
        for recipe in self.recipes:
            if not isinstance(recipe.method, Translator):
                raise InputError(f"recipe {recipe.name} trains {recipe.method.name}: allowed are translators")
        names = [recipe.name for recipe in self.recipes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"recipe {twice[0]} is given twice")
        if len(sizes := {recipe.data.size for recipe in self.recipes}) > 1:
            raise InputError(f"recipes of {sorted(sizes)} pixels cannot be compared: allowed is one size")
        if taken := sorted(set(names) & set(self.models)):
            raise InputError(f"row {taken[0]!r} is a recipe and a model: give the model another name")
        if len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds {self.seeds}: each may be given once")

    @property
    def size(self) -> int:
        """Width and height of the images in pixels."""
        return self.recipes[0].data.size

    def runs(self) -> dict[tuple[str, int], Run]:
        """(recipe's name, seed) -> its run; seeds come first in the order, so that a table is whole early."""
        return {(recipe.name, seed): self._run(recipe, seed) for seed in self.seeds for recipe in self.recipes}

    def _run(self, recipe: Recipe, seed: int) -> Run:
        asked = recipe.method.helpers
        seeded = replace(recipe, train=replace(recipe.train, seed=seed))
        plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in recipe.name)
        helpers = {name: self.helpers[name] for name in asked if name in self.helpers}
        judge = self.checkpoint_judge
        return Run(seeded, self.data, self.storage, f"{self.name}-{plain}-{seed}", helpers, judge).absolute()


@dataclass(frozen=True)
class Seat:
    """Who judges on what, opened once for all rows."""

    docket: Docket
    judges: JudgeModels
    bench: Bench
    folder: str
    strangers: dict[str, dict[str, list[str]]]


def open_seat(comparison: Comparison, out: str, progress: Progress) -> Seat:
    """Open the judges and show them the people.

    Raises:
        InputError: the split has too few people, a judge cannot be loaded, or it knows somebody of the people.
    """
    dataset = open_dataset(comparison.judged)
    docket = Docket.of(dataset, comparison.size, comparison.split, comparison.people, comparison.translations)
    training = comparison.helpers.get("identity", "")
    judges = JudgeModels.of(comparison.expression_judge, comparison.identity_judge, training)
    strangers = {
        name: require_judged_strangers(docket, load_model(where).meta)
        for name, where in {"expression judge": judges.expression, "identity judge": judges.identity}.items()
    }
    with counting("judge real faces", progress) as on_seen:
        bench = Bench.of(docket.court(), judges.open(), on_seen)
    return Seat(docket, judges, bench, storage.join(out, "seen"), strangers)


def each_run(
    runs: Mapping[tuple[str, int], Run],
    seat: Seat,
    parallel: int,
    progress: Progress,
    stop: threading.Event,
) -> tuple[dict[tuple[str, int], Judged], dict[str, str]]:
    """Train and judge the runs, several at a time; one that fails does not end the others."""
    judged: dict[tuple[str, int], Judged] = {}
    failed: dict[str, str] = {}

    def work(run: Run) -> Judged:
        if stop.is_set():
            raise KeyboardInterrupt
        seconds = _trained(run, progress, stop)
        with judging(run.name, progress, stop) as on_judged:
            return _judge(run, seat, seconds, on_judged)

    with ThreadPoolExecutor(parallel, thread_name_prefix="compare") as pool:
        pending: dict[Future[Judged], tuple[str, int]] = {pool.submit(work, run): key for key, run in runs.items()}
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                key = pending.pop(future)
                try:
                    judged[key] = future.result()
                except InputError as error:
                    failed[runs[key].name] = str(error)
                except KeyboardInterrupt:
                    stop.set()
                except BaseException:
                    stop.set()  # a fault of ours: the others end with a checkpoint, and it is shown
                    raise
    return judged, failed


@contextlib.contextmanager
def judging(name: str, progress: Progress, stop: threading.Event) -> Iterator[OnJudged]:
    """A bar of what is judged, which may end after any block: what was seen until then is stored."""
    with counting(f"judge {name}", progress) as on_new:

        def show(new: int, total: int) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            on_new(new, total)

        yield show


def _trained(run: Run, progress: Progress, stop: threading.Event) -> float:
    """Train a run to its end, unless it is there; the seconds that all calls have spent on it."""
    book = storage.join(run.uri, "seconds.json")
    before = float(json.loads(storage.read_bytes(book))["seconds"]) if storage.exists(book) else 0.0
    if _finished(run):
        return before
    start = time.perf_counter()
    try:
        launch.fit(run, progress=progress, stop=stop)
    finally:
        spent = before + time.perf_counter() - start
        storage.write_bytes(book, json.dumps({"seconds": spent}).encode())
    return spent


def _finished(run: Run) -> bool:
    names = run.checkpoints.names()
    return bool(names) and int(names[-1].removeprefix("step-")) >= run.recipe.train.steps


def _judge(run: Run, seat: Seat, seconds: float, on_judged: OnJudged) -> Judged:
    model = load_model(run.uri)
    train, batch = run.recipe.train, run.recipe.data.shape.batch
    parameters = sum(p.numel() for network in own_networks(model).values() for p in network.parameters())
    facts = {
        "run": run.name,
        "seed": train.seed,
        "checkpoint_step": model.meta.get("step"),
        "steps": train.steps,
        "images_k": train.steps * batch / 1e3,
        "minutes": seconds / 60,
        "parameters_m": parameters / 1e6,
        "content_hash": model.content_hash,
    }
    return _judged(model, seat, facts, on_judged)


def judge_model(where: str, seat: Seat, facts: Mapping[str, Any], on_judged: OnJudged) -> Judged:
    """A translator that is trained already before the judges.

    Raises:
        InputError: it is no translator, of other expressions or another size, one of the judges trained it, or it
            knows somebody of the people.
    """
    model = load_model(where)
    if model.size != seat.docket.size:
        raise InputError(f"{where} makes images of {model.size} pixels: the others make {seat.docket.size}")
    return _judged(model, seat, {**facts, "content_hash": model.content_hash}, on_judged)


def _judged(model: LoadedModel, seat: Seat, facts: Mapping[str, Any], on_judged: OnJudged) -> Judged:
    require_judged_strangers(seat.docket, model.meta)
    examination = examination_of(model, seat.bench.court, seat.docket, seat.judges, seat.folder)
    findings = examine(examination, on_done=on_judged, model=model)
    return replace(seat.bench.judged(findings, facts), pictures=seat.bench.pictures(model))
