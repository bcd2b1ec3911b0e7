"""Evaluate an expression classifier or an identity embedder on the splits of a data set, with intervals.

    python jobs/evaluate.py --model runs/filter --data data/fer2013 --out runs/filter-evaluation
    python jobs/evaluate.py --model models:/face-expression@champion --data s3://bucket/fer --crops ten --out out
    python jobs/evaluate.py --model runs/embedder --data data/lfw --pairs lfw/pairs.txt --out runs/embedder-evaluation

A classifier: images of val and test that are in train too are counted, and each split is judged without them as well.
An embedder: people and images that it was trained on are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rich

from stargan_ray.errors import InputError
from stargan_ray.evaluation.triplet_batches import RECIPE_THRESHOLD
from stargan_ray.runtime import cli, evaluate_embedder
from stargan_ray.runtime.evaluate import evaluate_classifier, table
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.runtime.progress import counting
from stargan_ray.runtime.score_store import BLOCK
from stargan_ray.runtime.scoring import Crops, classifier_scorer


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is evaluated on what.

    Attributes:
        model: a classifier or an embedder: model folder, checkpoint, run or models:/name@alias; or dlib, the public
            judge of identities from the extra judge.
        data: URI of an ingested data set.
        out: folder for evaluation.html and evaluation.json; a path or s3://bucket/prefix.
        splits: those to judge: train, val, test; none = all but train.
        crops: classifier only: views of an image that are averaged: one, the image and its mirror image (flip, the
            default), or ten crops.
        pairs: embedder only: LFW's pairs.txt or pairsDevTest.txt, judged besides; a path or a URI.
        recipe_threshold: embedder only: the squared L2 distance up to which the paper's figure calls two faces one
            person's; 1.3, the copied recipe's, unless given.
        parallel: processes that score; more than one are actors of Ray.
        block: rows that are scored and stored together; the same command goes on after a kill.
    """

    model: str
    data: str
    out: str
    splits: tuple[str, ...] = ()
    crops: Crops | None = None
    pairs: str | None = None
    recipe_threshold: float | None = None
    parallel: int = 1
    block: int = BLOCK

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise InputError(f"--parallel {self.parallel}: allowed are values >= 1")
        if self.recipe_threshold is not None and not 0 < self.recipe_threshold < 4:
            raise InputError(f"--recipe-threshold {self.recipe_threshold}: allowed is 0 < threshold < 4")

    def refuse(self, kind: str, *names: str) -> None:
        """An error for options that say nothing to this kind of model."""
        for name in names:
            if getattr(self, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} is not for a model of kind {kind}: leave it out")


def main() -> None:
    """Parse, score, print the figures and where the page is."""
    job = cli.parse(Evaluate, __doc__)
    model = load_model(job.model)
    if model.kind == "expression":
        _classifier(job, model)
    elif "embedder" in model.networks:
        _embedder(job, model)
    else:
        raise InputError(
            f"{job.model} is a model of kind {model.kind}: an expression classifier or an identity embedder is needed"
        )
    print(f"page: {job.out}/evaluation.html")


def _classifier(job: Evaluate, model: LoadedModel) -> None:
    job.refuse(model.kind, "pairs", "recipe_threshold")
    with counting("score") as on_scored:
        report = evaluate_classifier(
            job.data,
            job.out,
            classifier_scorer(model, job.crops or "flip"),
            splits=job.splits,
            parallel=job.parallel,
            block=job.block,
            on_scored=on_scored,
        )
    rich.print(table(report))
    for name, split in report["splits"].items():
        if split.get("also_in_train"):
            print(f"{name}: {split['also_in_train']} of {split['rows']} images are in train too")
    _left_out(report)
    if report["temperature"] is not None:
        print(f"temperature of the least log loss on val: {report['temperature']:.3f}")


def _embedder(job: Evaluate, model: LoadedModel) -> None:
    job.refuse(model.kind, "crops")
    with counting("embed") as on_scored:
        report = evaluate_embedder.evaluate_embedder(
            job.data,
            job.out,
            model,
            splits=job.splits,
            pairs=job.pairs or "",
            recipe_threshold=RECIPE_THRESHOLD if job.recipe_threshold is None else job.recipe_threshold,
            parallel=job.parallel,
            block=job.block,
            on_scored=on_scored,
        )
    rich.print(evaluate_embedder.table(report))
    if found := report["pairs"]:
        accuracy = (
            "one fold" if found["accuracy"] is None else f"{found['accuracy']:.2%} ± {found['standard_error']:.2%}"
        )
        print(f"pairs: {found['pairs']} of {found['given']} of {found['file']}: {accuracy}")
    if report["threshold"] is not None:
        print(f"own threshold: {report['threshold']['threshold']:.3f}, from {report['threshold']['from']}")
    for line in report["people"]["checked"]:
        print(f"checked: {line}")
    for line in report["people"]["unchecked"]:
        print(f"not checked: {line}")
    for split, why in report["not_judged"].items():
        print(f"{split} is not judged: {why}")
    _left_out(report)


def _left_out(report: dict[str, Any]) -> None:
    for reason, count in report["left_out"].items():
        print(f"left out: {count} {reason}")


if __name__ == "__main__":
    cli.job(main)
