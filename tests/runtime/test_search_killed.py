"""A search whose trials' processes are killed, and one whose driver is told to end: real processes, real signals.

pytest tests/runtime/test_search_killed.py -m slow   (real searches; one to two minutes each)
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from small_search import Searching, build_place, flags_of, searching, status_of_job, written_by

from stargan_ray.runtime.search_ledger import Ledger
from stargan_ray.runtime.status import status_of
from stargan_ray.runtime.watching import Watcher

pytestmark = pytest.mark.slow
FLAGS = ("--search", "rate_d=loguniform(1e-5,1e-3)", "--only", "--scheduler", "none", "--seed", "1")
TRIAL, CONTROLLER, WORKER = "ray::ImplicitFunc", "ray::TrainController", "ray::RayTrainWorker"  # as Ray names them


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_place(tmp_path_factory.mktemp("killed"))


def flags(name: str, parallel: int, trials: int) -> list[str]:
    return ["lambda-id", *flags_of(name, *FLAGS), "--parallel", str(parallel), "--trials", str(trials)]


def processes(job: Searching, kind: str) -> list[psutil.Process]:
    """Those of the job that do a part of the work."""
    found = []
    for each in job.family():
        try:
            if each.is_running() and " ".join(each.cmdline()).startswith(kind):
                found.append(each)
        except psutil.Error:
            continue
    return found


def finished(ledger: Ledger) -> Callable[[], bool]:
    return lambda: any(trial.status == "finished" for trial in ledger.all())


@pytest.mark.parametrize("kind", [WORKER, CONTROLLER, TRIAL], ids=["worker", "controller", "trial"])
def test_a_trial_whose_process_is_killed_is_started_again_and_the_others_are_left_alone(kind: str, place: Path) -> None:
    name = kind.rpartition(":")[2]
    ledger = Ledger(str(place / "runs" / name))
    with searching(place, flags(name, 2, 3), place / f"{name}.log") as job:
        job.until("a trial", finished(ledger))
        over = [trial for trial in ledger.all() if trial.status == "finished"]
        others = {each.pid for each in processes(job, kind)}  # by pid: Ray gives work to processes that it has long had
        written = written_by(ledger.uri, over)
        job.until("the third trial", lambda: len(ledger.all()) == 3)
        job.until(f"its {kind}", lambda: [p for p in processes(job, kind) if p.pid not in others])[0].kill()
        assert job.ended() == 0, job.said
        assert job.left() == []
    assert "Traceback" not in job.said, job.said
    assert [trial.status for trial in ledger.all()] == ["finished"] * 3
    assert written_by(ledger.uri, over) == written, "a finished trial was done again"
    seen = status_of_job(name, place)
    print(seen.events)
    again = [said for said in seen.events if "is started again" in said]
    assert seen.state == "finished"
    if kind == WORKER:  # its own run takes it up
        restarts = [status_of(ledger.uri, f"{name}-{trial.key}", Watcher()).restarts for trial in ledger.all()]
        assert restarts in ([0, 0, 1], [0, 0, 0]), "one that dies before training began is replaced, not restarted"
        assert again == []
    else:
        assert len(again) == 1, seen.events
        assert again[0].startswith("trial 2 is started again: ")
        assert "trial 2 | running | " in job.said
        assert "| started again: " in job.said


def test_a_trial_whose_process_dies_again_and_again_is_recorded_and_the_search_goes_on(place: Path) -> None:
    ledger = Ledger(str(place / "runs" / "dying"))
    with searching(place, flags("dying", 1, 3), place / "dying.log") as job:
        for _ in range(3):
            job.until("its process", lambda: processes(job, TRIAL))[0].kill()
            job.until("its end", lambda: not processes(job, TRIAL))
        assert job.ended() == 0, job.said
    assert "Traceback" not in job.said, job.said
    found = ledger.all()
    assert [trial.status for trial in found] == ["failed", "finished", "finished"]
    assert "its process died 3 times" in found[0].why
    seen = status_of_job("dying", place)
    assert (seen.state, seen.step) == ("finished", 3)
    assert [trial.status for trial in seen.trials] == ["failed", "finished", "finished"]

    written = written_by(ledger.uri, found[1:])
    with searching(place, flags("dying", 1, 3), place / "dying-again.log") as again:
        assert again.ended() == 0, again.said
    assert "3 trials, 2 of them are over" in again.said
    assert [trial.status for trial in ledger.all()] == ["finished"] * 3
    assert written_by(ledger.uri, found[1:]) == written, "a finished trial was done again"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_driver_that_is_told_to_end_does_so_and_the_same_command_goes_on(number: signal.Signals, place: Path) -> None:
    name = number.name.lower()
    ledger = Ledger(str(place / "runs" / name))
    with searching(place, flags(name, 2, 3), place / f"{name}.log") as job:
        job.until("a trial", finished(ledger))
        job.until("another", lambda: processes(job, WORKER))
        if number == signal.SIGINT:  # as a terminal does: all processes of the group get it
            os.killpg(job.process.pid, number)
        else:
            job.process.send_signal(number)
        began = time.monotonic()
        assert job.ended(90) == 130, job.said
        print(f"{name}: ended after {time.monotonic() - began:.0f} s")
        assert job.left() == []
    assert "Traceback" not in job.said, job.said
    assert job.lines()[-1] == "interrupted: the same command again goes on from here"
    over = [trial for trial in ledger.all() if trial.status == "finished"]
    assert 1 <= len(over) < 3
    seen = status_of_job(name, place)
    assert (seen.state, seen.step) == ("stopped", len(over))
    assert {trial.status for trial in seen.trials} <= {"finished", "cut off"}

    written = written_by(ledger.uri, over)
    with searching(place, flags(name, 2, 3), place / f"{name}-again.log") as again:
        assert again.ended() == 0, again.said
    assert f"3 trials, {len(over)} of them are over" in again.said
    assert [trial.status for trial in ledger.all()] == ["finished"] * 3
    assert written_by(ledger.uri, over) == written, "a finished trial was done again"


@pytest.mark.parametrize("moment", ["starting", "twice"])
def test_it_ends_at_once_before_there_are_trials_and_when_told_twice(moment: str, place: Path) -> None:
    name = f"early-{moment}"
    with searching(place, flags(name, 2, 3), place / f"{name}.log") as job:
        if moment == "starting":
            job.until("Ray", lambda: "raylet" in [each.name() for each in job.family() if each.is_running()])
            job.process.send_signal(signal.SIGTERM)
        else:
            job.until("training", lambda: processes(job, WORKER))
            job.process.send_signal(signal.SIGINT)
            job.until("the first", lambda: "once more stops at once" in job.said)
            job.process.send_signal(signal.SIGTERM)
        assert job.ended(45) == 130, job.said
        assert job.left(60) == [], "what Ray was just starting looks for its parent only once it has started"
    assert "Traceback" not in job.said, job.said
    assert job.lines()[-1] == "interrupted: the same command again goes on from here"
    assert status_of_job(name, place).state == "stopped"
