"""The evaluation of a classifier: splits, copies of training images, unknown labels; and the job as a process.

pytest tests/runtime/test_evaluate.py
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import run_job
from PIL import Image
from tiny_models import TinyModels
from torchvision.transforms.functional import ten_crop

from stargan_ray.data.pools import Pixels
from stargan_ray.data.schema import EXPRESSIONS, Row
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.evaluate import evaluate_classifier
from stargan_ray.runtime.scoring import Score, Scorer, Scores, network_score

KNOWN = EXPRESSIONS[:3]


def picture(level: int, mark: int = 0) -> bytes:
    image = Image.new("RGB", (8, 8), (level, level, level))
    image.putpixel((7, 7), (mark, mark, mark))  # another image, the same expression
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Levels:
    """Ten rows an expression of KNOWN in each split, whose level is the expression; some of val repeat train."""

    number: int = 0

    @property
    def fingerprint(self) -> str:
        return "levels"

    def produce(self) -> Iterator[Row]:
        for s, split in enumerate(("train", "val", "test")):
            for k in range(3):
                for n in range(10):
                    copied = split == "val" and n < 4
                    image = picture(60 * k, 10 + n if copied else 10 * (s + 1) + n)
                    label = (k + 1) % 3 if split == "val" and n == 9 else k  # one wrong label an expression
                    yield Row(f"{split}-{k}-{n}", image, label, None, split, "levels")
        yield Row("contempt", picture(200), 7, None, "test", "levels")
        yield Row("nothing", picture(210), None, None, "test", "levels")


def level_score() -> Score:
    def score(images: Pixels) -> Scores:
        table = np.full((len(images), 3), 0.05, np.float32)
        table[np.arange(len(images)), np.minimum(images[:, 0, 0, 0] // 60, 2)] = 0.9
        return table

    return score


@pytest.fixture
def levels(tmp_path: Path) -> str:
    uri = str(tmp_path / "levels")
    write_dataset(uri, Source({"reader": "levels"}, EXPRESSIONS, (Levels(),)))
    return uri


def test_every_split_is_judged_and_copies_of_train_are_taken_out(levels: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told: list[tuple[int, int]] = []
    scorer = Scorer(KNOWN, 8, "levels 1", partial(level_score))
    every = ("train", "val", "test")
    report = evaluate_classifier(levels, str(out), scorer, splits=every, on_scored=lambda *each: told.append(each))
    assert json.loads((out / "evaluation.json").read_text()) == report
    assert sum(new for new, _ in told) == 92
    splits = report["splits"]
    assert {name: split["rows"] for name, split in splits.items()} == {"train": 30, "val": 30, "test": 30}
    assert splits["test"]["accuracy"] == 1
    assert splits["val"]["accuracy"] == 0.9
    assert splits["val"]["also_in_train"] == 12
    assert splits["val"]["without_copies"]["rows"] == 18
    assert splits["val"]["without_copies"]["accuracy"] == pytest.approx(15 / 18)
    assert splits["test"]["also_in_train"] == 0
    assert "without_copies" not in splits["test"]
    assert report["left_out"] == {"no label": 1, "class unknown to the classifier": 1}
    ends = report["intervals"]["splits"]["val"]["accuracy"]
    assert ends["low"] < 0.9 < ends["high"]
    # 0.9 sure and 0.9 right: nothing to mend
    assert report["temperature"] == pytest.approx(1, abs=0.01)
    page = (out / "evaluation.html").read_text()
    assert "without copies of train" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert not (out / "scores").exists()


def test_without_train_nothing_of_it_is_scored_and_its_copies_are_still_known(levels: str, tmp_path: Path) -> None:
    scorer = Scorer(KNOWN, 8, "levels 1", partial(level_score))
    whole = evaluate_classifier(levels, str(tmp_path / "whole"), scorer, splits=("test", "val", "train"))
    told: list[tuple[int, int]] = []
    usual = evaluate_classifier(levels, str(tmp_path / "usual"), scorer, on_scored=lambda *each: told.append(each))
    assert sum(new for new, _ in told) == 62
    assert {of for _, of in told} == {62}
    assert list(usual["splits"]) == ["val", "test"]
    assert usual["splits"] == {name: whole["splits"][name] for name in ("val", "test")}
    assert (usual["left_out"], usual["temperature"]) == (whole["left_out"], whole["temperature"])
    alone = evaluate_classifier(levels, str(tmp_path / "alone"), scorer, splits=("test",))
    assert list(alone["splits"]) == ["test"]
    assert alone["temperature"] is None  # it is fitted on val
    with pytest.raises(
        InputError, match=r"unknown split of .* 'tset': did you mean 'test'\? allowed: test, train, val"
    ):
        evaluate_classifier(levels, str(tmp_path / "out"), scorer, splits=("tset",))


def test_labels_that_nobody_knows_are_one_line(levels: str, tmp_path: Path) -> None:
    stranger = Scorer(("smirk", "pout", "frown"), 8, "levels 2", partial(level_score))
    with pytest.raises(InputError, match=r"no row has a label that the classifier knows \(smirk, pout, frown\)"):
        evaluate_classifier(levels, str(tmp_path / "out"), stranger)


def test_ten_crops_are_the_mean_over_the_corners_the_centre_and_their_mirror_images() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 3)).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 48, 48), np.uint8)
    found = network_score(network, torch.device("cpu"), "ten")(images)
    batch = torch.from_numpy(images).float() / 127.5 - 1
    with torch.no_grad():
        expected = torch.stack([network(crop).softmax(1) for crop in ten_crop(batch, [44, 44])]).mean(0)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
    one = network_score(network, torch.device("cpu"), "one")(images)
    with torch.no_grad():
        np.testing.assert_allclose(one, network(batch).softmax(1).numpy(), rtol=1e-5)


def test_the_job_prints_the_splits_and_writes_a_page(levels: str, tiny: TinyModels, tmp_path: Path) -> None:
    out = tmp_path / "page"
    done = run_job("evaluate", "--model", str(tiny.expression), "--data", levels, "--out", str(out), "--crops", "ten")
    assert done.returncode == 0, done.stderr
    assert "val: 12 of 30 images are in train too" in done.stdout
    assert "left out: 1 no label" in done.stdout
    assert (out / "evaluation.html").is_file()
    wrong = run_job("evaluate", "--model", str(tiny.identity), "--data", levels, "--out", str(out))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "no row of val, test has an identity" in wrong.stderr
