r"""Filter noisy labels: score a data set with an expression classifier and write the rows that it confirms.

    python jobs/refine.py --data data/faces --classifier runs/filter --out data/faces-refined
    python jobs/refine.py --data s3://b/affectnet --classifier models:/face-expression@champion --out s3://b/refined
    python jobs/refine.py --data data/faces --classifier runs/fold-0 runs/fold-1 runs/fold-2 --out data/faces-refined
    python jobs/refine.py --data data/faces --classifier runs/filter --out data/soft --scores data/faces-refined \
        --policy.rule soft

The source stays as it is. Every row and the reason for its fate is in decisions.parquet beside the result.
Several classifiers are those of jobs/train.py --crossfit: each row is judged by the one that has not seen its label.
What people said of the rows (jobs/review.py) overrules the filter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import rich

from stargan_ray.data.policy import Policy
from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
from stargan_ray.runtime.defaults import BLOCK


@dataclass(frozen=True, kw_only=True)
class Refine:
    """What to filter, by what, and where the result goes.

    Attributes:
        data: URI of an ingested data set.
        classifier: an expression classifier, or those of all folds of the data: each a model folder, checkpoint, run
            or models:/name@alias.
        out: a path or s3://bucket/prefix, another one than the data's.
        policy: which rows stay.
        scores: another refined data set of this data and classifier, whose scores are taken over: a new policy
            without a second pass.
        parallel: processes that score; more than one are actors of Ray.
        overwrite: replace another data set at out.
        block: rows that are scored and stored together; a run that is killed loses at most one for each process.
    """

    data: str
    classifier: tuple[str, ...]
    out: str
    policy: Policy = field(default_factory=Policy)
    scores: str = ""
    parallel: int = 1
    overwrite: bool = False
    block: int = BLOCK

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise InputError(f"--parallel {self.parallel}: allowed are values >= 1")


def main() -> None:
    """Parse, filter, print what was dropped and where the result is."""
    job = cli.parse(Refine, __doc__)
    from stargan_ray.runtime.panel import open_panel
    from stargan_ray.runtime.progress import counting
    from stargan_ray.runtime.refine import refine, report

    panel = open_panel(job.classifier)
    with counting("score") as on_scored:
        done = refine(
            job.data,
            job.out,
            panel,
            job.policy,
            scores_of=job.scores,
            parallel=job.parallel,
            overwrite=job.overwrite,
            block=job.block,
            on_scored=on_scored,
        )
    rich.print(report(done))
    for line in done.warnings:
        print(f"warning: {line}")
    print(f"decisions: {done.decisions}")
    print(f"data set: {job.out}")


if __name__ == "__main__":
    cli.job(main)
