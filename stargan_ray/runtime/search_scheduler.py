"""Which trials end before their time, and how: they are told to, instead of being killed by Tune.

A killed process leaves behind what Ray Train has reserved for its training, until a watcher of Ray's finds out, which
needs the dashboard; meanwhile the next trial waits for these CPUs. A trial that is told writes a checkpoint and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from stargan_ray.runtime.search_ledger import Ledger, Trial

Name = Literal["asha", "median", "none"]


class _Told:
    """A scheduler whose verdict is written to the ledger, where the trial looks after each rung."""

    ledger: Ledger

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on, in any case; a trial that is to end reads it before its next step."""
        decision: str = super().on_trial_result(controller, trial, result)  # type: ignore[misc]
        if decision == TrialScheduler.STOP:
            found = self.ledger.find(trial.config["trial"].key)
            if found is not None and found.status == "running":
                self.ledger.write(replace(found, status="stopped"))
        return TrialScheduler.CONTINUE


class ToldASHA(_Told, ASHAScheduler):  # type: ignore[misc]
    """Asynchronous successive halving (Li et al., 2020)."""


class ToldMedian(_Told, MedianStoppingRule):  # type: ignore[misc]
    """Below the median of the others' running means (Golovin et al., 2017)."""


def scheduler_of(name: Name, rungs: tuple[int, ...], known: Sequence[Trial], ledger: Ledger) -> Any:
    """A scheduler that judges trials beside all that earlier calls have found at the same steps.

    Args:
        name: ``asha`` = the worse half at each rung, ``median``, or ``none``.
        rungs: steps at which trials are judged, ascending.
        known: trials that are over.
        ledger: of the search.
    """
    common = {"time_attr": "step", "metric": "score", "mode": "max", "grace_period": rungs[0]}
    if name == "none" or len(rungs) == 1:
        return FIFOScheduler()
    if name == "median":
        # Its time slice is how long a trial runs before it makes room for others: for ever, pausing costs a start.
        scheduler: Any = ToldMedian(**common, min_samples_required=3, min_time_slice=1 << 40)
    else:
        scheduler = ToldASHA(**common, max_t=rungs[-1], reduction_factor=2)
    scheduler.ledger = ledger
    for trial in known:
        told = _Known(trial.key, {"trial": trial})
        scheduler.on_trial_add(_Nobody, told)
        for rung in trial.rungs:
            told_of = {"step": rung.step, **rung.values}
            if super(_Told, scheduler).on_trial_result(_Nobody, told, told_of) == TrialScheduler.STOP:
                break  # the median rule does not want to hear of a trial again
    return scheduler


class _Known(NamedTuple):
    """All that a scheduler asks of a trial; equal by its name."""

    trial_id: str
    config: Any

    def __hash__(self) -> int:
        """Trials hold dictionaries, which have none."""
        return hash(self.trial_id)


class _Nobody:
    """The controller of trials that are over: none of them is alive."""

    @staticmethod
    def get_live_trials() -> set[Any]:
        """None."""
        return set()
