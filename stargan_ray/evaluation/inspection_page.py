"""``inspect.html``: the findings on a data set for a person, with its pictures and charts inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stargan_ray.data.image_facts import NEAR_BLACK, NEAR_EMPTY
from stargan_ray.data.inspection import TRAINABLE
from stargan_ray.data.verdict import Verdict
from stargan_ray.evaluation.pages import data_uri, page
from stargan_ray.evaluation.thumbnails import Thumbnail, Thumbnails

SHOWN = 20  # lines of a list on the page; the JSON has all


def render(found: Mapping[str, Any], verdict: Verdict, pictures: Thumbnails, charts: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        found: What :func:`stargan_ray.data.inspection.findings` gives.
        verdict: On it.
        pictures: Of the same data set.
        charts: SVG files by name: ``rows``, ``people``, ``brightness``, ``contrast``,
            ``sizes``; one that is absent is not shown.
    """
    return page(
        "inspection.html.j2",
        {"whole": _whole, "bytes": _bytes, "picture": _picture},
        f=found,
        verdict=verdict,
        pictures=pictures,
        charts={name: data_uri("image/svg+xml", data) for name, data in charts.items()},
        first=_first,
        limits={"black": NEAR_BLACK, "empty": NEAR_EMPTY, "trainable": TRAINABLE},
    )


def _first(items: Sequence[Any]) -> Sequence[Any]:
    return items[:SHOWN]


def _picture(thumbnail: Thumbnail) -> str:
    return data_uri("image/jpeg", thumbnail.jpeg)


def _whole(number: float | None) -> str:
    """A number with its thousands apart, to read: 21,250,000."""
    if number is None:
        return "–"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def _bytes(count: float | None) -> str:
    if count is None:
        return "–"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
