"""What losing a part of the cluster costs a training: three real Ray nodes, an S3 server and MLflow on this machine.

    python benchmarks/failures.py                       # forty minutes on two cores; root, for network namespaces
    python benchmarks/failures.py worker "S3 for 20 s"  # only these

Each loss comes at three random steps of one training of three workers. Stated are the longest time without a new step
from a loss to the next, the steps that were done again, and whether the weights at the end are bit for bit those of a
training that lost nothing and whether MLflow has the same records. Without names a run of three, two and three workers
comes too.
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measure import report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/cluster"))
from bed import Bed, cluster
from bed_training import Ending, Training, ending_of, prepared, undisturbed
from bed_watch import pauses
from kills import ELASTIC_STEPS, LOSSES, STEPS, USUAL, first_difference, shrink_and_grow, suffer

ELASTIC = "3, 2, 3 workers"


def row_of(bed: Bed, job: tuple[str, ...], loss: str, calm: Ending, steps: int) -> dict[str, Any]:
    """One training that loses one thing three times."""
    name, seed = loss.replace(" ", "-").lower(), random.randrange(1_000_000)
    training = Training(bed, name, (*job, "--train.steps", str(steps)))
    losses = suffer(bed, training, loss, steps, seed)
    weights, told = ending_of(bed, name, steps)
    return {
        "seed": seed,
        "steps": steps,
        "losses": [asdict(each) for each in losses],
        "weights_bit_equal": weights == calm[0],
        "records_equal": told == calm[1],
        "submissions": training.submissions,
    }


def elastic_row(bed: Bed, job: tuple[str, ...], calm: Ending) -> dict[str, Any]:
    """One training of three, two and three workers."""
    training = shrink_and_grow(bed, job, ELASTIC_STEPS)
    found = pauses(training.watch.reports(), 5)
    _, told = ending_of(bed, "elastic", ELASTIC_STEPS)
    step, apart = first_difference(told, calm[1])
    return {"workers": training.workers(), "pauses_s": found, "differs_from_step": step, "by_of_a_batch": apart}


def main() -> None:
    """All losses that are named, or all."""
    chosen = sys.argv[1:] or list(LOSSES)
    rows, seconds, calm = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as bed:
        bed.start_door()
        job = prepared(bed)
        for loss in chosen:
            steps = STEPS.get(loss, USUAL)
            if steps not in calm:
                calm[steps] = undisturbed(bed, job, steps)
            rows[loss] = row_of(bed, job, loss, calm[steps], steps)
            seconds[loss] = [each["pause_s"] for each in rows[loss]["losses"]]
            print(loss, rows[loss], flush=True)
        if not sys.argv[1:]:
            rows[ELASTIC] = elastic_row(bed, job, calm[USUAL])
            seconds[ELASTIC] = rows[ELASTIC]["pauses_s"]
            print(ELASTIC, rows[ELASTIC], flush=True)
    report("failures", " ".join(["python benchmarks/failures.py", *sys.argv[1:]]), seconds, rows=rows)


if __name__ == "__main__":
    main()
