"""A machine that is taken away with notice: AWS's for a spot machine, Kubernetes' SIGTERM to a pod.

pytest -m slow tests/cluster/test_notices.py -s   (some six minutes; it prints what each took)
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from bed import ROOT, Bed, bucket, cluster, wait_until
from bed_network import Machine
from bed_training import Ending, Training, ending_of, undisturbed
from bed_watch import done_again, longest_pause, now
from imds import ACTION, publish

pytestmark = pytest.mark.slow
_STEPS, _BEFORE = 2_000, 100
_IMDS = 1338
_SMALL = ("--faces.people", "40", "--faces.size", "32", "--shard-rows", "64")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Three nodes with room for one worker and a reader each; two of them do for the training."""
    with cluster(tmp_path_factory.mktemp("bed"), cpus=(3, 3, 3)) as made:
        if not made.outside.namespace:
            pytest.skip("a node that ends by itself needs processes of its own")
        yield made


@pytest.fixture(scope="module")
def job(bed: Bed) -> tuple[str, ...]:
    """A training of two workers, but for its name and its steps; it writes no checkpoint before its end by itself."""
    faces = bucket("faces")
    done = bed.submit("jobs/ingest.py", "faces", "--out", faces, *_SMALL)
    assert done.status == 0, done.said
    short = ("--train.report-every", "1", "--train.sample-every", "0", "--train.validate-every", "0")
    two = ("--scale.num-workers", "2", "--scale.cpus-per-worker", "2", "--data.shape.batch", "8")
    return ("jobs/train.py", "expression-tiny", "--data", faces, *two, *short, "--train.checkpoint-every", "1000")


@pytest.fixture(scope="module")
def calm(bed: Bed, job: tuple[str, ...]) -> Ending:
    """What a run ends with that nobody disturbs."""
    return undisturbed(bed, job, _STEPS)


def test_the_notice_of_a_spot_machine(bed: Bed, job: tuple[str, ...], calm: Ending, tmp_path: Path) -> None:
    training = Training(bed, "spot", (*job, "--train.steps", str(_STEPS)))
    training.wait_for(_BEFORE)
    node = _with_a_worker(bed)
    publish(tmp_path, "instance-id", "i-0123456789abcdef0")
    where = [bed.outside.address, str(_IMDS), str(tmp_path)]
    bed.start("imds", bed.outside, [sys.executable, str(ROOT / "tests/imds.py"), *where], {})
    imds = f"http://{bed.outside.address}:{_IMDS}"
    started = bed.on(node, "bash", "-c", _watcher(), NODE_IP=node.address, AWS_EC2_METADATA_SERVICE_ENDPOINT=imds)
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    wait_until(lambda: f"drained when {imds} has a notice" in _said(node), 30, "the watcher watches")

    at = (datetime.now(UTC) + timedelta(seconds=120)).strftime("%Y-%m-%dT%H:%M:%SZ")
    begun = now()
    publish(tmp_path, ACTION, json.dumps({"action": "terminate", "time": at}))
    wait_until(lambda: "s ahead: spot machine: terminate at " in _said(node), 60, "the node is drained")
    drained = now() - begun
    wait_until(lambda: not any("jobs/notice.py" in each for each in _processes(bed, node)), 10, "its work is done")
    _goes_on_elsewhere(bed, training, node, begun, 120)
    print(f"s from the notice until Ray knew of it: {drained:.1f}")
    bed.stop("imds")
    assert ending_of(bed, "spot", _STEPS) == calm


def test_the_end_of_a_pod(bed: Bed, job: tuple[str, ...], calm: Ending) -> None:
    """SIGTERM to the first process of a machine, `ray start --block`, as Kubernetes ends a pod of KubeRay's."""
    period, variable = _of_pods()
    for node in bed.nodes[1:]:
        bed.stop(node.name)
        bed.start_node(node, **variable)
    wait_until(lambda: bed.alive() == len(bed.nodes), 120, "all nodes are there, as pods have them")
    training = Training(bed, "pod", (*job, "--train.steps", str(_STEPS)))
    training.wait_for(_BEFORE)
    node = _with_a_worker(bed)
    begun = now()
    os.kill(psutil.Process(bed.processes[node.name].pid).children()[0].pid, 15)
    _goes_on_elsewhere(bed, training, node, begun, period)
    assert bed.processes[node.name].wait(period) is not None, "the pod has ended"
    print(f"s from SIGTERM until the pod had ended, at most: {now() - begun:.1f}")
    assert ending_of(bed, "pod", _STEPS) == calm


def _goes_on_elsewhere(bed: Bed, training: Training, node: Machine, begun: float, within: float) -> None:
    """All workers stop with a checkpoint, the run goes on with two, the node is gone in time, no step is lost."""
    wait_until(lambda: training.watch.said()[-1]["restarts"] == 1, 60, "the training has stopped and goes on")
    wait_until(lambda: bed.alive() == len(bed.nodes) - 1, within, "the drained node is gone")
    gone = now() - begun
    assert training.wait_for_end() == 0, training.said()
    training.watch.close()
    (said,) = [line for line in training.said().splitlines() if "taken away" in line]
    found = re.search(r"the machine of rank [01] is taken away; the checkpoint of step (\d+) is written", said)
    assert found, said
    reports = training.watch.reports()
    stop = next(each for each in reports if each.step == int(found[1]))
    print(
        f"\ns from the notice to the last step before the stop: {stop.time - begun:.1f}, to the node's end: {gone:.1f}"
    )
    print(f"s without a step: {longest_pause(reports, begun, reports[-1].time + 1):.1f}")
    assert begun < stop.time < begun + within
    assert done_again(reports, begun, reports[-1].time + 1) == 0, "it went on behind the step at which it stopped"
    assert training.workers() == [2]
    assert training.submissions == 1


def _watcher() -> str:
    """What cluster/gpu.yaml starts beside Ray on a worker, with the code of this folder."""
    config = yaml.safe_load((ROOT / "cluster/gpu.yaml").read_text())
    _, _, command = config["worker_start_ray_commands"][-1].partition("&& setsid")
    assert "/opt/stargan-ray/" in command
    return "setsid" + command.replace("/opt/stargan-ray/", f"{ROOT}/")


def _said(node: Machine) -> str:
    return "".join(path.read_text() for path in (node.home / "ray").glob("session_2*/logs/notice.log"))


def _of_pods() -> tuple[float, dict[str, str]]:
    """Seconds that Kubernetes gives a worker's pod, and what k8s/base tells it."""
    (cluster_,) = yaml.safe_load_all((ROOT / "k8s/base/ray-cluster.yaml").read_text())
    spec: dict[str, Any] = cluster_["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    (container,) = spec["containers"]
    return spec["terminationGracePeriodSeconds"], {each["name"]: each["value"] for each in container["env"]}


def _with_a_worker(bed: Bed) -> Machine:
    """A node that is not the head and has a worker of the training."""
    return next(node for node in bed.nodes[1:] if any("RayTrainWorker" in each for each in _processes(bed, node)))


def _processes(bed: Bed, node: Machine) -> list[str]:
    """Commands of a node."""
    found = []
    for process in psutil.Process(bed.processes[node.name].pid).children(recursive=True):
        try:
            found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
