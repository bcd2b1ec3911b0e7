"""Follows the trials of a search in the driver: the table, MLflow, and when to end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from stargan_ray.data.storage import StorageError
from stargan_ray.runtime.search_ledger import Trial
from stargan_ray.runtime.search_record import SearchRecord
from stargan_ray.runtime.search_table import SearchTable
from stargan_ray.runtime.search_trial import LOST, Task

CRASHES = 2  # of a trial's process before the trial counts as failed
_IN_A_ROW = 3  # trials that fail for another reason than diverging: the fault is not theirs
_LOOK_S = 0.25
_GRACE_S = 120.0  # for a step, a checkpoint or a judgement in progress, before trials that are to end are killed


class Watch:
    """Follows the trials in the driver: the table, MLflow, and when to end."""

    def __init__(
        self, task: Task, table: SearchTable, record: SearchRecord, known: Sequence[Trial], stop: threading.Event
    ) -> None:
        self._task, self._table, self._record, self._stop = task, table, record, stop
        self._trials = {trial.key: trial for trial in known}
        self._failed = 0
        self._until: float | None = None
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
        """While Tune runs, trials are told once they are to end: each writes a checkpoint first.

        Raises:
            StorageError: the search's place cannot be read or written, as the driver or a trial has found.
        """
        over = threading.Event()

        def pass_on() -> None:
            while not over.wait(_LOOK_S):
                if self.ending:
                    with contextlib.suppress(StorageError):  # who cannot be told ends when the grace is over
                        self._task.ledger.ask_to_end()
                        return

        self._task.ledger.ask_to_end(False)
        thread = threading.Thread(target=pass_on, daemon=True, name="passing-on")
        thread.start()
        try:
            yield
        except _OverdueError:
            pass
        except Exception as error:
            if lost := _lost(error):  # Tune puts the traceback of ours into an error of its own
                raise lost from None
            raise
        finally:
            over.set()
            thread.join(4 * _LOOK_S)  # it may be waiting for a store that is away

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

    def started_again(self, trial: Trial) -> None:
        """The process of a trial has ended, and another one takes it up from its last checkpoint."""
        found = self._task.ledger.find(trial.key)
        why = found.why if found and found.why else "its process died"
        self._record.trouble(f"trial {trial.order} is started again: {why}")
        self._table.show(replace(found or trial, status="running", why=f"started again: {why}"))

    def look_at_the_clock(self) -> None:
        """Trials that were told to end have some time for it.

        Raises:
            _OverdueError: it is over.
        """
        if self.ending:
            self._until = self._until or time.monotonic() + _GRACE_S
            if time.monotonic() > self._until:
                raise _OverdueError

    def _see(self, trial: Trial) -> None:
        before = self._trials.get(trial.key)
        self._trials[trial.key] = trial
        if before is None or (before.status, before.step) != (trial.status, trial.step):  # the end is told twice
            self._table.show(trial)

    def callback(self) -> Any:
        """What Tune tells."""
        from ray.tune.progress_reporter import TrialProgressCallback

        watch = self

        class Tells(TrialProgressCallback):  # type: ignore[misc]
            # In the place of Tune's own of that kind, which prints a line for a trial that ends without a result.
            def on_trial_start(self, *, trial: Any, **_: Any) -> None:
                watch.began(trial.config["trial"])

            def on_step_end(self, **_: Any) -> None:
                watch.look_at_the_clock()

            def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
                if LOST in result:
                    raise StorageError(result[LOST])
                watch.went_on(trial.config["trial"])

            def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
                watch.ended(trial.config["trial"])

            def on_trial_recover(self, *, trial: Any, **_: Any) -> None:
                watch.started_again(trial.config["trial"])

            def on_trial_error(self, *, trial: Any, **_: Any) -> None:
                why = f"its process died {CRASHES + 1} times (out of memory? look at ray status and the dashboard)"
                watch.ended(trial.config["trial"], why)

        return Tells()


class _OverdueError(Exception):
    """Trials that were told to end have not."""


def _lost(error: BaseException | None) -> StorageError | None:
    """What storage said, where that is behind an error."""
    while error is not None and not isinstance(error, StorageError):
        error = error.__cause__ or error.__context__
    return error
