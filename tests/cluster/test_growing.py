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

# Ray's provider of processes instead of machines, and what it calls its head.
_PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
_HEAD_ID, _HEAD_TYPE = "f" * 51 + "00000", "ray.head.default"
_NO_COMMANDS = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
_NO_COMMANDS += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files")
_ASK_FOR_ONE = """
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.room import Need, require_room
start_ray()
require_room(Need("x", 1, 1))
print("it is there")
"""


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Bed]:
    """A head without CPUs, and at most one machine of two CPUs beside it."""
    worker = {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 1}
    with machines(["out", "head"], tmp_path) as (outside, head):
        if not head.namespace:
            pytest.skip("its port and its processes need a namespace of their own")
        # By its class: Ray's wheel lacks the file of defaults that its name stands for.
        provider = {"type": "external", "module": _PROVIDER, "launch_multiple": True, "disable_node_updaters": True}
        config = {name: [] for name in _NO_COMMANDS} | {
            "cluster_name": "growing",
            "max_workers": 1,
            "idle_timeout_minutes": 0.1,
            "auth": {},
            "docker": {},
            "file_mounts": {},
            "provider": provider | {"head_node_id": _HEAD_ID, "gcs_address": f"{head.address}:6379"},
            "head_node_type": _HEAD_TYPE,
            "available_node_types": {
                _HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
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
            "RAY_NODE_TYPE_NAME": _HEAD_TYPE,
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
    head, ingest = growing.nodes[0], ("jobs/ingest.py", "faces", "--faces.people", "12", "--faces.size", "32", "--out")
    there = {"RAY_ADDRESS": f"{head.address}:6379"}
    refused = growing.on(
        head, "python", *ingest, str(tmp_path / "none"), "--parallel", "2", STARGAN_WAIT_FOR_NODES_S="0", **there
    )
    assert refused.returncode == 2
    assert "1 CPUs are needed, the Ray cluster has 0" in refused.stderr

    # By itself: Ray Data takes back whatever was asked for when it ends.
    asked = growing.on(head, "python", "-c", _ASK_FOR_ONE, **there)
    assert asked.stdout == "it is there\n", asked.stderr
    assert "waiting for machines, at most 600 s (STARGAN_WAIT_FOR_NODES_S): 1 CPUs are needed" in asked.stderr
    wait_until(lambda: growing.alive() == 1, 60, "the machine is given back when nobody uses it")

    limited = growing.on(
        head, "python", "-c", _ASK_FOR_ONE.replace("1, 1", "9, 1"), STARGAN_WAIT_FOR_NODES_S="8", **there
    )
    assert (
        "InputError: x: 9 CPUs are needed, the Ray cluster has 0 after 8 s (STARGAN_WAIT_FOR_NODES_S)" in limited.stderr
    )

    done = growing.submit(*ingest, str(tmp_path / "faces"))
    assert done.status == 0, done.said
    assert (tmp_path / "faces/manifest.json").is_file()
