r"""Train any network of the package with Ray Train, on batches streamed by Ray Data.

    python jobs/train.py expression-tiny --data data/faces --storage runs --name filter
    python jobs/train.py stargan-v2-id-tiny --data s3://bucket/faces --storage s3://bucket/runs --name first \
        --identity models:/face-identity@champion --train.steps 2000
    python jobs/train.py expression-tiny --data data/faces --storage runs --name filter --crossfit 3
    python jobs/train.py --config runs/when/best.json --data data/faces --storage runs --name tuned …

The first word is a recipe, or --config and a recipe's file, as jobs/tune.py writes it; flags override its fields. The
same command again continues the run where its last checkpoint stands. Without a recipe, the list of recipes is printed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Annotated

import rich
import tyro

from stargan_ray.config import AnyMethod, DataConfig, Recipe, ScaleConfig, TrainConfig, to_json
from stargan_ray.errors import InputError
from stargan_ray.recipes import RECIPES, recipe_named
from stargan_ray.runtime import cli


@dataclass(frozen=True, kw_only=True)
class Train:
    """A run.

    Attributes:
        data_uri: URI of an ingested or refined data set.
        storage: URI under which the run's folder lies.
        name: of the run; the same name and storage continue it.
        identity: embedder of the methods that keep the identity: a run, a folder, a URI or models:/NAME@ALIAS; a
            judge of identities is refused.
        features: VGG19 whose maps the contextual loss compares: an expression classifier of that kind, as above; a file
            or URI of ImageNet's weights (.safetensors, .pth); or imagenet, which downloads them.
        judge: classifier that helps to choose a translator's best checkpoint; as above.
        init: run or model whose weights a new run starts from, where they fit.
        embeddings: read f(source) of a translator that keeps the identity from beside the data, where jobs/embed.py
            has put it, instead of computing it in each step; for augmentation that at most mirrors.
        crossfit: train a network for each of so many folds of the data, one after another, as NAME-fold-0 and so on;
            each leaves its fold out, so that jobs/refine.py can let it judge the fold's labels. 0 = one network of all.
        local: train in this process, without Ray.
        dry_run: print the configuration and stop.
        method, data, train, scale: the configuration.
    """

    data_uri: Annotated[str, tyro.conf.arg(name="data")]
    storage: str = "runs"
    name: str
    identity: str = ""
    features: str = ""
    judge: str = ""
    init: str = ""
    embeddings: bool = False
    crossfit: int = 0
    local: bool = False
    dry_run: bool = False
    method: AnyMethod
    data: DataConfig
    train: TrainConfig
    scale: ScaleConfig

    def __post_init__(self) -> None:
        if self.crossfit < 0 or self.crossfit == 1:
            raise InputError(f"--crossfit {self.crossfit}: allowed are 0 (none) and values >= 2")

    def recipe(self, base: Recipe) -> Recipe:
        """The recipe with its overridden fields."""
        return replace(base, method=self.method, data=self.data, train=self.train, scale=self.scale)


def main() -> None:
    """Parse, train, print where the result is."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
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
