"""The population as a job: checked and placed before it starts, told to MLflow, written up at its end."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, replace
from typing import Any

from rich.progress import Progress

from stargan_ray.config import to_json
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.evaluation.search_figures import schedules_figure
from stargan_ray.runtime import launch
from stargan_ray.runtime.heartbeat import Heartbeat
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.mlflow_store import tracking_uri
from stargan_ray.runtime.population import Member, Population, evolve, member_run, read_book, scheduled, segment_length
from stargan_ray.runtime.search import Job, open_task, parameters, require_same, tags_of
from stargan_ray.runtime.search_record import SearchRecord
from stargan_ray.runtime.search_room import room_for
from stargan_ray.runtime.troubles import in_a_line


@dataclass(frozen=True)
class Evolved:
    """What a population came to.

    Attributes:
        best: the member of the last segment with the highest score.
        run: where its weights are.
        segments: all members.
    """

    best: Member
    run: str
    segments: list[list[Member]]


def search_schedule(
    job: Job, population: Population, *, progress: Progress, stop: threading.Event, say: Any = print
) -> Evolved:
    """Evolve schedules of λ_id and write report.json, schedules.svg and best.json; the same call again goes on.

    Args:
        job: the search; how many trials it has and which are stopped plays no part.
        population: how schedules are changed.
        progress: shows the members that train.
        stop: once set, trainings end with a checkpoint.
        say: told in a sentence what is about to start, and how each segment ends.

    Raises:
        InputError, KeyboardInterrupt: as ``evolve``.
    """
    task = open_task(job)
    every = segment_length(population, job.search.recipe)
    require_same(task.ledger, job, task, {"population": [population.members, population.segments, population.seed]})
    os.environ.setdefault("MLFLOW_TRACKING_URI", tracking_uri())  # the same store for all processes
    launch.prepare()
    launch.check(member_run(task, population.first()[0], every))
    room = room_for((scheduled(job.search.recipe, (1.0,), every),), min(job.parallel, population.members))
    at_once = min(room.at_once, population.members)
    say(f"{population.members} schedules, {population.segments} segments of {every} steps; {room.said}")
    fresh = not storage.exists(storage.join(task.uri, "population.json"))
    heartbeat = Heartbeat(task.uri, every * population.segments, step=every * len(read_book(task.uri)))
    told_first = {**parameters(job, task), **vars(population)}
    record = SearchRecord(job.name, told_first, tags_of(job, task), heartbeat, fresh=fresh)
    status, why, files = "FAILED", "", dict[str, bytes]()

    def told(number: int, members: list[Member]) -> None:
        best = max(members, key=lambda member: member.score)
        values = " ".join(f"{value:.3g}" for value in best.values)
        say(f"segment {number + 1} of {population.segments}: best score {best.score:.3f} with λ_id {values}")
        record.segment(every * (number + 1), {**best.figures, "score": best.score, "lambda_id": best.values[-1]})

    try:
        task = replace(task, tags={"stargan_ray.search": job.name, **record.nested()})
        segments = evolve(population, task, parallel=at_once, progress=progress, stop=stop, on_segment=told)
        best = max(segments[-1], key=lambda member: member.score)
        run = member_run(task, best.values, every)
        files = _files(job, segments, best, every)
        for name, data in files.items():
            storage.write_bytes(storage.join(task.uri, name), data)
        status = "FINISHED"
        return Evolved(best, run.uri, segments)
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Exception as error:
        why = in_a_line(error)
        raise
    finally:
        record.close(status, files, why)


def _files(job: Job, segments: list[list[Member]], best: Member, every: int) -> dict[str, bytes]:
    recipe = replace(scheduled(job.search.recipe, best.values, every), name=f"{job.name}-best")
    report = {
        "name": job.name,
        "recipe": job.search.recipe.name,
        "objectives": list(job.search.objectives),
        "split": job.split,
        "segment_steps": every,
        "segments": [[vars(member) for member in members] for members in segments],
        "best": vars(best),
        "commit": commit() or "not a checkout",
    }
    lines = [(member.values, member.score) for member in segments[-1] if member.score >= 0]
    if not lines:
        raise InputError("all members of the last segment diverged")
    return {
        "best.json": _json(to_json(recipe)),
        "schedules.svg": schedules_figure(lines, every),
        "report.json": _json(report),
    }


def _json(values: Any) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n"
