"""Figures of the report, each returned as the bytes of a PNG or SVG file.

Grids of faces are drawn pixel by pixel (Pillow), charts by matplotlib, which is loaded when first needed.
Images are float (…, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.evaluation.charts import FAINT, INK, MARK, PAPER, SECOND, axes_of, saved

_GAP, _FONT = 6, 15  # pixels between cells; font size in pixels
_CELL = 96  # cells smaller than this are enlarged: 32 px faces are hard to read


def sample_grid(
    sources: Tensor,
    translations: Tensor,
    columns: Sequence[str],
    *,
    rows: Sequence[str] = (),
    own: Sequence[int] = (),
    first: str = "source",
) -> bytes:
    """One person a row: the source, then each target expression.

    Args:
        sources: (r, 3, H, W).
        translations: (r, K, 3, H, W).
        columns: K names of the target expressions.
        rows: r names at the left, or none.
        own: (r,) the source's own expression: that cell is framed, being a reconstruction.
        first: title of the source column.

    Returns:
        A PNG.
    """
    if translations.shape[:2] != (len(sources), len(columns)):
        raise InputError(
            f"a grid of {len(sources)} rows and {len(columns)} columns got {tuple(translations.shape)} images"
        )
    cells = [[_cell(source), *map(_cell, row)] for source, row in zip(sources, translations, strict=True)]
    # The source stands apart by a wider gap, so that nobody takes it for a result.
    gaps = [0, 3 * _GAP] + [_GAP] * (len(columns) - 1)
    framed = [(row, column + 1) for row, column in enumerate(own)]
    return _grid(cells, [first, *columns], list(rows), gaps, framed)


def contact_grid(images: Tensor, captions: Sequence[str], columns: int) -> bytes:
    """Images (n, 3, H, W) in reading order, ``columns`` a row, each with a caption below it; a PNG."""
    if len(images) != len(captions) or not len(images):
        raise InputError(f"a contact sheet needs one caption an image: got {len(images)} and {len(captions)}")
    cells = [_cell(image) for image in images]
    font = _font()
    width = max(cells[0].width, *(int(font.getlength(text)) for text in captions)) + _GAP
    height = cells[0].height + _FONT + 3 * _GAP
    lines = -(-len(cells) // columns)
    sheet = Image.new("RGB", (min(columns, len(cells)) * width + _GAP, lines * height + _GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (cell, text) in enumerate(zip(cells, captions, strict=True)):
        left, top = _GAP + index % columns * width, _GAP + index // columns * height
        sheet.paste(cell, (left + (width - _GAP - cell.width) // 2, top))
        draw.text((left + (width - _GAP) / 2, top + cell.height + _GAP // 2), text, INK, font, anchor="ma")
    return _png(sheet)


def confusion_figure(
    counts: npt.ArrayLike, names: Sequence[str], *, title: str, kind: Literal["svg", "png"] = "svg"
) -> bytes:
    """A confusion matrix (K, K) in percent of each row: row = wanted, column = seen."""
    matrix = np.asarray(counts, dtype=np.float64)
    if matrix.shape != (len(names), len(names)):
        raise InputError(f"a confusion matrix of {len(names)} names must be square, got {matrix.shape}")
    share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    figure, axes = axes_of(1.6 + 0.62 * len(names), 1.3 + 0.5 * len(names))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="seen by the judge", ylabel="wanted", title=title)
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 55 else INK
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=9)
    return saved(figure, kind)


def verification_histogram(
    distances: npt.ArrayLike,
    same: npt.ArrayLike,
    threshold: float,
    *,
    title: str,
    kind: Literal["svg", "png"] = "svg",
) -> bytes:
    """Squared L2 distances (n,) of same-person and different-person pairs, and the threshold between them."""
    gap, match = np.asarray(distances, dtype=np.float64), np.asarray(same, dtype=bool)
    figure, axes = axes_of(6.4, 3.4)
    edges = np.linspace(0, max(float(gap.max()), threshold) * 1.02, 50)
    axes.hist(gap[match], edges, color=MARK, alpha=0.75, label=f"same person ({match.sum()} pairs)")
    others = f"different people ({(~match).sum()} pairs)"
    axes.hist(gap[~match], edges, color=SECOND, alpha=0.65, label=others)
    axes.axvline(threshold, color=INK, linewidth=1.2, linestyle="--", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="squared L2 distance of the embeddings", ylabel="pairs", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return saved(figure, kind)


def _cell(image: Tensor) -> Image.Image:
    """An image as it is, or enlarged to a multiple of its size that is at least ``_CELL``."""
    pixels = ((image.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    face = Image.fromarray(pixels)
    times = max(1, -(-_CELL // face.height))
    return face.resize((face.width * times, face.height * times), Image.Resampling.BICUBIC)


def _grid(
    cells: list[list[Image.Image]],
    columns: list[str],
    rows: list[str],
    gaps: list[int],
    framed: list[tuple[int, int]],
) -> bytes:
    font = _font()
    side, height = cells[0][0].size
    side_cell = max(side, *(int(font.getlength(name)) + 2 for name in columns))
    margin = _GAP + (max(int(font.getlength(name)) for name in rows) + 2 * _GAP if rows else 0)
    top = _FONT + 3 * _GAP
    lefts = margin + np.cumsum(gaps) + side_cell * np.arange(len(columns))
    sheet = Image.new("RGB", (int(lefts[-1]) + side_cell + _GAP, top + len(cells) * (height + _GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for left, name in zip(lefts.tolist(), columns, strict=True):
        draw.text((left + side_cell / 2, _GAP), name, INK, font, anchor="ma")
    for line, row in enumerate(cells):
        y = top + line * (height + _GAP)
        if rows:
            draw.text((margin - 2 * _GAP, y + height / 2), rows[line], FAINT, font, anchor="rm")
        for column, (left, cell) in enumerate(zip(lefts.tolist(), row, strict=True)):
            x = left + (side_cell - side) // 2
            sheet.paste(cell, (x, y))
            if (line, column) in framed:
                draw.rectangle((x - 3, y - 3, x + side + 2, y + height + 2), outline=MARK, width=2)
    return _png(sheet)


def _font() -> Any:
    return ImageFont.load_default(_FONT)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
