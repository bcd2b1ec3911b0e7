"""The style that all charts share; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

import io
from typing import Any

PAPER, INK, FAINT = "#ffffff", "#1d2430", "#6b7482"
MARK, SECOND, THIRD = "#2f6fb0", "#c8743c", "#8a94a3"  # in the order in which series take them


def axes_of(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure of so many inches and its axes, without pyplot, whose state is global."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    return figure, figure.add_subplot()


def axes_grid(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure of so many inches and an array (rows, columns) of its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    return figure, figure.subplots(rows, columns, squeeze=False)


def saved(figure: Any, kind: str) -> bytes:
    """The bytes of a figure as ``svg`` or ``png``; the same figure gives the same bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    if kind == "svg":
        figure.set_dpi(150)  # of the pictures in it
        # A date would differ every time, and so would the names within an SVG without a fixed salt.
        with rc_context({"svg.hashsalt": "stargan-ray"}):
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # savefig draws everything twice
    else:
        figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()
