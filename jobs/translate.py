"""Change the expression in images: one image in, one out; or a folder, a bucket's prefix, a data set.

    M=models:/expression-translator@champion
    python jobs/translate.py --model $M --input face.jpg --target happiness --out out
    python jobs/translate.py --model $M --input photos/ --target all --seed 3 --out out
    python jobs/translate.py --model $M --input face.jpg --target fear --reference afraid.jpg --out out
    python jobs/translate.py --model $M --input s3://bucket/photos --target anger --intensity 0.5 --out out
    python jobs/translate.py --model $M --input face.jpg --target fear --toward happiness --share 0.3 --out out
    python jobs/translate.py --model $M --input party.jpg --target happiness --chip --out out
    python jobs/translate.py --model $M --input data/faces --dataset --parallel 4 --out s3://bucket/translated

Pictures are PNG at the model's size; translations.json says where each comes from. With --dataset the result is a data
set that jobs/train.py takes, and lineage.parquet says where each row comes from; the same command again continues
where a stopped one left off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rich

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
from stargan_ray.runtime.defaults import ALL
from stargan_ray.runtime.request import Request

_FILES_ONLY = ("reference", "source_label", "toward", "toward_reference", "chip")
_DATASET_ONLY = ("include_own", "overwrite")


@dataclass(frozen=True, kw_only=True)
class Job(Request):
    """Whose expression is changed by what, and where the pictures go.

    Attributes:
        model: models:/name@alias, models:/name/version, or the path or URI of a model, checkpoint or run.
        input: an image, a folder of images, s3://bucket/prefix, or a data set.
        out: folder for the pictures; with --dataset a path or s3://bucket/prefix, another one than the input's.
        target: an expression of the model, or all.
        device: where to compute, e.g. cuda.
        dataset: the input is a data set, and so is the result: its rows are the translations, with the identities and
            splits of their sources.
        include_own: of a data set, also translate an image to the expression that it is labelled with.
        parallel: processes that translate a data set; more than one are actors of Ray.
        overwrite: replace another data set at out.
    """

    model: str
    input: str
    out: str
    target: str = ALL
    device: str = "cpu"
    dataset: bool = False
    include_own: bool = False
    parallel: int = 1
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise InputError(f"--parallel {self.parallel}: allowed are values >= 1")
        if not self.dataset and (self.parallel > 1 or any(getattr(self, name) for name in _DATASET_ONLY)):
            raise InputError("--parallel, --include-own and --overwrite are for a data set: add --dataset")
        if not self.dataset and "://" in self.out:
            raise InputError(f"--out {self.out}: pictures go into a local folder, a data set (--dataset) also to s3://")
        given = [name for name in _FILES_ONLY if getattr(self, name)]
        if self.dataset and given:
            raise InputError(f"--{given[0].replace('_', '-')} is for single pictures: leave it or --dataset out")


def write_pictures(job: Job) -> None:
    """Translate files, print where the pictures are."""
    from stargan_ray.runtime.models import load_model
    from stargan_ray.runtime.translate_files import translate_files

    outcome = translate_files(load_model(job.model, job.device), job.input, job, Path(job.out))
    for line in outcome.skipped:
        print(f"skipped: {line['input']} ({line['reason']})")
    print(f"{len(outcome.written)} pictures, {len(outcome.skipped)} files skipped")
    print(f"pictures: {job.out}")


def write_data_set(job: Job) -> None:
    """Translate a data set, print what is in the new one."""
    from stargan_ray.runtime import ingest
    from stargan_ray.runtime.progress import counting
    from stargan_ray.runtime.translate_dataset import make_recipe, translate_dataset

    recipe = make_recipe(
        job.model,
        target=job.target,
        seed=job.seed,
        intensity=job.intensity,
        own=job.include_own,
        device=job.device,
    )
    with counting("translate") as on_rows:
        done = translate_dataset(
            job.input,
            job.out,
            recipe,
            parallel=job.parallel,
            overwrite=job.overwrite,
            on_written=lambda _, of: on_rows(1, of),
        )
    rich.print(ingest.table(done.manifest))
    for reason, count in done.manifest.skipped.items():
        print(f"skipped: {count} {reason} (listed in skipped.parquet)")
    print(f"{done.manifest.rows} rows, content {done.manifest.content_hash[:12]}")
    print(f"lineage: {done.lineage}")
    print(f"data set: {job.out}")


def main() -> None:
    """Parse and translate."""
    job = cli.parse(Job, __doc__)
    if job.dataset:
        write_data_set(job)
    else:
        write_pictures(job)


if __name__ == "__main__":
    cli.job(main)
