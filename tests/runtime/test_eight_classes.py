"""The whole road with eight expressions, contempt included: published layout, ingest, ``expression``, evaluation.

pytest tests/runtime/test_eight_classes.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forked import run_job
from PIL import Image
from safetensors.numpy import load_file

from stargan_ray.data.schema import EXPRESSIONS

# The published order of FER+'s votes.
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
ROWS = {"train": 4, "val": 2, "test": 1}  # of each expression in each split


def face(expression: int, number: int) -> np.ndarray:
    """48 × 48 grey values: an expression has its own brightness, an image its own noise."""
    noise = np.random.default_rng((expression, number)).integers(0, 20, (48, 48), np.uint8)
    return noise + np.uint8(28 * expression)


def ferplus(root: Path) -> Path:
    """FER2013's table and FER+'s votes beside it; FER2013's own label, 0, is not what counts."""
    pixels, votes = ["emotion,pixels,Usage"], ["Usage,Image name," + ",".join(VOTES)]
    usages = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
    for split, count in ROWS.items():
        for n in range(count):
            for k, name in enumerate(EXPRESSIONS):
                values = " ".join(map(str, face(k, 10 * len(split) + n).ravel()))
                pixels.append(f"0,{values},{usages[split]}")
                given = ",".join({name: "7", "unknown": "3"}.get(each, "0") for each in VOTES)
                votes.append(f"{usages[split]},fer{len(votes):07d}.png,{given}")
    root.mkdir()
    (root / "fer2013.csv").write_text("\n".join(pixels) + "\n")
    (root / "fer2013new.csv").write_text("\n".join(votes) + "\n")
    return root


def affectnet(root: Path) -> Path:
    """Folders named by AffectNet's codes; it publishes no test labels, so the copies that go round have none."""
    for split in ("train", "val"):
        for k in range(len(EXPRESSIONS)):
            folder = root / split / str(k)
            folder.mkdir(parents=True)
            for n in range(ROWS[split]):
                Image.fromarray(face(k, 10 * len(split) + n)).save(folder / f"{n}.png")
    return root


@pytest.mark.parametrize(
    ("word", "build", "splits"), [("ferplus", ferplus, ["val", "test"]), ("affectnet", affectnet, ["val"])]
)
def test_contempt_is_ingested_trained_and_judged(
    word: str, build: Callable[[Path], Path], splits: list[str], tmp_path: Path
) -> None:
    data, runs, out = (str(tmp_path / each) for each in ("data", "runs", "out"))
    done = run_job("ingest", word, str(build(tmp_path / "in")), "--out", data)
    assert done.returncode == 0, done.stderr

    small = ("--method.width", "2", "--data.shape.batch", "8", "--data.shape.lanes", "2", "--data.shape.window", "4")
    short = ("--train.steps", "4", "--train.report-every", "2", "--train.validate-every", "2", "--train.threads", "1")
    where = ("--data", data, "--storage", runs, "--name", "filter", "--local")
    done = run_job("train", "expression", *where, *small, *short, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    assert done.returncode == 0, done.stderr
    checkpoint = Path(runs) / "filter" / "checkpoints" / "step-00000004"
    meta = json.loads((checkpoint / "meta.json").read_text())
    assert meta["domains"] == list(EXPRESSIONS)
    assert 0 <= meta["metrics"]["val/accuracy"] <= 1
    assert load_file(checkpoint / "classifier.safetensors")["head.weight"].shape == (8, 16)

    done = run_job("evaluate", "--model", f"{runs}/filter", "--data", data, "--out", out, "--crops", "ten")
    assert done.returncode == 0, done.stderr
    report = json.loads((Path(out) / "evaluation.json").read_text())
    assert report["classifier"]["classes"] == list(EXPRESSIONS)
    assert report["left_out"] == {}
    assert list(report["splits"]) == splits
    for name, split in report["splits"].items():
        assert split["rows"] == 8 * ROWS[name]
        assert np.array(split["confusion"]).sum(1).tolist() == [ROWS[name]] * 8
        assert split["by_class"]["contempt"]["rows"] == ROWS[name]
        assert split["also_in_train"] == 0
    assert report["temperature"] > 0
    assert "contempt" in (Path(out) / "evaluation.html").read_text()
