"""When a search is to end, and what it says then, without a cluster: the part that the driver plays.

pytest tests/runtime/test_search_watch.py
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.tune.error import TuneError
from rich.console import Console

from stargan_ray.data.storage import StorageError
from stargan_ray.recipes.searches import OF_EMBEDDER, search_named
from stargan_ray.runtime import search_watch
from stargan_ray.runtime.examination import Docket
from stargan_ray.runtime.search_ledger import Trial
from stargan_ray.runtime.search_record import SearchRecord
from stargan_ray.runtime.search_table import SearchTable
from stargan_ray.runtime.search_trial import LOST, Task
from stargan_ray.runtime.search_watch import Watch

FULL = "cannot write /runs/s/trials/k.json: the disk is full: free some space or choose another URI"


class Told(SearchRecord):
    """Keeps what it is told; MLflow plays no part here."""

    def __init__(self) -> None:
        self.troubles, self.ends = list[str](), list[str]()

    def trouble(self, said: str) -> None:
        self.troubles.append(said)

    def over(self, trial: Trial, run: str, trials: Any) -> None:
        self.ends.append(trial.status)


class Tuned:
    """As Tune hands a trial to its callbacks."""

    def __init__(self, trial: Trial) -> None:
        self.config = {"trial": trial}


def watching(folder: Path) -> tuple[Watch, Task, threading.Event, Told, io.StringIO]:
    docket = Docket(str(folder / "faces"), "", 32, "val")
    task = Task(search_named("margin"), str(folder / "faces"), str(folder / "s"), "s", docket, None, (500,))
    stop, told, out = threading.Event(), Told(), io.StringIO()
    table = SearchTable(OF_EMBEDDER, 3, 500, Console(file=out, width=200))
    return Watch(task, table, told, [], stop), task, stop, told, out


def as_tune_does(work: Callable[[], object]) -> None:
    """What a callback raises comes out of Tune as an error of its own, twice wrapped."""
    try:
        try:
            work()
        except Exception:
            raise TuneError("Traceback (most recent call last): ...")  # noqa: B904 - Tune has no "from" either
    except TuneError as error:
        raise TuneError("the Ray Tune run failed") from error


def test_what_a_trial_reports_of_storage_ends_the_search_with_these_words(tmp_path: Path) -> None:
    watch, _, _, _, _ = watching(tmp_path)
    tells, trial = watch.callback(), Tuned(Trial("k", "", {}))
    with pytest.raises(StorageError) as caught, watch.passing_on():
        as_tune_does(lambda: tells.on_trial_result(trial=trial, result={LOST: FULL}))
    assert str(caught.value) == FULL


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    watch, _, _, _, _ = watching(tmp_path)
    with pytest.raises(TuneError, match="a fault"), watch.passing_on():
        raise TuneError("a fault")


def test_trials_are_told_to_end_and_killed_when_they_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, task, stop, _, _ = watching(tmp_path)
    tells = watch.callback()
    monkeypatch.setattr(search_watch, "_GRACE_S", 0.5)
    with watch.passing_on():
        tells.on_step_end(iteration=1, trials=[])
        assert not task.ledger.asked_to_end()
        stop.set()
        waited = threading.Event()
        for _ in range(100):  # Tune's loop, which nothing but the end of the grace ends
            tells.on_step_end(iteration=1, trials=[])
            waited.wait(0.05)
        pytest.fail("the grace was never over")
    assert task.ledger.asked_to_end()


def test_who_cannot_be_told_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, task, stop, _, _ = watching(tmp_path)
    stop.set()
    with watch.passing_on():
        (tmp_path / "s").write_text("a file where the folder should be")
        threading.Event().wait(1.0)
        (tmp_path / "s").unlink()
        threading.Event().wait(1.0)
        assert task.ledger.asked_to_end(), "it is tried again"
    assert "Traceback" not in capsys.readouterr().err


def test_a_process_that_died_is_told_with_the_reason(tmp_path: Path) -> None:
    watch, task, _, told, out = watching(tmp_path)
    trial = Trial("k", "", {"method.margin": 0.5}, order=1)
    task.ledger.write(trial)
    tells = watch.callback()
    tells.on_trial_recover(iteration=1, trials=[], trial=Tuned(trial))
    assert told.troubles == ["trial 1 is started again: its process died"]
    assert "trial 1 | running | step 0" in out.getvalue()
    tells.on_trial_error(iteration=1, trials=[], trial=Tuned(trial))
    found = task.ledger.find("k")
    assert found is not None
    assert (found.status, told.ends, watch.broken) == ("failed", ["failed"], "")
    assert found.why.startswith("its process died 3 times")
