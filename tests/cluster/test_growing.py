"""A cluster of a head alone, whose autoscaler starts machines when a job asks for them, and takes them away again.

pytest -m slow tests/cluster/test_growing.py   (some two minutes; Ray's own autoscaler, whose machines are processes)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import Bed, wait_until
from bed_network import machines

_HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"  # what Ray's provider of processes calls its head


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Bed]:
    """A head without CPUs, and at most one machine of two CPUs beside it."""
    worker = {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 1}
    with machines(["out", "head"], tmp_path) as (outside, head):
        if not head.namespace:
            pytest.skip("its port and its processes need a namespace of their own")
        provider = {"type": "fake_multinode", "launch_multiple": True, "head_node_id": _HEAD_ID}
        config = {
            "cluster_name": "growing",
            "max_workers": 1,
            "idle_timeout_minutes": 0.1,
            "provider": provider | {"gcs_address": f"{head.address}:6379"},
            "head_node_type": "head",
            "available_node_types": {
                "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "worker": worker,
            },
        }
        (tmp_path / "growing.yaml").write_text(json.dumps(config))
        for machine in (outside, head):
            (machine.home / ".ray").mkdir()
            (machine.home / ".ray/auth_token").write_text("a" * 64)
        bed = Bed(outside, [head], tmp_path, "a" * 64, (0,))
        launcher = {  # what `ray up` and KubeRay tell the head
            "RAY_enable_autoscaler_v2": "1",
            "RAY_NODE_TYPE_NAME": "head",
            "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        }
        try:
            bed.start_node(head, f"--autoscaling-config={tmp_path / 'growing.yaml'}", **launcher)
            wait_until(lambda: bed.alive() == 1, 120, "the head answers")
            yield bed
        finally:
            for name in list(bed.processes):
                bed.stop(name)


@pytest.mark.slow
def test_machines_come_when_they_are_asked_for_and_go_when_they_are_idle(growing: Bed, tmp_path: Path) -> None:
    ingest = ("jobs/ingest.py", "faces", "--faces.people", "12", "--faces.size", "32", "--out")
    wide = growing.on(
        growing.nodes[0], "python", *ingest, str(tmp_path / "wide"), "--parallel", "2",
        RAY_ADDRESS=f"{growing.nodes[0].address}:6379", STARGAN_WAIT_FOR_NODES_S="0",
    )  # fmt: skip
    assert wide.returncode == 2
    assert "1 CPUs are needed, the Ray cluster has 0" in wide.stderr
    done = growing.submit(*ingest, str(tmp_path / "faces"))
    assert done.status == 0, done.said
    assert "waiting for machines, at most 600 s (STARGAN_WAIT_FOR_NODES_S): " in done.said
    wait_until(lambda: growing.alive() == 1, 120, "the machine is given back")
