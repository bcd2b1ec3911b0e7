"""One training on three nodes loses, at three random steps each: a worker, a raylet, the driver, the head, S3, MLflow.

pytest -m slow tests/cluster/test_kill_matrix.py -s   (forty minutes on two cores; it prints what each loss cost)
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator

import pytest
from bed import Bed, cluster
from bed_training import Ending, Training, ending_of, prepared, undisturbed
from bed_watch import pauses
from kills import ELASTIC_STEPS, LOSSES, STEPS, USUAL, first_difference, shrink_and_grow, suffer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A bed whose jobs reach S3 by a door."""
    with cluster(tmp_path_factory.mktemp("bed")) as made:
        made.start_door()
        yield made


@pytest.fixture(scope="module")
def job(bed: Bed) -> tuple[str, ...]:
    """The training, but for its name and its steps."""
    return prepared(bed)


@pytest.fixture(scope="module")
def calm(bed: Bed, job: tuple[str, ...]) -> Callable[[int], Ending]:
    """What a run that loses nothing ends with, once for each number of steps."""
    return functools.cache(functools.partial(undisturbed, bed, job))


@pytest.mark.parametrize("loss", LOSSES)
def test_three_losses_change_nothing(
    bed: Bed, job: tuple[str, ...], calm: Callable[[int], Ending], loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, name = STEPS.get(loss, USUAL), loss.replace(" ", "-").lower()
    seed = random.randrange(1_000_000)
    training = Training(bed, name, (*job, "--train.steps", str(steps)))
    with capsys.disabled():
        print(f"\n{loss} (seed {seed})", end="", flush=True)
        for each in suffer(bed, training, loss, steps, seed):
            print(f"\n  at step {each.step:4}: {each.pause_s:5.1f} s without a step, {each.again} done again", end="")
    expected, told = calm(steps)
    found, told_here = ending_of(bed, name, steps)
    assert found == expected, "the weights are bit-equal"
    assert told_here == told, "every step's record is in MLflow, with the same value however often it was done"


def test_three_two_and_three_workers_in_one_run(
    bed: Bed, job: tuple[str, ...], calm: Callable[[int], Ending], capsys: pytest.CaptureFixture[str]
) -> None:
    training = shrink_and_grow(bed, job, ELASTIC_STEPS)
    assert training.workers() == [3, 2, 3]
    _, told = ending_of(bed, "elastic", ELASTIC_STEPS)
    assert sorted(map(int, told["d_latent/real"])) == list(range(1, ELASTIC_STEPS + 1)), "a step is missing"
    step, apart = first_difference(told, calm(USUAL)[1])
    with capsys.disabled():
        stood = pauses(training.watch.reports(), 5)
        print(f"\nelastic: pauses {stood}; from step {step} values differ, there by {apart:.2f} of a batch", end="")
    assert step > 60, "as long as there are three it is the same run"
    assert apart < 0.3, "another batch would be far off"
