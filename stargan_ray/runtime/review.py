"""Review a filter's decisions: a page on loopback for one person, and the figures of all who have reviewed."""

from __future__ import annotations

import errno
import secrets
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Column, Table

from stargan_ray.data import storage
from stargan_ray.data.refined import Refined, open_refined
from stargan_ray.data.review_outcomes import apply
from stargan_ray.data.review_sample import Sample, SampleConfig, draw_sample
from stargan_ray.data.reviews import FOLDER, Reviews, Session, check_reviewer, read_reviews
from stargan_ray.errors import InputError
from stargan_ray.evaluation.filtering import FilterScores
from stargan_ray.evaluation.intervals import Estimate
from stargan_ray.evaluation.review_estimates import estimate_by_class, estimate_filter, judged_strata
from stargan_ray.runtime.review_desk import Desk

HOST = "127.0.0.1"
_FIGURES = ("precision", "recall", "wrong left")


@dataclass(frozen=True)
class Reviewing:
    """A filter's result and the rows of it to look at."""

    refined: Refined
    sample: Sample

    @property
    def folder(self) -> str:
        """Where the verdicts are."""
        return storage.join(self.refined.dataset.uri, FOLDER)


def open_review(refined: str, config: SampleConfig, *, data: str | None = None) -> Reviewing:
    """Open a filter's result and draw the sample.

    Args:
        refined: URI of the refined data set.
        config: which rows.
        data: where its source lies now; None = where it was.

    Raises:
        InputError: If there is no such result, its source has gone or changed, or it has no row to review.
    """
    opened = open_refined(refined, data)
    return Reviewing(opened, draw_sample(opened, config))


def serve_review(review: Reviewing, reviewer: str, *, port: int = 0, blind: bool = True) -> None:
    """Serve the page until Ctrl-C; its link is printed.

    Args:
        review: what is reviewed.
        reviewer: who judges.
        port: on 127.0.0.1; 0 = any free one.
        blind: hide what the filter made of a face until it is judged.

    Raises:
        InputError: If the name or the port cannot be used, the verdicts could not be stored, or a file of reviews
            is damaged.
    """
    try:
        from stargan_ray.runtime.review_server import create_app, serve
    except ModuleNotFoundError as error:
        raise InputError(f"the page needs {error.name}: pip install 'stargan-ray[review]'") from error
    check_reviewer(reviewer)
    storage.check_writable(review.folder)
    with listen(port) as listening:
        desk = Desk(review.refined, review.sample, Session(review.refined.dataset.uri, reviewer), blind=blind)
        judged = desk.summary()["judged"]
        token = secrets.token_urlsafe(24)
        print(f"{len(desk)} faces to review by {reviewer}, {judged} of them judged already; Ctrl-C ends")
        print(f"open once: http://{HOST}:{listening.getsockname()[1]}/?token={token}", flush=True)
        serve(create_app(desk, token), listening)


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback alone.

    Raises:
        InputError: If the port cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise InputError(f"--port {port}: allowed are 0 (any free one) to 65535")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        why = {errno.EADDRINUSE: "is in use", errno.EACCES: "is reserved for the system"}.get(error.errno or 0)
        if why is None:
            raise
        raise InputError(f"--port {port} {why}: choose another, or 0 for any free one") from error


@dataclass(frozen=True)
class Report:
    """What people's verdicts say of the filter.

    Attributes:
        total: of the whole data set.
        classes: of each given class.
        notes: sentences on who has judged, and what does not count.
    """

    total: FilterScores
    classes: dict[str, FilterScores]
    notes: tuple[str, ...]


def report(review: Reviewing, reviewer: str | None = None) -> Report:
    """The filter's figures by the verdicts on storage, where the reviewers of a row agree or have a majority.

    Args:
        review: what was reviewed.
        reviewer: whose verdicts alone are taken; None = everyone's.

    Raises:
        InputError: If a file of reviews is damaged, or a verdict gives a label that there is not.
    """
    index, labels = review.refined.dataset.index, review.refined.labels
    reviews = read_reviews(review.refined.dataset.uri)
    if reviewer is not None:
        reviews = reviews.of(check_reviewer(reviewer))
    domains = review.refined.dataset.manifest.domains
    applied = apply(index, labels, domains, reviews)
    rows = enumerate(review.sample.rows.tolist())
    found = {place: applied.outcomes[row] for place, row in rows if row in applied.outcomes}
    strata = judged_strata(review.sample, found)
    total = estimate_filter(strata)
    notes = [f"the filter dropped {total.rows - total.kept:,} of {total.rows:,} labelled rows", *_who(reviews)]
    if applied.disputed:
        notes.append(f"{_n(applied.disputed, 'row')} without a majority of the reviewers: not counted")
    if applied.stale:
        notes.append(f"{_n(applied.stale, 'verdict')} on images or labels that have changed since: not counted")
    if applied.unknown_keys:
        notes.append(f"{_n(applied.unknown_keys, 'key')} with verdicts and without a row: not counted")
    outside = len(applied.outcomes) - len(found)
    if outside:
        notes.append(f"{_n(outside, 'row')} judged outside this sample: applied by the next refine, not estimated from")
    return Report(total, estimate_by_class(strata), tuple(notes))


def table(found: Report) -> Table:
    """The figures in percent with their 95 % intervals, as a table to print."""
    shown = Table(*(Column(name, no_wrap=True) for name in ("label", "judged", *_FIGURES)))
    for name, scores in found.classes.items():
        shown.add_row(*_line(escape(name), scores))
    shown.add_section()
    shown.add_row(*_line("all", found.total))
    return shown


def _line(name: str, scores: FilterScores) -> Sequence[str]:
    figures = (scores.precision, scores.recall, scores.remaining_noise)
    return (name, f"{scores.noise.n:,}", *map(_said, figures))


def _said(figure: Estimate) -> str:
    """With as many digits as a sample of this size has."""
    if not figure.value >= 0:
        return "–"
    return f"{figure.value:.0%} \\[{100 * figure.low:.0f}, {100 * figure.high:.0f}]"


def _who(reviews: Reviews) -> list[str]:
    """Who has judged how much, and how far they agree where several have judged."""
    counts = Counter(each.reviewer for each in reviews.standing)
    if not counts:
        return ["nobody has judged yet"]
    by_key: dict[str, set[tuple[str, str | None]]] = {}
    judges = Counter(each.key for each in reviews.standing)
    for each in reviews.standing:
        by_key.setdefault(each.key, set()).add((each.action, each.new_label))
    said = [f"judged by {', '.join(f'{name} ({count:,})' for name, count in sorted(counts.items()))}"]
    shared = [key for key, count in judges.items() if count > 1]
    if shared:
        agreed = sum(len(by_key[key]) == 1 for key in shared)
        said.append(f"{_n(len(shared), 'row')} judged by more than one reviewer, who agree on {agreed:,}")
    return said


def _n(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
