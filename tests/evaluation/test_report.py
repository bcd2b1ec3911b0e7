"""The report: required keys enforced, intervals beside the numbers, a page that loads nothing from outside.

Run: python -m pytest tests/evaluation/test_report.py
"""

import copy
import html.parser
import json
import math
import re

import numpy as np
import pytest
import torch

from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.errors import InputError
from stargan_ray.evaluation import report
from stargan_ray.evaluation.figures import confusion_figure, sample_grid
from stargan_ray.evaluation.filtering import by_class, judge_filter
from stargan_ray.evaluation.intervals import Estimate, wilson


def _row(hits):
    figures = {"target_expression_accuracy": wilson(hits, 100), "rank1": wilson(80, 100)}
    return {**figures, "similarity_distance": Estimate(0.31, 0.29, 0.33, 100)}


def _minimal():
    return {
        "filter": {"precision": wilson(60, 100), "recall": wilson(70, 100)},
        "identity": {"verification_accuracy": wilson(940, 1000)},
        "translator": _row(52),
        "copy_input": _row(6),
        "translator_from_scratch": _row(24),
        "seconds": {"ingest": 12.5, "total": 754.0},
        "peak_rss_bytes": 3 * 2**30,
        "data_hash": "9f" * 32,
        "commit": "4fc154c",
    }


def _full():
    labels, kept = np.arange(80) % 8, np.arange(80) % 3 > 0
    wrong = np.arange(80) % 5 == 0
    classes = {name: one.section() for name, one in by_class(labels, kept, wrong, EXPRESSIONS).items()}
    return {
        **_minimal(),
        "title": "A <title> & more",
        "summary": ["One sentence."],
        "domains": list(EXPRESSIONS),
        "people": 100,
        "filter": {**judge_filter(kept, wrong).section(), "classes": classes},
        "translator": {**_row(52), "by_target": {name: wilson(5, 10) for name in EXPRESSIONS}},
        "real": _row(83),
        "difference": {"target_expression_accuracy": Estimate(0.46, 0.42, 0.51, 100)},
        "environment": {"torch": "2.15.0"},
        "limits": report.limits(["Generated faces."]),
    }


def _figures():
    faces = torch.zeros(1, 3, 16, 16)
    grid = sample_grid(faces, torch.zeros(1, 8, 3, 16, 16), EXPRESSIONS)
    return {"grid": grid, "confusion": confusion_figure(np.eye(8), EXPRESSIONS, title="Seen")}


def _remove(results, path):
    *folders, name = path.split(".")
    node = results
    for folder in folders:
        node = node[folder]
    del node[name]


def test_the_keys_that_programs_rely_on():
    assert set(report.REQUIRED) >= {
        "filter.precision",
        "filter.recall",
        "identity.verification_accuracy",
        "translator.target_expression_accuracy",
        "translator.rank1",
        "translator.similarity_distance",
        "copy_input.target_expression_accuracy",
        "copy_input.rank1",
        "copy_input.similarity_distance",
        "translator_from_scratch.target_expression_accuracy",
        "translator_from_scratch.rank1",
        "translator_from_scratch.similarity_distance",
        "seconds.total",
        "peak_rss_bytes",
        "data_hash",
        "commit",
    }


@pytest.mark.parametrize("path", report.REQUIRED)
def test_a_missing_key_is_named(path):
    results = copy.deepcopy(_minimal())
    _remove(results, path)
    with pytest.raises(InputError, match=f"the key {re.escape(path)} is missing") as error:
        report.build(results)
    assert "\n" not in str(error.value)


def test_numbers_are_plain_and_their_intervals_parallel():
    built = report.build(_minimal())
    assert built["translator"]["rank1"] == 0.8
    expected = wilson(80, 100)
    assert built["intervals"]["translator"]["rank1"] == {"low": expected.low, "high": expected.high, "n": 100}
    assert built["seconds"] == {"ingest": 12.5, "total": 754.0}


def test_a_number_without_its_interval_is_refused():
    results = _minimal()
    results["copy_input"]["rank1"] = 0.8
    with pytest.raises(InputError, match=r"copy_input\.rank1 has no interval"):
        report.build(results)


@pytest.mark.parametrize(("key", "value"), [("commit", 7), ("peak_rss_bytes", "3 GiB"), ("data_hash", 1.0)])
def test_a_value_of_another_kind_is_refused(key, value):
    with pytest.raises(InputError, match=f"{key} = .*: must be a"):
        report.build({**_minimal(), key: value})


def test_what_could_not_be_measured_is_null_but_nan_elsewhere_is_missing():
    results = _minimal()
    results["filter"]["precision"] = wilson(0, 0)
    built = report.build(results)
    assert built["filter"]["precision"] is None
    assert built["intervals"]["filter"]["precision"]["n"] == 0
    assert "nothing to measure" in report.render(built, {})
    results["filter"]["precision"] = Estimate(math.nan, 0, 1, 12)
    with pytest.raises(InputError, match=r"filter\.precision is missing"):
        report.build(results)


class _Page(html.parser.HTMLParser):
    """Collects what a browser would load, and whether the tags close."""

    void = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.tags, self.text = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.loads += [value for name, value in attributes if name in {"src", "href", "srcset", "data", "poster"}]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


@pytest.mark.parametrize(("results", "figures"), [(_minimal, dict), (_full, _figures)])
def test_the_page_loads_nothing_from_outside(results, figures):
    text = report.render(report.build(results()), figures())
    page = _Page(text)
    assert page.open == []
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert all(value.startswith("data:image/") for value in page.loads)
    assert len(page.loads) == len(figures())
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert not re.search(r"url\(|@import|https?:", style)
    assert "http" not in re.sub(r"data:image/[^\"]*", "", text)


def test_the_page_says_what_a_newcomer_asks():
    text = " ".join(" ".join(_Page(report.render(report.build(_full()), _figures())).text).split())
    assert "A <title> & more" in text  # escaped in the source
    assert "Yes: 46.0 points above copying the input (42.0 to 51.0)." in text
    assert "The right person is ranked first for 80.0 %" in text
    assert "Guessing gives 12.5 %" in text
    for part in ("copy-input", "from scratch", "real images", *EXPRESSIONS, "12 min 34 s", "3.00 GiB", "9f" * 32):
        assert part in text


def test_a_run_that_continued_from_nothing_shows_its_row_once():
    full = _full()
    text = report.render(report.build({**full, "translator_from_scratch": full["translator"]}), {})
    assert "scratch" not in text.lower()


def test_no_gain_is_called_no_gain():
    results = {**_full(), "difference": {"target_expression_accuracy": Estimate(0.02, -0.01, 0.05, 100)}}
    text = report.render(report.build(results), {})
    assert "Not shown: +2.0 points" in text
    assert "Yes:" not in text


def test_files_are_written_together_and_read_back(tmp_path):
    built = report.write(str(tmp_path / "run"), _full(), _figures())
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["confusion.svg", "grid.png", "report.html", "report.json"]
    assert json.loads((tmp_path / "run" / "report.json").read_text()) == built


def test_nothing_is_written_when_a_key_is_missing(tmp_path):
    results = _full()
    del results["commit"]
    with pytest.raises(InputError, match="the key commit is missing"):
        report.write(str(tmp_path / "run"), results, _figures())
    assert not (tmp_path / "run").exists()


def test_a_figure_of_another_kind_is_refused():
    with pytest.raises(InputError, match="'photo' is neither PNG nor SVG"):
        report.render(report.build(_minimal()), {"photo": b"GIF89a"})


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.24, "4.2 s"), (59.9, "1 min 00 s"), (754, "12 min 34 s"), (7320, "2 h 02 min")]
)
def test_durations_read_well(seconds, text):
    assert report._duration(seconds) == text
