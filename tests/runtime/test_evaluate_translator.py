"""A translator before its judges: two processes equal one, a killed run goes on, and what would fool us is refused.

pytest tests/runtime/test_evaluate_translator.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import planted
import pyarrow.parquet as pq
import pytest
from forked import run_job
from tiny_models import meta_for, recipe_for

from stargan_ray.config import AnyMethod, Recipe
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.runtime import examination
from stargan_ray.runtime.evaluate_translator import evaluate_translator
from stargan_ray.runtime.examination import Docket, examination_of, examine
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.models import load_model
from stargan_ray.training.checkpoint import save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker

NARROW = {"first": 4, "largest": 8, "bottleneck": 8, "depth": 1, "style_dim": 4, "latent_dim": 3, "mapping_hidden": 6}


@dataclass(frozen=True)
class Place:
    folder: Path

    @property
    def docket(self) -> Docket:
        dataset = open_dataset(str(self.folder / "faces"))
        return Docket(dataset.uri, dataset.manifest.content_hash, 32, people=8, translations=90)

    @property
    def judges(self) -> JudgeModels:
        return JudgeModels.of(*(str(self.folder / name) for name in ("expression", "judge", "identity")))

    def model(self, name: str = "translator"):
        return load_model(self.folder / name)


def _save(folder: Path, recipe: Recipe, **more) -> None:
    meta = {**meta_for(recipe), "domains": list(EXPRESSIONS), **more}
    save_folder(fresh_state(recipe, len(EXPRESSIONS), LocalWorker(), {}), folder, meta)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("evaluate")
    write_dataset(
        str(folder / "faces"),
        read_faces(FacesConfig(people=20, images_per_person=10, size=32, splits=(0.5, 0.0, 0.5))),
    )
    methods: dict[str, AnyMethod] = {
        "identity": IdentityMethod(width=0.05, middle_blocks=0, stem_stride=1, hidden=8, embedding=8),
        "expression": ExpressionMethod(width=2),
        "judge": IdentityJudgeMethod(backbone="test_resnet", hidden=8, embedding=8, people=6),
        "translator": StarGANv2(**NARROW),
    }
    for name, method in methods.items():
        _save(folder / name, recipe_for(method, size=32))
    return Place(folder)


def test_two_processes_see_what_one_sees(place: Place, tmp_path: Path) -> None:
    docket, judges, model = place.docket, place.judges, place.model()
    court = docket.court()
    found = {}
    for parallel in (1, 2):
        asked = examination_of(model, court, docket, judges, str(tmp_path / f"by-{parallel}"), block=40)
        found[parallel] = examine(asked, parallel)
    for one, two in (
        (found[1].latent, found[2].latent),
        (found[1].reference, found[2].reference),
        *((found[1].swept[x], found[2].swept[x]) for x in found[1].swept),
    ):
        assert one is not None
        assert two is not None
        for name in ("logits", "identity", "training", "features", "background"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_what_was_seen_before_a_kill_is_not_seen_again(place: Place, tmp_path: Path, monkeypatch) -> None:
    whole = evaluate_translator(place.docket, str(tmp_path / "whole"), place.model(), place.judges, block=40)
    written: list[int] = []
    real_write = examination.Examination.write

    def killed_at_the_fourth(self, start, tool):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(start)
        real_write(self, start, tool)

    monkeypatch.setattr(examination.Examination, "write", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        evaluate_translator(place.docket, str(tmp_path / "again"), place.model(), place.judges, block=40)
    assert not (tmp_path / "again" / "evaluation.json").exists()
    done: list[int] = []
    monkeypatch.setattr(
        examination.Examination,
        "write",
        lambda self, start, tool: (done.append(start), real_write(self, start, tool))[1],
    )
    again = evaluate_translator(place.docket, str(tmp_path / "again"), place.model(), place.judges, block=40)
    assert not set(done) & set(written)
    assert again == whole
    assert not (tmp_path / "again" / "seen").exists()


def test_every_figure_has_its_interval_and_the_judges_own_score(place: Place, tmp_path: Path) -> None:
    report = evaluate_translator(place.docket, str(tmp_path), place.model(), place.judges)
    figures = {name for name, value in report["translator"].items() if isinstance(value, float)}
    assert {"tar", "rank1", "training_distance", "similarity_cosine", "frechet", "monotone"} <= figures
    for row in ("translator", "copy_input", "real"):
        for name in figures & set(report[row]):
            assert {"low", "high", "n"} == set(report["intervals"][row][name]), (row, name)
    assert report["copy_input"]["similarity_distance"] == report["copy_input"]["training_distance"] == 0
    values = pq.read_table(tmp_path / "values.parquet")
    assert values.num_rows == report["data"]["translations"] == 90
    for name in ("similarity_distance", "tar", "rank1"):
        assert values[name].to_numpy().mean() == pytest.approx(report["translator"][name])
    page = (tmp_path / "evaluation.html").read_text()
    assert "checked: " in page
    assert "guided by references" in page


def test_who_trained_the_translator_or_a_judge_is_refused(place: Place, tmp_path: Path) -> None:
    dataset = open_dataset(place.docket.data)
    known = {"data_uri": dataset.uri, "data_hash": dataset.manifest.content_hash}
    _save(tmp_path / "knows", recipe_for(StarGANv2(**NARROW), size=32), **known)
    its_people = replace(place.docket, split="train")
    with pytest.raises(
        InputError, match=r"of the people to evaluate are in the train split of .*, the first is 'faces"
    ):
        evaluate_translator(its_people, str(tmp_path / "out"), load_model(tmp_path / "knows"), place.judges)
    evaluate_translator(place.docket, str(tmp_path / "fine"), load_model(tmp_path / "knows"), place.judges)
    judging = recipe_for(IdentityJudgeMethod(backbone="test_resnet", hidden=8, embedding=8, people=6), size=32)
    _save(tmp_path / "judge", judging, **known)
    told = JudgeModels.of(str(place.folder / "expression"), str(tmp_path / "judge"))
    with pytest.raises(InputError, match="of the people to evaluate are in the train split"):
        evaluate_translator(its_people, str(tmp_path / "out"), place.model(), told)
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.fixture(scope="module")
def nameless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Faces in the manner of FER2013 and AffectNet: each has an expression, and none a name."""
    rows = [
        planted.row(f"{split}/{n}.png", expression=n % len(EXPRESSIONS), split=split)
        for split, count in (("train", 32), ("val", 16), ("test", 40))
        for n in range(count)
    ]
    folder = tmp_path_factory.mktemp("nameless")
    planted.write(folder / "faces", rows, EXPRESSIONS)
    return str(folder / "faces")


def test_a_set_that_names_nobody_is_judged_against_the_sources(place: Place, nameless: str, tmp_path: Path) -> None:
    docket = Docket.of(open_dataset(nameless), 32, "test", translations=90)
    assert (docket.people, place.docket.people) == (1_600, 8)
    report = evaluate_translator(docket, str(tmp_path), place.model(), place.judges)
    assert report["data"]["people"] == 40
    assert report["copy_input"]["rank1"] == report["copy_input"]["tar"] == 1
    assert report["translator"]["rank1"] < 0.5, "an untrained translator keeps nobody"
    assert "rank1" not in report["real"]
    assert 0 < report["real"]["target_expression_accuracy"] < 1
    assert "each image stands for itself" in (tmp_path / "evaluation.html").read_text()


def test_an_image_that_a_model_learned_from_is_refused_without_a_name_too(
    place: Place, nameless: str, tmp_path: Path
) -> None:
    dataset = open_dataset(nameless)
    known = {"data_uri": dataset.uri, "data_hash": dataset.manifest.content_hash}
    _save(tmp_path / "knows", recipe_for(StarGANv2(**NARROW), size=32), **known)
    knows = load_model(tmp_path / "knows")
    with pytest.raises(InputError, match=r"^32 of the images to evaluate are in the train split of .*--duplicates"):
        evaluate_translator(Docket.of(dataset, 32, "train"), str(tmp_path / "out"), knows, place.judges)
    found = evaluate_translator(Docket.of(dataset, 32, "test"), str(tmp_path / "out"), knows, place.judges)
    told = found["strangers"]["translator"]
    assert told["checked"][0].startswith("no image is among those of the train split")
    assert told["unchecked"] == [
        "people of the source planted by name: the two sets give no names that can be compared"
    ]


def test_a_judge_that_is_no_judge_is_refused(place: Place, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is the embedder that trains translators"):
        JudgeModels.of(*(str(place.folder / name) for name in ("expression", "identity", "identity")))
    with pytest.raises(InputError, match="allowed as this judge is expression"):
        JudgeModels.of(str(place.folder / "identity"), str(place.folder / "judge"))
    helpers = {
        "identity": {
            "uri": str(place.folder / "judge"),
            "content_hash": load_model(place.folder / "judge").content_hash,
        }
    }
    model = place.model()
    model.meta["helpers"] = helpers
    with pytest.raises(InputError, match="it is the identity network that trained it"):
        evaluate_translator(place.docket, str(tmp_path), model, place.judges)


def test_the_job_writes_the_report_and_tells_mlflow(place: Place, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    judges = ("--expression-judge", str(place.folder / "expression"), "--identity-judge", str(place.folder / "judge"))
    flags = ("--model", str(place.folder / "translator"), "--data", place.docket.data, "--out", str(tmp_path / "out"))
    protocol = ("--protocol", "--sources", "2", "--outputs", "2")
    few = ("--people", "8", "--translations", "90")
    done = run_job("evaluate", *flags, *judges, *few, *protocol, cwd=tmp_path, MLFLOW_TRACKING_URI=store)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert report["protocol"]["names"]["frechet"].startswith("Fréchet distance on ")  # and not FID
    assert len(report["protocol"]["reference"]["pairs"]) == 8 * 7
    (run,) = mlflow.MlflowClient(store).search_runs(["1"])
    assert run.data.metrics["evaluation/translator/rank1"] == report["translator"]["rank1"]
    low = report["intervals"]["translator"]["rank1"]["low"]
    assert run.data.metrics["evaluation/translator/rank1/low"] == low
    refused = run_job("evaluate", *flags, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.strip() == "error: --expression-judge and --identity-judge are needed to judge a translator"
