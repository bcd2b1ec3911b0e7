"""Judges and what they judge share nothing: a judge's training, and every way of using it as a loss is refused.

pytest tests/runtime/test_judges.py
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import DOMAINS, TinyModels, build_judge, recipe_for

from stargan_ray.config import DataConfig, Recipe, TrainConfig
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.runtime import launch
from stargan_ray.runtime.judges import open_identity_judge, open_judges
from stargan_ray.runtime.mlflow_store import connect
from stargan_ray.runtime.models import export_model, load_model
from stargan_ray.runtime.registry import promote, register
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.session import run_worker, thread_source
from stargan_ray.runtime.starting import start_from
from stargan_ray.training.checkpoint import read_meta
from stargan_ray.training.loop import Outcome, fresh_state
from stargan_ray.training.recording import NoRecords
from stargan_ray.training.worker import LocalWorker

JUDGE = IdentityJudgeMethod(
    backbone="test_resnet",
    hidden=8,
    embedding=8,
    average=True,
    solver=Solver(kind="adam", peak=1e-3, total=6),
)
RECIPE = Recipe(
    "judge",
    "a test's",
    JUDGE,
    DataConfig(size=32, shape=Shape(batch=8, lanes=2, window=8)),
    TrainConfig(steps=6, ema=0.9, checkpoint_every=3, validate_every=0, threads=1),
)


def population(folder: Path, people: int) -> str:
    config = FacesConfig(people=people, images_per_person=4, size=32, splits=(1.0, 0.0, 0.0))
    write_dataset(str(folder), read_faces(config))
    return str(folder)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> str:
    return population(tmp_path_factory.mktemp("data") / "faces", people=6)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    root = tmp_path_factory.mktemp("judge")
    return export_model(build_judge(root / "run"), root / "model")


def trained(run: Run, steps: int = 6) -> Outcome:
    recipe = replace(run.recipe, train=replace(run.recipe.train, steps=steps))
    return run_worker(replace(run, recipe=recipe), LocalWorker(), thread_source, NoRecords())


def translator_run(faces: str, tmp_path: Path, identity: str) -> Run:
    method = StarGANv2Identity(first=8, largest=16, bottleneck=8, depth=1, style_dim=8, latent_dim=4, identity_dim=8)
    recipe = replace(recipe_for(method, 32), data=DataConfig(size=32, shape=Shape(batch=4, lanes=1, window=32)))
    return Run(recipe, faces, str(tmp_path / "runs"), "translator", {"identity": identity})


# -- training -----------------------------------------------------------------------------------------------------


def test_the_number_of_people_comes_from_the_data_and_a_resumed_run_is_the_same_bit_for_bit(
    faces: str, tmp_path: Path
) -> None:
    whole, parted = (Run(RECIPE, faces, str(tmp_path), name) for name in ("whole", "parted"))
    expected = trained(whole)
    assert trained(parted, steps=3).step == 3
    outcome = trained(parted)
    first, second = Path(expected.checkpoint), Path(outcome.checkpoint)
    assert read_meta(first)["recipe"]["method"]["people"] == 6
    names = sorted(path.name for path in first.glob("*.safetensors"))
    assert {"centres.safetensors", "centres.optimizer.safetensors", "embedder.average.safetensors"} <= {*names}
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    folder = export_model(whole.uri, tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == ["embedder.safetensors", "meta.json"]
    model = load_model(folder)
    assert (model.kind, list(model.networks)) == ("identity-judge", ["embedder"])
    assert model.content_hash == load_model(whole.uri).content_hash


def test_another_number_of_people_is_refused(faces: str, tmp_path: Path) -> None:
    run = Run(RECIPE, faces, str(tmp_path), "judge")
    wrong = replace(run, recipe=replace(RECIPE, method=replace(JUDGE, people=5)))
    with pytest.raises(InputError, match=r"method\.people = 5: the batches are of 6 people .*allowed are 0 and 6"):
        trained(wrong)
    trained(run, steps=3)
    more = replace(run, data=population(tmp_path / "more", people=7))
    with pytest.raises(InputError, match=r"run 'judge' exists with method\.people = 6, now 7"):
        trained(more)


# -- a judge trains nothing ---------------------------------------------------------------------------------------


def test_a_judge_is_refused_as_a_helper_before_anything_starts(faces: str, judge: Path, tmp_path: Path) -> None:
    run = translator_run(faces, tmp_path, str(judge))
    for refuse in (launch.fit, launch.fit_here, trained):
        with pytest.raises(InputError, match=r"--identity .* is of kind identity-judge: a judge that trains is no"):
            refuse(run)


@pytest.mark.parametrize("name", ["models:/face-identity-judge@champion", "models:/face-identity-judge/1", "dlib"])
def test_a_judges_name_is_refused_without_a_look_at_the_registry(name: str, faces: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"--identity {name} is a judge of identities: a judge that trains"):
        launch.fit(translator_run(faces, tmp_path, name))


def renamed(judge: Path, out: Path) -> Path:
    """The judge's weights as a model that says it is an embedder."""
    shutil.copytree(judge, out)
    meta = read_meta(out)
    told = meta["recipe"]["method"]
    shared = {name: told[name] for name in ("backbone", "hidden", "embedding", "input_size", "standardize")}
    meta["recipe"]["method"] = {"name": "identity", **shared}
    (out / "meta.json").write_text(json.dumps(meta))
    assert load_model(out).kind == "identity"
    return out


def test_weights_of_a_registered_judge_are_refused_under_another_kind(
    faces: str, judge: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.chdir(tmp_path)
    run = translator_run(faces, tmp_path, str(renamed(judge, tmp_path / "embedder")))
    launch.check(run)  # nobody can know before the judge is registered
    version = register(judge, uri=store)
    with pytest.raises(InputError, match=rf"has the weights of models:/face-identity-judge/{version}: a judge that"):
        launch.check(run)
    # and registered under another name the judge is still of its kind
    again = promote(str(judge), name="some-embedder", uri=store)
    with pytest.raises(InputError, match=r"--identity models:/some-embedder/1 is of kind identity-judge"):
        launch.check(translator_run(faces, tmp_path, again))


def test_training_goes_on_when_the_registry_cannot_be_asked(
    faces: str, tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    launch.check(translator_run(faces, tmp_path, str(tiny.identity)))
    assert "not compared with the registered judges" in caplog.text


def test_the_judge_has_a_name_of_its_own_in_the_registry(judge: Path, tiny: TinyModels, store: str) -> None:
    register(judge, uri=store)
    version = connect(store).get_model_version_by_alias("face-identity-judge", "champion")
    assert "refused as a training loss" in version.description
    assert version.tags["content_hash"] == load_model(judge).content_hash
    folder = export_model(tiny.identity, judge.parent / "embedder")
    with pytest.raises(InputError, match=r"of kind identity: its name is face-identity, not face-identity-judge"):
        register(folder, name="face-identity-judge", uri=store)


def test_a_judge_is_no_start_for_others_nor_others_for_it(judge: Path, tiny: TinyModels) -> None:
    embedder = IdentityMethod(width=0.05, middle_blocks=0, stem_stride=1, hidden=8, embedding=8)
    for method, where in ((embedder, judge), (replace(JUDGE, people=6), tiny.identity)):
        state = fresh_state(recipe_for(method, 32), 3, LocalWorker(), {})
        with pytest.raises(InputError, match=r"--init .* a judge shares no weights"):
            start_from(state, str(where), DOMAINS)
    state = fresh_state(recipe_for(replace(JUDGE, people=9), 32), 3, LocalWorker(), {})
    assert start_from(state, str(judge), DOMAINS)["fresh"] == ["centres"]  # one judge may start from another


# -- what trained a translator does not judge it ------------------------------------------------------------------


def test_the_training_embedder_is_refused_as_the_judge_wherever_it_lies(
    tiny: TinyModels, judge: Path, tmp_path: Path
) -> None:
    translator = load_model(tiny.run)
    copy = export_model(tiny.identity, tmp_path / "elsewhere")
    for where in (tiny.identity, copy):
        with pytest.raises(InputError, match=r"cannot judge .*: it is the identity network that trained it"):
            open_judges(str(tiny.expression), str(where), translator)
    other = open_judges(str(tiny.expression), str(judge), translator)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    assert other.identity(image).norm(dim=1).tolist() == pytest.approx([1, 1])
    assert other.expression(image).shape == (2, 3)


def test_a_model_of_another_kind_is_no_judge(tiny: TinyModels, judge: Path) -> None:
    translator = load_model(tiny.run)
    with pytest.raises(InputError, match="of kind expression: allowed as this judge is identity-judge or identity"):
        open_identity_judge(str(tiny.expression), translator)
    with pytest.raises(InputError, match="of kind identity-judge: allowed as this judge is expression"):
        open_judges(str(judge), str(judge), translator)
