"""Methods side by side: trained on the same data, judged on the same held-out people, one table.

Every row is a run of its own with its own checkpoints, so a comparison that was stopped goes on where it was, and a
later one with more rows or seeds trains only those.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.progress import Progress

from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.augmentation import TableTwo
from stargan_ray.evaluation.comparison import Judged, Row, as_csv
from stargan_ray.evaluation.comparison_figures import NoisePoint, noise_figure, trade_off_figure
from stargan_ray.evaluation.comparison_page import markdown, noise_markdown, render
from stargan_ray.evaluation.figures import sample_grid
from stargan_ray.evaluation.report import split_estimates
from stargan_ray.runtime import launch
from stargan_ray.runtime.comparison_runs import Comparison, Seat, each_run, judge_model, judging, open_seat
from stargan_ray.runtime.judges import refuse_trainers
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.noise_study import NoiseStudy, noise_points
from stargan_ray.runtime.table_two import AugmentationStudy, table_two

COPY_INPUT, REAL = "copy-input", "real images"
_FACTS = {
    "parameters_m": "parameters, M",
    "steps": "steps",
    "images_k": "images seen, k",
    "minutes": "minutes",
}


@dataclass(frozen=True)
class Compared:
    """A finished comparison.

    Attributes:
        rows: of the table: copies of the input, real images, then the recipes in their order.
        failed: run -> why it has no row.
        markdown: the table.
        report: what comparison.json says.
    """

    rows: tuple[Row, ...]
    failed: dict[str, str]
    markdown: str
    report: dict[str, Any]


def compare(
    comparison: Comparison,
    out: str,
    *,
    noise: NoiseStudy | None = None,
    augmentation: AugmentationStudy | None = None,
    parallel: int,
    progress: Progress,
    stop: threading.Event,
) -> Compared:
    """Train what is not trained yet, judge every run and write comparison.md, .csv, .json and .html.

    Args:
        comparison: what is compared.
        out: URI of a folder for the tables.
        noise: a study of label noise besides; None = none.
        augmentation: of Table II; None = without it.
        parallel: runs that train at the same time; each takes the CPUs and GPUs that its recipe says.
        progress: shows the runs.
        stop: once set, running trainings end with a checkpoint and nothing new begins.

    Raises:
        InputError: something given cannot be used, or every run failed.
        KeyboardInterrupt: ``stop`` is set.
    """
    out = storage.absolute(out)
    storage.check_writable(out)
    refuse_trainers(
        {"expression": comparison.expression_judge, "identity": comparison.identity_judge},
        {**comparison.helpers, "checkpoint-choosing": comparison.checkpoint_judge},
    )
    runs = comparison.runs()
    for run in runs.values():  # what cannot be trained is said before hours are spent on the others
        launch.check(run)
    seat = open_seat(comparison, out, progress)
    launch.prepare()
    judged, failed = each_run(runs, seat, parallel, progress, stop)
    if stop.is_set():
        raise KeyboardInterrupt
    rows = [Row(COPY_INPUT, (seat.bench.copy_input(),)), Row(REAL, (seat.bench.real(),))]
    for recipe in comparison.recipes:
        found = tuple(judged[key] for key in runs if key[0] == recipe.name and key in judged)
        if found:
            rows.append(Row(recipe.name, found))
    rows += [Row(name, (_given(name, where, seat, progress, stop),)) for name, where in comparison.models.items()]
    if not judged and not comparison.models:
        raise InputError(f"no run could be judged: {next(iter(failed.values()), '')}")
    points: list[NoisePoint] = []
    if noise is not None:
        points, more = noise_points(noise, comparison, seat, out, parallel=parallel, progress=progress, stop=stop)
        failed |= more
    two, unchecked = None, list[str]()
    if augmentation is not None:
        made = {row.name for row in rows}
        first = {name: run.uri for (name, seed), run in runs.items() if seed == comparison.seeds[0] and name in made}
        translators = {**first, **comparison.models}
        two, unchecked = table_two(augmentation, translators, out, parallel=parallel, progress=progress)
    strangers = {**seat.strangers, **({"Table II": {"checked": [], "unchecked": unchecked}} if unchecked else {})}
    return _written(comparison, replace(seat, strangers=strangers), _Found(rows, points, two, failed), out)


def _given(name: str, where: str, seat: Seat, progress: Progress, stop: threading.Event) -> Judged:
    """A translator that is trained already."""
    with judging(name, progress, stop) as on_judged:
        return judge_model(where, seat, {"run": where}, on_judged)


@dataclass(frozen=True)
class _Found:
    rows: Sequence[Row]
    points: Sequence[NoisePoint]
    two: TableTwo | None
    failed: dict[str, str]


def _written(comparison: Comparison, seat: Seat, found: _Found, out: str) -> Compared:
    """The tables in four forms; comparison.json is written last, since who finds it may rely on the others."""
    court, rows, points, failed = seat.bench.court, found.rows, found.points, found.failed
    plain, intervals = split_estimates({row.name: row.section(court.domains) for row in rows})
    noisy = [
        {"rate": p.rate, "filtered": p.filtered, "row": p.row.name, **p.row.section(court.domains)} for p in points
    ]
    report = {
        "rows": plain,
        "intervals": intervals,
        "noise": [dict(zip(("values", "intervals"), split_estimates(point), strict=True)) for point in noisy],
        **_table_two(found.two),
        "failed": failed,
        "domains": list(court.domains),
        "people": len(set(court.probes.persons)),
        "named": court.gallery is not None,
        "translations": len(court.requests),
        "data": {"uri": comparison.data, "content_hash": open_dataset(comparison.data).manifest.content_hash},
        "judged": {"uri": comparison.judged, "content_hash": open_dataset(comparison.judged).manifest.content_hash},
        "judges": seat.judges.named(),
        "strangers": seat.strangers,
        "commit": commit() or "not a checkout",
    }
    more = "" if found.two is None else found.two.as_markdown()
    table, pictures = markdown(rows, _FACTS, points, more, named=report["named"]), _figures(seat, rows, points)
    for name, (_, data) in pictures.items():
        storage.write_bytes(storage.join(out, name), data)
    tables = {"Label noise": noise_markdown(points)} if points else {}
    if found.two is not None:
        tables["Table II: augmentation"] = more
        storage.write_bytes(storage.join(out, "table-two.csv"), found.two.as_csv().encode())
    page = render(report, rows, tables, dict(pictures.values()))
    storage.write_bytes(storage.join(out, "comparison.html"), page.encode())
    storage.write_bytes(storage.join(out, "comparison.md"), table.encode())
    storage.write_bytes(storage.join(out, "comparison.csv"), as_csv(rows).encode())
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(storage.join(out, "comparison.json"), text.encode() + b"\n")
    return Compared(tuple(rows), failed, table, report)


def _table_two(two: TableTwo | None) -> dict[str, Any]:
    if two is None:
        return {}
    plain, intervals = split_estimates(two.section())
    return {"table_two": {**plain, "intervals": intervals}}


def _figures(seat: Seat, rows: Sequence[Row], points: Sequence[NoisePoint]) -> dict[str, tuple[str, bytes]]:
    """Name of the file -> caption and bytes."""
    found = {
        "trade-off.svg": (
            "Expression against identity, 95 % intervals; the best corner is the upper right one.",
            trade_off_figure(rows, (COPY_INPUT, REAL)),
        )
    }
    shown = [(row.name, row.runs[0].pictures) for row in rows if row.runs[0].pictures is not None]
    if shown:
        faces = seat.bench.showcase.source
        columns, made = zip(*shown, strict=True)
        grid = sample_grid(
            seat.bench.court.probes.take(faces).images, torch.stack(made, dim=1), columns, rows=seat.bench.court.domains
        )
        found["grid.png"] = ("The same people by every method, one wanted expression a row (the first seed).", grid)
    if points:
        found["noise.svg"] = ("What wrong labels cost, with and without the filter.", noise_figure(points))
    return found
