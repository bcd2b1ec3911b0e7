"""Nodes of one CPU each beside a head of none: what can be placed runs, what cannot is refused before it starts.

pytest -m slow tests/cluster/test_few_cpus.py   (a bed of its own; some two minutes)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import Bed, bucket, cluster


@pytest.fixture
def lean(tmp_path: Path) -> Iterator[Bed]:
    """A head without CPUs, as cluster/gpu.yaml and k8s/ have it, and three nodes of one."""
    with cluster(tmp_path, (0, 1, 1, 1)) as made:
        yield made


@pytest.mark.slow
def test_two_workers_and_a_reader_on_three_cpus(lean: Bed) -> None:
    faces = bucket("faces")
    drawn = lean.submit("jobs/ingest.py", "faces", "--out", faces, "--faces.people", "24", "--faces.size", "32")
    assert drawn.status == 0, drawn.said

    def train(name: str, workers: int, cpus: float, reader: float) -> tuple[int, str]:
        scale = (
            "--scale.num-workers",
            str(workers),
            "--scale.cpus-per-worker",
            str(cpus),
            "--scale.cpus-per-reader",
            str(reader),
        )
        short = (
            "--train.steps",
            "70",
            "--data.shape.lanes",
            "2",
            "--data.shape.batch",
            "8",
            "--train.sample-every",
            "0",
        )
        done = lean.submit(
            "jobs/train.py",
            "expression-tiny",
            "--data",
            faces,
            "--storage",
            bucket("runs"),
            "--name",
            name,
            *scale,
            *short,
        )
        return done.status, done.said

    status, said = train("two", 2, 1, 1)
    assert status == 0, said
    assert "step-00000070" in said, "more than one window, read while the workers hold their CPUs"
    for name, asked, message in (
        (
            "whole",
            (1, 2.0, 0.5),
            "1 times 2 CPUs are needed, each on one node; the Ray cluster has room for 0 (3 × 1 CPUs",
        ),
        ("reader", (1, 0.5, 2.0), "no node keeps 2 for a reader"),
        ("many", (2, 1.0, 2.0), "4 CPUs are needed, the Ray cluster has 3"),
    ):
        status, said = train(name, *asked)
        assert status == 1
        assert "failed with exit code 2" in said
        assert message in said
