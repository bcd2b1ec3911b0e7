"""Follows the trials of a search in the driver: the table, MLflow, and when to end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from stargan_ray.runtime.search_ledger import Trial
from stargan_ray.runtime.search_record import SearchRecord
from stargan_ray.runtime.search_table import SearchTable
from stargan_ray.runtime.search_trial import Task

_IN_A_ROW = 3  # trials that fail for another reason than diverging: the fault is not theirs
_LOOK_S = 0.25


class Watch:
    """Follows the trials in the driver: the table, MLflow, and when to end."""

    def __init__(
        self, task: Task, table: SearchTable, record: SearchRecord, known: Sequence[Trial], stop: threading.Event
    ) -> None:
        self._task, self._table, self._record, self._stop = task, table, record, stop
        self._trials = {trial.key: trial for trial in known}
        self._failed = 0
        self.broken = ""

    def __reduce__(self) -> Any:
        """Tune pickles all that it is given, to restore it one day; the ledger restores, and this is left out."""
        return object, ()

    @property
    def ending(self) -> bool:
        """Whether no further trial is to begin."""
        return self._stop.is_set() or bool(self.broken)

    @contextlib.contextmanager
    def passing_on(self) -> Iterator[None]:
        """While Tune runs, trials are told once they are to end: each writes a checkpoint first."""
        over = threading.Event()

        def pass_on() -> None:
            while not over.wait(_LOOK_S):
                if self.ending:
                    self._task.ledger.ask_to_end()
                    return

        self._task.ledger.ask_to_end(False)
        thread = threading.Thread(target=pass_on, daemon=True, name="passing-on")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def began(self, trial: Trial) -> None:
        """A trial has started."""
        self._see(replace(self._task.ledger.find(trial.key) or trial, status="running"))

    def went_on(self, trial: Trial) -> None:
        """A trial was judged."""
        if found := self._task.ledger.find(trial.key):
            self._see(found)

    def ended(self, trial: Trial, crash: str = "") -> None:
        """A trial is over, whether it says so itself or was stopped."""
        found = self._task.ledger.find(trial.key) or trial
        if crash and found.status == "running":
            found = replace(found, status="failed", why=crash)
            self._task.ledger.write(found)
        self._failed = self._failed + 1 if found.status == "failed" else 0
        if self._failed >= _IN_A_ROW:
            self.broken = found.why
        self._see(found)
        if found.status != "running":
            self._record.over(found, self._task.runs(found)[-1].name, list(self._trials.values()))

    def _see(self, trial: Trial) -> None:
        before = self._trials.get(trial.key)
        self._trials[trial.key] = trial
        if before is None or (before.status, before.step) != (trial.status, trial.step):  # the end is told twice
            self._table.show(trial)

    def callback(self) -> Any:
        """What Tune tells."""
        from ray.tune import Callback

        watch = self

        class Tells(Callback):  # type: ignore[misc]
            def on_trial_start(self, *, trial: Any, **_: Any) -> None:
                watch.began(trial.config["trial"])

            def on_trial_result(self, *, trial: Any, **_: Any) -> None:
                watch.went_on(trial.config["trial"])

            def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
                watch.ended(trial.config["trial"])

            def on_trial_error(self, *, trial: Any, **_: Any) -> None:
                watch.ended(trial.config["trial"], "its process died again and again (out of memory?)")

        return Tells()
