"""An S3 store that is away in the middle of a training: it waits and goes on, to the same bits; or ends and resumes.

pytest tests/training/test_store_away.py
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flaky_s3 import FlakyS3
from small import differing, run, state_of, tensors, with_train

from stargan_ray.data import retrying, storage
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.storage import StorageError
from stargan_ray.data.writing import write_dataset
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.recording import NoRecords

RECIPE = with_train(steps=20, checkpoint_every=2, report_every=1)  # three windows of data


class AwayAt(NoRecords):
    """Takes the store away at a step, for some seconds or, without a number, until somebody brings it back."""

    def __init__(self, flaky: FlakyS3, step: int, seconds: float | None = None) -> None:
        self.flaky, self.step, self.seconds = flaky, step, seconds

    def metrics(self, step: int, values: object) -> None:
        if step == self.step:
            self.flaky.down()
            if self.seconds is not None:
                threading.Timer(self.seconds, self.flaky.up).start()


@pytest.fixture
def flaky(s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyS3]:
    proxy = FlakyS3(s3_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    faces = FacesConfig(people=5, images_per_person=8, size=32, splits=(1.0, 0.0, 0.0))
    write_dataset(f"{s3}/faces", read_faces(faces))
    yield proxy
    proxy.down()


@pytest.mark.parametrize("seconds", [4.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_training_waits_for_the_store_and_goes_on(seconds: float, flaky: FlakyS3, s3: str, tmp_path: Path) -> None:
    whole, interrupted = state_of(), state_of()
    run(open_dataset(f"{s3}/faces"), RECIPE, whole, Checkpoints(str(tmp_path)))
    kept, began = Checkpoints(f"{s3}/run"), time.monotonic()
    outcome = run(open_dataset(f"{s3}/faces"), RECIPE, interrupted, kept, recorder=AwayAt(flaky, 7, seconds))
    assert time.monotonic() - began > seconds - 1
    assert outcome.finished
    assert kept.names() == ["step-00000018", "step-00000020"]
    assert differing(tensors(whole), tensors(interrupted)) == []


def test_a_store_that_stays_away_ends_the_run_which_resumes(
    flaky: FlakyS3, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, again = state_of(), state_of()
    dataset = open_dataset(f"{s3}/faces")
    run(dataset, RECIPE, whole, Checkpoints(str(tmp_path)))
    kept = Checkpoints(f"{s3}/run")
    monkeypatch.setattr(retrying, "PATIENCE_S", 0.5)
    with pytest.raises(StorageError, match=r"cannot .* s3://test-bucket/run/.*: the endpoint cannot be reached") as it:
        run(dataset, RECIPE, state_of(), kept, recorder=AwayAt(flaky, 7))
    assert "repeat the command" in str(it.value)
    flaky.up()
    assert storage.list_names(kept.uri)[-1] <= "step-00000008"
    assert kept.load_latest(again)
    assert again.step == 6
    run(dataset, RECIPE, again, kept)
    assert differing(tensors(whole), tensors(again)) == []
