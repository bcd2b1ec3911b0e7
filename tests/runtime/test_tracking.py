"""The MLflow writer: nothing waits for it, nothing is lost or sent twice, whether MLflow is there or away.

Run: pytest tests/runtime/test_tracking.py   (SQLite files and one `mlflow server` on loopback; half a minute)
"""

from __future__ import annotations

import io
import logging
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stargan_ray.config import Recipe, flatten
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.runtime.mlflow_store import connect, tracking_uri
from stargan_ray.runtime.spool import Spool
from stargan_ray.runtime.tracking import Tracking

RECIPE = Recipe("small", "a test's", StarGANv2())
Start = Callable[..., Tracking]


@pytest.fixture
def start(store: str, tmp_path: Path) -> Start:
    def tracking(name: str, uri: str = store, **more: Any) -> Tracking:
        recipe = more.pop("recipe", RECIPE)
        return Tracking(name, flatten(recipe), {"commit": "c0ffee"}, uri=uri, spool=tmp_path / "spool", **more)

    return tracking


@pytest.fixture
def away() -> str:
    """The URI of a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def server(away: str, store: str, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Starts a real server where ``away`` points, over the store that has its tables."""
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        where = ["--backend-store-uri", store, "--artifacts-destination", str(tmp_path)]
        place = ["--host", "127.0.0.1", "--port", away.rsplit(":", 1)[1], "--workers", "1"]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        command = [sys.executable, "-m", "mlflow", "server", *where, *place]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True))

    yield begin
    for process in started:
        os.killpg(process.pid, 15)
        process.wait(20)


def history(uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    """(step, value) in the order of sending."""
    points = connect(uri).get_metric_history(run_id, name)
    return [(point.step, point.value) for point in sorted(points, key=lambda point: (point.timestamp, point.step))]


def test_a_run_is_recorded_and_continued_under_its_name(start: Start, store: str) -> None:
    first = start("continued")
    for step in range(1, 31):
        first.metrics(step, {"g_latent/adv": step / 2, "odd λ%": 1.0})
    first.image(30, "samples", b"a png")
    first.artifact(Path(__file__), "code/test.py")
    assert first.close("KILLED") == 0

    second = start("continued", recipe=replace(RECIPE, about="another"))
    for step in range(21, 41):  # resumed from the checkpoint of step 20: ten steps are done again
        second.metrics(step, {"g_latent/adv": -1.0})
    assert second.close() == 0
    assert second.run_id == first.run_id

    client = connect(store)
    run = client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "continued"
    assert run.data.params["method.lambda_cyc"] == "1.0"
    assert run.data.params["about"] == "a test's"
    assert run.data.tags["commit"] == "c0ffee"
    assert run.data.tags["stargan_ray.changed_params"] == '{"about": "another"}'
    expected = [(step, step / 2) for step in range(1, 31)] + [(step, -1.0) for step in range(31, 41)]
    assert history(store, first.run_id, "g_latent/adv") == expected
    assert len(history(store, first.run_id, "odd λ_")) == 30
    (samples,) = client.list_artifacts(first.run_id, "samples")
    assert (samples.path, samples.file_size) == ("samples/step-00000030.png", 5)
    assert Path(store.removeprefix("sqlite:///")).parent in Path(run.info.artifact_uri[7:]).parents


def test_a_fresh_start_under_a_used_name_is_a_new_run(start: Start, store: str) -> None:
    first = start("again")
    first.metrics(1, {"loss": 1.0})
    first.close()
    second = start("again", fresh=True)
    second.metrics(1, {"loss": 2.0})
    assert second.close() == 0
    assert second.run_id != first.run_id
    assert history(store, first.run_id, "loss") == [(1, 1.0)]
    assert history(store, second.run_id, "loss") == [(1, 2.0)]


def test_away_at_the_start_back_in_the_middle(
    start: Start,
    away: str,
    server: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stargan_ray.runtime.spool._LONGEST_RETRY_S", 1.0)
    caplog.set_level(logging.WARNING)
    begun = time.perf_counter()
    tracking = start("patient", uri=away, experiment="served")  # the server keeps its artifacts elsewhere
    for step in range(1, 201):
        tracking.metrics(step, {"loss": float(step)})
    tracking.image(200, "samples", b"a png")
    while not caplog.records:
        time.sleep(0.05)
    server()
    while tracking.waiting and time.perf_counter() - begun < 180:  # a busy machine is slow to start the server
        tracking.metrics(200, {"late": 1.0})
        time.sleep(0.5)
    tracking.metrics(201, {"loss": 201.0})
    assert tracking.close() == 0
    assert history(away, tracking.run_id, "loss") == [(step, float(step)) for step in range(1, 202)]
    (samples,) = connect(away).list_artifacts(tracking.run_id, "samples")
    assert samples.path == "samples/step-00000200.png"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2  # gone, back: not a line for every attempt
    assert away in said[0]
    assert "training goes on" in said[0].lower()
    assert "again" in said[1]


def test_what_one_run_leaves_the_next_of_its_name_delivers(start: Start, store: str, away: str, tmp_path: Path) -> None:
    first = start("left", uri=away)
    first.metrics(1, {"loss": 1.0})
    first.image(1, "samples", b"a png")
    assert first.close() == 4  # start, metrics, image, close
    second = start("left")
    second.metrics(2, {"loss": 2.0})
    assert second.close() == 0
    assert history(store, second.run_id, "loss") == [(1, 1.0), (2, 2.0)]
    assert [item.path for item in connect(store).list_artifacts(second.run_id)] == ["samples"]
    assert not list((tmp_path / "spool" / "left" / "files").iterdir())


def copied(uri: str) -> list[str]:
    """The records in the copy; none where the test's S3 server gives half of one that is being replaced."""
    try:
        with zipfile.ZipFile(io.BytesIO(storage.read_bytes(uri))) as packed:
            return packed.read("records.jsonl").decode().splitlines()
    except zipfile.BadZipFile:
        return []


@pytest.mark.parametrize("place", ["disk", "s3"])
@pytest.mark.parametrize("end", ["closed", "checkpoint", "killed"])
def test_what_a_lost_machine_left_is_delivered_by_another(
    end: str,
    place: str,
    store: str,
    away: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stargan_ray.runtime.spool_copy._EVERY_S", 0.1 if end == "killed" else 3600.0)
    root = str(tmp_path) if place == "disk" else request.getfixturevalue("s3")
    run, name = storage.join(root, "runs", "lost"), f"lost-{end}-{place}"
    first = Tracking(name, {"a": 1}, {}, uri=away, spool=tmp_path / "one", storage=run)
    first.metrics(1, {"loss": 1.0})
    first.image(1, "samples", b"a png")
    if end == "closed":
        assert first.close("KILLED") == 4
    elif end == "checkpoint":
        first.secure()
    else:  # nothing but what is copied while MLflow is away
        while not storage.exists(f"{run}/spool.zip") or len(copied(f"{run}/spool.zip")) < 3:
            time.sleep(0.05)
    second = Tracking(name, {"a": 1}, {}, uri=store, spool=tmp_path / "two", storage=run)
    second.metrics(2, {"loss": 2.0})
    assert second.close() == 0
    assert history(store, second.run_id, "loss") == [(1, 1.0), (2, 2.0)]
    assert [item.path for item in connect(store).list_artifacts(second.run_id)] == ["samples"]
    assert not storage.exists(f"{run}/spool.zip")


def test_a_copy_does_not_replace_newer_records_that_wait_here(
    start: Start, store: str, away: str, tmp_path: Path
) -> None:
    first = start("newer", uri=away, storage=str(tmp_path / "run"))
    first.metrics(1, {"loss": 1.0})
    first.close()
    spool = Spool(tmp_path / "spool" / "newer")
    spool.append({"kind": "metrics", "step": 2, "values": {"loss": 2.0}, "time": 2})
    second = start("newer", storage=str(tmp_path / "run"))
    assert second.close() == 0
    assert {step for step, _ in history(store, second.run_id, "loss")} == {1, 2}
    assert not (tmp_path / "run" / "spool.zip").exists()


def test_a_delivery_that_was_not_noted_is_not_sent_twice(
    start: Start, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Spool.done
    failures = iter([OSError("the disk is full")] * 3)

    def sometimes(self: Spool, position: int, records: list[dict[str, Any]]) -> None:
        for failure in failures:
            raise failure
        done(self, position, records)

    monkeypatch.setattr(Spool, "done", sometimes)
    monkeypatch.setattr("stargan_ray.runtime.spool._RETRY_S", 0.01)
    tracking = start("noted")
    for step in range(5):
        tracking.metrics(step, {"loss": 0.5})
    while tracking.waiting:
        time.sleep(0.05)
    assert tracking.close() == 0
    assert history(store, tracking.run_id, "loss") == [(step, 0.5) for step in range(5)]


def test_steps_that_lost_workers_repeat_are_sent_once(start: Start, store: str) -> None:
    tracking = start("repeated")
    for step in (1, 2, 3, 2, 3, 4):
        tracking.metrics(step, {"loss": float(step)})
    assert tracking.close() == 0
    assert history(store, tracking.run_id, "loss") == [(step, float(step)) for step in (1, 2, 3, 4)]


def test_a_record_that_mlflow_cannot_take_does_not_stop_the_others(
    start: Start, store: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargan_ray.runtime.spool._RETRY_S", 0.01)
    tracking = start("refused")
    tracking._add({"kind": "artifact", "under": "../.."}, b"escape", "escape.txt")
    tracking.metrics(1, {"loss": float("nan")})
    while tracking.waiting:
        time.sleep(0.05)
    assert tracking.close() == 0
    assert "which are dropped" in caplog.text
    assert len(history(store, tracking.run_id, "loss")) == 1
    with pytest.raises(InputError, match="allowed are relative paths"):
        tracking.artifact(b"escape", "../../escape.txt")


def test_a_spool_outlives_its_process_and_a_torn_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(3):
        spool.append({"number": number})
    position, record = spool.read(1)[0]
    spool.done(position, [record])
    with (tmp_path / "records.jsonl").open("ab") as file:
        file.write(b'{"number": 3, "ti')
    again = Spool(tmp_path)
    again.append({"number": 4})
    assert again.waiting == 3
    assert [record["number"] for _, record in again.read(10)] == [1, 2, 4]


def test_where_records_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri() == "http://tracking:5000"


def test_stop_and_names(start: Start, store: str) -> None:
    tracking = start("stops")
    assert not tracking.stop_requested()
    tracking.request_stop()
    assert tracking.stop_requested()
    tracking.close()
    with pytest.raises(InputError, match="allowed are letters"):
        start("../elsewhere")
