"""An embedder given to the GAN: refused in one line before anything starts, or used, from storage where it is asked.

pytest tests/runtime/test_embedder_use.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forked import run_job
from safetensors.numpy import load_file
from tiny_models import TinyModels

from stargan_ray.config import AnyMethod, DataConfig, Recipe, TrainConfig, from_json
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.transforms import Augment
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.runtime import launch, session
from stargan_ray.runtime.embed import embed, open_embedder
from stargan_ray.runtime.run import Run
from stargan_ray.training.recording import NoRecords
from stargan_ray.training.worker import LocalWorker

TINY = {"first": 4, "largest": 8, "bottleneck": 8, "depth": 1, "style_dim": 4, "latent_dim": 3, "mapping_hidden": 6}
METHOD = StarGANv2Identity(**TINY, patch=2, identity_dim=8)  # type: ignore[arg-type]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    config = FacesConfig(people=6, images_per_person=8, size=32, splits=(0.7, 0.3, 0.0))
    write_dataset(str(folder), read_faces(config))
    return folder


def run_of(
    faces: Path, tiny: TinyModels, tmp_path: Path, method: AnyMethod = METHOD, *, size: int = 32, **augment: float
) -> Run:
    data = DataConfig(size=size, shape=Shape(4, 2, 8), augment=Augment(**{"crop": 0.0, **augment}))  # type: ignore[arg-type]
    train = TrainConfig(steps=2, threads=1, report_every=2, sample_every=0, validate_every=0)
    recipe = Recipe("tiny", "a test's", method, data, train)
    helpers = {"identity": str(tiny.identity)} if method.helpers else {}
    return Run(recipe, str(faces), str(tmp_path / "runs"), "x", helpers, embeddings=True)


def refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``fit`` says, before Ray is started."""
    monkeypatch.setattr(launch, "start_ray", lambda: pytest.fail("Ray was started"))
    with pytest.raises(InputError) as caught:
        launch.fit(run)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_embedder_that_does_not_fit_is_refused_before_ray_starts(
    faces: Path, tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = replace(run_of(faces, tiny, tmp_path, replace(METHOD, identity_dim=256)), embeddings=False)
    assert refused(wide, monkeypatch) == (
        f"method.identity_dim = 256: the embedder {tiny.identity} has 8 dimensions; "
        "allowed with it is --method.identity-dim 8"
    )
    other = replace(run_of(faces, tiny, tmp_path), helpers={"identity": str(tiny.expression)})
    assert refused(other, monkeypatch) == (
        f"--identity {tiny.expression} is a model of kind expression: an identity embedder is needed"
    )
    none = replace(run_of(faces, tiny, tmp_path), helpers={"identity": str(tmp_path / "none")})
    assert "there is no model here" in refused(none, monkeypatch)


def test_stored_embeddings_that_cannot_be_used_are_refused_before_ray_starts(
    faces: Path, tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run_of(faces, tiny, tmp_path)
    dataset = open_dataset(str(faces))
    count = len(session.make_plan(plain.recipe, dataset).rows)
    said = refused(plain, monkeypatch)
    assert said.startswith(f"{count} of {count} training images have no embedding of 32 px by this embedder, the first")
    assert said.endswith(f": run jobs/embed.py --data {faces} --model {tiny.identity} --size 32")
    embed(dataset, open_embedder(str(tiny.identity)))
    run_of_size = run_of(faces, tiny, tmp_path, size=64)
    assert "have no embedding of 64 px" in refused(run_of_size, monkeypatch)
    for name, value in {"crop": 0.5, "rotation_degrees": 5.0, "brightness": 0.1}.items():
        said = refused(run_of(faces, tiny, tmp_path, **{name: value}), monkeypatch)
        assert said.startswith(f"--embeddings with data.augment.{name} = {value}: f(source) must be of the image")
    said = refused(run_of(faces, tiny, tmp_path, StarGANv2(**TINY, patch=2)), monkeypatch)  # type: ignore[arg-type]
    assert said == "--embeddings: stargan-v2 uses no identity embedder"


def test_an_embedder_of_another_size_is_used_with_a_word(
    faces: Path, tiny: TinyModels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It resizes what it is shown; twice the size is said to people, for its distances were never measured there."""
    run = replace(run_of(faces, tiny, tmp_path, size=64), embeddings=False)
    launch.check(run)
    assert capsys.readouterr().err == (
        f"warning: the embedder {tiny.identity} was trained on images of 32 px and is shown 64 px here, resized: "
        "its distances may mean less\n"
    )
    assert (trained_here(replace(run, name="resized")) / "meta.json").is_file()
    launch.check(replace(run_of(faces, tiny, tmp_path), embeddings=False))
    assert "warning" not in capsys.readouterr().err


def trained_here(run: Run) -> Path:
    """The checkpoint that a process without Ray and records leaves."""
    outcome = session.run_worker(run, LocalWorker(), session.thread_source, NoRecords())
    assert (outcome.finished, outcome.step) == (True, run.recipe.train.steps)
    return Path(outcome.checkpoint)


def test_two_ray_workers_take_them_from_storage_and_one_process_goes_on_without(
    faces: Path,
    tiny: TinyModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gradients, which are Adam's first moments at β1 = 0, of a run that never used them, but for rounding."""
    monkeypatch.chdir(tmp_path)  # where the records of a run go
    embed(open_dataset(str(faces)), open_embedder(str(tiny.identity)))
    # Adam turns what rounding leaves of gradients that are zero into whole steps: small ones here
    rates = {f"rate_{network}": 1e-6 for network in "gdef"}
    fields = {**TINY, "first_critic": 0, "patch": 2, "identity_dim": 8, **rates}
    flags = [text for name, value in fields.items() for text in (f"--method.{name.replace('_', '-')}", str(value))]
    flags += ["--data.shape.batch", "4", "--data.shape.lanes", "2", "--data.shape.window", "8", "--train.steps", "2"]
    flags += ["--train.report-every", "1", "--train.validate-every", "0", "--train.sample-every", "0"]
    flags += ["--scale.num-workers", "2", "--scale.cpus-per-worker", "0.5", "--scale.cpus-per-reader", "0.5"]
    where = ("--data", str(faces), "--storage", str(tmp_path / "runs"), "--identity", str(tiny.identity))
    done = run_job("train", "stargan-v2-id-tiny", *where, "--name", "stored", *flags, "--embeddings")
    assert done.returncode == 0, done.stderr
    meta = json.loads((tmp_path / "runs/stored/checkpoints/step-00000002/meta.json").read_text())
    assert meta["embeddings"] == "stored"
    recipe = from_json(meta["recipe"])
    recipe = replace(recipe, train=replace(recipe.train, steps=4))
    run = Run(recipe, str(faces), str(tmp_path / "runs"), "stored", {"identity": str(tiny.identity)})
    went_on, computed = trained_here(run), trained_here(replace(run, name="computed"))
    assert "embeddings" not in json.loads((went_on / "meta.json").read_text())
    for network in ("generator", "discriminator"):
        one, other = (load_file(folder / f"{network}.optimizer.safetensors") for folder in (went_on, computed))
        assert one.keys() == other.keys()
        moments = [key for key in one if key.endswith("exp_avg")]
        assert moments
        for key in moments:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-3, atol=1e-5, err_msg=f"{network} {key}")
