"""Rows side by side: the Fréchet distance against its closed form, intensities that rise, seeds pooled, tables.

Run: python -m pytest tests/evaluation/test_comparison.py
"""

import csv
import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from stargan_ray.errors import InputError
from stargan_ray.evaluation.comparison import COLUMNS, Judged, Row, as_csv, as_markdown, cell
from stargan_ray.evaluation.frechet import by_domain, frechet_distance
from stargan_ray.evaluation.intensity import intensity_curve
from stargan_ray.evaluation.intervals import Estimate
from stargan_ray.evaluation.judging import FIGURES, Verdict
from stargan_ray.evaluation.translations import Faces, LatentGuide, every_target
from stargan_ray.methods.translation import CodeTranslator

RNG = np.random.default_rng(0)

# -- the Fréchet distance ---------------------------------------------------------------------------------------


def _exactly(mean, deviations):
    """Features whose sample mean and covariance are exactly these: ± each axis, scaled."""
    d = len(deviations)
    axes = np.concatenate([np.diag(deviations), -np.diag(deviations)])
    return np.asarray(mean) + axes * np.sqrt((2 * d - 1) / 2)


def test_it_is_the_closed_form_of_two_gaussians():
    """Covariances on the same axes commute: d² = ‖Δμ‖² + Σ (σ₁ − σ₂)²."""
    first, second = _exactly([1.0, 2.0, 0.0], [1.0, 2.0, 0.5]), _exactly([0.0, 2.0, 3.0], [3.0, 2.0, 1.5])
    expected = 1 + 9 + (1 - 3) ** 2 + 0 + (0.5 - 1.5) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_it_agrees_with_a_matrix_root_where_covariances_do_not_commute():
    first, second = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)), RNG.normal(size=(80, 5)) + 0.3
    ours, theirs = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = sqrtm(ours @ theirs).real
    expected = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(ours + theirs - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


def test_it_is_a_distance_of_sets():
    first, second = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 4)) * 2
    turn, _ = np.linalg.qr(RNG.normal(size=(4, 4)))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))
    assert frechet_distance(first @ turn, second @ turn) == pytest.approx(frechet_distance(first, second))
    assert frechet_distance(first[::-1], second) == pytest.approx(frechet_distance(first, second))


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (5, 4))])
def test_too_few_or_other_features_are_refused(shapes):
    with pytest.raises(InputError, match="allowed are at least 2 rows each, of one width"):
        frechet_distance(*(np.zeros(shape) for shape in shapes))


def _two_domains(offset):
    labels = np.repeat([0, 1], 60)
    return RNG.normal(size=(120, 3)) + labels[:, None] * 5 + offset, labels


def test_copies_are_perfect_over_all_domains_at_once_but_not_by_domain():
    real, labels = _two_domains(0)
    persons = np.tile(np.arange(20), 6)
    swapped = by_domain(real, 1 - labels, persons, real, labels)  # what shows 0 was wanted to be 1
    made, targets = _two_domains(0)
    good = by_domain(made, targets, persons, real, labels)
    assert frechet_distance(real, real[::-1]) == pytest.approx(0, abs=1e-9)
    assert swapped.value > 70
    assert good.value < 1
    assert good.low < good.value < good.high
    assert good.n == 120


# -- intensities ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Brightness(CodeTranslator):
    """A translator whose code is a brightness: that of the source, or the label's."""

    bent: bool = False

    def domains(self, networks):
        return 2

    def code(self, networks, target):
        return target.label[:, None].float()

    def own_code(self, networks, image, source_label):
        return source_label[:, None].float()

    def render(self, networks, image, code):
        shown = torch.where(code > 0.6, 1.2 - code, code) if self.bent else code
        return shown[:, :, None, None].expand_as(image) * 0.5


def _bright(images):
    """p(domain 1) grows with the brightness."""
    level = images.mean((1, 2, 3)) * 8 - 2
    return torch.stack([-level, level], 1)


@pytest.mark.parametrize(("bent", "share"), [(False, 1.0), (True, 0.0)])
def test_an_intensity_is_monotone_where_more_shows_more(bent, share):
    labels = torch.zeros(6, dtype=torch.long)
    faces = Faces(torch.zeros(6, 3, 4, 4), labels, np.arange(6))
    requests = every_target(labels, 2)
    curve = intensity_curve(_Brightness(bent), {}, faces, requests, LatentGuide(0), _bright)
    assert curve.p_target.shape == (6, 5)
    assert curve.monotone().value == share
    means = [e.value for e in curve.means()]
    assert (means == sorted(means)) is not bent
    expected = 1 / (1 + np.exp(-2 * (0.25 * 0.5 * 8 - 2)))
    assert means[1] == pytest.approx(expected)


def test_intensities_that_do_not_grow_are_refused():
    with pytest.raises(InputError, match="allowed are two or more growing values"):
        intensity_curve(_Brightness(), {}, None, None, LatentGuide(0), _bright, intensities=(0.0, 0.5, 0.5))


# -- rows and tables --------------------------------------------------------------------------------------------


def _verdict(right, persons):
    values = {name: np.asarray(right, dtype=float) for name in FIGURES}
    return Verdict(values, np.asarray(persons), np.eye(2, dtype=np.int64), np.zeros(len(right), dtype=np.int64))


def test_seeds_are_pooled_and_a_person_stays_one_cluster():
    persons = np.repeat(np.arange(8), 5)
    first = Judged(_verdict(np.ones(40), persons), frechet=Estimate(2.0, 1.0, 3.0, 40))
    second = Judged(_verdict(persons % 2, persons), frechet=Estimate(4.0, 3.0, 5.0, 40))
    row = Row("ours", (first, second))
    figures = row.figures()
    assert figures["rank1"].value == pytest.approx(0.75)
    assert figures["rank1"].n == 80
    alone = Row("ours", (second, second)).figures()["rank1"]
    single = Row("ours", (second,)).figures()["rank1"]
    # the same images twice tell nothing more: the people are no more than before
    assert alone.high - alone.low == pytest.approx(single.high - single.low, rel=0.1)
    assert figures["frechet"] == Estimate(3.0, 2.0, 4.0, 80)
    assert "monotone" not in figures
    section = row.section(["neutral", "happiness"])
    assert [run["rank1"] for run in section["runs"]] == [1.0, 0.5]
    assert section["seeds"] == 2


def test_tables_show_every_row_and_leave_out_what_was_not_measured():
    persons = np.arange(10)
    rows = [
        Row("copy-input", (Judged(_verdict(np.zeros(10), persons)),)),
        Row("ours", (Judged(_verdict(np.ones(10), persons), facts={"steps": 1000, "note": "x"}),)),
    ]
    lines = as_markdown(rows, {"steps": "steps", "note": "note"}).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 4}
    assert lines[2].startswith("| copy-input | 0.0% [0.0, ")
    assert "| – | – | – | – |" in lines[2]  # Fréchet, intensity, steps, note
    assert lines[3].endswith("| 1,000 | x |")
    table = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert len(table) == 2 * len(FIGURES)
    assert {line["seeds"] for line in table} == {"1"}


def test_a_row_of_nothing_is_refused():
    with pytest.raises(InputError, match="row 'ours': no run was judged"):
        Row("ours", ())


def test_a_cell_says_where_there_were_too_few_images():
    nan = float("nan")
    assert cell("frechet", None) == "–"
    assert cell("frechet", Estimate(nan, nan, nan, 0)) == "too few images"
    assert cell("frechet", Estimate(3.0, nan, nan, 9)) == "3.000 (too few images)"
    assert cell("rank1", Estimate(0.5, 0.4, 0.6, 9)) == "50.0% [40.0, 60.0]"
