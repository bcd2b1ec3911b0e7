"""Figures are valid files with every image in its place, the same bytes each time, and labels that fit.

Run: python -m pytest tests/evaluation/test_figures.py
"""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.errors import InputError
from stargan_ray.evaluation.figures import (
    confusion_figure,
    contact_grid,
    sample_grid,
    verification_histogram,
)


def _open(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def _flat(*values, size=32):
    """One-coloured images (n, 3, size, size)."""
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, size, size).contiguous()


def test_every_cell_shows_its_image():
    sources = _flat(-1.0, -0.5)
    translations = torch.stack([_flat(*np.linspace(-0.4, 0.3, 8)), _flat(*np.linspace(0.35, 0.9, 8))])
    sheet = _open(sample_grid(sources, translations, EXPRESSIONS, rows=["ann", "bob"], own=[0, 3]))
    for row, line in enumerate([[-1.0, *np.linspace(-0.4, 0.3, 8)], [-0.5, *np.linspace(0.35, 0.9, 8)]]):
        expected = [round((value + 1) * 127.5) for value in line]
        grey = (sheet == sheet[..., :1]).all(-1)
        y = 33 + row * 102 + 48
        seen = [value for value, counts in _runs(sheet[y, grey[y], 0]) if counts == 96]
        assert seen == pytest.approx(expected, abs=1)


def _runs(values):
    """Consecutive equal values: (value, how many)."""
    edges = np.flatnonzero(np.diff(values)) + 1
    for part in np.split(values, edges):
        yield int(part[0]), len(part)


def test_small_images_are_enlarged_and_large_ones_kept():
    for size, side in ((32, 96), (40, 120), (128, 128)):
        sheet = _open(contact_grid(_flat(-1.0, size=size), ["x"], 1))
        assert (sheet.max(-1) == 0).sum() >= side * side


def test_a_contact_sheet_has_a_line_for_every_row():
    one, four = (_open(contact_grid(_flat(*[0.0] * n), ["a caption"] * n, 3)) for n in (1, 4))
    assert four.shape[0] > 1.8 * one.shape[0]
    assert four.shape[1] > 2.5 * one.shape[1]


def test_long_names_widen_the_columns():
    sources, translations = _flat(0.0), torch.stack([_flat(0.0, 0.0)])
    short = _open(sample_grid(sources, translations, ["a", "b"]))
    long = _open(sample_grid(sources, translations, ["a", "an expression with a very long name"]))
    assert long.shape[1] > short.shape[1] + 2 * 100


def _charts(kind):
    gap, same = np.r_[np.linspace(0, 1, 50), np.linspace(1, 3, 50)], np.arange(100) < 50
    yield confusion_figure(np.eye(8) * 9 + 1, EXPRESSIONS, title="seen", kind=kind)
    yield verification_histogram(gap, same, 1.0, title="pairs", kind=kind)


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_charts_are_files_of_their_kind(kind, start):
    for data in _charts(kind):
        assert data.startswith(start)
        assert b"<script" not in data


def test_the_same_figures_give_the_same_bytes():
    assert next(_charts("svg")) == next(_charts("svg"))


def test_images_that_do_not_fit_the_labels_are_refused():
    with pytest.raises(InputError, match="1 rows and 3 columns"):
        sample_grid(_flat(0.0), torch.stack([_flat(0.0, 0.0)]), ["a", "b", "c"])
    with pytest.raises(InputError, match="one caption an image"):
        contact_grid(_flat(0.0), [], 1)
    with pytest.raises(InputError, match="must be square"):
        confusion_figure(np.eye(2), ["a", "b", "c"], title="t")


def test_importing_the_evaluation_loads_neither_matplotlib_nor_jinja():
    code = (
        "import sys; from stargan_ray.evaluation import figures, report, judging, truth, filtering;"
        "sys.exit(' '.join({'matplotlib', 'jinja2', 'scipy', 'sklearn', 'ray', 'mlflow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
