r"""Train any network of the package with Ray Train, on batches streamed by Ray Data.

    python jobs/train.py expression-tiny --data data/faces --storage runs --name filter
    python jobs/train.py stargan-v2-id-tiny --data s3://bucket/faces --storage s3://bucket/runs --name first \
        --identity models:/face-identity@champion --train.steps 2000
    python jobs/train.py expression-tiny --data data/faces --storage runs --name filter --crossfit 3
    python jobs/train.py --config runs/when/best.json --data data/faces --storage runs --name tuned …

The first word is a recipe, or --config and a recipe's file, as jobs/tune.py writes it; flags override its fields. The
same command again continues the run where its last checkpoint stands. Without a word, the list of recipes is printed,
and RECIPE --help lists every flag.
"""

from __future__ import annotations

import sys

import rich
import tyro

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli


def main() -> None:
    """Parse, train, print where the result is."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return
    from stargan_ray.config import to_json
    from stargan_ray.recipes import RECIPES, recipe_named
    from stargan_ray.runtime.train_flags import Train

    if len(sys.argv) < 2:
        print(__doc__)
        for recipe in RECIPES.values():
            print(f"  {recipe.name:28} {recipe.about}")
        return
    first = 1 + (sys.argv[1] == "--config")
    if len(sys.argv) <= first:
        raise InputError("--config: the file of a recipe is needed, as jobs/tune.py writes it")
    base = recipe_named(sys.argv[first])
    job = cli.parse(
        Train,
        base.about,
        sys.argv[first + 1 :],
        default=Train(
            data_uri=tyro.MISSING,
            name=tyro.MISSING,
            method=base.method,
            data=base.data,
            train=base.train,
            scale=base.scale,
        ),
        prog=f"jobs/train.py {base.name}",
    )
    recipe = job.recipe(base)
    if job.dry_run:
        rich.print_json(data=to_json(recipe))
        return
    from stargan_ray.runtime import launch
    from stargan_ray.runtime.run import Run, each_fold

    helpers = {name: where for name in ("identity", "features") if (where := getattr(job, name))}
    whole = Run(recipe, job.data_uri, job.storage, job.name, helpers, job.judge, job.init, job.embeddings)
    runs = each_fold(whole, job.crossfit) if job.crossfit else [whole]
    for run in runs:
        outcome = (launch.fit_here if job.local else launch.fit)(run)
        done = outcome.checkpoint or "no new one, the run was finished"
        print(f"{run.name + ': ' if job.crossfit else ''}step {outcome.step}; checkpoint: {done}")
    if job.crossfit:
        print(f"to filter with them: jobs/refine.py --data {job.data_uri} --classifier {' '.join(r.uri for r in runs)}")


if __name__ == "__main__":
    cli.job(main)
