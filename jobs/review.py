"""Look at what a filter dropped and kept: a page to judge faces by key press, and what that says of the filter.

    python jobs/review.py --refined data/faces-refined --reviewer ann
    python jobs/review.py --refined s3://bucket/refined --reviewer bob --per-class 60 --port 8123
    python jobs/review.py --refined data/faces-refined --report

The link that is printed opens the page once. Every verdict is stored beside the source data set before the next
face comes; the same command goes on where it was, and the next jobs/refine.py applies what was decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import rich

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli

if TYPE_CHECKING:
    from stargan_ray.data.review_sample import SampleConfig


@dataclass(frozen=True, kw_only=True)
class Review:
    """What is reviewed, by whom, and which rows of it.

    Attributes:
        refined: URI of a refined data set, the --out of jobs/refine.py.
        reviewer: who judges: letters, digits, '.', '_' and '-'. With --report: whose verdicts alone are taken.
        report: print what everyone's verdicts say of the filter and serve nothing.
        per_class: faces of every given class, spread evenly over dropped, kept near the threshold and kept with
            confidence. A larger number adds to the sample and changes nothing in it.
        all: every face instead of a sample.
        near: a kept face is near the threshold where the probability of its own label (by the rule soft: its weight)
            is less than this above the least of its class that was kept.
        seed: another one draws another sample.
        blind: hide the prediction and the filter's decision until a face is judged. Whoever sees them first tends
            to agree with them, and the estimates would praise the filter; --no-blind is for looking around.
        port: on 127.0.0.1; 0 takes any free one.
        data: where the source data set lies now, if it was moved.
    """

    refined: str
    reviewer: str | None = None
    report: bool = False
    per_class: int = 20
    all: bool = False
    near: float = 0.2
    seed: int = 0
    blind: bool = True
    port: int = 0
    data: str | None = None

    def __post_init__(self) -> None:
        """Refuse a page without a person, before anything is opened."""
        if self.reviewer is None and not self.report:
            raise InputError("--reviewer is missing: give your name, or --report for the figures alone")
        if self.reviewer is not None:
            from stargan_ray.data.reviews import check_reviewer

            check_reviewer(self.reviewer)

    @property
    def sample(self) -> SampleConfig:
        """Which rows."""
        from stargan_ray.data.review_sample import SampleConfig

        return SampleConfig(per_class=None if self.all else self.per_class, near=self.near, seed=self.seed)


def main() -> None:
    """Parse, serve until Ctrl-C, print the figures and where the verdicts are."""
    job = cli.parse(Review, __doc__)
    from stargan_ray.runtime.review import open_review, report, serve_review, table

    review = open_review(job.refined, job.sample, data=job.data)
    if not job.report:
        serve_review(review, job.reviewer, port=job.port, blind=job.blind)
    found = report(review, job.reviewer if job.report else None)
    rich.print(table(found))
    for note in found.notes:
        print(note)
    print(f"reviews: {review.folder}")


if __name__ == "__main__":
    cli.job(main)
