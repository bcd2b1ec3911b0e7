r"""Search the schedule of λ_id, the triplet margin, both, or the balance of the losses, by Ray Tune and Optuna.

    python jobs/tune.py lambda-id --data data/faces-refined --judged data/faces --name when --trials 16 \
        --identity runs/embedder --judge runs/filter \
        --expression-judge runs/expression-judge --identity-judge runs/identity-judge
    python jobs/tune.py margin --data data/faces --name margin
    python jobs/tune.py lambda-id … --search lambda_id.end=loguniform(0.5,8) lambda_cyc=uniform(0.5,2) \
        --set train.steps=2000

Two figures are to be high at once: the wanted expression as a classifier sees it that trained nothing, and the person
as a judge finds him again. What is written: the front of both, every trial, and the best recipe, which
jobs/train.py --config takes. The same command again goes on where it stopped; with more --trials it adds some.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from stargan_ray.errors import InputError
from stargan_ray.recipes.searches import SEARCHES, Search, search_named
from stargan_ray.recipes.space import Dimension, parse_dimension, parse_value, point_text
from stargan_ray.runtime import cli
from stargan_ray.runtime.search import Job, Scheduler


@dataclass(frozen=True, kw_only=True)
class Tune:
    """A search.

    Attributes:
        data: URI of the data set that is learnt from.
        judged: URI of the data set whose validation people are translated; the same unless given. A generated set
            before filtering has the true expressions.
        storage: URI under which the search's folder lies.
        name: of the search; the same name and storage continue it.
        trials: points that are tried in all.
        recipe: that is varied; empty = the search's tiny one.
        embedder: recipe that joint trains first; empty = identity-tiny.
        search: further ranges, or others for the same fields: FIELD=uniform(LOW,HIGH), loguniform(LOW,HIGH),
            int(LOW,HIGH), int(LOW,HIGH,STEP) or choice(A,B,…).
        set: fields that are fixed for all trials: FIELD=VALUE.
        only: leave out the ranges of the named search: those of --search alone.
        identity: embedder of translators that keep the identity.
        features: network of methods with a loss on features.
        judge: classifier that helps to choose the best checkpoint.
        expression_judge: classifier that judges translators; it must not have trained anything here.
        identity_judge: embedder that judges translators, or dlib; as above.
        split: whose people choose.
        people: of it, at most.
        translations: that are judged at each rung.
        scheduler: which trials end early: asha = the worse half at each rung, median = below the median of the others,
            none.
        first_rung: share of the training at which a trial is judged first; then at each doubling.
        parallel: trials at once; 0 = as many as fit.
        seed: of the sampler.
        challenger: register the best model under the alias challenger.
    """

    data: str
    judged: str = ""
    storage: str = "runs"
    name: str
    trials: int = 16
    recipe: str = ""
    embedder: str = ""
    search: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    only: bool = False
    identity: str = ""
    features: str = ""
    judge: str = ""
    expression_judge: str = ""
    identity_judge: str = ""
    split: str = "val"
    people: int = 100
    translations: int = 800
    scheduler: Scheduler = "asha"
    first_rung: float = 0.5
    parallel: int = 0
    seed: int = 0
    challenger: bool = True

    def searched(self, name: str) -> Search:
        """The named search with what was given beside it."""
        fixed: dict[str, Any] = {path: parse_value(text) for path, text in _pairs("set", self.set).items()}
        space: dict[str, Dimension] = {p: parse_dimension(text) for p, text in _pairs("search", self.search).items()}
        found = search_named(name, self.recipe, self.embedder, fixed)
        if self.only:
            whole = {found.whole(path) for path in space}
            return found.extended(space, [path for path in found.space if path not in whole])
        return found.extended(space)


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not (path and equals and value):
            raise InputError(f"--{option} {text}: allowed is FIELD=VALUE")
        pairs[path] = value
    return pairs


def main() -> None:
    """Parse, search, print the best and where it is."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        for name, (_, recipe, about) in SEARCHES.items():
            print(f"  {name:12} {about}; of {recipe} unless --recipe says otherwise")
        return
    name = sys.argv[1]
    if name not in SEARCHES:
        search_named(name)
    job = cli.parse(Tune, SEARCHES[name][2], sys.argv[2:], prog=f"jobs/tune.py {name}")
    searched = job.searched(name)
    import threading

    from stargan_ray.runtime.progress import interrupts
    from stargan_ray.runtime.search import search
    from stargan_ray.runtime.search_report import best_of
    from stargan_ray.runtime.search_table import SearchTable

    helpers = {helper: where for helper in ("identity", "features") if (where := getattr(job, helper))}
    asked = Job(
        searched,
        job.data,
        job.judged or job.data,
        job.storage,
        job.name,
        job.trials,
        helpers,
        job.judge,
        job.expression_judge,
        job.identity_judge,
        job.split,
        job.people,
        job.translations,
        job.scheduler,
        job.first_rung,
        job.parallel,
        job.seed,
    )
    stop = threading.Event()
    table = SearchTable(searched.objectives, job.trials, searched.recipe.train.steps)
    with interrupts(stop.set):
        trials = search(asked, stop=stop, table=table)
    best = best_of(trials)
    if best is None:
        raise InputError(f"none of {len(trials)} trials could be judged: {trials[0].why or trials[0].status}")
    figures = ", ".join(f"{figure} {best.last[figure]:.3f}" for figure in (*searched.objectives, "score"))
    print(f"best: {best.label or f'trial {best.order}'} ({point_text(best.fields, 99)}): {figures}")
    folder = f"{job.storage.rstrip('/')}/{job.name}"
    print(f"tables and plots: {folder}/search.html, report.json, trials.csv; recipe: {folder}/best.json")
    if job.challenger:
        from stargan_ray.runtime.registry import promote

        print(f"registered as challenger: {promote(f'{folder}/{job.name}-{best.key}', alias='challenger')}")


if __name__ == "__main__":
    cli.job(main)
