r"""Search the schedule of λ_id, the triplet margin, both, or the balance of the losses, by Ray Tune and Optuna.

    python jobs/tune.py lambda-id --data data/faces-refined --judged data/faces --name when --trials 16 \
        --identity runs/embedder --judge runs/filter \
        --expression-judge runs/expression-judge --identity-judge runs/identity-judge
    python jobs/tune.py margin --data data/faces --name margin
    python jobs/tune.py schedule --data data/faces-refined … --name evolve --members 4 --segments 4
    python jobs/tune.py lambda-id … --search lambda_id.end=loguniform(0.5,8) lambda_cyc=uniform(0.5,2) \
        --set train.steps=2000

Two figures are to be high at once: the wanted expression as a classifier sees it that trained nothing, and the person
as a judge finds him again. What is written: the front of both, every trial, and the best recipe, which
jobs/train.py --config takes. The same command again goes on where it stopped; with more --trials it adds some. Without
a word, the list of searches is printed, and SEARCH --help lists every flag.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stargan_ray.errors import InputError, unknown
from stargan_ray.runtime import cli

if TYPE_CHECKING:
    from stargan_ray.recipes.searches import Search
    from stargan_ray.recipes.space import Dimension
    from stargan_ray.runtime.search import Job

POPULATION = "a population of schedules of λ_id: who falls behind goes on from a better one's weights"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every search is told.

    Attributes:
        data: URI of the data set that is learnt from.
        judged: URI of the data set whose validation people are translated; the same unless given. A generated set
            before filtering has the true expressions.
        storage: URI under which the search's folder lies.
        name: of the search; the same name and storage continue it.
        recipe: that is varied; empty = the search's tiny one.
        set: fields that are fixed for all trials: FIELD=VALUE.
        identity: embedder of translators that keep the identity.
        features: network of methods with a loss on features.
        judge: classifier that helps to choose the best checkpoint.
        expression_judge: classifier that judges translators; it must not have trained anything here.
        identity_judge: embedder that judges translators, or dlib; as above.
        split: whose people choose.
        people: of it, at most; 100 unless given, or 1,600 images where it names nobody.
        translations: that are judged each time.
        parallel: trainings at once; 0 = as many as fit.
        seed: of what is chosen by chance.
        challenger: register the best model under the alias challenger.
    """

    data: str
    judged: str = ""
    storage: str = "runs"
    name: str
    recipe: str = ""
    set: tuple[str, ...] = ()
    identity: str = ""
    features: str = ""
    judge: str = ""
    expression_judge: str = ""
    identity_judge: str = ""
    split: str = "val"
    people: int | None = None
    translations: int = 800
    parallel: int = 0
    seed: int = 0
    challenger: bool = True

    @property
    def fixed(self) -> dict[str, Any]:
        """The fields of --set."""
        from stargan_ray.recipes.space import parse_value

        return {path: parse_value(text) for path, text in _pairs("set", self.set).items()}

    @property
    def folder(self) -> str:
        """Where the search writes."""
        return f"{self.storage.rstrip('/')}/{self.name}"

    def job(self, search: Search, **more: Any) -> Job:
        """The search as the runtime takes it."""
        from stargan_ray.runtime.search import Job

        helpers = {helper: where for helper in ("identity", "features") if (where := getattr(self, helper))}
        same = ("data", "storage", "name", "judge", "expression_judge", "identity_judge", "split", "people")
        same += ("translations", "parallel", "seed")
        told = {name: getattr(self, name) for name in same}
        return Job(search, judged=self.judged or self.data, helpers=helpers, **told, **more)


@dataclass(frozen=True, kw_only=True)
class Tune(Asked):
    """A search by trials.

    Attributes:
        trials: points that are tried in all.
        embedder: recipe that joint trains first; empty = identity-tiny.
        search: further ranges, or others for the same fields: FIELD=uniform(LOW,HIGH), loguniform(LOW,HIGH),
            int(LOW,HIGH), int(LOW,HIGH,STEP) or choice(A,B,…).
        only: leave out the ranges of the named search: those of --search alone.
        scheduler: which trials end early: asha = the worse half at each rung, median = below the median of the others,
            none.
        first_rung: share of the training at which a trial is judged first; then at each doubling.
    """

    trials: int = 16
    embedder: str = ""
    search: tuple[str, ...] = ()
    only: bool = False
    scheduler: Literal["asha", "median", "none"] = "asha"
    first_rung: float = 0.5

    def searched(self, name: str) -> Search:
        """The named search with what was given beside it."""
        from stargan_ray.recipes.searches import search_named
        from stargan_ray.recipes.space import parse_dimension

        space: dict[str, Dimension] = {p: parse_dimension(text) for p, text in _pairs("search", self.search).items()}
        found = search_named(name, self.recipe, self.embedder, self.fixed)
        if self.only:
            whole = {found.whole(path) for path in space}
            return found.extended(space, [path for path in found.space if path not in whole])
        return found.extended(space)


@dataclass(frozen=True, kw_only=True)
class Schedule(Asked):
    """A population of schedules of λ_id; one that falls behind goes on from a better one's weights.

    Attributes:
        members: schedules at once.
        segments: parts of the training, after each of which the last go on from the first.
        values: of λ_id, among which the first ones lie.
    """

    members: int = 4
    segments: int = 4
    values: str = "loguniform(0.1,8)"


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not (path and equals and value):
            raise InputError(f"--{option} {text}: allowed is FIELD=VALUE")
        pairs[path] = value
    return pairs


def by_trials(name: str, flags: list[str]) -> None:
    """Search by trials, and print the best."""
    from stargan_ray.recipes.searches import SEARCHES
    from stargan_ray.recipes.space import point_text

    job = cli.parse(Tune, SEARCHES[name][2], flags, prog=f"jobs/tune.py {name}")
    searched = job.searched(name)
    more = {option: getattr(job, option) for option in ("trials", "scheduler", "first_rung")}
    import threading

    from stargan_ray.runtime.progress import interrupts
    from stargan_ray.runtime.search import search
    from stargan_ray.runtime.search_report import best_of
    from stargan_ray.runtime.search_table import SearchTable

    stop = threading.Event()
    table = SearchTable(searched.objectives, job.trials, searched.recipe.train.steps)
    with interrupts(stop.set):
        trials = search(job.job(searched, **more), stop=stop, table=table)
    best = best_of(trials)
    if best is None:
        raise InputError(f"none of {len(trials)} trials could be judged: {trials[0].why or trials[0].status}")
    figures = ", ".join(f"{figure} {best.last[figure]:.3f}" for figure in (*searched.objectives, "score"))
    print(f"best: {best.label or f'trial {best.order}'} ({point_text(best.fields, 99)}): {figures}")
    print(f"tables and plots: {job.folder}/search.html, report.json, trials.csv")
    _end(job, f"{job.folder}/{job.name}-{best.key}")


def by_population(flags: list[str]) -> None:
    """Evolve schedules, and print the best."""
    job = cli.parse(Schedule, POPULATION, flags, prog="jobs/tune.py schedule")
    from stargan_ray.recipes.searches import search_named
    from stargan_ray.recipes.space import Range, parse_dimension

    values = parse_dimension(job.values)
    if not isinstance(values, Range) or not values.log:
        raise InputError(f"--values {job.values}: allowed is loguniform(LOW,HIGH)")
    searched = search_named("lambda-id", job.recipe, fixed=job.fixed)
    import threading

    from rich.console import Console

    from stargan_ray.runtime.population import Population
    from stargan_ray.runtime.population_search import search_schedule
    from stargan_ray.runtime.progress import display, interrupts

    stop = threading.Event()
    population = Population(job.members, job.segments, values, seed=job.seed)
    with interrupts(stop.set), display(Console(stderr=True)) as progress:
        found = search_schedule(job.job(searched), population, progress=progress, stop=stop)
    schedule = " ".join(f"{value:.3g}" for value in found.best.values)
    print(f"best: λ_id {schedule}: " + ", ".join(f"{n} {v:.3f}" for n, v in found.best.figures.items()))
    print(f"plot and all members: {job.folder}/schedules.svg, report.json")
    _end(job, found.run)


def _end(job: Asked, run: str) -> None:
    """Where the recipe is; the best model as a challenger."""
    print(f"recipe: {job.folder}/best.json (jobs/train.py --config)")
    if job.challenger:
        from stargan_ray.runtime.registry import promote

        print(f"registered as challenger: {promote(run, alias='challenger')}")


def main() -> None:
    """Find what kind of search is meant."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return
    from stargan_ray.recipes.searches import SEARCHES

    if len(sys.argv) < 2:
        print(__doc__)
        for name, (_, recipe, about) in SEARCHES.items():
            print(f"  {name:12} {about}; of {recipe} unless --recipe says otherwise")
        print(f"  {'schedule':12} {POPULATION}")
    elif sys.argv[1] == "schedule":
        by_population(sys.argv[2:])
    elif sys.argv[1] in SEARCHES:
        by_trials(sys.argv[1], sys.argv[2:])
    else:
        raise unknown("search", sys.argv[1], [*SEARCHES, "schedule"])


if __name__ == "__main__":
    cli.job(main)
