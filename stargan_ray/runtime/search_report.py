"""The end of a search: its tables, its plots, the best recipe, and the best model as a challenger."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stargan_ray.config import to_json
from stargan_ray.data import storage
from stargan_ray.evaluation.pages import data_uri, page
from stargan_ray.evaluation.pareto import pareto_front
from stargan_ray.evaluation.search_figures import Point, front_figure, parallel_figure
from stargan_ray.recipes.space import Range, point_text
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.search_ledger import Trial

if TYPE_CHECKING:
    from stargan_ray.runtime.search import Job


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the highest score among those that were trained to their end."""
    return max((trial for trial in trials if trial.judged), key=lambda trial: trial.last["score"], default=None)


def write_report(job: Job, trials: Sequence[Trial], uri: str) -> dict[str, bytes]:
    """Write report.json, trials.csv, search.html, the plots, and each always-tried point and the best as a recipe.

    Args:
        job: the search.
        trials: of its ledger.
        uri: of its folder.

    Returns:
        File name -> content.
    """
    judged = [trial for trial in trials if trial.judged]
    files = {"trials.csv": _csv(job, trials)}
    for name, trial in _recipes(trials).items():
        *first, last = job.search.trained(trial.fields)
        files[f"{name}.json"] = _json(
            to_json(replace(last, name=f"{job.name}-{name}", about=point_text(trial.fields, 99)))
        )
        for recipe in first:
            files[f"{name}-embedder.json"] = _json(to_json(replace(recipe, name=f"{job.name}-{name}-embedder")))
    report = _report(job, trials)
    if judged:
        points = [
            Point(
                t.label,
                job.search.values_at(t.fields),
                (t.last[job.search.objectives[0]], t.last[job.search.objectives[1]]),
                t.last["score"],
            )
            for t in judged
        ]
        logarithmic = [p for p, found in job.search.space.items() if isinstance(found, Range) and found.log]
        files["front.svg"] = front_figure(points, job.search.objectives)
        files["parallel.svg"] = parallel_figure(points, logarithmic)
        charts = {name: data_uri("image/svg+xml", files[f"{name}.svg"]) for name in ("front", "parallel")}
        files["search.html"] = page("search.html.j2", {}, r=report, charts=charts).encode()
    files["report.json"] = _json(report)
    for name, data in files.items():
        storage.write_bytes(storage.join(uri, name), data)
    return files


def _recipes(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Name of a file -> the trial whose recipe it holds."""
    named = {trial.label.replace(" ", "-"): trial for trial in trials if trial.label}
    best = best_of(trials)
    return {**named, **({"best": best} if best else {})}


def _report(job: Job, trials: Sequence[Trial]) -> dict[str, Any]:
    judged = [trial for trial in trials if trial.judged]
    front: Any = pareto_front([[t.last[name] for name in job.search.objectives] for t in judged]) if judged else []
    best = best_of(trials)
    return {
        "name": job.name,
        "search": job.search.name,
        "recipe": job.search.recipe.name,
        "objectives": list(job.search.objectives),
        "split": job.split,
        "space": {path: repr(dimension) for path, dimension in job.search.space.items()},
        "front": [trial.key for trial, on in zip(judged, front, strict=True) if on],
        "best": best.key if best else None,
        "counts": dict(sorted(Counter(map(_status, trials)).items())),
        "seconds": sum(trial.seconds for trial in trials),
        "trials": [_section(job, trial) for trial in trials],
        "commit": commit() or "not a checkout",
    }


def _status(trial: Trial) -> str:
    """How a trial stands when none runs any more."""
    return "cut off" if trial.status == "running" else trial.status


def _section(job: Job, trial: Trial) -> Mapping[str, Any]:
    return {
        "order": trial.order,
        "key": trial.key,
        "label": trial.label,
        "point": point_text(job.search.values_at(trial.fields), 99),
        "values": job.search.values_at(trial.fields),
        "status": _status(trial),
        "why": trial.why,
        "step": trial.step,
        "figures": dict(trial.last),
        "rungs": [{"step": rung.step, **rung.values} for rung in trial.rungs],
        "seconds": round(trial.seconds, 1),
    }


def _csv(job: Job, trials: Sequence[Trial]) -> bytes:
    figures = sorted({name for trial in trials for name in trial.last})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["order", "key", "label", "status", "step", *job.search.space, *figures, "seconds", "why"])
    for trial in trials:
        told = [trial.order, trial.key, trial.label, _status(trial), trial.step]
        found = [trial.last.get(name, "") for name in figures]
        writer.writerow([*told, *job.search.values_at(trial.fields).values(), *found, trial.seconds, trial.why])
    return text.getvalue().encode()


def _json(values: Any) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
