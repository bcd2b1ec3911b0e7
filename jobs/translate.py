"""Change the expression in images: one image in, one out; or a folder, a bucket's prefix, a data set.

    M=models:/expression-translator@champion
    python jobs/translate.py --model $M --input face.jpg --target happiness --out out
    python jobs/translate.py --model $M --input photos/ --target all --seed 3 --out out
    python jobs/translate.py --model $M --input face.jpg --target fear --reference afraid.jpg --out out
    python jobs/translate.py --model $M --input s3://bucket/photos --target anger --intensity 0.5 --out out
    python jobs/translate.py --model $M --input face.jpg --target fear --toward happiness --share 0.3 --out out

Pictures are PNG at the model's size; translations.json says where each comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stargan_ray.runtime import cli
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.translate_files import Request, translate_files


@dataclass(frozen=True, kw_only=True)
class Job(Request):
    """Whose expression is changed by what, and where the pictures go.

    Attributes:
        model: models:/name@alias, models:/name/version, or the path or URI of a model, checkpoint or run.
        input: an image, a folder of images, s3://bucket/prefix, or a data set.
        out: folder for the pictures.
        device: where to compute, e.g. cuda.
    """

    model: str
    input: str
    out: Path
    device: str = "cpu"


def main() -> None:
    """Parse, translate, print where the pictures are."""
    job = cli.parse(Job, __doc__)
    outcome = translate_files(load_model(job.model, job.device), job.input, job, job.out)
    for line in outcome.skipped:
        print(f"skipped: {line['input']} ({line['reason']})")
    print(f"{len(outcome.written)} pictures, {len(outcome.skipped)} files skipped")
    print(f"pictures: {job.out}")


if __name__ == "__main__":
    cli.job(main)
