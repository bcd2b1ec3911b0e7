"""Read a published layout and write it as a data set: Parquet shards and a manifest at a URI.

    python jobs/ingest.py faces --out data/faces --faces.people 200
    python jobs/ingest.py studio --out data/studio --studio.size 32
    python jobs/ingest.py folder photos/ --out s3://bucket/photos --parallel 4
    python jobs/ingest.py folder photos.csv --out data/photos
    python jobs/ingest.py fer2013 fer2013.csv --out data/fer2013
    python jobs/ingest.py lfw lfw.tgz --out data/lfw --pairs pairsDevTest.txt

The first word is faces or studio, which are generated, or the layout that is read: folder, fer2013, ferplus, affectnet,
lfw or kdef; WORD --help lists its flags. The same command again continues where a stopped one left off, and does
nothing where one was done.
"""

from __future__ import annotations

import sys

import rich

from stargan_ray.runtime import cli


def main() -> None:
    """Parse, write, print where the result is."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return
    from stargan_ray.runtime import ingest
    from stargan_ray.runtime.ingest_flags import Kinds, find

    job = cli.parse(Kinds, __doc__)
    drop = job.duplicates == "drop"
    manifest = ingest.ingest(find(job), job.out, parallel=job.parallel, overwrite=job.overwrite, drop_duplicates=drop)
    rich.print(ingest.table(manifest))
    for reason, count in manifest.skipped.items():
        print(f"skipped: {count} {reason} (listed in skipped.parquet)")
    if manifest.duplicates:
        print(f"duplicates: {manifest.duplicates} rows repeat the image of another (--duplicates drop leaves them out)")
    print(f"{manifest.rows} rows, {manifest.image_bytes / 1e6:.1f} MB, content {manifest.content_hash[:12]}")
    print(f"data set: {job.out}")


if __name__ == "__main__":
    cli.job(main)
