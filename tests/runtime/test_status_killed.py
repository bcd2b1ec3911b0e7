"""A worker of Ray Train is killed, then the whole job: the run's folder tells both.

pytest tests/runtime/test_status_killed.py   (a real training under Ray; three quarters of a minute)
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from forked import StartedJob

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.status import Status, status_of
from stargan_ray.runtime.watching import Watcher

SMALL = ("--train.steps", "1000000", "--train.report-every", "2", "--train.checkpoint-every", "20")
SMALL += ("--train.validate-every", "0", "--train.sample-every", "0", "--train.threads", "1")


@pytest.mark.slow
def test_a_killed_worker_is_a_restart_and_a_killed_job_is_silent(tmp_path: Path) -> None:
    write_dataset(str(tmp_path / "faces"), read_faces(FacesConfig(people=12, size=32, splits=(0.7, 0.3, 0.0))))
    flags = ("expression-tiny", "--data", "faces", "--name", "x", *SMALL)
    with (tmp_path / "log").open("w") as log:
        job = StartedJob("train", *flags, cwd=tmp_path, log=log)

    def status() -> Status | None:
        try:
            return status_of(str(tmp_path / "runs"), "x", Watcher())
        except InputError:
            return None  # it has not begun

    def until(true: Callable[[Status], bool]) -> Status:
        end = time.monotonic() + 240
        while (found := status()) is None or not true(found):
            assert job.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end, found
            time.sleep(0.5)
        return found

    family = [psutil.Process(job.pid)]
    try:
        found = until(lambda found: found.step >= 20 and found.workers > 0 and found.images_per_second > 0)
        assert (found.state, found.workers, found.restarts) == ("training", 1, 0)
        assert found.images_per_second > 0
        assert found.steps_per_second > 0
        family += family[0].children(recursive=True)
        (worker,) = [each for each in family if "RayTrainWorker" in " ".join(each.cmdline())]
        worker.send_signal(signal.SIGKILL)
        found = until(lambda found: found.restarts == 1 and found.step > 0)
        assert [event.kind for event in found.events] == ["error", "restarted"]
        assert found.events[0].said.startswith("worker 0: ")
    finally:
        family += [each for each in family[0].children(recursive=True) if each not in family]
        job.kill()
        job.wait()
    _, left = psutil.wait_procs(family, timeout=10)
    for each in left:  # Ray's own end with their driver; a test must not leave any
        each.kill()
    end = time.monotonic() + 60
    while (after := status()) is None or after.state == "training":
        assert time.monotonic() < end
        time.sleep(0.5)
    assert after.state == "silent"
    assert after.latest is not None
    assert time.time() - after.since < 120
