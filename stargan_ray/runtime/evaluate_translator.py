"""Evaluate a translator on people whom nobody has trained on, and write what was found for programs and for people."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from stargan_ray.data import storage
from stargan_ray.evaluation.comparison import COLUMNS, Judged, Row, cell
from stargan_ray.evaluation.figures import confusion_figure
from stargan_ray.evaluation.judging import Verdict, compare
from stargan_ray.evaluation.report import estimate_of, split_estimates
from stargan_ray.evaluation.translator_page import intensity_figure, render
from stargan_ray.runtime.examination import BLOCK, Docket, examination_of, examine
from stargan_ray.runtime.judgement import Bench, Court
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.models import LoadedModel
from stargan_ray.runtime.strangers import require_judged_strangers

ROWS = ("translator", "copy_input", "real")


def evaluate_translator(
    docket: Docket,
    out: str,
    model: LoadedModel,
    judges: JudgeModels,
    *,
    parallel: int = 1,
    block: int = BLOCK,
    more: Mapping[str, Any] = MappingProxyType({}),
    on_seen: Callable[[int, int], None] = lambda _new, _of: None,
    on_judged: Callable[[int, int], None] = lambda _new, _of: None,
) -> dict[str, Any]:
    """Translate held-out people and judge it; what was judged before a kill is not translated again.

    Args:
        docket: whose expressions are changed.
        out: URI of a folder for evaluation.json, evaluation.html and values.parquet (a line for each translation).
        model: a translator.
        judges: who judge, and the embedder that trained it.
        parallel: processes.
        block: translations that are stored together.
        more: further sections of the report.
        on_seen: told of (new real faces before the judges, all), for progress.
        on_judged: told of (new translations, all), likewise.

    Returns:
        The content of evaluation.json.

    Raises:
        InputError: the model is no translator, a judge trained it, somebody of the people was in the training of it or
            of a judge, the split has too few people, or something cannot be read or written.
    """
    out = storage.absolute(out)
    court = docket.court()
    examination = examination_of(model, court, docket, judges, storage.join(out, "seen"), block)
    strangers = admitted(docket, model, judges)
    storage.check_writable(out)
    bench = Bench.of(court, judges.open(), on_seen)
    findings = examine(examination, parallel, on_judged, model)
    rows = dict(zip(ROWS, (bench.judged(findings, {}), bench.copy_input(), bench.real()), strict=True))
    results = {
        **_facts(docket, model, judges, court),
        "strangers": strangers,
        **{name: _section(name, judged, court.domains) for name, judged in rows.items()},
        "difference": compare(rows["translator"].verdict, rows["copy_input"].verdict),
        **more,
    }
    report = _write(out, results, rows["translator"])
    storage.delete(storage.join(out, "seen"))
    return report


def admitted(docket: Docket, model: LoadedModel, judges: JudgeModels) -> dict[str, dict[str, list[str]]]:
    """Refuse who knows whom; what was checked and what could not be, of the translator and of each judge.

    Raises:
        InputError: a judge trained the translator, or somebody of the people was in the training of it or of a judge.
    """
    judges.refuse_trainers_of(model)
    strangers = {"translator": require_judged_strangers(docket, model.meta)}
    for name, judge in zip(("expression judge", "identity judge"), judges.models(), strict=False):
        strangers[name] = require_judged_strangers(docket, judge.meta)
    return strangers


def _facts(docket: Docket, model: LoadedModel, judges: JudgeModels, court: Court) -> dict[str, Any]:
    """What was evaluated on what by whom."""
    return {
        "kind": model.kind,
        "model": {
            "name": model.where,
            "content_hash": model.content_hash,
            "method": model.meta["method"],
            "step": model.meta["step"],
            "data_hash": model.meta["data_hash"],
        },
        "data": {
            "uri": docket.data,
            "content_hash": docket.content_hash,
            "split": docket.split,
            "people": len(set(court.probes.persons)),
            "named": court.gallery is not None,
            "translations": len(court.requests),
        },
        "domains": list(court.domains),
        "judges": judges.named(),
    }


def _section(name: str, judged: Judged, domains: tuple[str, ...]) -> dict[str, Any]:
    row = Row(name, (judged,))
    by_target = judged.verdict.section(domains)["by_target"]
    section: dict[str, Any] = {**row.figures(), "by_target": by_target, "confusion": judged.verdict.confusion.tolist()}
    if judged.reference is not None:
        section["by_reference"] = row.by_reference()
    if judged.intensity:
        section["intensity"] = dict(judged.intensity)
    return section


def _write(out: str, results: dict[str, Any], judged: Judged) -> dict[str, Any]:
    """The figures of each translation, the page, then the report: who finds that may rely on the others."""
    plain, intervals = split_estimates(results)
    report = {**plain, "intervals": intervals}
    storage.write_bytes(storage.join(out, "values.parquet"), _values(judged.verdict))
    domains = report["domains"]
    charts = {"confusion": confusion_figure(judged.verdict.confusion, domains, title="wanted against seen")}
    if judged.intensity:
        charts["intensity"] = intensity_figure(judged.intensity, title="more of it shows more of it")
    storage.write_bytes(storage.join(out, "evaluation.html"), render(report, charts).encode())
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(storage.join(out, "evaluation.json"), text.encode() + b"\n")
    return report


def _values(verdict: Verdict) -> bytes:
    table = pa.table(
        {
            "person": pa.array([str(person) for person in verdict.persons], pa.string()),
            "target": pa.array(verdict.targets, pa.int32()),
            **{name: pa.array(values, pa.float64()) for name, values in verdict.values.items()},
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def table(report: dict[str, Any]) -> Table:
    """The figures, a row of the comparison a column, as a table to print."""
    shown = Table("", *(name.replace("_", " ") for name in ROWS))
    for name, heading in COLUMNS.items():
        found = [estimate_of(report[row], report["intervals"][row], name) for row in ROWS]
        if any(found):
            shown.add_row(heading, *(cell(name, each) for each in found))
    return shown
