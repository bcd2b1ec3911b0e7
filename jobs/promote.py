"""Register a trained model in MLflow under an alias, or move an alias to a version that is registered.

    python jobs/promote.py --model s3://bucket/runs/first                              the best checkpoint of a run
    python jobs/promote.py --model runs/first --alias challenger
    python jobs/promote.py --model models:/expression-translator@challenger            the challenger wins

Names are face-expression, face-identity, face-identity-judge and expression-translator unless --name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from stargan_ray.runtime import cli
from stargan_ray.runtime.registry import promote


@dataclass(frozen=True, kw_only=True)
class Promote:
    """Which model gets which alias.

    Attributes:
        model: a run, a checkpoint, a model folder, their URI, or models:/name@alias or models:/name/version.
        alias: that look-ups use.
        name: of the registered model; empty = the name of its kind.
    """

    model: str
    alias: str = "champion"
    name: str = ""


def main() -> None:
    """Parse, register, print how to look it up."""
    job = cli.parse(Promote, __doc__)
    version = promote(job.model, name=job.name, alias=job.alias)
    name = version.removeprefix("models:/").partition("/")[0]
    print(f"registered: {version}   look-up: models:/{name}@{job.alias}")


if __name__ == "__main__":
    cli.job(main)
