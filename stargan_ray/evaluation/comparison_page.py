"""``comparison.md`` and ``comparison.html``: Table I, Table II, and the figures, for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stargan_ray.evaluation.comparison import COLUMNS, NOBODY_NAMED, Row, as_markdown, cell
from stargan_ray.evaluation.comparison_figures import NoisePoint
from stargan_ray.evaluation.pages import data_uri, page

# The paper's Table I. It is never mixed with what is measured here, since it cannot be compared with it.
PRINTED = {"FA-GAN": 0.20428795, "LAUN improved StarGAN": 0.4089777, "the paper's method": 0.22002675}
DOUBTS = (
    "The paper does not define its distance; most likely it is the squared L2 of unit embeddings of the authors' own "
    "embedder. Images, people and the number of them are not given, there is no interval, StarGAN v2 is missing, and "
    "a copy of the input would win with 0."
)
_NOISE_COLUMNS = ("target_expression_accuracy", "rank1", "tar", "similarity_distance")


def markdown(
    rows: Sequence[Row], facts: Mapping[str, str], points: Sequence[NoisePoint], more: str = "", *, named: bool = True
) -> str:
    """All tables for a README.

    Args:
        rows: of Table I.
        facts: see ``as_markdown``.
        points: of the noise study; may be empty.
        more: further tables, such as Table II.
        named: whether it is known who the photos show.
    """
    parts = ["## Table I: expression and identity\n", as_markdown(rows, facts)]
    if not named:
        parts.append(f"\n{NOBODY_NAMED}\n")
    parts += ["\nThe paper, as printed:\n", printed()]
    if points:
        parts += ["\n## Label noise\n", noise_markdown(points)]
    if more:
        parts += ["\n## Table II: augmentation\n", more]
    return "\n".join(parts)


def printed() -> str:
    """The paper's own Table I with its doubts."""
    lines = ["| paper, as printed | similarity distance |", "|---|---:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in PRINTED.items()]
    return "\n".join([*lines, "", DOUBTS, ""])


def noise_markdown(points: Sequence[NoisePoint]) -> str:
    """The noise study as a table."""
    lines = ["| wrong labels | filter | " + " | ".join(["method", *(COLUMNS[name] for name in _NOISE_COLUMNS)]) + " |"]
    lines.append("|---:|---|---|" + "---:|" * len(_NOISE_COLUMNS))
    for point in points:
        figures = point.row.figures()
        cells = [cell(name, figures.get(name)) for name in _NOISE_COLUMNS]
        told = [f"{point.rate:.0%}", "yes" if point.filtered else "no", point.row.name, *cells]
        lines.append("| " + " | ".join(told) + " |")
    return "\n".join(lines) + "\n"


def render(
    report: Mapping[str, Any], rows: Sequence[Row], tables: Mapping[str, str], figures: Mapping[str, bytes]
) -> str:
    """The page.

    Args:
        report: the content of comparison.json.
        rows: of Table I.
        tables: heading -> Markdown table, shown below Table I.
        figures: caption -> PNG or SVG.
    """
    return page(
        "comparison.html.j2",
        {},
        r=report,
        columns=COLUMNS,
        rows=[(row.name, {name: cell(name, row.figures().get(name)) for name in COLUMNS}) for row in rows],
        printed=PRINTED,
        doubts=DOUBTS,
        nobody_named=NOBODY_NAMED,
        tables={heading: _cells(text) for heading, text in tables.items()},
        figures={
            caption: data_uri("image/png" if data[:4] == b"\x89PNG" else "image/svg+xml", data)
            for caption, data in figures.items()
        },
    )


def _cells(text: str) -> list[dict[str, Any]]:
    """Markdown tables and the lines between them, as the page shows them."""
    parts: list[dict[str, Any]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if not line.startswith("|"):
            parts.append({"text": line.lstrip("- #")})
            continue
        cells = [each.strip() for each in line.strip("|").split("|")]
        if all(set(each) <= set("-:") for each in cells):
            continue
        if not parts or "rows" not in parts[-1]:
            parts.append({"head": cells, "rows": []})
        else:
            parts[-1]["rows"].append(cells)
    return parts
