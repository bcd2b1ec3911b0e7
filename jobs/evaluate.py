"""Evaluate an expression classifier on the splits of a data set, with intervals, classes and calibration.

    python jobs/evaluate.py --model runs/filter --data data/fer2013 --out runs/filter-evaluation
    python jobs/evaluate.py --model models:/face-expression@champion --data s3://bucket/fer --crops ten --out out

Images of val and test that are in train too are counted, and each split is judged without them as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import rich

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
from stargan_ray.runtime.evaluate import evaluate_classifier, table
from stargan_ray.runtime.progress import counting
from stargan_ray.runtime.score_store import BLOCK
from stargan_ray.runtime.scoring import Crops, model_scorer


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is evaluated on what.

    Attributes:
        model: an expression classifier: model folder, checkpoint, run or models:/name@alias.
        data: URI of an ingested data set.
        out: folder for evaluation.html and evaluation.json; a path or s3://bucket/prefix.
        splits: those to judge: train, val, test; none = all but train.
        crops: views of an image that are averaged: one, the image and its mirror image, or ten crops.
        parallel: processes that score; more than one are actors of Ray.
        block: rows that are scored and stored together; the same command goes on after a kill.
    """

    model: str
    data: str
    out: str
    splits: tuple[str, ...] = ()
    crops: Crops = "flip"
    parallel: int = 1
    block: int = BLOCK

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise InputError(f"--parallel {self.parallel}: allowed are values >= 1")


def main() -> None:
    """Parse, score, print the splits and where the page is."""
    job = cli.parse(Evaluate, __doc__)
    scorer = model_scorer(job.model, job.crops)
    with counting("score") as on_scored:
        report = evaluate_classifier(
            job.data,
            job.out,
            scorer,
            splits=job.splits,
            parallel=job.parallel,
            block=job.block,
            on_scored=on_scored,
        )
    rich.print(table(report))
    for name, split in report["splits"].items():
        if split.get("also_in_train"):
            print(f"{name}: {split['also_in_train']} of {split['rows']} images are in train too")
    for reason, count in report["left_out"].items():
        print(f"left out: {count} {reason}")
    if report["temperature"] is not None:
        print(f"temperature of the least log loss on val: {report['temperature']:.3f}")
    print(f"page: {job.out}/evaluation.html")


if __name__ == "__main__":
    cli.job(main)
