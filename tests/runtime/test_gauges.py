"""Prometheus' metrics at the port of a real Ray; nothing of it without Ray.

pytest tests/runtime/test_gauges.py   (a Ray of one CPU; a quarter of a minute)
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.gauges import exported_names
from stargan_ray.runtime.records import ActorRecorder, start_actor
from stargan_ray.runtime.run import Run

ROOT = Path(__file__).parents[2]
Samples = dict[str, list[tuple[dict[str, str], float]]]
_SAMPLE = re.compile(r"^(ray_stargan\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_ELSEWHERE = re.compile("gpu|gram|failure")  # of nodes with a GPU, or where a worker has died


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """The metrics port of a Ray that is started here."""
    import ray

    monkeypatch.chdir(tmp_path)  # where the records wait for MLflow
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")  # no other Ray of this machine
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = int(free.getsockname()[1])
    ray.shutdown()  # a test before this one may have left its Ray to the next
    ray.init(
        "local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        _metrics_export_port=found, _system_config={"metrics_report_interval_ms": 1000},
    )  # fmt: skip
    end = time.monotonic() + 240
    while "ray_node_cpu_utilization" not in page(found):
        # A process that finds no agent on its node for a while exports nothing for the rest of its life.
        assert time.monotonic() < end
        time.sleep(0.5)
    yield found
    ray.shutdown()


def page(port: int) -> str:
    """What Prometheus gets; nothing while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def scraped(port: int) -> Samples:
    """name -> (tags, value) of every metric of ours."""
    samples: Samples = {}
    for name, tags, value in _SAMPLE.findall(page(port)):
        samples.setdefault(name, []).append((dict(re.findall(r'(\w+)="([^"]*)"', tags)), float(value)))
    return samples


def awaited(port: int, enough: Callable[[Samples], bool]) -> Samples:
    """What is scraped once it is enough."""
    end = time.monotonic() + 120
    while not enough(found := scraped(port)):
        assert time.monotonic() < end, found
        time.sleep(0.5)
    return found


def told(found: Samples, name: str, **tags: str) -> float:
    (value,) = [value for given, value in found[f"ray_stargan_{name}"] if tags.items() <= given.items()]
    return value


def test_what_the_loop_reports_is_at_rays_metrics_port(port: int, tmp_path: Path) -> None:
    import ray

    run = Run(recipe_named("expression-tiny"), "faces", str(tmp_path / "runs"), "watched")
    records = start_actor(run, "hash")

    @ray.remote(num_cpus=0)
    class Worker:
        """The process of a training worker, as far as its recorder is concerned."""

        def report(self, rank: int) -> None:
            recorder = ActorRecorder(records, run.name)
            own = {"speed/data_wait_share": 0.25, "memory/rss_bytes": 1e9, "memory/gpu_peak_bytes": 2e9 + rank}
            recorder.measured(rank, own)
            if rank == 0:
                losses = {"classify/loss": 1.5, "rate/classifier": 1e-3, "schedule/lambda_id": 2.0}
                recorder.metrics(20, {"speed/images_per_second": 80.0, **losses, **own})
                recorder.metrics(20, {"val/accuracy": 0.75})

    workers = [Worker.remote() for _ in range(2)]
    ray.get([records.began.remote(2), records.began.remote(2)])
    ray.get([worker.report.remote(rank) for rank, worker in enumerate(workers)])
    found = awaited(
        port, lambda found: exported_names() <= found.keys() and len(found["ray_stargan_gpu_memory_bytes"]) == 2
    )
    assert found.keys() == exported_names()
    assert all(tags["run"] == "watched" for samples in found.values() for tags, _ in samples)
    assert [(tags["term"], value) for tags, value in found["ray_stargan_loss"]] == [("classify/loss", 1.5)]
    assert told(found, "validation", metric="accuracy") == 0.75
    assert (told(found, "step"), told(found, "images_per_second")) == (20, 80)
    assert (told(found, "workers"), told(found, "restarts")) == (2, 1)
    for rank in (0, 1):
        assert told(found, "data_wait_share", worker=str(rank)) == 0.25
        assert told(found, "memory_bytes", worker=str(rank)) == 1e9
        assert told(found, "gpu_memory_bytes", worker=str(rank)) == 2e9 + rank
    records.metrics.remote(40, {"speed/images_per_second": 60.0})
    awaited(port, lambda found: told(found, "step") == 40 and told(found, "images_per_second") == 60)
    assert ray.get(records.close.remote("FINISHED"))
    dashboard = (ROOT / "k8s/components/monitoring/stargan-ray.json").read_text(encoding="utf-8")
    of_nodes = {name for name in re.findall(r"(ray_node_\w+)\{", dashboard) if not _ELSEWHERE.search(name)}
    assert len(of_nodes) >= 6
    assert of_nodes <= set(re.findall(r"^(\w+)\{", page(port), re.MULTILINE))


def test_without_ray_none_of_it_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from stargan_ray.recipes import recipe_named\n"
        "from stargan_ray.runtime.records import Shown, make_records\n"
        "from stargan_ray.runtime.run import Run\n"
        "records = make_records(Run(recipe_named('expression-tiny'), 'faces', 'runs', 'here'), 'hash')\n"
        "shown = Shown(records, lambda step, values: None)\n"
        "records.began(1)\n"
        "shown.metrics(1, {'speed/images_per_second': 1.0})\n"
        "shown.measured(0, {'speed/data_wait_share': 0.5})\n"
        "records.close('FINISHED')\n"
        "print('ray' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "False\n", done.stdout + done.stderr
    assert '"state": "finished"' in (tmp_path / "runs/here/watch/now.json").read_text()
