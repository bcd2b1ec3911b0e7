"""The whole road once, on generated faces: ingest, filter, embed, translate, register, judge, report.

Four populations that share nobody: one trains the filter and the embedder, one (with noisy labels) trains the
translator and holds out the people it is judged on, one trains the judges. Every network is trained here.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import Progress

from stargan_ray.config import to_json
from stargan_ray.data.faces import FacesConfig, contact_sheet
from stargan_ray.data.policy import Policy
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import SHARD_ROWS
from stargan_ray.runtime import ingest, launch, registry
from stargan_ray.runtime.demo_config import Demo
from stargan_ray.runtime.demo_report import Judged, write_report
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.mlflow_store import connect, tracking_uri
from stargan_ray.runtime.models import export_model
from stargan_ray.runtime.panel import open_panel
from stargan_ray.runtime.progress import counting, display, interrupts, pulse
from stargan_ray.runtime.refine import refine
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.stages import PeakMemory, Stages

T = TypeVar("T")
_SIZE = 32  # pixels


@dataclass
class _Road:
    demo: Demo
    stages: Stages
    console: Console
    progress: Progress

    def __post_init__(self) -> None:
        self.store = self.demo.out / "store"  # what would be a bucket
        self.models = self.demo.out / "models"
        self.alone = threading.Lock()  # what is short takes turns: only trainings run side by side

    def ingest(self, name: str, config: FacesConfig) -> dict[str, Any]:
        """Draw a population into the object store layout."""

        def work() -> dict[str, Any]:
            uri = str(self.store / name)
            source = read_faces(config, SHARD_ROWS)
            manifest = ingest.ingest(
                source, uri, parallel=self.demo.parallel, overwrite=True, progress=self.progress, title=f"ingest {name}"
            )
            return {"uri": uri, "hash": manifest.content_hash, "rows": manifest.rows}

        return self.stages.run(f"ingest {name}", to_json(config), work)

    def train(
        self, recipe_name: str, data: dict[str, Any], helpers: dict[str, str] | None = None, judge: str = ""
    ) -> dict[str, Any]:
        """Train a network with Ray and make a model folder of its best checkpoint."""
        recipe = self.demo.recipe(recipe_name)
        name = f"{recipe_name}-{data['hash'][:8]}-{self.demo.seed}-{recipe.train.steps}"

        def work() -> dict[str, Any]:
            run = Run(recipe, data["uri"], str(self.demo.out / "runs"), name, helpers or {}, judge).absolute()
            launch.fit(run, progress=self.progress, stop=self.stages.stop)
            folder = self.models / recipe_name
            with self.alone:
                export_model(run.uri, folder)
            return {"folder": str(folder), "run": run.uri, "steps": recipe.train.steps}

        return self.stages.run(f"train {recipe_name}", [to_json(recipe), data, helpers, judge], work)

    def register(self, name: str, model: dict[str, Any]) -> dict[str, Any]:
        """Register a model folder under the alias ``champion``."""

        def work() -> dict[str, Any]:
            with self.alone, pulse(self.progress, f"register {name}"):
                version = registry.register(Path(model["folder"]), name=name)
            return {"model": f"models:/{name}@champion", "version": version}

        return self.stages.run(f"register {name}", model, work)

    def refine(self, data: dict[str, Any], classifier: dict[str, Any]) -> dict[str, Any]:
        """Drop the rows whose label the filter does not confirm."""
        policy = Policy()

        def work() -> dict[str, Any]:
            out = str(self.store / "faces-refined")
            with self.alone, counting("refine", self.progress) as on_scored:
                panel = open_panel([classifier["folder"]])
                done = refine(data["uri"], out, panel, policy, overwrite=True, on_scored=on_scored)
            for line in done.warnings:
                self.console.print(f"[yellow]{line}[/]")
            manifest = done.manifest
            left = manifest.rows_by_domain["train"]
            return {
                "uri": out,
                "hash": manifest.content_hash,
                "rows": manifest.rows,
                "decisions": done.decisions,
                "emptied": [name for name in manifest.domains if not left.get(name)],
            }

        return self.stages.run("refine", [data, classifier, to_json(policy)], work)

    def travel(self) -> Judged:
        """Every stage up to the networks that the report is about."""
        demo = self.demo
        helpers = self.ingest("helpers", demo.faces(1, demo.helpers_people, 0.05, (0.9, 0.1, 0.0)))
        noisy = self.ingest("faces", demo.faces(2, demo.people, demo.label_noise, (0.6, 0.06, 0.34)))
        judges = self.ingest("judges", demo.faces(3, demo.helpers_people, 0.0, (0.9, 0.1, 0.0)))
        # One training keeps one core busy: what needs nothing of the other goes side by side.
        embedding = _beside(lambda: self._registered("identity-tiny", "face-identity", helpers))
        judging = _beside(lambda: self._judges(judges, after=embedding))
        try:
            classifier = self._registered("expression-tiny", "face-expression", helpers)
            refined = self.refine(noisy, classifier)
            embedder = embedding.result()
            learnt = self._usable(refined, noisy)
            translator = self.train(
                demo.translator, learnt, {"identity": embedder["folder"]}, judge=classifier["folder"]
            )
            self.register("expression-translator", translator)
            expression_judge, identity_judge = judging.result()
        except BaseException:
            self.stages.stop.set()  # what runs beside ends with a checkpoint too
            wait((embedding,))
            wait((judging,))
            raise
        return Judged(
            faces=noisy["uri"],
            decisions=refined["decisions"],
            embedder=embedder["folder"],
            translator=translator["folder"],
            expression_judge=expression_judge,
            identity_judge=identity_judge,
            steps=translator["steps"],
        )

    def _usable(self, refined: dict[str, Any], noisy: dict[str, Any]) -> dict[str, Any]:
        """The refined faces, unless a filter of a few steps (``--speed``) has left nothing of an expression."""
        if not refined.get("emptied"):
            return refined
        gone = ", ".join(refined["emptied"])
        self.console.print(
            f"[yellow]after so short a training the filter leaves nothing of {gone}: "
            "the translator learns from the faces as they are[/]"
        )
        return noisy

    def _registered(self, recipe: str, name: str, data: dict[str, Any]) -> dict[str, Any]:
        model = self.train(recipe, data)
        self.register(name, model)
        return model

    def _judges(self, data: dict[str, Any], after: Future[dict[str, Any]]) -> tuple[str, str]:
        """The second lane's later half: the translator waits for the embedder, not for these."""
        after.result()
        # The expression judge is of the filter's kind, so its name has to say what it is for.
        expression = self._registered("expression-judge-tiny", "face-expression-judge", data)
        identity = self._registered("identity-judge-tiny", "face-identity-judge", data)
        return expression["folder"], identity["folder"]


def _beside(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread that does not keep the process alive."""
    future: Future[T] = Future()

    def target() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # handed to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=target, daemon=True).start()
    return future


def _prepare() -> None:
    """Import what the stages need in one thread: two that import a package at the same time can lock each other out."""
    import timm  # noqa: F401

    connect(tracking_uri())
    launch.prepare()


def run_demo(demo: Demo, console: Console) -> dict[str, Any]:
    """Do what is not done yet and write the report; returns the content of report.json.

    Raises:
        KeyboardInterrupt: stopped by a person; every training has written a checkpoint.
    """
    demo.out.mkdir(parents=True, exist_ok=True)
    sheet = demo.out / "faces.png"
    if not sheet.is_file():
        contact_sheet(FacesConfig(seed=100 * demo.seed + 2), people=6, size=128).save(sheet)
    stages = Stages(demo.out / "stages", console, _prepare)
    progress = display(console)
    with PeakMemory() as memory, interrupts(stages.stop.set), progress:
        judged = _Road(demo, stages, console, progress).travel()
        facts = {
            "data_hash": open_dataset(judged.faces).manifest.content_hash,
            "commit": commit() or "not a checkout",
            "environment": _environment(),
        }

        def work() -> dict[str, Any]:
            with pulse(progress, "report"):
                return write_report(judged, demo.out, facts, stages, memory.peak_bytes)

        return stages.run("report", [vars(judged), facts["data_hash"], str(np.__version__)], work)


def _environment() -> dict[str, str]:
    import psutil
    import ray
    import torch

    return {
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ray": ray.__version__,
    }
