"""The evaluation of an embedder: strangers, pairs of a file, restart, the page; and the job as a process.

pytest tests/runtime/test_evaluate_embedder.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
import torch
from forked import run_job
from tiny_models import TinyModels

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.readers.lfw import LfwConfig, read_lfw
from stargan_ray.data.schema import Row
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.calibration import calibration_of
from stargan_ray.runtime.evaluate_embedder import evaluate_embedder
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.runtime.strangers import require_strangers
from stargan_ray.runtime.validation import make_hooks

OWN = {"val/threshold": 0.5, "val/calibration_slope": -4.0, "val/calibration_intercept": 2.0}
FACES = FacesConfig(people=30, images_per_person=4, size=32, splits=(0.4, 0.3, 0.3), label_noise=0.5)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("faces") / "faces")
    write_dataset(uri, read_faces(FACES))
    return uri


@pytest.fixture
def model(tiny: TinyModels) -> LoadedModel:
    return load_model(tiny.identity)


def trained_on(model: LoadedModel, uri: str, **more: Any) -> LoadedModel:
    """The model as if a data set had taught it."""
    told = {"data_uri": uri, "data_hash": open_dataset(uri).manifest.content_hash, **more}
    return replace(model, meta={**model.meta, **told})


def people_rows(people: int, images: int, split: str, *, first: int = 0, source: str = "planted") -> list[Row]:
    rows = [
        planted.row(f"{split}/{first + p}-{n}.png", expression=n % 2, identity=f"person {first + p}", split=split)
        for p in range(people)
        for n in range(images)
    ]
    return [row._replace(source=source) for row in rows]


# -- figures ------------------------------------------------------------------------------------------------


def test_every_split_is_judged_by_the_models_own_threshold(faces: str, model: LoadedModel, tmp_path: Path) -> None:
    ours = trained_on(model, faces, metrics=OWN)
    report = evaluate_embedder(faces, str(tmp_path / "out"), ours)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == report
    assert list(report["splits"]) == ["val", "test"]
    assert report["threshold"] == {"threshold": 0.5, "slope": -4.0, "intercept": 2.0, "from": "the model's metadata"}
    assert report["expressions_from"] == "truth"  # half of the labels are wrong
    assert [line.split(" is among")[0] for line in report["people"]["checked"]] == ["nobody and no image"]
    for name, split in report["splits"].items():
        assert (split["rows"], split["people"]) == (36, 9)
        assert split["paper"]["at_own_threshold"]["threshold"] == 0.5
        assert split["paper"]["at_recipe_threshold"]["threshold"] == 1.3
        assert 0 <= split["expressions"]["auc"] <= 1
        assert split["roc"]["tar"]["1e-3"]["tar"] is None  # of 576 pairs
        assert split["calibration"]["error"] > 0
        ends = report["intervals"]["splits"][name]["lfw_protocol"]["accuracy"]
        assert ends["low"] <= split["lfw_protocol"]["accuracy"] <= ends["high"]
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "FAR 1e-3 cannot be measured" in page
    assert "Expressions are those of the truth" in page
    assert "val&#39;s own figures" in page or "val's own figures" in page
    assert page.count("<img") == 6
    assert "http" not in page.replace("http://www.w3.org", "")
    assert not (tmp_path / "out" / "embeddings").exists()


def test_embeddings_are_the_networks(model: LoadedModel, tmp_path: Path) -> None:
    """The distances are those of decoding and embedding every image by hand."""
    from stargan_ray.data.pools import load_pool
    from stargan_ray.data.transforms import to_float

    planted.write(tmp_path / "data", people_rows(5, 4, "test") + people_rows(3, 1, "test", first=5))
    judge = replace(model, meta={**model.meta, "kind": "identity-judge"})  # any kind whose network is an embedder
    report = evaluate_embedder(str(tmp_path / "data"), str(tmp_path / "out"), judge)
    assert report["embedder"]["kind"] == "identity-judge"
    dataset = open_dataset(str(tmp_path / "data"))
    rows = np.arange(len(dataset))
    with torch.inference_mode():
        pool = to_float(torch.from_numpy(load_pool(dataset, rows, model.size)))
        vectors = model.networks["embedder"](pool).double().numpy()
    people = np.asarray(dataset.index["identity"].take(rows).to_pylist())
    gap = np.square(vectors[:, None] - vectors[None]).sum(2)
    other = np.triu(people[:, None] != people[None], 1)
    found = report["splits"]["test"]["distances"]["different people"]
    assert found["pairs"] == other.sum()
    assert found["mean"] == pytest.approx(gap[other].mean(), rel=1e-5)


def test_without_a_threshold_of_its_own_val_lends_one_and_is_not_judged_by_it(
    faces: str, model: LoadedModel, tmp_path: Path
) -> None:
    report = evaluate_embedder(faces, str(tmp_path / "both"), model)
    assert report["threshold"]["from"] == "val"
    assert report["splits"]["val"]["paper"]["at_own_threshold"] is None
    assert report["splits"]["val"]["calibration"] is None
    assert report["splits"]["test"]["paper"]["at_own_threshold"]["threshold"] == report["threshold"]["threshold"]
    alone = evaluate_embedder(faces, str(tmp_path / "alone"), model, splits=("test",), recipe_threshold=0.7)
    assert alone["threshold"] is None
    assert alone["splits"]["test"]["paper"]["at_recipe_threshold"]["threshold"] == 0.7


def test_a_killed_evaluation_goes_on_behind_the_last_block(faces: str, model: LoadedModel, tmp_path: Path) -> None:
    def killed(new: int, of: int) -> None:
        told.append(new)
        if sum(told) >= 40:
            raise KeyboardInterrupt

    told: list[int] = []
    out = str(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        evaluate_embedder(faces, out, model, block=20, on_scored=killed)
    again: list[tuple[int, int]] = []
    report = evaluate_embedder(faces, out, model, block=20, on_scored=lambda *each: again.append(each))
    assert again == [(40, 72), (20, 72), (12, 72)]
    assert report == evaluate_embedder(faces, str(tmp_path / "whole"), model, block=20)


def test_rows_that_say_nothing_are_counted(model: LoadedModel, tmp_path: Path) -> None:
    rows = people_rows(6, 3, "test") + people_rows(4, 1, "test", first=6)
    twin = rows[0]._replace(key="test/twin.png")
    nameless = planted.row("test/nameless.png", identity=None, split="test")
    planted.write(tmp_path / "data", [*rows, twin, nameless, *people_rows(2, 2, "val", first=20)])
    planted.damage(tmp_path / "data", rows[4].key, b"no image")
    report = evaluate_embedder(str(tmp_path / "data"), str(tmp_path / "out"), model)
    assert report["left_out"] == {"no identity": 1, "copy of another image of its split": 1, "unreadable": 1}
    test = report["splits"]["test"]
    assert (test["rows"], test["people"], test["people_with_one_image"]) == (21, 10, 4)
    assert test["rank1"]["strangers"] == 4
    assert report["not_judged"] == {"val": "verification needs at least 4 people, got 2"}
    assert report["expressions_from"] == "labels"


def test_data_that_cannot_judge_are_one_line(model: LoadedModel, tmp_path: Path) -> None:
    nameless = [planted.row(f"{n}.png", identity=None, split="test") for n in range(3)]
    cases = {
        "nameless": (nameless, "no row of test has an identity"),
        "few": (people_rows(3, 2, "test"), "no split can be judged: test: verification needs at least 4 people, got 3"),
        "single": (people_rows(5, 1, "test"), "at least 2 people with two images, got 0"),
    }
    for name, (rows, says) in cases.items():
        planted.write(tmp_path / name, rows)
        with pytest.raises(InputError, match=says):
            evaluate_embedder(str(tmp_path / name), str(tmp_path / "out"), model)


# -- strangers ----------------------------------------------------------------------------------------------


def test_people_of_the_models_own_train_split_are_refused(faces: str, model: LoadedModel, tmp_path: Path) -> None:
    ours = trained_on(model, faces)
    with pytest.raises(
        InputError, match=r"^12 of the people to evaluate are in the train split of .*, the first is 'fa"
    ):
        evaluate_embedder(faces, str(tmp_path / "out"), ours, splits=("train", "test"))
    assert not (tmp_path / "out").exists()
    # a set whose splits share a person
    rows = people_rows(5, 3, "train") + people_rows(5, 3, "test", first=4)
    planted.write(tmp_path / "shared", rows)
    shared = str(tmp_path / "shared")
    with pytest.raises(InputError, match=r"^1 of the people .* the first is 'person 4'"):
        evaluate_embedder(shared, str(tmp_path / "out"), trained_on(model, shared))
    # a model of other data may judge it: whether it knows them is not known, and the report says so
    report = evaluate_embedder(shared, str(tmp_path / "out"), model)
    assert report["people"]["checked"] == []
    assert (
        "whether anybody was in the training data: the model does not say where it is" in report["people"]["unchecked"]
    )
    assert f"1 of the 5 people are in the train split of {shared} too" in report["people"]["unchecked"]


def check(data: str | Path, model: LoadedModel, split: str = "test") -> dict[str, list[str]]:
    dataset = open_dataset(str(data))
    return require_strangers(
        dataset, np.flatnonzero(np.asarray(dataset.index["split"].to_pylist()) == split), model.meta
    )


def test_generated_people_are_the_same_in_every_set_of_a_seed(faces: str, model: LoadedModel, tmp_path: Path) -> None:
    ours = trained_on(model, faces)
    write_dataset(str(tmp_path / "more"), read_faces(replace(FACES, images_per_person=3, splits=(0.0, 0.0, 1.0))))
    with pytest.raises(InputError, match=r"^12 of the people to evaluate"):
        check(tmp_path / "more", ours)
    write_dataset(str(tmp_path / "others"), read_faces(replace(FACES, seed=7, splits=(0.0, 0.0, 1.0))))
    assert len(check(tmp_path / "others", ours)["checked"]) == 1


def test_names_of_other_sources_are_nobodys_but_an_image_is_known_anywhere(model: LoadedModel, tmp_path: Path) -> None:
    planted.write(tmp_path / "train", people_rows(5, 3, "train"))
    ours = trained_on(model, str(tmp_path / "train"))
    planted.write(tmp_path / "same-names", people_rows(5, 3, "test"))
    found = check(tmp_path / "same-names", ours)
    assert found["checked"][0].startswith("no image is among those of the train split")
    assert found["unchecked"] == [
        "people of the source planted by name: the two sets give no names that can be compared"
    ]
    known = [row._replace(key=row.key.replace("train", "test"), split="test") for row in people_rows(2, 1, "train")]
    planted.write(tmp_path / "same-images", people_rows(5, 3, "test", first=50) + known)
    with pytest.raises(InputError, match=r"^2 of the images to evaluate are in the train split .* 'test/0-0.png'"):
        check(tmp_path / "same-images", ours)


def test_what_cannot_be_known_is_said(model: LoadedModel, tmp_path: Path) -> None:
    planted.write(tmp_path / "train", people_rows(5, 3, "train"))
    planted.write(tmp_path / "test", people_rows(5, 3, "test", first=50))
    gone = trained_on(model, str(tmp_path / "train"), data_uri=str(tmp_path / "gone"))
    assert "it cannot be read" in check(tmp_path / "test", gone)["unchecked"][0]
    changed = trained_on(model, str(tmp_path / "train"), data_hash="0" * 64)
    assert "its content hash is another one" in check(tmp_path / "test", changed)["checked"][0]
    started = trained_on(model, str(tmp_path / "train"), init={"from": "runs/older", "fresh": []}, pretrained="timm")
    told = check(tmp_path / "test", started)["unchecked"]
    assert "the data of runs/older, from whose weights the training started" in told
    assert "the data of the pretrained weights (timm)" in told


# -- pairs of a file ----------------------------------------------------------------------------------------


def test_the_pairs_of_lfw_are_judged_fold_by_fold(model: LoadedModel, tmp_path: Path) -> None:
    lines = ["2\t3"]
    for fold in range(2):
        people = [f"Ann_{'abcdef'[fold * 3 + n]}" for n in range(3)]
        for person in people:
            for n in (1, 2):
                path = tmp_path / "lfw" / person / f"{person}_{n:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(planted.encoded(planted.noise(10 * ord(person[-1]) + n), "JPEG"))
        lines += [f"{person}\t1\t2" for person in people]
        lines += [f"{people[0]}\t1\t{people[1]}\t2", f"{people[1]}\t1\t{people[2]}\t1", f"{people[2]}\t2\tNo_Body\t1"]
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("\n".join(lines) + "\n")
    write_dataset(str(tmp_path / "data"), read_lfw(LfwConfig(str(tmp_path / "lfw"), pairs=str(pairs))))
    report = evaluate_embedder(str(tmp_path / "data"), str(tmp_path / "out"), model, pairs=str(pairs))
    found = report["pairs"]
    assert (found["pairs"], found["given"], found["folds"]) == (10, 12, 2)
    assert 0 <= found["accuracy"] <= 1
    assert found["roc"]["same"] == 6
    assert report["splits"]["test"]["people"] == 6
    assert report["splits"]["test"]["expressions"]["why"] == "no row has an expression"
    assert "10 of its 12 pairs have both images here, in 2 folds" in (tmp_path / "out/evaluation.html").read_text()
    write_dataset(str(tmp_path / "train"), read_lfw(LfwConfig(str(tmp_path / "lfw"))))
    ours = trained_on(model, str(tmp_path / "train"))  # the same people, split by their names: some were trained on
    with pytest.raises(InputError, match="of the people to evaluate are in the train split"):
        evaluate_embedder(str(tmp_path / "data"), str(tmp_path / "out"), ours, pairs=str(pairs))
    planted.write(tmp_path / "other", people_rows(5, 3, "test"))
    with pytest.raises(InputError, match="none of its 12 pairs has both images"):
        evaluate_embedder(str(tmp_path / "other"), str(tmp_path / "out"), model, pairs=str(pairs))


# -- validation ---------------------------------------------------------------------------------------------


def test_validation_gives_the_threshold_and_the_calibration(faces: str, model: LoadedModel) -> None:
    from stargan_ray.config import from_json

    recipe = from_json(model.meta["recipe"])
    hooks = make_hooks(recipe, open_dataset(faces), "", torch.device("cpu"))
    assert hooks.validate is not None
    metrics = hooks.validate(model.networks)
    found = calibration_of({"metrics": metrics})
    assert found is not None
    assert 0 < found.threshold < 4
    assert metrics["val/verification_accuracy"] > 0.4


def test_people_without_expressions_are_validated_and_people_without_pairs_are_not(
    model: LoadedModel, tmp_path: Path
) -> None:
    from stargan_ray.config import from_json

    recipe = from_json(model.meta["recipe"])
    for name, images in (("several", 3), ("single", 1)):
        rows = [row._replace(expression=None) for row in people_rows(6, images, "val")]
        planted.write(tmp_path / name, rows)
        hooks = make_hooks(recipe, open_dataset(str(tmp_path / name)), "", torch.device("cpu"))
        assert hooks.validate is not None
        assert (calibration_of({"metrics": hooks.validate(model.networks)}) is not None) == (name == "several")


# -- the job ------------------------------------------------------------------------------------------------


def test_the_job_prints_the_figures_and_refuses_what_is_not_for_it(
    faces: str, tiny: TinyModels, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    common = ("evaluate", "--data", faces, "--out", str(out), "--model")
    done = run_job(*common, str(tiny.identity), "--splits", "test", "--block", "20")
    assert done.returncode == 0, done.stderr
    for told in ("LFW protocol", "rank-1", "AUC, another expression", "not checked: whether anybody", "page: "):
        assert told in " ".join(done.stdout.split()), told
    assert (out / "evaluation.html").is_file()
    for flags, says in (
        ((str(tiny.identity), "--crops", "ten"), "--crops is not for a model of kind identity"),
        ((str(tiny.expression), "--pairs", "pairs.txt"), "--pairs is not for a model of kind expression"),
        ((str(tiny.identity), "--recipe-threshold", "4"), "--recipe-threshold 4.0: allowed is 0 < threshold < 4"),
        ((str(tiny.run),), "--expression-judge and --identity-judge are needed to judge a translator"),
    ):
        wrong = run_job(*common, *flags)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1), wrong.stderr
        assert says in wrong.stderr
