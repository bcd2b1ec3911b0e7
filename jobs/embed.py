r"""Embed the images of a data set by an identity embedder, once: jobs/train.py --embeddings reads them.

    python jobs/embed.py --data data/faces --model runs/embedder
    python jobs/embed.py --data s3://bucket/faces --model models:/face-identity@champion --size 128 --parallel 4

The vectors of every image and of its mirror image lie beside the data set under the hash of the embedder's weights.
The same command again computes what is missing: after a kill, for new images, for another embedder or size.
"""

from __future__ import annotations

from dataclasses import dataclass

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
from stargan_ray.runtime.defaults import BLOCK


@dataclass(frozen=True, kw_only=True)
class Embed:
    """What to embed, and by what.

    Attributes:
        data: URI of an ingested or refined data set.
        model: an identity embedder: a model folder, checkpoint, run or models:/NAME@ALIAS.
        size: pixels that images are decoded to, as in data.size of the training that will use them; 0 = those of the
            embedder's own training.
        parallel: processes that embed; more than one are actors of Ray.
        block: images that are embedded and stored together; a run that is killed loses at most one for each process.
    """

    data: str
    model: str
    size: int = 0
    parallel: int = 1
    block: int = BLOCK

    def __post_init__(self) -> None:
        if self.size and not 16 <= self.size <= 2048:
            raise InputError(f"--size {self.size}: allowed are 0 (the embedder's) and 16 to 2048 pixels")
        if self.parallel < 1:
            raise InputError(f"--parallel {self.parallel}: allowed are values >= 1")


def main() -> None:
    """Parse, embed, print what is there now."""
    job = cli.parse(Embed, __doc__)
    from stargan_ray.data.shards import open_dataset
    from stargan_ray.runtime.embed import embed, open_embedder
    from stargan_ray.runtime.progress import counting

    dataset, embedder = open_dataset(job.data), open_embedder(job.model)
    with counting("embed") as on_embedded:
        done = embed(dataset, embedder, size=job.size, parallel=job.parallel, block=job.block, on_embedded=on_embedded)
    new = done.images - done.known - done.unreadable
    print(f"{done.images} images: {new} embedded, {done.known} known before, {done.unreadable} unreadable")
    print(f"embeddings: {done.uri}")


if __name__ == "__main__":
    cli.job(main)
