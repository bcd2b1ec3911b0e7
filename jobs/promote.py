r"""Register a trained model in MLflow under an alias, or move an alias to a version that is registered.

    python jobs/promote.py --model s3://bucket/runs/first                              the best checkpoint of a run
    python jobs/promote.py --model runs/first --alias challenger
    python jobs/promote.py --model models:/expression-translator@challenger            the challenger wins
    python jobs/promote.py --model runs/second --evaluation out/second --against out/first \
        --metrics target_expression_accuracy rank1 --no-worse similarity_distance      only if it is better

Names are face-expression, face-identity, face-identity-judge and expression-translator unless --name says otherwise.
With --evaluation, the folder that jobs/evaluate.py wrote for this model, its figures go to the card, and the alias
moves only if it is better than the model that holds the alias beyond the intervals of the paired differences.
"""

from __future__ import annotations

from dataclasses import dataclass

from stargan_ray.runtime import cli
from stargan_ray.runtime.terms import Terms


@dataclass(frozen=True, kw_only=True)
class Promote(Terms):
    """Which model gets which alias.

    Attributes:
        model: a run, a checkpoint, a model folder, their URI, or models:/name@alias or models:/name/version.
        alias: that look-ups use.
        name: of the registered model; empty = the name of its kind.
        evaluation: folder of an evaluation of this model by jobs/evaluate.py; empty = the alias moves unasked.
        against: folder of the evaluation of the model that holds the alias; empty = no one does yet.
        metrics: figures on each of which the model must be better beyond the interval.
        no_worse: figures on none of which it may be worse beyond the interval.
    """

    model: str
    alias: str = "champion"
    name: str = ""


def main() -> None:
    """Parse, compare if asked to, register, print how to look it up."""
    job = cli.parse(Promote, __doc__)
    from stargan_ray.runtime.challenge import challenge
    from stargan_ray.runtime.registry import promote

    if job.evaluation:
        version, compared = challenge(job.model, job, name=job.name, alias=job.alias)
        for duel in compared:
            print(duel)
    else:
        version = promote(job.model, name=job.name, alias=job.alias)
    name = version.removeprefix("models:/").partition("/")[0]
    print(f"registered: {version}   look-up: models:/{name}@{job.alias}")


if __name__ == "__main__":
    cli.job(main)
