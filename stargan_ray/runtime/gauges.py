"""Prometheus' metrics of a training, by way of Ray: each node's agent shows them at its port, as ``ray_<name>``.

What belongs to a run is set in the process of its records, with the tag ``run``; what belongs to a worker in the
worker, with ``run`` and ``worker``. Setting one costs microseconds and never waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIX = "ray_"  # Ray's own, before every name
RUN = {
    "stargan_step": "Steps that the run has reached.",
    "stargan_images_per_second": "Images a second over all workers, validation and checkpoints left out.",
    "stargan_workers": "Workers that train.",
    "stargan_restarts": "How often the workers were started again by this call.",
}
# name -> (description, the tag that tells its values apart)
NAMED = {
    "stargan_loss": ("A loss term, mean over the steps and workers of a report.", "term"),
    "stargan_validation": ("A figure of the last validation.", "metric"),
}
# the loop's name -> (name, description)
WORKER = {
    "speed/data_wait_share": ("stargan_data_wait_share", "Share of the time that the worker waited for data, 0 to 1."),
    "memory/rss_bytes": ("stargan_memory_bytes", "The most main memory that the worker's process has had."),
    "memory/gpu_peak_bytes": ("stargan_gpu_memory_bytes", "The most GPU memory that the worker's tensors have had."),
}
_NOT_LOSSES = ("rate/", "schedule/", "speed/", "memory/")


def exported_names() -> frozenset[str]:
    """Every name under which Prometheus sees a metric of ours."""
    return frozenset(PREFIX + name for name in (*RUN, *NAMED, *(name for name, _ in WORKER.values())))


class RunGauges:
    """The metrics of a run.

    Args:
        run: its name.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._gauges: dict[str, Any] = {}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, as a ``Recorder`` gets them."""
        self._set("stargan_step", step)
        for name, value in values.items():
            if name == "speed/images_per_second":
                self._set("stargan_images_per_second", value)
            elif name.startswith("val/"):
                self._set("stargan_validation", value, metric=name.removeprefix("val/"))
            elif not name.startswith(_NOT_LOSSES):
                self._set("stargan_loss", value, term=name)

    def began(self, workers: int, restarts: int) -> None:
        """So many workers have started; they were started again so often."""
        self._set("stargan_workers", workers)
        self._set("stargan_restarts", restarts)

    def _set(self, name: str, value: float, **tags: str) -> None:
        if name not in self._gauges:
            about = RUN[name] if name in RUN else NAMED[name][0]
            self._gauges[name] = _gauge(name, about, ("run", *tags))
        self._gauges[name].set(float(value), {"run": self._run, **tags})


class WorkerGauges:
    """The metrics of one worker.

    Args:
        run: name of the run.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._gauges: dict[str, Any] = {}

    def measured(self, rank: int, values: Mapping[str, float]) -> None:
        """Numbers of this worker alone, as a ``Recorder`` gets them."""
        for told, (name, about) in WORKER.items():
            if told in values:
                if name not in self._gauges:
                    self._gauges[name] = _gauge(name, about, ("run", "worker"))
                self._gauges[name].set(float(values[told]), {"run": self._run, "worker": str(rank)})


def _gauge(name: str, about: str, tags: tuple[str, ...]) -> Any:
    from ray.util.metrics import Gauge

    return Gauge(name, description=about, tag_keys=tags)
