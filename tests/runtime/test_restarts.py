"""Crashes of workers are survived while there is progress; then the end says what to do. Ray's own error classes.

pytest tests/runtime/test_restarts.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ray.exceptions import RayActorError
from ray.train.v2.api.exceptions import WorkerGroupError

from stargan_ray.config import override
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.restarts import crashed, persistently
from stargan_ray.runtime.run import Run
from stargan_ray.training.loop import Outcome
from stargan_ray.training.presence import LostWorkerError

NAMED = "step 7: rank 1 (host, 10.0.0.2, pid 5) gives no sign of life since step 7 (training): stopped or dead"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(override(recipe_named("expression-tiny"), {"scale.restarts": 2}), "data", str(tmp_path), "x")


def lost(**failures: Exception) -> WorkerGroupError:
    return WorkerGroupError("…", {int(rank[1:]): error for rank, error in failures.items()})


def attempts(run: Run, *steps: int) -> tuple[Callable[[], Outcome], list[int]]:
    """Trainings that crash after having written a checkpoint of a step (0 = none), and at last one that does not."""
    left, made = list(steps), []

    def attempt() -> Outcome:
        made.append(len(made))
        if not left:
            return Outcome(100, True, "")
        if step := left.pop(0):
            storage.write_bytes(storage.join(run.checkpoints.uri, f"step-{step:08d}", "meta.json"), b"{}")
        raise lost(_0=RayActorError(), _1=LostWorkerError(NAMED))

    return attempt, made


def test_with_progress_it_goes_on(run: Run) -> None:
    attempt, made = attempts(run, 10, 20, 30, 40)
    said: list[str] = []
    assert persistently(run, attempt, said.append) == Outcome(100, True, "")
    assert len(made) == 5
    assert said[0] == f"{NAMED}; beginning anew from step 10, 10 steps further than the last time"
    assert len(said) == 4


@pytest.mark.parametrize(
    ("steps", "count", "intact"),
    [((0,), 1, "there is no checkpoint yet"), ((10, 20, 0), 3, "the checkpoint of step 20 is intact")],
)
def test_without_progress_it_ends_and_says_what_to_do(
    steps: tuple[int, ...], count: int, intact: str, run: Run
) -> None:
    attempt, made = attempts(run, *steps)
    with pytest.raises(InputError) as caught:
        persistently(run, attempt, lambda _: None)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(
        f"run 'x': its workers were lost 3 times without a new checkpoint, at last: {NAMED}; {intact}"
    )
    assert said.endswith("then repeat the command: it goes on from there")
    assert len(made) == count


def test_machines_that_are_taken_away_do_not_count(run: Run) -> None:
    ends = [Outcome(5, False, "", stopped=f"preempted: {number}") for number in range(9)] + [Outcome(9, True, "")]
    said: list[str] = []
    assert persistently(run, lambda: ends.pop(0), said.append) == Outcome(9, True, "")
    assert len(said) == 9
    assert said[0] == "preempted: 0; the checkpoint of step 5 is written, going on with other machines"


def test_what_a_person_stops_is_not_begun_anew(run: Run) -> None:
    stopped = Outcome(5, False, "", stopped="stopped")
    assert persistently(run, lambda: stopped, lambda _: None) is stopped


@pytest.mark.parametrize("own", [TypeError("ours"), InputError("theirs")])
def test_an_error_of_a_worker_itself_is_not_tried_again(own: Exception, run: Run) -> None:
    """Other workers only meet its consequence."""
    made = []

    def attempt() -> None:
        made.append(1)
        raise lost(_0=LostWorkerError(NAMED), _1=own)

    with pytest.raises(WorkerGroupError):
        persistently(run, attempt, lambda _: None)
    assert made == [1]


def test_how_workers_were_lost_is_told_in_a_line() -> None:
    assert crashed(lost(_3=RayActorError())).startswith("worker 3 died (The actor experienced an error")
    assert crashed(ValueError("no")) == ""
