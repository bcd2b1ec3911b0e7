"""A comparison: rows trained side by side with Ray, continued, judged alike, and a failed one that ends no other.

pytest tests/runtime/test_compare.py
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from forked import run_job
from rich.console import Console
from tiny_models import build_supporting

from stargan_ray.config import AnyMethod, DataConfig, Recipe, TrainConfig, override
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.policy import Policy
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.readers.studio import read_studio
from stargan_ray.data.studio import StudioConfig
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.compare import COPY_INPUT, REAL, Compared, compare
from stargan_ray.runtime.comparison_runs import Comparison
from stargan_ray.runtime.examination import Examination
from stargan_ray.runtime.noise_study import NoiseStudy
from stargan_ray.runtime.progress import display
from stargan_ray.runtime.table_two import AugmentationStudy

NARROW = {"first": 4, "largest": 8, "bottleneck": 8, "depth": 1, "style_dim": 4, "latent_dim": 3, "mapping_hidden": 6}


def _recipe(name: str, method: AnyMethod) -> Recipe:
    train = TrainConfig(steps=2, threads=1, report_every=1, sample_every=0, validate_every=0, checkpoint_every=2)
    shape = Shape(batch=4, lanes=2, window=8)
    halves = recipe_named("stargan-v2-tiny").scale
    return Recipe(name, "a test's", method, DataConfig(size=32, shape=shape), train, halves)


PLAIN = _recipe("plain", StarGANv2(**NARROW))  # type: ignore[arg-type]
OURS = _recipe("ours/it is", StarGANv2Identity(**NARROW, identity_dim=8))  # type: ignore[arg-type]
BROKEN = _recipe("broken", StarGANv2(**NARROW, rate_d=1e30))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Place:
    """A data set and untrained supporting networks that know its eight expressions."""

    folder: Path

    def __getattr__(self, name: str) -> str:
        return str(self.folder / name.replace("_", "-"))

    def comparison(self, *recipes: Recipe, seeds: tuple[int, ...] = (0,)) -> Comparison:
        return Comparison(
            data=self.faces,
            judged=self.faces,
            storage=self.runs,
            name="t",
            recipes=recipes,
            seeds=seeds,
            helpers={"identity": self.identity},
            expression_judge=self.expression,
            identity_judge=self.identity_judge,
            people=6,
            translations=40,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("compare")
    faces = FacesConfig(people=14, images_per_person=8, size=32, splits=(0.5, 0.0, 0.5))
    write_dataset(str(folder / "faces"), read_faces(faces))
    build_supporting(folder)
    return Place(folder)


def _run(comparison: Comparison, out: Path, monkeypatch: pytest.MonkeyPatch, **studies: Any) -> Compared:
    monkeypatch.chdir(out.parent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{out.parent}/mlflow.db")
    with display(Console(quiet=True)) as progress:
        return compare(comparison, str(out), parallel=2, progress=progress, stop=threading.Event(), **studies)


def test_rows_are_trained_judged_and_continued(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = _run(place.comparison(PLAIN, OURS, BROKEN), tmp_path / "out", monkeypatch)
    rows = {row.name: row for row in done.rows}
    assert list(rows) == [COPY_INPUT, REAL, "plain", "ours/it is"]
    assert "gradient is not finite" in done.failed["t-broken-0"]
    copied = rows[COPY_INPUT].figures()
    assert (copied["similarity_distance"].value, copied["expression_gain"].value) == (0, 0)
    for name in ("plain", "ours/it is"):
        figures = rows[name].figures()
        assert figures["target_expression_accuracy"].n == 40
        assert {"frechet", "monotone", "rank1"} <= set(figures)
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert told["rows"]["ours/it is"]["runs"][0]["steps"] == 2
    assert told["failed"] == done.failed
    assert told["translations"] == 40
    assert (tmp_path / "out" / "comparison.md").read_text() == done.markdown
    assert done.markdown.count("\n| ") >= 1 + 4
    assert "0.2200" in done.markdown.split("as printed")[2]
    written = {path: path.stat().st_mtime_ns for path in Path(place.runs).rglob("*.safetensors")}

    more = _run(place.comparison(PLAIN, seeds=(0, 1)), tmp_path / "more", monkeypatch)
    for path, when in written.items():
        if "broken" not in str(path):
            assert path.stat().st_mtime_ns == when, f"{path} was trained again"
    again = {row.name: row for row in more.rows}
    assert len(again["plain"].runs) == 2
    first, second = again["plain"].runs
    before = rows["plain"].runs[0]
    assert first.verdict.values["similarity_distance"].tolist() == before.verdict.values["similarity_distance"].tolist()
    assert first.verdict.values["similarity_distance"].tolist() != second.verdict.values["similarity_distance"].tolist()
    assert more.failed == {}


def test_label_noise_a_model_of_ones_own_and_table_two_come_from_the_same_command(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = FacesConfig(people=14, images_per_person=8, size=32, splits=(0.5, 0.0, 0.5), label_noise=0.5)
    write_dataset(str(tmp_path / "half"), read_faces(half))
    write_dataset(str(tmp_path / "studio"), read_studio(StudioConfig(people=4, size=32)))
    before = _run(place.comparison(PLAIN), tmp_path / "before", monkeypatch)
    comparison = replace(place.comparison(PLAIN), models={"mine": str(Path(place.runs) / "t-plain-0")})
    keep = Policy(rule="soft", threshold=0.0)  # an untrained filter would take everything away
    noise = NoiseStudy({0.0: place.faces, 0.5: str(tmp_path / "half")}, place.expression, (PLAIN,), keep)
    small = override(recipe_named("vgg16-tiny"), {"method.width": 2})
    two = AugmentationStudy(str(tmp_path / "studio"), override(small, {"train.steps": 2}), folds=2, seeds=(0, 1))
    done = _run(comparison, tmp_path / "out", monkeypatch, noise=noise, augmentation=two)
    rows = {row.name: row.figures() for row in done.rows}
    assert rows["mine"] == rows["plain"] == {row.name: row.figures() for row in before.rows}["plain"]
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    points = [(point["values"]["rate"], point["values"]["filtered"]) for point in told["noise"]]
    assert points == [(0.0, False), (0.0, True), (0.5, False), (0.5, True)]
    arms = told["table_two"]["people"]
    assert list(arms) == ["VGG16", "VGG16 + plain", "VGG16 + mine"]
    assert arms["VGG16 + mine"]["accuracy"] == arms["VGG16 + plain"]["accuracy"]
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "96.38" in page
    assert page.count("<figure>") == 3
    for name in ("comparison.md", "comparison.csv", "table-two.csv", "noise.svg", "trade-off.svg", "grid.png"):
        assert (tmp_path / "out" / name).stat().st_size


def test_what_is_stopped_while_it_is_judged_ends_after_the_block_and_goes_on_behind_it(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, written = threading.Event(), list[int]()
    real_write = Examination.write

    def asked_to_end_in_the_first(self: Examination, start: int, tool: Any) -> None:
        real_write(self, start, tool)
        written.append(start)
        asked.set()

    monkeypatch.setattr(Examination, "write", asked_to_end_in_the_first)
    comparison = place.comparison(PLAIN)  # trained by the first test
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with display(Console(quiet=True)) as progress, pytest.raises(KeyboardInterrupt):
        compare(comparison, str(tmp_path / "out"), parallel=1, progress=progress, stop=asked)
    assert written == [0]
    done = _run(comparison, tmp_path / "out", monkeypatch)
    assert len(written) > 1
    assert written == list(range(len(written))), "the first block is not judged again"
    assert [row.name for row in done.rows] == [COPY_INPUT, REAL, "plain"]


def test_what_is_stopped_begins_nothing_new(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = threading.Event()
    asked.set()
    comparison = replace(place.comparison(PLAIN), name="never")
    with display(Console(quiet=True)) as progress, pytest.raises(KeyboardInterrupt):
        compare(comparison, str(tmp_path / "out"), parallel=1, progress=progress, stop=asked)
    assert not list(Path(place.runs).glob("never*/checkpoints/*"))
    assert not (tmp_path / "out" / "comparison.json").exists()


def test_a_judge_that_trained_a_row_is_refused(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = replace(place.comparison(OURS), identity_judge=place.identity)
    with pytest.raises(InputError, match=r"cannot judge the identity: it is the identity network of the training"):
        _run(comparison, tmp_path / "out", monkeypatch)
    chosen = replace(place.comparison(PLAIN), checkpoint_judge=place.expression)
    with pytest.raises(InputError, match=r"cannot judge the expression: it is the checkpoint-choosing network"):
        _run(chosen, tmp_path / "out", monkeypatch)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes": ()}, "recipes, seeds: at least one of each is needed"),
        ({"recipes": (PLAIN, PLAIN)}, "recipe plain is given twice"),
        ({"seeds": (1, 1)}, r"seeds \(1, 1\): each may be given once"),
        ({"recipes": (PLAIN, override(OURS, {"data.size": 64}))}, r"recipes of \[32, 64\] pixels cannot be compared"),
        ({"recipes": (recipe_named("expression-tiny"),)}, "recipe expression-tiny trains expression: allowed are"),
    ],
)
def test_what_gives_no_table_is_one_line(place: Place, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(place.comparison(PLAIN), **change)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--recipes", "stargan-v2-tny"), "unknown recipe 'stargan-v2-tny': did you mean 'stargan-v2-tiny'?"),
        (
            ("--recipes", "stargan-v2-tiny", "stargan-v2-id-tiny", "--ablation", "identity"),
            "--ablation identity varies one recipe, --recipes has 2",
        ),
        (("--recipes", "stargan-v2-id-tiny"), "stargan-v2-id needs a model for 'identity'"),
        (("--recipes", "stargan-v2-tiny", "--split", "val"), "no row of split 'val' has an expression"),
    ],
)
def test_the_job_says_what_is_wrong_in_one_line(
    place: Place, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    given = ("--data", place.faces, "--name", "x", "--out", str(tmp_path / "out"), "--storage", str(tmp_path / "runs"))
    judges = ("--expression-judge", place.expression, "--identity-judge", place.identity_judge)
    done = run_job("compare", *given, *judges, *flags, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
