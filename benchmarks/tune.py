"""A search by Ray Tune beside the same trainings one after another without it, on the same cores.

    python benchmarks/tune.py            # ten minutes on two cores

Both train and judge the same points of ``lambda-id`` by the same code, each training by Ray Train; without Tune one
begins when the one before has ended, with Tune as many run as fit. Start-up is left out: both are timed with short
and with twice as long trainings, and what they differ in is what the steps and nothing else cost.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evaluate import RECIPES, save_untrained
from measure import report
from rich.console import Console

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.recipes.searches import search_named
from stargan_ray.runtime import launch
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.search import Job, open_task, search
from stargan_ray.runtime.search_ledger import trial_of
from stargan_ray.runtime.search_table import SearchTable
from stargan_ray.runtime.search_trial import carry_out

TRIALS, STEPS = 4, 40


def job_of(folder: Path, name: str, steps: int) -> Job:
    """The search of so many steps a trial; nothing is stopped early, each is judged at its end."""
    fixed = {"train.steps": steps, "train.checkpoint_every": steps, "train.validate_every": 0, "train.sample_every": 0}
    models = {seat: str(folder / seat) for seat in RECIPES}
    return Job(
        search_named("lambda-id", fixed=fixed),
        str(folder / "faces"),
        str(folder / "faces"),
        str(folder / "runs"),
        name,
        TRIALS,
        {"identity": models["training"]},
        expression_judge=models["expression"],
        identity_judge=models["judge"],
        people=20,
        translations=200,
        scheduler="none",
        first_rung=1.0,
    )


def by_tune(job: Job) -> None:
    """The whole search."""
    table = SearchTable(job.search.objectives, TRIALS, job.search.recipe.train.steps, Console(quiet=True))
    trials = search(job, stop=threading.Event(), table=table, say=lambda _: None)
    assert [trial.status for trial in trials] == ["finished"] * TRIALS, trials


def one_by_one(job: Job) -> None:
    """The points that the search always tries, and one more, without Tune."""
    task = open_task(job)
    points = [*job.search.anchors.values(), {"method.lambda_id.end": 1.0}]
    for order, fields in enumerate(points[:TRIALS]):
        done = carry_out(task, trial_of(job.search, fields, order=order), lambda _step, _values: None)
        assert done.status == "finished", done


def timed(work: Callable[[Job], None], job: Job) -> float:
    """Seconds."""
    start = time.perf_counter()
    work(job)
    return time.perf_counter() - start


def main() -> None:
    """Short and long trainings by both, and the ratio of what the steps cost."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        faces = FacesConfig(people=60, images_per_person=16, size=32, splits=(0.6, 0.4, 0.0))
        write_dataset(str(folder / "faces"), read_faces(faces))
        for seat in RECIPES:
            save_untrained(seat, folder)
        start_ray(dashboard=True)
        launch.prepare()
        one_by_one(replace(job_of(folder, "warm", 10)))
        seconds: dict[str, list[float]] = {}
        for name, work in (("one_by_one", one_by_one), ("tune", by_tune)):
            for steps in (STEPS, 2 * STEPS):
                seconds[f"{name}_{steps}"] = [timed(work, job_of(folder, f"{name}-{steps}", steps))]
    marginal = {
        name: seconds[f"{name}_{2 * STEPS}"][0] - seconds[f"{name}_{STEPS}"][0] for name in ("one_by_one", "tune")
    }
    facts = {
        "trials": TRIALS,
        "seconds_of_the_steps": {name: round(value, 1) for name, value in marginal.items()},
        "trials_per_hour_of_one_by_one": round(marginal["one_by_one"] / marginal["tune"], 3),
        "with_start_up": round(seconds[f"one_by_one_{2 * STEPS}"][0] / seconds[f"tune_{2 * STEPS}"][0], 3),
    }
    report("tune", "python benchmarks/tune.py", seconds, **facts)


if __name__ == "__main__":
    main()
