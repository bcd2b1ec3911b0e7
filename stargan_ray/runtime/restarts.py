"""How often a run's workers are started again after a crash, and what is said when that is enough."""

from __future__ import annotations

from collections.abc import Callable

from stargan_ray.errors import InputError
from stargan_ray.runtime.run import Run
from stargan_ray.training.loop import PREEMPTED, Outcome
from stargan_ray.training.presence import LostWorkerError


def persistently(run: Run, attempt: Callable[[], Outcome | None], say: Callable[[str], object]) -> Outcome | None:
    """Try again while crashes of workers cost no more than what follows the last checkpoint.

    Ray counts restarts over the whole run, which a long one on many machines uses up by bad luck alone. So when it
    gives up and there is a newer checkpoint than when it began, it begins anew; and so it does, uncounted, when
    machines were taken away with notice.

    Args:
        run: that is trained.
        attempt: trains it, with ``scale.restarts`` restarts of its own.
        say: told of every new beginning.

    Raises:
        InputError: workers crash without a new checkpoint in between; what a person can do about it.
    """
    while True:
        before = _latest(run)
        try:
            outcome = attempt()
            if not outcome or not outcome.stopped.startswith(PREEMPTED):
                return outcome
            say(f"{outcome.stopped}; the checkpoint of step {outcome.step} is written, going on with other machines")
        except Exception as error:
            reason = crashed(error)
            if not reason:
                raise
            after = _latest(run)
            if after <= before:
                raise InputError(_gave_up(run, after, reason)) from error
            say(f"{reason}; beginning anew from step {after}, {after - before} steps further than the last time")


def crashed(error: BaseException) -> str:
    """How a training's workers were lost, in a line; empty where they failed by themselves."""
    from ray.exceptions import RayActorError

    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    if not all(isinstance(each, RayActorError | LostWorkerError) for each in failures.values()):
        return ""
    named = [_first_line(each) for each in failures.values() if isinstance(each, LostWorkerError)]
    died = [f"worker {rank} died ({_first_line(each)})" for rank, each in failures.items()]
    return named[0] if named else "; ".join(died[:3])


def _gave_up(run: Run, step: int, reason: str) -> str:
    intact = f"the checkpoint of step {step} is intact" if step else "there is no checkpoint yet"
    return (
        f"run {run.name!r}: its workers were lost {run.recipe.scale.restarts + 1} times without a new checkpoint, at "
        f"last: {reason}; {intact}. Look whether memory or a machine is failing (ray status, the dashboard, "
        "--scale.restarts, --train.checkpoint-every), then repeat the command: it goes on from there"
    )


def _latest(run: Run) -> int:
    """The step of the latest checkpoint; 0 without one."""
    names = run.checkpoints.names()
    return int(names[-1].removeprefix("step-")) if names else 0


def _first_line(said: object) -> str:
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(said).__name__
