"""``ray job submit … jobs/train.py``: a cluster's job server runs the job on that cluster, and its status is the job's.

pytest tests/runtime/test_job_submit.py   (a Ray with its job server on loopback; some forty seconds)
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset

ROOT = Path(__file__).parents[2]
Submit = Callable[..., tuple[str, str]]


@pytest.fixture
def submit(tmp_path: Path) -> Iterator[Submit]:
    """Runs a job and gives its status and what it printed."""
    import ray
    from ray.job_submission import JobSubmissionClient

    context = ray.init("local", num_cpus=2, include_dashboard=True, log_to_driver=False, logging_level="ERROR")
    client = JobSubmissionClient(f"http://{context.dashboard_url}")

    def run(*flags: str) -> tuple[str, str]:
        command = shlex.join([sys.executable, str(ROOT / "jobs" / "train.py"), *flags])
        number = client.submit_job(
            entrypoint=f"cd {shlex.quote(str(tmp_path))} && {command}",
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        )
        while not client.get_job_status(number).is_terminal():
            time.sleep(0.2)  # the server has no call that waits
        return str(client.get_job_status(number)), client.get_job_logs(number)

    yield run
    ray.shutdown()


def test_a_submitted_job_trains_on_the_cluster_that_runs_it(submit: Submit, tmp_path: Path) -> None:
    config = FacesConfig(people=12, size=32, splits=(0.7, 0.3, 0.0))
    write_dataset(str(tmp_path / "faces"), read_faces(config))
    small = ("--train.steps", "2", "--train.report-every", "1", "--train.sample-every", "0")
    status, said = submit("expression-tiny", "--data", "faces", "--storage", "runs", "--name", "first", *small)
    assert status == "SUCCEEDED", said
    assert "step-00000002" in said
    assert (tmp_path / "runs/first/checkpoints/step-00000002/meta.json").is_file()
    status, said = submit("expresion-tiny", "--data", "faces", "--name", "second")
    assert status == "FAILED"
    assert "did you mean 'expression-tiny'?" in said
