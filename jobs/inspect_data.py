"""Inspect a data set: counts, unreadable and empty images, copies, leaks between splits, contradicting labels.

    python jobs/inspect_data.py --data data/faces --out runs/faces-inspection
    python jobs/inspect_data.py --data s3://bucket/faces --out s3://bucket/inspections/faces --parallel 4

Writes inspect.html for people and inspect.json for programs. What is found is reported and nothing is changed;
the status is 0 also where there are problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import rich

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """What to inspect, and where the findings go.

    Attributes:
        data: URI of an ingested data set.
        out: a path or s3://bucket/prefix.
        sample: images of every expression on the page.
        seed: of that sample.
        parallel: processes that decode; more than one are actors of Ray.
    """

    data: str
    out: str
    sample: int = 6
    seed: int = 0
    parallel: int = 1

    def __post_init__(self) -> None:
        for name, least in (("sample", 0), ("seed", 0), ("parallel", 1)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} {getattr(self, name)}: allowed are values >= {least}")


def main() -> None:
    """Parse, inspect, print the findings and where they are."""
    job = cli.parse(Inspect, __doc__)
    from stargan_ray.runtime import ingest
    from stargan_ray.runtime.inspect import inspect, table

    done = inspect(job.data, job.out, sample=job.sample, seed=job.seed, parallel=job.parallel)
    rich.print(ingest.table(done.manifest))
    rich.print(table(done.found))
    for line in done.verdict.problems:
        print(f"problem: {line}")
    for line in done.verdict.worth_a_look:
        print(f"worth a look: {line}")
    print(f"page: {done.page}")


if __name__ == "__main__":
    cli.job(main)
