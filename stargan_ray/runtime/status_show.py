"""A status as a person reads it: one run or search in full, or a line for each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from stargan_ray.runtime.saved import Saved
from stargan_ray.runtime.status import Status
from stargan_ray.runtime.trials import TrialSeen

_COLOURS = {"training": "green", "finished": "bold", "stopped": "yellow", "failed": "red", "silent": "magenta"}
_TRIALS = 20  # of a search: those that run and the best


def in_full(status: Status, now: float) -> RenderableType:
    """One run or search; ``now`` is in seconds since 1970."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, text in _lines(status, now):
        if text:
            lines.add_row(name, text)
    parts: list[RenderableType] = [lines]
    if status.runs:
        parts.append(table(status.runs, now, title="trains now"))
    if status.trials:
        parts.append(_trials(status.trials))
    return Group(*parts)


def table(statuses: Sequence[Status], now: float, title: str | None = None) -> Table:
    """A line for each."""
    shown = Table(title=title, title_justify="left")
    for heading in ("name", "state", "step", "img/s", "left", "last checkpoint"):
        shown.add_column(heading, overflow="fold", justify="right" if heading in ("img/s", "left") else "left")
    for each in statuses:
        speed = f"{each.images_per_second:.0f}" if each.state == "training" and each.images_per_second else ""
        state = _briefly(each, now) + (f": {escape(each.why[:60])}" if each.why else "")
        shown.add_row(
            escape(each.name) + (" (search)" if each.kind == "search" else ""),
            state,
            _steps(each),
            speed,
            span(each.left_s) if each.left_s is not None else "",
            _checkpoint(each.latest, now),
        )
    return shown


def line(status: Status, now: float) -> str:
    """One look for a log."""
    speed = f"{status.images_per_second:.0f} img/s" if status.images_per_second else ""
    left = f"{span(status.left_s)} left" if status.left_s is not None else ""
    told = [status.name, status.state, _steps(status), speed, left, _figures(status.losses, 3), status.why]
    return " | ".join([time.strftime("%H:%M:%S", time.localtime(now)), *(part for part in told if part)])


def span(seconds: float) -> str:
    """A length of time in one or two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" if whole >= 600 else f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def _lines(status: Status, now: float) -> Iterable[tuple[str, str]]:
    yield status.kind, f"[bold]{escape(status.name)}[/]"
    calls = f", call {status.calls}" if status.calls > 1 else ""
    restarts = f", restarts of the workers: {status.restarts}" if status.restarts else ""
    host = f" on {escape(status.host)}" if status.host and status.state == "training" else ""
    yield "state", _state(status, now) + host + calls + restarts
    yield "why", f"[red]{escape(status.why)}[/]" if status.why else ""
    left = f", {span(status.left_s)} left" if status.left_s is not None else ""
    yield status.unit.rstrip("s"), _steps(status) + left
    if status.images_per_second:
        each = f"{status.workers} workers, " if status.workers > 1 else ""
        wait = f", {status.data_wait_share:.0%} of the time waiting for data"
        rate = f"{status.images_per_second:.1f} img/s, {status.steps_per_second:.3g} steps/s"
        yield "rate", each + rate + wait
    yield "loss" if status.kind == "run" else "figures", escape(_figures(status.losses))
    at = f" (step {status.validated})" if status.validated else ""
    judged = _figures({name.removeprefix("val/"): value for name, value in status.validation.items()})
    yield "validation", judged and escape(judged + at)
    yield "last checkpoint", _checkpoint(status.latest, now)
    metric = str(status.best.train.get("best", "")) if status.best else ""
    if status.best and (value := status.best.figures.get(metric)) is not None:
        yield "best checkpoint", f"{_checkpoint(status.best, now)}, {metric} {value:.4g}"
    for event in status.events:
        yield event.kind, f"{_at(event.time, now)}, step {event.step}: {escape(event.said)}"
    for note in status.notes:
        yield "note", f"[yellow]{escape(note)}[/]"


def _trials(trials: Sequence[TrialSeen]) -> Table:
    shown = Table(title=f"{len(trials)} trials", title_justify="left")
    for heading in ("trial", "point", "step", "score", "status"):
        shown.add_column(heading, overflow="fold")
    order = sorted(trials, key=lambda t: (t.status != "running", -(t.score if t.score is not None else -1.0)))
    for each in order[:_TRIALS]:
        point = each.label or ", ".join(f"{path.split('.', 1)[-1]} {_number(v)}" for path, v in each.fields.items())
        score = "" if each.score is None else f"{each.score:.3f}"
        status = f"{each.status}: {each.why[:40]}" if each.why else each.status
        shown.add_row(str(each.order), escape(point), str(each.step), score, escape(status))
    return shown


def _state(status: Status, now: float) -> str:
    colour = _COLOURS[status.state]
    if not status.since:
        return f"[{colour}]{status.state}[/]"
    when = f"since {_at(status.since, now)}"
    return f"[{colour}]{status.state}[/] {when} ({span(max(0.0, now - status.since))})"


def _briefly(status: Status, now: float) -> str:
    passed = f" {span(max(0.0, now - status.since))}" if status.since else ""
    word = " for" if status.state in ("training", "silent") else ""
    ago = " ago" if passed and not word else ""
    return f"[{_COLOURS[status.state]}]{status.state}[/]{word if passed else ''}{passed}{ago}"


def _steps(status: Status) -> str:
    share = f" ({status.step / status.steps:.0%})" if status.steps else ""
    unit = " trials" if status.unit == "trials" else ""
    return f"{status.step}{f' of {status.steps}' if status.steps else ''}{unit}{share}"


def _checkpoint(saved: Saved | None, now: float) -> str:
    if saved is None:
        return ""
    return f"step {saved.step}" + (f", {span(max(0.0, now - saved.written))} ago" if saved.written else "")


def _at(moment: float, now: float) -> str:
    """The time of day, with the date unless it is less than half a day away."""
    return time.strftime("%H:%M:%S" if abs(now - moment) < 43200 else "%Y-%m-%d %H:%M", time.localtime(moment))


def _figures(values: Mapping[str, float | None], most: int = 99) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in [*values.items()][:most])


def _number(value: object) -> str:
    return "not finite" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
