r"""Train several methods, or variants of one, on the same data and judge them on the same held-out people.

    python jobs/compare.py --data data/faces-refined --judged data/faces --name five --out runs/five \
        --recipes stargan-v1-tiny laun-tiny fa-gan-tiny stargan-v2-tiny stargan-v2-id-tiny \
        --identity runs/embedder --features runs/filter --judge runs/filter \
        --expression-judge runs/expression-judge --identity-judge runs/identity-judge
    python jobs/compare.py … --noisy 0=data/faces-0 0.2=data/faces-20 0.4=data/faces-40 --filter runs/filter \
        --augment data/studio
    python jobs/compare.py --recipes stargan-v2-id-tiny --ablation identity … --seeds 0 1 2

The rows copy-input, real images and StarGAN v2 are always there. The same command again goes on where it stopped;
with more recipes or seeds it trains only those.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli

if TYPE_CHECKING:
    from stargan_ray.config import Recipe
    from stargan_ray.runtime.noise_study import NoiseStudy


@dataclass(frozen=True, kw_only=True)
class Compare:
    """What is compared.

    Attributes:
        data: URI of the data set that the methods learn from.
        judged: URI of the data set whose held-out people are translated; the same unless given. A generated set before
            filtering has the true expressions.
        name: of the comparison; its runs are NAME-RECIPE-SEED.
        out: folder for comparison.md, .csv and .json; a path or s3://bucket/prefix.
        recipes: one row each; with --ablation the one recipe that is varied.
        ablation: a named list of variants of the recipe: identity, identity-crossed, lambda-id, savings or
            domains.
        seeds: of the trainings; each row is trained with each.
        steps: of every training; 0 = as the recipes say.
        storage: URI under which the runs' folders lie.
        identity: embedder of the methods that keep the identity.
        features: network of the methods with a loss on features.
        judge: classifier that helps to choose the best checkpoint.
        models: further rows of translators that are trained already: NAME=MODEL, e.g. ours=models:/name@champion.
        baseline: add the row of StarGAN v2 without an identity loss where no recipe is it.
        noisy: data sets of the same pictures with more and more wrong labels: RATE=URI, e.g. 0.2=data/faces-20; the
            StarGAN v2 rows are trained on each, with and without the filter.
        filter: classifier that takes rows away for --noisy.
        augment: data set for Table II, in KDEF's manner (jobs/ingest.py kdef or studio): a VGG16 is trained on it with
            and without the images of each method.
        augment_recipe: of that classifier.
        folds: of Table II, each held out once.
        augment_seeds: of Table II.
        expression_judge: classifier that judges; it must not have trained anything here.
        identity_judge: embedder that judges, or dlib; as above.
        split: whose people are translated.
        people: of it, at most; 100 unless given, or 1,600 images where it names nobody.
        translations: how many are judged.
        parallel: runs that train at the same time.
    """

    data: str
    judged: str = ""
    name: str
    out: str
    recipes: tuple[str, ...]
    ablation: str = ""
    seeds: tuple[int, ...] = (0,)
    steps: int = 0
    storage: str = "runs"
    identity: str = ""
    features: str = ""
    judge: str = ""
    models: tuple[str, ...] = ()
    baseline: bool = True
    noisy: tuple[str, ...] = ()
    filter: str = ""
    augment: str = ""
    augment_recipe: str = "vgg16-tiny"
    folds: int = 5
    augment_seeds: tuple[int, ...] = (0, 1, 2)
    expression_judge: str
    identity_judge: str
    split: str = "test"
    people: int | None = None
    translations: int = 1_600
    parallel: int = 2

    def __post_init__(self) -> None:
        if self.parallel < 1 or self.steps < 0:
            raise InputError("--parallel, --steps: allowed are >= 1 and >= 0")
        if (self.people or 2) < 2 or self.translations < 1:
            raise InputError("--people, --translations: allowed are >= 2 and >= 1")
        if self.ablation and len(self.recipes) != 1:
            raise InputError(f"--ablation {self.ablation} varies one recipe, --recipes has {len(self.recipes)}")

    def rows(self) -> tuple[Recipe, ...]:
        """The recipes of the rows."""
        from stargan_ray.config import override
        from stargan_ray.methods.stargan_v2 import StarGANv2
        from stargan_ray.recipes import baseline_of, recipe_named
        from stargan_ray.recipes.ablations import ablation_named

        chosen = [recipe_named(name) for name in self.recipes]
        if self.ablation:
            chosen = ablation_named(self.ablation, chosen[0])
        if self.baseline and not any(recipe.method.name == StarGANv2.name for recipe in chosen):
            chosen = [*chosen, baseline_of(chosen[0])]
        return tuple(override(r, {"train.steps": self.steps}) if self.steps else r for r in chosen)

    def named(self, option: str) -> dict[str, str]:
        """The NAME=VALUE pairs of an option."""
        pairs = {}
        for text in getattr(self, option):
            name, equals, value = text.partition("=")
            if not (name and equals and value):
                raise InputError(f"--{option} {text}: allowed is NAME=VALUE")
            pairs[name] = value
        return pairs

    def noise(self, rows: tuple[Recipe, ...]) -> NoiseStudy | None:
        """The study of label noise, if one is asked for: the StarGAN v2 rows, with and without an identity loss."""
        if not self.noisy:
            return None
        from stargan_ray.methods.stargan_v2 import StarGANv2
        from stargan_ray.runtime.noise_study import NoiseStudy

        sets = {}
        for rate, uri in self.named("noisy").items():
            try:
                sets[float(rate)] = uri
            except ValueError as error:
                raise InputError(f"--noisy {rate}={uri}: allowed is a share in [0, 1] before the =") from error
        return NoiseStudy(sets, self.filter, tuple(r for r in rows if isinstance(r.method, StarGANv2)))


def main() -> None:
    """Parse, train and judge, print the table and where it is."""
    job = cli.parse(Compare, __doc__)
    rows = job.rows()
    import threading

    from rich.console import Console
    from rich.markdown import Markdown

    from stargan_ray.recipes import recipe_named
    from stargan_ray.runtime.compare import compare
    from stargan_ray.runtime.comparison_runs import Comparison
    from stargan_ray.runtime.progress import display, interrupts
    from stargan_ray.runtime.table_two import AugmentationStudy

    helpers = {name: where for name in ("identity", "features") if (where := getattr(job, name))}
    comparison = Comparison(
        data=job.data,
        judged=job.judged or job.data,
        storage=job.storage,
        name=job.name,
        recipes=rows,
        seeds=job.seeds,
        helpers=helpers,
        checkpoint_judge=job.judge,
        expression_judge=job.expression_judge,
        identity_judge=job.identity_judge,
        split=job.split,
        people=job.people,
        translations=job.translations,
        models=job.named("models"),
    )
    noise = job.noise(rows)
    augmentation = None
    if job.augment:
        augmentation = AugmentationStudy(
            job.augment, recipe_named(job.augment_recipe), job.folds, seeds=job.augment_seeds
        )
    console, stop = Console(), threading.Event()
    with interrupts(stop.set), display(Console(stderr=True)) as progress:
        done = compare(
            comparison,
            job.out,
            noise=noise,
            augmentation=augmentation,
            parallel=job.parallel,
            progress=progress,
            stop=stop,
        )
    console.print(Markdown(done.markdown)) if sys.stdout.isatty() else print(done.markdown)
    print(f"tables: {job.out}/comparison.html, .md, .csv, .json")
    for name, why in done.failed.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    if done.failed:
        raise InputError(f"{len(done.failed)} of {len(comparison.runs())} runs failed; the table has the others")


if __name__ == "__main__":
    cli.job(main)
