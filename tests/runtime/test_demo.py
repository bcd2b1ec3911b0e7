"""The demo: stages are done once, the report holds what it promises, and (slow) the whole road as a process.

pytest tests/runtime/test_demo.py            the first two
pytest -m slow tests/runtime/test_demo.py    the road, some minutes
"""

from __future__ import annotations

import json
import shutil
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import run_job
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from tiny_models import meta_for

from stargan_ray.config import AnyMethod, DataConfig, Recipe, TrainConfig
from stargan_ray.data.faces import FacesConfig, contact_sheet
from stargan_ray.data.policy import Policy
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.report import REQUIRED
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.runtime.demo import _Road
from stargan_ray.runtime.demo_config import Demo
from stargan_ray.runtime.demo_report import Judged, write_report
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.panel import open_panel
from stargan_ray.runtime.refine import refine
from stargan_ray.runtime.stages import Stages
from stargan_ray.training.checkpoint import save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker


def test_a_stage_is_done_again_only_when_what_it_depends_on_changes(tmp_path: Path) -> None:
    done: list[int] = []

    def stage(depends: Any) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            done.append(len(done))
            return {"turn": len(done)}

        return Stages(tmp_path, Console(quiet=True)).run("draw", depends, work)

    assert stage({"seed": 1}) == {"turn": 1}
    assert stage({"seed": 1}) == {"turn": 1}
    assert stage({"seed": 2}) == {"turn": 2}
    assert done == [0, 1]


def test_a_stage_that_fails_leaves_nothing_to_reuse(tmp_path: Path) -> None:
    def fail() -> dict[str, Any]:
        raise RuntimeError("half-way")

    stages = Stages(tmp_path, Console(quiet=True))
    with pytest.raises(RuntimeError, match="half-way"):
        stages.run("draw", 1, fail)
    assert stages.run("draw", 1, lambda: {"done": True}) == {"done": True}


def test_preparing_is_done_once_before_the_first_stage_that_is_not_reused(tmp_path: Path) -> None:
    order: list[str] = []

    def stages() -> Stages:
        return Stages(tmp_path, Console(quiet=True), prepare=lambda: order.append("prepare"))

    def work(name: str) -> dict[str, Any]:
        order.append(name)
        return {}

    for each in (stages(), stages()):
        each.run("first", 1, lambda: work("first"))
        each.run("second", 1, lambda: work("second"))
    assert order == ["prepare", "first", "second"]


def test_no_stage_begins_after_a_stop(tmp_path: Path) -> None:
    stages = Stages(tmp_path, Console(quiet=True))
    stages.stop.set()
    with pytest.raises(KeyboardInterrupt):
        stages.run("draw", 1, pytest.fail)


def test_stages_side_by_side_count_once() -> None:
    stages = Stages(Path(), Console(quiet=True), spans=[(0.0, 4.0), (1.0, 3.0), (3.5, 6.0), (10.0, 11.0)])
    assert stages.total_seconds == 7.0


def untrained(method: AnyMethod, folder: Path, **more: Any) -> str:
    recipe = Recipe(method.name, "a test's", method, DataConfig(size=32), TrainConfig())
    state = fresh_state(recipe, len(EXPRESSIONS), LocalWorker(), {})
    save_folder(state, folder, meta_for(recipe, domains=list(EXPRESSIONS), **more))
    return str(folder)


def test_the_report_has_every_key_and_copies_of_the_input_are_at_distance_zero(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    faces = str(tmp_path / "faces")
    config = FacesConfig(people=24, images_per_person=8, size=32, label_noise=0.3, splits=(0.5, 0.0, 0.5))
    write_dataset(faces, read_faces(config, 128))
    classifier = untrained(ExpressionMethod(width=2), tmp_path / "filter")
    embedder = untrained(
        IdentityMethod(width=0.05, middle_blocks=0, stem_stride=1, hidden=8, embedding=8), tmp_path / "embedder"
    )
    translator = untrained(
        StarGANv2(first=8, largest=16, bottleneck=8, depth=1, style_dim=8, latent_dim=4, mapping_hidden=8),
        tmp_path / "translator",
    )
    # a threshold of 0 keeps whatever the untrained filter happens to agree with
    done = refine(faces, str(tmp_path / "refined"), open_panel([classifier]), Policy(threshold=0.0))
    contact_sheet(FacesConfig(), people=1, size=32).save(tmp_path / "faces.png")
    judged = Judged(faces, done.decisions, embedder, translator, classifier, embedder, steps=0)
    facts = {"data_hash": "d" * 64, "commit": "c0ffee", "environment": {"cores": "2"}}
    stages = Stages(tmp_path / "stages", Console(quiet=True), seconds={"ingest faces": 1.5}, spans=[(10.0, 11.5)])
    write_report(judged, tmp_path, facts, stages, 123)
    report = json.loads((tmp_path / "report.json").read_text())
    for path in (*REQUIRED, "seconds.ingest_faces", "seconds.report"):
        node: Any = report
        for part in path.split("."):
            node = node[part]
        assert isinstance(node, (int, float, str)) or node is None, path
    assert report["copy_input"]["similarity_distance"] == 0
    assert report["translator"]["similarity_distance"] > 0
    assert report["peak_rss_bytes"] == 123
    page = (tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert Image.open(BytesIO((tmp_path / "grid.png").read_bytes())).width > 9 * 32


def test_the_report_is_not_written_by_the_embedder_that_trained_the_translator(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    faces = str(tmp_path / "faces")
    write_dataset(faces, read_faces(FacesConfig(people=4, images_per_person=2, size=32), 128))
    classifier = untrained(ExpressionMethod(width=2), tmp_path / "filter")
    embedder = untrained(
        IdentityMethod(width=0.05, middle_blocks=0, stem_stride=1, hidden=8, embedding=8), tmp_path / "embedder"
    )
    translator = untrained(
        StarGANv2Identity(first=8, largest=16, bottleneck=8, depth=1, style_dim=8, latent_dim=4, identity_dim=8),
        tmp_path / "translator",
        helpers={"identity": {"uri": embedder, "content_hash": load_model(embedder).content_hash}},
    )
    judge = str(shutil.copytree(embedder, tmp_path / "judge"))
    judged = Judged(faces, "", embedder, translator, classifier, judge, steps=0)
    with pytest.raises(InputError, match="it is the identity network that trained it"):
        write_report(judged, tmp_path, {}, Stages(tmp_path / "stages", Console(quiet=True)), 0)


@pytest.mark.slow
def test_the_whole_road_as_a_process_and_again_in_seconds(tmp_path: Path) -> None:
    flags = ("--speed", "0.4", "--people", "120", "--helpers-people", "100")
    first = run_job("demo", *flags, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    report = json.loads((tmp_path / "runs/demo/report.json").read_text())
    assert report["translator"]["target_expression_accuracy"] > report["copy_input"]["target_expression_accuracy"]
    again = run_job("demo", *flags, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "▶" not in again.stdout


def test_a_filter_that_leaves_nothing_of_an_expression_is_passed_by_and_said(tmp_path: Path) -> None:
    said = StringIO()
    console = Console(file=said, width=200)
    road = _Road(Demo(out=tmp_path), Stages(tmp_path / "stages", console), console, Progress(console=console))
    noisy, whole = {"uri": "noisy"}, {"uri": "refined", "emptied": []}
    assert road._usable(whole, noisy) is whole
    assert said.getvalue() == ""
    assert road._usable({"uri": "refined", "emptied": ["fear", "anger"]}, noisy) is noisy
    assert "leaves nothing of fear, anger" in said.getvalue()
