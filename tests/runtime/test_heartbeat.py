"""What a run says of itself on storage: bounded in rate, never waited for, whole again when storage is.

pytest tests/runtime/test_heartbeat.py
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stargan_ray.data.locations import StorageError
from stargan_ray.runtime import heartbeat as module
from stargan_ray.runtime.heartbeat import Heartbeat
from stargan_ray.runtime.standing import Event, Standing, event_names, read_event, read_now

BEAT_S = 0.2
Start = Callable[..., Heartbeat]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Start]:
    begun: list[Heartbeat] = []

    def start(steps: int = 100, **more: object) -> Heartbeat:
        begun.append(Heartbeat(str(tmp_path), steps, beat_s=BEAT_S, **more))  # type: ignore[arg-type]
        return begun[-1]

    yield start
    for each in begun:
        each.close("stopped")


def now(folder: Path) -> Standing:
    found = read_now(str(folder))
    assert found is not None
    return found


def events(folder: Path) -> list[Event]:
    found = [read_event(str(folder), name) for name in event_names(str(folder))]
    assert all(found)
    return [event for event in found if event]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def speed(value: float, wait: float = 0.1, **more: float) -> dict[str, float]:
    return {"speed/images_per_second": value, "speed/data_wait_share": wait, **more}


def test_reports_validations_and_the_end_are_told(begin: Start, tmp_path: Path) -> None:
    beating = begin(batch=8, step=10)
    beating.began(2)
    beating.metrics(20, speed(80.0, **{"classify/loss": 2.0, "schedule/lambda_id": float("nan")}))
    beating.metrics(20, {"val/accuracy": 0.5})
    beating.metrics(30, speed(60.0, **{"classify/loss": 1.0}))
    beating.close("failed", "InputError: the disk\nis full")
    told = now(tmp_path)
    assert (told.state, told.why) == ("failed", "InputError: the disk is full")
    assert (told.step, told.steps, told.batch, told.workers, told.restarts) == (30, 100, 8, 2, 0)
    assert (told.values["classify/loss"], told.values["val/accuracy"], told.validated) == (1.0, 0.5, 20)
    assert told.values["schedule/lambda_id"] is None  # JSON has no NaN
    assert [(r.step, r.images_per_second) for r in told.reports] == [(20, 80.0), (30, 60.0)]
    assert [(event.kind, event.step) for event in events(tmp_path)] == [("started", 10), ("ended", 30)]


def test_a_restart_goes_back_and_is_counted(begin: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_APART_S", 0.0)  # every report is kept
    beating = begin()
    beating.began(3)
    for step in (10, 20, 30):
        beating.metrics(step, speed(1.0))
    beating.error("worker 1: RuntimeError: gone")
    beating.began(2)
    beating.metrics(20, speed(1.0))
    beating.close("finished")
    told = now(tmp_path)
    assert (told.step, told.workers, told.restarts) == (20, 2, 1)
    assert [report.step for report in told.reports] == [10, 20]
    assert [event.kind for event in events(tmp_path)] == ["started", "error", "restarted", "ended"]


def test_a_thousand_reports_are_few_writings_and_take_no_time(begin: Start, tmp_path: Path) -> None:
    beating = begin()
    start = time.perf_counter()
    for step in range(1000):
        beating.metrics(step, speed(1.0, **{f"phase/{k}": 1.0 for k in range(20)}))
    spent = time.perf_counter() - start
    beating.close("finished")
    told = now(tmp_path)
    assert told.beat <= 3 + spent / BEAT_S
    assert len(told.reports) <= 20
    assert spent / 1000 < 1e-3


def test_who_writes_nothing_beats_all_the_same(begin: Start, tmp_path: Path) -> None:
    begin()
    until((tmp_path / "watch/now.json").exists)
    first = now(tmp_path).beat
    until(lambda: now(tmp_path).beat >= first + 2)


def test_storage_that_hangs_holds_nobody_up(begin: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let = threading.Event()
    real = module.write_now

    def hanging(uri: str, standing: Standing) -> None:
        assert let.wait(20)
        real(uri, standing)

    monkeypatch.setattr(module, "write_now", hanging)
    beating = begin()
    start = time.perf_counter()
    for step in range(1, 101):
        beating.metrics(step, speed(1.0))
        beating.error("x")
    assert time.perf_counter() - start < 15  # one that waits would need the 20 s of the first writing
    let.set()
    beating.close("finished")
    assert now(tmp_path).step == 100


def test_storage_that_is_away_costs_a_line_and_no_event(
    begin: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    real, away, refused = module.write_event, [True], []

    def failing(uri: str, event: Event) -> None:
        if away:
            refused.append(event)
            raise StorageError("the endpoint cannot be reached")
        real(uri, event)

    monkeypatch.setattr(module, "write_event", failing)
    beating = begin()
    beating.error("one")
    until(lambda: len(refused) >= 3)
    away.clear()
    until((tmp_path / "watch/now.json").exists)
    beating.close("finished")
    assert [event.kind for event in events(tmp_path)] == ["started", "error", "ended"]
    assert [record.getMessage() for record in caplog.records] == [
        "how the run stands is not written: the endpoint cannot be reached. It goes on"
    ]


def test_a_search_counts_from_where_its_call_began(begin: Start, tmp_path: Path) -> None:
    beating = begin(8, step=3, unit="trials")
    beating.progress(2, {"search/trials": 2.0})  # told again of an earlier call's
    beating.progress(4, {"search/best/score": 0.5})
    beating.close("finished")
    told = now(tmp_path)
    assert [report.step for report in told.reports] == [3, 4]
    assert told.reports[0].time == told.started
    assert (told.unit, told.step, told.values["search/best/score"]) == ("trials", 4, 0.5)
