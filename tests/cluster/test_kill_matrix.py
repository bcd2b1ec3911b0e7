"""One training on three nodes loses, at three random steps each: a worker, a raylet, the driver, the head, S3, MLflow.

pytest -m slow tests/cluster/test_kill_matrix.py -s   (some twenty minutes; it prints what each loss cost)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from bed import Bed, bucket, cluster
from bed_watch import pauses, records, weights
from kills import LOSSES, WORKERS, Training, suffer

pytestmark = pytest.mark.slow
RUNS = "kills/runs"
USUAL, STEPS = 240, {"MLflow for 60 s": 1_200}  # as long as three losses take
Ending = tuple[dict[str, str], dict[str, dict[str, list[float]]]]
Undisturbed = Callable[[int], Ending]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A bed whose jobs reach S3 by a door."""
    with cluster(tmp_path_factory.mktemp("bed")) as made:
        made.start_door()
        yield made


@pytest.fixture(scope="module")
def job(bed: Bed) -> tuple[str, ...]:
    """The training, but for its name and its steps."""
    from conftest import SMALL

    faces, wide = bucket("kills/faces"), ("--scale.num-workers", str(WORKERS), "--data.shape.lanes", "6")
    short = ("--train.report-every", "1", "--train.sample-every", "0", "--train.validate-every", "0")
    ingested = bed.submit("jobs/ingest.py", "faces", "--out", faces, *SMALL)
    assert ingested.status == 0, ingested.said
    embedder = ("--name", "embedder", "--storage", bucket(RUNS), "--train.steps", "3", "--data.shape.batch", "48")
    trained = bed.submit("jobs/train.py", "identity-tiny", "--data", faces, *embedder, *wide, *short)
    assert trained.status == 0, trained.said
    given = ("--data", faces, "--identity", f"{bucket(RUNS)}/embedder", "--data.shape.batch", "6")
    return ("jobs/train.py", "stargan-v2-id-tiny", *given, *wide, *short, "--train.checkpoint-every", "20")


@pytest.fixture(scope="module")
def undisturbed(bed: Bed, job: tuple[str, ...]) -> Undisturbed:
    """What a run that loses nothing ends with, once for each number of steps."""
    known: dict[int, Ending] = {}

    def of(steps: int) -> Ending:
        if steps not in known:
            training = Training(bed, f"calm-{steps}", RUNS, (*job, "--train.steps", str(steps)))
            assert training.wait_for_end(900) == 0, training.said()
            training.watch.close()
            known[steps] = ending_of(bed, f"calm-{steps}", steps)
        return known[steps]

    return of


def ending_of(bed: Bed, name: str, steps: int) -> Ending:
    """Weights of the last checkpoint, and the records in MLflow."""
    status, told = records(bed, name)
    assert status == "FINISHED"
    return weights(bed, f"{RUNS}/{name}/checkpoints/step-{steps:08d}"), told


@pytest.mark.parametrize("loss", LOSSES)
def test_three_losses_change_nothing(
    bed: Bed, job: tuple[str, ...], undisturbed: Undisturbed, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, name = STEPS.get(loss, USUAL), loss.replace(" ", "-").lower()
    seed = random.randrange(1_000_000)
    training = Training(bed, name, RUNS, (*job, "--train.steps", str(steps)))
    with capsys.disabled():
        print(f"\n{loss} (seed {seed})", end="", flush=True)
        for each in suffer(bed, training, loss, steps, seed):
            print(f"\n  at step {each.step:4}: {each.pause_s:5.1f} s without a step, {each.again} done again", end="")
    expected, told = undisturbed(steps)
    found, told_here = ending_of(bed, name, steps)
    assert found == expected, "the weights are bit-equal"
    assert told_here == told, "every step's record is in MLflow, with the same value however often it was done"


def test_three_two_and_three_workers_in_one_run(
    bed: Bed, job: tuple[str, ...], undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, node = 1_200, bed.nodes[-1]
    training = Training(bed, "elastic", RUNS, (*job, "--scale.num-workers", "2", "3", "--train.steps", str(steps)))
    training.wait_for(60)
    bed.stop(node.name)
    training.wait_for_workers(2)
    training.wait_for(training.watch.step() + 60)
    bed.start_node(node)
    training.wait_for_workers(3)
    assert training.wait_for_end() == 0, training.said()
    training.watch.close()
    reports = training.watch.reports()
    _, told = ending_of(bed, "elastic", steps)
    _, expected = undisturbed(steps)
    apart = {
        metric: max(abs(told[metric][step][0] - value[0]) for step, value in values.items())
        for metric, values in expected.items()
    }
    with capsys.disabled():
        print(f"\nelastic: workers {training.workers()}, pauses {pauses(reports, 5)}, apart {apart}")
    assert training.workers() == [3, 2, 3]
