"""What the demo's report says: the filter against the truth, the embedder, and the translator before its judges.

Judged are people whom no network has seen, with their true expressions, by two networks of another family that
trained on yet other people; the row ``copy-input`` goes through the same code.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stargan_ray.data.shards import open_dataset
from stargan_ray.evaluation import figures, report
from stargan_ray.evaluation.filter_curves import curves_figure
from stargan_ray.evaluation.generated import curves_against_truth, filter_against_truth
from stargan_ray.evaluation.identity import verify
from stargan_ray.evaluation.judging import Judges, Verdict, compare, judge, judge_real
from stargan_ray.evaluation.known import known_faces
from stargan_ray.evaluation.pairs import sample_pairs, split_gallery
from stargan_ray.evaluation.translations import Faces, LatentGuide, Requests, balanced_targets, copies, translate
from stargan_ray.methods.base import Translator
from stargan_ray.runtime.judges import open_judges
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.runtime.stages import Stages
from stargan_ray.runtime.validation import sample_grid

PEOPLE = 100  # in the gallery of rank-1
GALLERY = 4  # other photos of each, averaged to a template
TRANSLATIONS = 800
_SEED = 7


@dataclass(frozen=True)
class Judged:
    """URIs and model folders that the report is about."""

    faces: str
    decisions: str
    embedder: str
    translator: str
    expression_judge: str
    identity_judge: str
    steps: int


def write_report(
    judged: Judged, out: Path, facts: Mapping[str, Any], stages: Stages, peak_bytes: int
) -> dict[str, Any]:
    """Measure and write report.json, report.html and grid.png; returns the content of report.json.

    Raises:
        InputError: a judge is no judge of this translator, because it trained it or is of another kind.
    """
    start = time.perf_counter()
    dataset = open_dataset(judged.faces)
    domains = dataset.manifest.domains
    translator = load_model(judged.translator)
    judges = open_judges(judged.expression_judge, judged.identity_judge, translator)
    faces = known_faces(dataset, translator.size, "test", PEOPLE)
    probes, gallery = (faces.take(rows) for rows in split_gallery(faces.persons, GALLERY, seed=_SEED))
    filtered, by_label = filter_against_truth(dataset, judged.decisions)
    curves = curves_against_truth(dataset, judged.decisions)
    embedder = load_model(judged.embedder)
    pairs = sample_pairs(faces.persons, 6_000, seed=_SEED)
    verified = verify(_embed(embedder, faces), faces.persons, pairs)
    moved, copied = _translated(translator, probes, gallery, judges, len(domains))
    times = {name.replace(" ", "_"): value for name, value in stages.seconds.items()}
    results = {
        "title": "Expressions change, people stay: the demo's report",
        "domains": list(domains),
        "people": len(set(faces.persons)),
        "summary": _summary(moved, copied, judged.steps),
        "filter": filtered.section()
        | {
            "classes": {name: s.section() for name, s in by_label.items()},
            "policies": {curve.rule: curve.section() for curve in curves},
        },
        "identity": verified.section(),
        "translator": moved.section(domains),
        # trained from scratch by this very run: the two rows are the same, and the page shows one
        "translator_from_scratch": moved.section(domains),
        "copy_input": copied.section(domains),
        "difference": compare(moved, copied),
        "real": judge_real(probes, gallery, judges).section(domains),
        "peak_rss_bytes": peak_bytes,
        **facts,
        "limits": report.limits(["Generated faces of 32 pixels: real photographs are harder in every respect."]),
    }
    assert isinstance(translator.method, Translator)
    grid = sample_grid(translator.method, translator.networks, probes, domains)
    sheet = (out / "faces.png").read_bytes()
    threshold = float(verified.thresholds.mean())
    pictures = {
        "grid": grid,
        "faces": sheet,
        "filter": curves_figure(curves),
        "confusion": figures.confusion_figure(moved.confusion, domains, title="wanted against seen"),
        "verification": figures.verification_histogram(
            verified.distances, pairs.same, threshold, title="distance of two photos"
        ),
    }
    times["report"] = time.perf_counter() - start
    results["seconds"] = {**times, "total": stages.total_seconds + times["report"]}
    return report.write(str(out), results, pictures)


def _translated(
    model: LoadedModel, probes: Faces, gallery: Faces, judges: Judges, domains: int
) -> tuple[Verdict, Verdict]:
    """The judges on translations of the probes by latent codes, and on the probes themselves."""
    method = model.method
    assert isinstance(method, Translator)
    requests: Requests = balanced_targets(probes.labels.numpy(), domains, TRANSLATIONS, seed=_SEED)
    guide = LatentGuide(int(getattr(method, "latent_dim", 0)))
    images = translate(method, model.networks, probes, requests, guide, seed=_SEED)
    return (
        judge(images, probes, requests, gallery, judges),
        judge(copies(probes, requests), probes, requests, gallery, judges),
    )


@torch.no_grad()
def _embed(model: LoadedModel, faces: Faces) -> Any:
    return torch.cat([model.networks["embedder"](part) for part in torch.split(faces.images, 64)]).numpy()


def _summary(moved: Verdict, copied: Verdict, steps: int) -> list[str]:
    shown, kept = moved.estimates(), copied.estimates()
    accuracy, rank1 = "target_expression_accuracy", "rank1"
    return [
        f"Trained from scratch for {steps} iterations in this run.",
        f"The wanted expression is seen in {shown[accuracy].value:.0%} of the translations of unseen people "
        f"(copies of the input: {kept[accuracy].value:.0%}; chance: 12.5%).",
        f"The source person is found among {PEOPLE} in {shown[rank1].value:.0%} of them "
        f"(copies of the input: {kept[rank1].value:.0%}).",
    ]
