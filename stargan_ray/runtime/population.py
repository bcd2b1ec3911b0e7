"""Population based training of λ_id's schedule (Jaderberg et al., 2017): who falls behind goes on from a better one.

All members share data, order and seed, and differ in the values of λ_id alone, one for each segment. After a segment
the last of them take the weights of the first, by their checkpoint, and a changed value. So a member is its list of
values, whoever computed them: the winner's schedule is a recipe like any other, and training it from the start gives
the winner's weights.

Ray Tune's own scheduler of this kind is not used: it hands over the checkpoints of Tune's trials, and with Ray Train
(V2) a trial has none; ours are the run's, on storage. Segments begin and end together, so that every choice depends on
figures of the same step and a search that was cut off comes to the same end.

<uri>/population.json     what the members of each segment were, and what the judges said
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from stargan_ray.config import Recipe, to_json
from stargan_ray.data import storage
from stargan_ray.errors import DivergedError, InputError
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.recipes.space import Range
from stargan_ray.runtime import launch
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.search_judge import Examiner
from stargan_ray.runtime.search_trial import Task
from stargan_ray.schedules import Pieces

_BOOK = "population.json"


@dataclass(frozen=True)
class Population:
    """How the schedules are changed.

    Attributes:
        members: schedules at once.
        segments: parts of the training, after each of which the last go on from the first.
        values: of λ_id, among which the first ones lie.
        replaced: share of the members that is replaced after a segment.
        factors: one of which a taken value is multiplied by.
        seed: of the choices.
    """

    members: int = 4
    segments: int = 4
    values: Range = Range(0.1, 8.0, log=True)
    replaced: float = 0.25
    factors: tuple[float, ...] = (0.5, 0.8, 1.25, 2.0)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no population."""
        if self.members < 2 or self.segments < 2:
            raise InputError(f"--members {self.members}, --segments {self.segments}: allowed are values >= 2")
        if not 0 < self.replaced <= 0.5:
            raise InputError(f"--replaced {self.replaced}: allowed is 0 < share <= 0.5")

    def first(self) -> list[tuple[float, ...]]:
        """The members of the first segment: spread evenly over the values, both ends among them."""
        low, high = math.log(self.values.low), math.log(self.values.high)
        return [(round(math.exp(x), 4),) for x in np.linspace(low, high, self.members)]

    def next(self, members: Sequence[Member]) -> list[tuple[float, ...]]:
        """The values of the members of the next segment, in the same places.

        Args:
            members: of a segment, judged.
        """
        number = len(members[0].values)
        generator = np.random.default_rng((self.seed, number))
        order = sorted(range(len(members)), key=lambda k: -members[k].score)
        count = max(1, round(self.replaced * len(members)))
        best = order[:count]
        following = [(*member.values, member.values[-1]) for member in members]
        for place in order[-count:]:
            taken = members[int(generator.choice(best))]
            changed = taken.values[-1] * float(generator.choice(self.factors))
            following[place] = (*taken.values, round(min(self.values.high, max(self.values.low, changed)), 4))
        return following


@dataclass(frozen=True)
class Member:
    """A schedule up to the end of a segment.

    Attributes:
        values: of λ_id, one for each segment.
        figures: what the judges say of it then; empty = it diverged.
        score: the harmonic mean of both objectives; −1 = it diverged.
    """

    values: tuple[float, ...]
    figures: Mapping[str, float]
    score: float


def evolve(
    population: Population,
    task: Task,
    *,
    parallel: int,
    progress: Progress,
    stop: threading.Event,
    on_segment: Callable[[int, list[Member]], None] = lambda _number, _members: None,
) -> list[list[Member]]:
    """Train and judge all segments, those that an earlier call has not.

    Args:
        population: how.
        task: of the search; its recipe is of stargan-v2-id, and trained for ``segments`` equal parts of its steps.
        parallel: members that train at once.
        progress: shows them.
        stop: once set, trainings end with a checkpoint.
        on_segment: told the number of a segment from 0, and its members.

    Returns:
        The members of each segment.

    Raises:
        InputError: the recipe has no λ_id or cannot be cut so, all diverged, or something cannot be read or written.
        KeyboardInterrupt: ``stop`` is set.
    """
    every = segment_length(population, task.search.recipe)
    done = read_book(task.uri)
    for number, members in enumerate(done):
        on_segment(number, members)
    examiner = task.examiner() if len(done) < population.segments else None
    while len(done) < population.segments:
        wanted = population.next(done[-1]) if done else population.first()
        assert examiner is not None
        members = _segment(task, wanted, every, examiner, parallel, progress, stop)
        if stop.is_set():
            raise KeyboardInterrupt
        if all(member.score < 0 for member in members):
            raise InputError(f"all {len(members)} members diverged in segment {len(done)}: lower the range of values")
        done.append(members)
        text = json.dumps([[asdict(member) for member in each] for each in done], indent=1)
        storage.write_bytes(storage.join(task.uri, _BOOK), text.encode())
        on_segment(len(done) - 1, members)
    return done


def read_book(uri: str) -> list[list[Member]]:
    """The segments of a population that are over."""
    where = storage.join(uri, _BOOK)
    if not storage.exists(where):
        return []
    told = json.loads(storage.read_bytes(where))
    return [[Member(tuple(m["values"]), m["figures"], m["score"]) for m in members] for members in told]


def segment_length(population: Population, recipe: Recipe) -> int:
    """Steps of a segment.

    Raises:
        InputError: the recipe has no λ_id, or its steps cannot be cut into so many parts.
    """
    if not isinstance(recipe.method, StarGANv2Identity):
        raise InputError(f"recipe {recipe.name}: a schedule of λ_id is for recipes of stargan-v2-id")
    if recipe.train.steps % population.segments:
        raise InputError(
            f"train.steps = {recipe.train.steps}: allowed are multiples of --segments {population.segments}"
        )
    return recipe.train.steps // population.segments


def scheduled(recipe: Recipe, values: tuple[float, ...], every: int) -> Recipe:
    """The recipe with a schedule in pieces, trained to its last piece's end."""
    method = recipe.method
    assert isinstance(method, StarGANv2Identity)
    train = replace(recipe.train, steps=every * len(values), best="")
    return replace(recipe, method=replace(method, lambda_id=Pieces(values, every)), train=train)


def member_run(task: Task, values: tuple[float, ...], every: int) -> Run:
    """The run of a schedule up to its last segment's end; the same schedule is the same run."""
    recipe = scheduled(task.search.recipe, values, every)
    key = hashlib.sha256(json.dumps(to_json(recipe), sort_keys=True).encode()).hexdigest()[:10]
    helpers = {name: where for name, where in task.helpers.items() if name in recipe.method.helpers}
    tags = {**task.tags, "stargan_ray.schedule": " ".join(f"{value:g}" for value in values)}
    return Run(recipe, task.data, task.uri, f"{task.name}-{key}", helpers, task.judge, tags=tags).absolute()


def hand_over(giver: Run, taker: Run) -> None:
    """Let a run that has not begun go on from the last checkpoint of another one, which shares its past."""
    if taker.checkpoints.names():
        return
    name = giver.checkpoints.names()[-1]
    with tempfile.TemporaryDirectory(prefix="hand-over-") as temporary:
        folder = Path(temporary)
        storage.get_folder(storage.join(giver.checkpoints.uri, name), folder)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        told = {**meta, "run": taker.name, "recipe": to_json(taker.recipe)}
        (folder / "meta.json").write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
        storage.put_folder(folder, storage.join(taker.checkpoints.uri, name), last="meta.json")


def _segment(
    task: Task,
    wanted: Sequence[tuple[float, ...]],
    every: int,
    examiner: Examiner,
    parallel: int,
    progress: Progress,
    stop: threading.Event,
) -> list[Member]:
    """Train each schedule to the end of its last value and judge it; equal schedules are one training."""
    alone = threading.Lock()  # one judge for all

    def work(values: tuple[float, ...]) -> Member:
        run = member_run(task, values, every)
        if len(values) > 1:
            hand_over(member_run(task, values[:-1], every), run)
        try:
            if not _reached_end(run):
                launch.fit(run, progress=progress, stop=stop)
        except DivergedError:
            return Member(values, {}, -1.0)
        with alone:
            figures = examiner(storage.join(run.checkpoints.uri, run.checkpoints.names()[-1]))
        return Member(values, figures, task.score(figures))

    different = list(dict.fromkeys(wanted))
    with ThreadPoolExecutor(parallel, thread_name_prefix="population") as pool:
        found: dict[Any, Member] = dict(zip(different, pool.map(work, different), strict=True))
    return [found[values] for values in wanted]


def _reached_end(run: Run) -> bool:
    names = run.checkpoints.names()
    return bool(names) and int(names[-1].removeprefix("step-")) >= run.recipe.train.steps
