"""The registry: register, look up by alias from a plain Python process, predict; and what a wrong name says.

Run: pytest tests/runtime/test_registry.py   (a SQLite store in a temporary folder; some twenty seconds)
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from forked import run_job
from mlflow.exceptions import MlflowException
from PIL import Image
from tiny_models import DOMAINS, TinyModels

from stargan_ray.errors import InputError
from stargan_ray.evaluation.calibration import Calibration, calibrated, calibration_of
from stargan_ray.runtime.mlflow_store import NAME_TAG, connect, default_store, experiment_id
from stargan_ray.runtime.models import export_model, load_model
from stargan_ray.runtime.registry import register
from stargan_ray.runtime.translate import draw_latent, read_image, to_png, translate_image

ROOT = Path(__file__).parents[2]
PLAIN = """
import mlflow, pandas
mlflow.set_tracking_uri({store!r})
model = mlflow.pyfunc.load_model("models:/expression-translator@champion")
face = open({face!r}, "rb").read()
open({out!r}, "wb").write(model.predict(pandas.DataFrame({{"image": [face], "target": ["happiness"]}})).image[0])
"""


def face(seed: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def folders(tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    places = {"translator": tiny.run, "identity": tiny.identity, "expression": tiny.expression}
    return {kind: export_model(where, root / kind) for kind, where in places.items()}


@pytest.fixture(scope="session")
def registered(folders: dict[str, Path], store: str) -> dict[str, str]:
    """Kind -> version, all in the store under the alias champion."""
    return {kind: register(folder, uri=store, metrics={"eval/rank1": 0.75}) for kind, folder in folders.items()}


@pytest.fixture
def pyfunc(registered: dict[str, str], store: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads a registered model as a person's program does."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return lambda name: mlflow.pyfunc.load_model(f"models:/{name}@champion")


def test_five_lines_of_plain_python(
    registered: dict[str, str], folders: dict[str, Path], store: str, tmp_path: Path
) -> None:
    source, out = tmp_path / "face.jpg", tmp_path / "happy.png"
    source.write_bytes(face())
    program = PLAIN.format(store=store, face=str(source), out=str(out))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    model = load_model(folders["translator"])
    image = read_image(face(), model.size)
    expected = translate_image(model, image, DOMAINS.index("happiness"), latent=draw_latent(model, 0))
    assert out.read_bytes() == to_png(expected[0])


def test_a_version_carries_its_card_signature_and_example_and_no_pickle(registered: dict[str, str], store: str) -> None:
    import mlflow

    client = connect(store)
    version = client.get_model_version_by_alias("expression-translator", "champion")
    for told in ("Apache-2.0", "Intended use", "Limits", "d" * 64, "eval/rank1 | 0.75", "val/score | 0.9"):
        assert told in version.description
    assert version.tags["metric.eval/rank1"] == "0.75"
    place = Path(version.source.removeprefix("file://"))
    names = {path.name for path in place.rglob("*") if path.is_file()}
    assert {"README.md", "pyfunc_model.py", "meta.json", "generator.safetensors", "input_example.json"} <= names
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))}
    assert (place / "README.md").read_text() == version.description
    with default_store(store):
        signature = mlflow.models.get_model_info(str(place)).signature
    assert signature.inputs.required_input_names() == ["image", "target"]
    assert signature.inputs.optional_input_names() == ["reference", "intensity", "seed"]


def test_the_translator_answers_every_row_by_itself(pyfunc: Any) -> None:
    model = pyfunc("expression-translator")
    table = pd.DataFrame(
        {
            "image": [face(1), face(2), face(1)],
            "target": ["sadness", "happiness", "sadness"],
            "reference": [None, face(3), None],
            "intensity": [None, 0.5, 1.0],
            "seed": [4, 0, 4],
        }
    )
    together = model.predict(table).image.tolist()
    assert together[0] == together[2]
    assert together == [model.predict(table.iloc[[row]]).image.iloc[0] for row in range(3)]
    assert Image.open(io.BytesIO(together[0])).size == (16, 16)
    other = model.predict(table.assign(seed=5)).image.tolist()
    assert other[0] != together[0]


def test_the_embedder_and_the_classifier(pyfunc: Any, tiny: TinyModels) -> None:
    table = pd.DataFrame({"image": [face(1), face(2)]})
    vectors = np.stack(pyfunc("face-identity").predict(table).embedding.tolist())
    assert vectors.shape == (2, 8)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    scores = pyfunc("face-expression").predict(table)
    assert list(scores.columns) == DOMAINS
    assert np.allclose(scores.sum(axis=1), 1)
    model = load_model(tiny.expression)
    expected = model.networks["classifier"](read_image(face(1), model.size)).softmax(1)
    assert torch.allclose(torch.tensor(scores.iloc[0].tolist()).float(), expected[0], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"target": ["sadness"]}, "missing inputs ['image']"),
        ({"image": [3], "target": ["sadness"]}, "column image"),
        ({"image": ["face.jpg"], "target": ["sadness"]}, "allowed are an image file's bytes"),
        ({"image": [b"no image"], "target": ["sadness"]}, "row 0: not a usable image"),
        ({"image": [face()], "target": ["sadnes"]}, "did you mean 'sadness'?"),
        ({"image": [face()], "target": ["sadness"], "intensity": [2.0]}, "allowed is 0 to 1"),
        ({"image": [face()], "target": ["sadness"], "intensity": ["much"]}, "column intensity"),
    ],
)
def test_a_wrong_input_is_named(pyfunc: Any, columns: dict[str, Any], said: str) -> None:
    with pytest.raises((InputError, MlflowException)) as caught:
        pyfunc("expression-translator").predict(pd.DataFrame(columns))
    assert said in str(caught.value)


def test_models_are_loaded_by_alias_and_version(
    registered: dict[str, str], tiny: TinyModels, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    model = load_model("models:/expression-translator@champion")
    assert model.where == f"models:/expression-translator/{registered['translator']}"
    assert model.content_hash == load_model(tiny.run).content_hash
    assert model.folder.is_dir()
    assert load_model(model.where).content_hash == model.content_hash

    def refusal(where: str) -> str:
        with pytest.raises(InputError) as caught:
            load_model(where)
        return str(caught.value)

    assert "did you mean 'expression-translator'?" in refusal("models:/expresion-translator@champion")
    assert "did you mean 'champion'? allowed: champion" in refusal("models:/expression-translator@champoin")
    assert "allowed: 1" in refusal("models:/face-identity/99")
    assert "allowed are models:/<name>@<alias>" in refusal("models:/face-identity")


def test_mlflow_away_or_empty_says_so(monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    for attempt in (lambda: load_model("models:/face-identity@champion"), lambda: register(folders["identity"])):
        with pytest.raises(InputError, match="MLFLOW_TRACKING_URI") as caught:
            attempt()
        assert away in str(caught.value)


def test_the_promote_job_registers_a_run_and_moves_an_alias(
    tiny: TinyModels, store: str, registered: dict[str, str], tmp_path: Path
) -> None:
    def job(*flags: str) -> subprocess.CompletedProcess[str]:
        return run_job("promote", *flags, MLFLOW_TRACKING_URI=store)

    client = connect(store)
    trained = client.create_run(
        experiment_id(client, store, "stargan-ray"), tags={NAME_TAG: "first"}, run_name="first"
    ).info.run_id
    folder = export_model(tiny.expression, tmp_path / "model")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"run": "first"}))
    first = job("--model", str(folder), "--alias", "challenger")
    assert first.returncode == 0, first.stderr
    assert "models:/face-expression@challenger" in first.stdout
    made = client.get_model_version_by_alias("face-expression", "challenger")
    assert made.run_id == trained
    assert "Run**: `first`" in made.description
    champion = client.get_model_version_by_alias("face-expression", "champion")
    assert str(champion.version) == registered["expression"]

    second = job("--model", "models:/face-expression@challenger")
    assert second.returncode == 0, second.stderr
    champion = client.get_model_version_by_alias("face-expression", "champion")
    assert champion.version == made.version
    client.set_registered_model_alias("face-expression", "champion", registered["expression"])

    wrong = job("--model", "models:/face-expresion@champion")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean 'face-expression'?" in wrong.stderr


def test_a_challenger_leaves_the_champion(folders: dict[str, Path], store: str, registered: dict[str, str]) -> None:
    client = connect(store)
    run = client.create_run(experiment_id(client, store, "stargan-ray")).info.run_id
    version = register(folders["identity"], uri=store, run_id=run, alias="challenger", tags={"why": "a test"})
    assert version != registered["identity"]
    made = client.get_model_version("face-identity", version)
    assert (made.run_id, made.tags["why"]) == (run, "a test")
    champion = client.get_model_version_by_alias("face-identity", "champion")
    assert str(champion.version) == registered["identity"]
    with pytest.raises(InputError, match="its name is face-identity, not face-expression"):
        register(folders["identity"], name="face-expression", uri=store)


def test_an_embedder_is_looked_up_with_its_threshold_and_calibration(
    folders: dict[str, Path], store: str, registered: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    fitted = Calibration(threshold=1.125, slope=-4.5, intercept=5.25)
    folder = export_model(folders["identity"], tmp_path / "model")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"metrics": fitted.metrics()}))
    version = register(folder, uri=store, alias="calibrated")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    found = load_model("models:/face-identity@calibrated").meta
    assert calibration_of(found) == fitted
    assert calibrated(fitted.intercept / 4.5, found) == pytest.approx(0.5)
    made = connect(store).get_model_version("face-identity", version)
    assert made.tags["metric.val/threshold"] == "1.125"
    assert "d below 1.125; P(same) = 1 / (1 + exp(−(5.25 -4.5 · d)))" in made.description
    told = mlflow.pyfunc.load_model("models:/face-identity@calibrated").metadata.metadata
    assert {name: told[name] for name in fitted.metrics()} == fitted.metrics()
