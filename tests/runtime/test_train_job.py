"""``jobs/train.py`` as a person runs it: on S3 with two Ray workers, resumed, interrupted, and used wrongly.

pytest tests/runtime/test_train_job.py
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from forked import StartedJob, run_job
from safetensors.numpy import load_file

from stargan_ray.data import storage

Job = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("--train.report-every", "2", "--train.checkpoint-every", "4", "--train.validate-every", "0")
SMALL += ("--train.sample-every", "0", "--train.threads", "1")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Runs a job with ``tmp_path`` as its working directory, where its records go."""

    return partial(run_job, cwd=tmp_path)


@pytest.fixture
def faces(tmp_path: Path, job: Job) -> str:
    """A small ingested set in the working directory."""
    flags = ("--faces.people", "12", "--faces.size", "32", "--faces.splits", "0.7", "0.3", "0")
    done = job("ingest", "faces", "--out", "faces", *flags)
    assert done.returncode == 0, done.stderr
    return "faces"


def weights(folder: Path, network: str = "classifier") -> dict[str, np.ndarray]:
    return load_file(folder / f"{network}.safetensors")


def last(folder: Path) -> Path:
    return sorted(folder.glob("step-*"))[-1]


def test_from_s3_to_s3_with_two_ray_workers_and_on_without_ray(s3: str, job: Job, tmp_path: Path) -> None:
    data, runs = f"{s3}/faces", f"{s3}/runs"
    flags = ("--faces.people", "12", "--faces.size", "32", "--faces.splits", "0.7", "0.3", "0")
    assert job("ingest", "faces", "--out", data, *flags).returncode == 0
    scale = ("--scale.num-workers", "2", "--scale.cpus-per-worker", "0.5", "--scale.cpus-per-reader", "0.5")
    common = ("expression-tiny", "--data", data, "--storage", runs, "--name", "two", *SMALL, *scale)
    first = job("train", *common, "--train.steps", "4", "--scale.gradients", "bf16")
    assert first.returncode == 0, first.stderr
    assert "step-00000004" in first.stdout
    halfway = json.loads(storage.read_bytes(f"{runs}/two/checkpoints/step-00000004/meta.json"))
    assert halfway["recipe"]["scale"]["gradients"] == "bf16"
    # two workers under Ray with gradients in bf16, then one process without it: the same run goes on
    second = job("train", *common, "--train.steps", "8", "--local")
    assert second.returncode == 0, second.stderr
    assert storage.list_names(f"{runs}/two/checkpoints")[-1] == "step-00000008"
    meta = json.loads(storage.read_bytes(f"{runs}/two/checkpoints/step-00000008/meta.json"))
    assert meta["step"] == 8
    assert meta["domains"][0] == "neutral"
    assert meta["data_hash"]
    assert meta["recipe"]["scale"]["num_workers"] == 2


def test_interrupted_it_writes_a_checkpoint_and_goes_on_to_the_same_weights(
    faces: str, job: Job, tmp_path: Path
) -> None:
    common = ("expression-tiny", "--data", faces, "--local", *SMALL, "--train.steps", "12")
    whole = job("train", *common, "--name", "whole")
    assert whole.returncode == 0, whole.stderr
    flags = [*common, "--name", "parted"]
    flags[flags.index("--train.report-every") + 1] = "1"
    process = StartedJob("train", *flags, cwd=tmp_path)
    checkpoints = tmp_path / "runs/parted/checkpoints"
    while process.poll() is None and not list(checkpoints.glob("step-*/meta.json")):
        pass  # until the first checkpoint of the run is there
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode in (0, 130), said
    again = job("train", *common, "--name", "parted")
    assert again.returncode == 0, again.stderr
    one, other = weights(last(tmp_path / "runs/whole/checkpoints")), weights(last(checkpoints))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_what_is_wrong_is_said_in_one_line(faces: str, job: Job) -> None:
    common = ("--data", faces, "--storage", "runs", "--name", "x")

    def refused(*flags: str) -> str:
        done = job("train", *flags)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    assert "'expression-tiny'" in refused("expresion-tiny", *common)
    assert "no manifest.json" in refused("expression-tiny", "--data", "nowhere", "--name", "x", "--local")
    assert "--identity" in refused("stargan-v2-id-tiny", *common, "--local", *SMALL).replace("give ", "")
    assert "lanes" in refused("expression-tiny", *common, "--scale.num-workers", "3")
    assert "CPUs" in refused("expression-tiny", *common, "--scale.num-workers", "2", "--scale.cpus-per-worker", "9")
    unbalanced = ("--no-data.balance", "--identity", "runs/x", "--local")
    assert "data.balance" in refused("stargan-v2-id-tiny", *common, *unbalanced)
    unwritable = ("--data", faces, "--storage", "/proc/x", "--name", "x", "--local")
    assert "/proc/x" in refused("expression-tiny", *unwritable)


def test_a_misspelt_flag_is_answered_with_the_nearest(faces: str, job: Job) -> None:
    done = job("train", "expression-tiny", "--data", faces, "--name", "x", "--train.step", "3")
    assert done.returncode == 2
    assert "--train.steps" in done.stderr


def test_a_name_continues_one_computation_only(faces: str, job: Job) -> None:
    common = ("expression-tiny", "--data", faces, "--name", "x", "--local", *SMALL)
    assert job("train", *common, "--train.steps", "2").returncode == 0
    done = job("train", *common, "--train.steps", "4", "--method.label-smoothing", "0.2")
    assert done.returncode == 2
    assert "method.label_smoothing" in done.stderr
    assert "another --name" in done.stderr


def test_the_filter_is_trained_and_used_from_the_shell(faces: str, job: Job, tmp_path: Path) -> None:
    flags = ("--data", faces, "--name", "filter", "--local", *SMALL, "--train.steps", "4")
    assert job("train", "expression-tiny", *flags).returncode == 0
    common = ("--data", faces, "--classifier", "runs/filter", "--out", "refined", "--policy.threshold")
    done = job("refine", *common, "0")
    assert done.returncode == 0, done.stderr
    assert "data set: refined" in done.stdout
    assert "warning: the classifier was trained on the labels that it judges here" in done.stdout
    before, after = (json.loads((tmp_path / each / "manifest.json").read_text()) for each in (faces, "refined"))
    assert 0 < after["rows"] < before["rows"]
    assert pq.read_table(tmp_path / "refined/decisions.parquet").num_rows == before["rows"]
    again = job("refine", *common, "1.5")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "threshold" in again.stderr
    itself = job("refine", "--data", faces, "--classifier", "runs/filter", "--out", faces)
    assert "is the source itself" in itself.stderr


def test_a_network_for_each_fold_is_trained_and_judges_the_fold(faces: str, job: Job, tmp_path: Path) -> None:
    flags = ("--data", faces, "--name", "filter", "--local", *SMALL, "--train.steps", "2", "--crossfit", "2")
    done = job("train", "expression-tiny", *flags)
    assert done.returncode == 0, done.stderr
    assert "filter-fold-1: step 2; checkpoint: " in done.stdout
    command = done.stdout.strip().splitlines()[-1].partition("jobs/refine.py ")[2].split()
    assert [Path(part).name for part in command[-2:]] == ["filter-fold-0", "filter-fold-1"]
    refined = job("refine", *command, "--out", "refined", "--policy.rule", "soft", "--policy.threshold", "0")
    assert refined.returncode == 0, refined.stderr
    assert "trained on the labels" not in refined.stdout
    weight = pq.read_table(tmp_path / "refined/index.parquet")["weight"].to_numpy()
    assert ((weight > 0) & (weight <= 1)).all()
    assert (weight < 1).any()
    learn = job("train", "expression-tiny", *flags[:1], "refined", "--name", "weighted", *flags[4:-2])
    assert learn.returncode == 0, learn.stderr  # weights are drawn by
    half = job("refine", *command[:-1], "--out", "half")
    assert (half.returncode, half.stderr.count("\n")) == (2, 1)
    assert "filter-fold-0" in half.stderr
    assert "fold 0 of 2" in half.stderr
    wrong = job("train", "expression-tiny", *flags[:-1], "1")
    assert "--crossfit 1: allowed are 0 (none) and values >= 2" in wrong.stderr
