"""The report: ``report.json`` for programs, ``report.html`` for a person who has never seen the project.

A result is a nested mapping whose leaves are numbers, strings, lists and :class:`Estimate`. In
``report.json`` an estimate becomes a plain number at its path, and its interval stands at the same path below
``intervals``:

    {"translator": {"rank1": 0.81},
     "intervals": {"translator": {"rank1": {"low": 0.77, "high": 0.84, "n": 700}}}}

A number that could not be measured (``n`` = 0) is null. The HTML carries its pictures and loads nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.evaluation.intervals import Estimate
from stargan_ray.evaluation.pages import data_uri, page

_ROW = ("target_expression_accuracy", "rank1", "similarity_distance")
ROWS = ("translator", "copy_input", "translator_from_scratch")
# Each of these must be an Estimate: no figure is published without its interval.
MEASURED = (
    "filter.precision",
    "filter.recall",
    "identity.verification_accuracy",
    *(f"{row}.{figure}" for row in ROWS for figure in _ROW),
)
REQUIRED = (*MEASURED, "seconds.total", "peak_rss_bytes", "data_hash", "commit")
_TEXT = ("data_hash", "commit")
_MIME = {b"\x89PNG": "image/png", b"<?xm": "image/svg+xml", b"<svg": "image/svg+xml"}


def build(results: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``report.json``, checked.

    Args:
        results: nested sections; ``REQUIRED`` lists what must be there, everything else is passed on. Known
            to the HTML besides: ``title``, ``summary`` (sentences), ``domains`` (names), ``people`` (how many
            are in the gallery), ``real`` (the judges on real images), ``difference`` (translator minus
            copy-input), ``filter.classes``, ``identity.hard`` (a second verification section),
            ``translator.by_target``, ``seconds.<stage>``, ``environment`` (name -> text) and ``limits``
            (sentences).

    Raises:
        InputError: If a required key is missing or is not what it must be.
    """
    plain, intervals = split_estimates(results)
    report = {**plain, "intervals": intervals}
    for path in REQUIRED:
        _check(report, path)
    return report


def render(report: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    """The HTML page of a built report.

    Args:
        report: from :func:`build`.
        figures: PNG or SVG bytes by name: ``grid`` comes first on the page; the others are shown with their
            name as the caption.
    """
    filters: dict[str, Callable[..., str]] = {
        "number": _number,
        "interval": _interval,
        "duration": _duration,
        "size": _size,
    }
    images = {name: data_uri(_mime(name, data), data) for name, data in figures.items()}
    return page("report.html.j2", filters, r=report, figures=images, at=lambda path: at(report, path))


def write(uri: str, results: Mapping[str, Any], figures: Mapping[str, bytes]) -> dict[str, Any]:
    """Write ``report.json``, ``report.html`` and ``<name>.png|svg`` of each figure below a URI.

    Args:
        uri: A folder or an object-store prefix.
        results: As :func:`build` takes them.
        figures: As :func:`render` takes them.

    Returns:
        The content of ``report.json``.

    Raises:
        InputError: If a required key is missing; nothing is written then.
        StorageError: If the URI cannot be written.
    """
    report = build(results)
    page = render(report, figures)
    for name, data in figures.items():
        suffix = "svg" if "svg" in _mime(name, data) else "png"
        storage.write_bytes(storage.join(uri, f"{name}.{suffix}"), data)
    storage.write_bytes(storage.join(uri, "report.html"), page.encode())
    # Last, because a program that finds it may rely on the rest.
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(storage.join(uri, "report.json"), text.encode() + b"\n")
    return report


def split_estimates(node: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Nested results as JSON: the plain values, and the intervals of the estimates at the same paths."""
    plain: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Estimate):
            ends = asdict(value)
            plain[key] = _finite(ends.pop("value"))
            intervals[key] = {name: _finite(end) for name, end in ends.items()}
        elif isinstance(value, Mapping):
            plain[key], below = split_estimates(value)
            if below:
                intervals[key] = below
        else:
            plain[key] = _finite(value)
    return plain, intervals


def estimate_of(section: Mapping[str, Any], intervals: Mapping[str, Any], name: str) -> Estimate | None:
    """A figure of a report as it was before ``split_estimates``; None where it is no figure of the section."""
    if name not in intervals:
        return None
    ends = intervals[name]
    value, low, high = (
        math.nan if each is None else float(each) for each in (section[name], ends["low"], ends["high"])
    )
    return Estimate(value, low, high, ends["n"])


def _finite(value: Any) -> Any:
    """JSON has no NaN: what could not be measured is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check(report: Mapping[str, Any], path: str) -> None:
    value = at(report, path)
    measured = at(report, f"intervals.{path}") if path in MEASURED else None
    if path in MEASURED and value is not None and measured is None:
        raise InputError(f"report: {path} has no interval: give an Estimate")
    if value is None and not (measured and measured["n"] == 0):
        raise InputError(f"report: the key {path} is missing: required are {', '.join(REQUIRED)}")
    if path in _TEXT:
        fits = isinstance(value, str)
    else:
        fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if not fits:
        raise InputError(f"report: {path} = {value!r}: must be a {'text' if path in _TEXT else 'number'}")


def at(report: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of nested sections, None where a part of the path is missing."""
    node: Any = report
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


def _mime(name: str, data: bytes) -> str:
    if data[:4] not in _MIME:
        raise InputError(f"figure {name!r} is neither PNG nor SVG")
    return _MIME[data[:4]]


def _number(value: float | None, unit: str = "%") -> str:
    """A number to read: a share in percent, or three significant decimals."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.3f}"


def _interval(ends: Mapping[str, Any] | None, unit: str = "%") -> str:
    if ends is None or ends["n"] == 0:
        return "nothing to measure"
    times, digits = (100, 1) if unit == "%" else (1, 3)
    return f"{times * ends['low']:.{digits}f} to {times * ends['high']:.{digits}f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def limits(known: Sequence[str] = ()) -> list[str]:
    """Sentences for the section on limits that hold for every report, then those of this run."""
    return [
        "Both judges are networks too: read each figure beside the same judge's score on real images.",
        "Identity alone rewards doing nothing, which is why the row copy-input stands beside every figure.",
        "The background difference is measured at the picture's rim, without a mask.",
        *known,
    ]
