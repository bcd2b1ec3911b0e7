"""The MLflow door for registering a model folder."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stargan_ray import __version__
from stargan_ray.errors import InputError
from stargan_ray.evaluation.calibration import calibration_of
from stargan_ray.runtime.card import card, evaluation_tags, with_evaluation
from stargan_ray.runtime.lookup import HASH_TAG, find_version
from stargan_ray.runtime.mlflow_store import EXPERIMENT, connect, default_store, experiment_id, find_run, tracking_uri
from stargan_ray.runtime.models import LoadedModel, export_model, load_model

if TYPE_CHECKING:
    from stargan_ray.runtime.evaluated import Evaluation

NAMES = {
    "expression": "face-expression",
    "identity": "face-identity",
    "identity-judge": "face-identity-judge",
    "translator": "expression-translator",
}


def register(
    folder: Path,
    *,
    name: str = "",
    run_id: str | None = None,
    alias: str = "champion",
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    evaluation: Evaluation | None = None,
    uri: str = "",
) -> str:
    """Register a model folder as a pyfunc, with signature, input example and card.

    Args:
        folder: what ``export_model`` wrote.
        name: empty = the name of its kind.
        run_id: the MLflow run that trained it; None = the newest of the name that the model gives.
        alias: moved to the new version; empty = none.
        metrics: for the card, beside those of the checkpoint.
        tags: of the version.
        evaluation: of this model, for the card and the tags.
        uri: of MLflow; empty = ``tracking_uri()``.

    Returns:
        The version.

    Raises:
        InputError: the folder is no whole model, the name is of another kind, or MLflow cannot be reached.
    """
    model = load_model(folder)  # what cannot be loaded here could not be loaded by anyone
    wanted = NAMES[model.kind]
    if name and name != wanted and name in NAMES.values():
        raise InputError(f"{folder} is a model of kind {model.kind}: its name is {wanted}, not {name}")
    meta = {**model.meta, "metrics": {**model.meta["metrics"], **(metrics or {})}}
    text, told = card(meta), {**(tags or {})}
    if evaluation is not None:
        text, told = with_evaluation(text, evaluation), told | evaluation_tags(evaluation)
    uri = uri or tracking_uri()
    client = connect(uri)
    from mlflow.exceptions import MlflowException

    try:
        if run_id is None and meta["run"]:
            run_id = find_run(client, experiment_id(client, uri, EXPERIMENT), meta["run"]) or None
        with default_store(uri):
            logged = client.create_logged_model(
                _experiment_of(client, uri, run_id), name=name or wanted, source_run_id=run_id, model_type=model.kind
            )
            with tempfile.TemporaryDirectory(prefix="register-") as temporary:
                place = Path(temporary) / "model"
                _save(place, folder, meta, logged, run_id)
                (place / "README.md").write_text(text, encoding="utf-8")
                client.log_model_artifacts(logged.model_id, str(place))
            client.finalize_logged_model(logged.model_id, "READY")
            return _add_version(client, name or wanted, logged, run_id, text, alias, _tags(model, meta, told))
    except (MlflowException, OSError) as error:
        raise InputError(f"cannot register {folder} in MLflow at {uri}: {' '.join(str(error).split())}") from error


def promote(
    where: str, *, name: str = "", alias: str = "champion", evaluation: Evaluation | None = None, uri: str = ""
) -> str:
    """Give an alias to a model: the best checkpoint of a run is registered first, a registered one stays as it is.

    An evaluation of a registered model goes to its description and tags before the alias moves.

    Args:
        where: what ``load_model`` takes.
        name: of a new registered model; empty = the name of its kind.
        alias: moved to it.
        evaluation: of this model.
        uri: of MLflow; empty = ``tracking_uri()``.

    Returns:
        ``models:/<name>/<version>``.

    Raises:
        InputError: there is no such model, or as ``register``.
    """
    uri = uri or tracking_uri()
    if not where.startswith("models:/"):
        with tempfile.TemporaryDirectory(prefix="promote-") as temporary:
            folder = export_model(where, Path(temporary) / "model")
            version = register(folder, name=name, alias=alias, evaluation=evaluation, uri=uri)
            return f"models:/{name or NAMES[load_model(folder).kind]}/{version}"
    found, version = find_version(where, uri)
    if name not in ("", found):
        raise InputError(f"{where} is registered as {found}: --name {name} is for a run or a folder")
    from mlflow.exceptions import MlflowException

    client = connect(uri)
    try:
        if evaluation is not None:
            _tell(client, found, version, evaluation)
        client.set_registered_model_alias(found, alias, version)
    except MlflowException as error:
        raise InputError(f"alias {alias!r} cannot be given to {where}: {' '.join(str(error).split())}") from error
    return f"models:/{found}/{version}"


def _tell(client: Any, name: str, version: str, evaluation: Evaluation) -> None:
    """Add an evaluation to a version that is registered already."""
    text = client.get_model_version(name, version).description or ""
    client.update_model_version(name, version, with_evaluation(text, evaluation))
    for key, value in evaluation_tags(evaluation).items():
        client.set_model_version_tag(name, version, key, value)


def _experiment_of(client: Any, uri: str, run_id: str | None) -> str:
    return str(client.get_run(run_id).info.experiment_id) if run_id else experiment_id(client, uri, EXPERIMENT)


def _save(place: Path, folder: Path, meta: Mapping[str, Any], logged: Any, run_id: str | None) -> None:
    """Write the MLflow model; requirements are named, since finding them out by a trial run takes a minute."""
    import mlflow
    from mlflow.models import Model

    mlflow.pyfunc.save_model(
        path=str(place),
        mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"model": str(folder)},
        signature=_signature(meta),
        input_example=_example(meta),
        pip_requirements=[f"stargan-ray=={__version__}"],
        metadata=_metadata(meta),
    )


def _metadata(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a program that loads the model as a pyfunc finds in ``model.metadata.metadata``."""
    told = {name: meta[name] for name in ("kind", "method", "data_hash", "commit", "licence")}
    read = calibration_of(meta)  # of an embedder: its vectors say nothing without a threshold
    return told if read is None else {**told, **read.metrics()}


def _signature(meta: Mapping[str, Any]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import Array, DataType

    inputs = [ColSpec("binary", "image")]
    if meta["kind"] == "translator":
        inputs += [
            ColSpec("string", "target"),
            ColSpec("binary", "reference", required=False),
            ColSpec("double", "intensity", required=False),
            ColSpec("long", "seed", required=False),
        ]
        outputs = [ColSpec("binary", "image")]
    elif meta["kind"] in ("identity", "identity-judge"):
        outputs = [ColSpec(Array(DataType.double), "embedding")]
    else:
        outputs = [ColSpec("double", name) for name in meta["domains"]]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _example(meta: Mapping[str, Any]) -> Any:
    """A grey picture: an example shows the form of an input, and nobody's face."""
    import pandas as pd

    buffer = io.BytesIO()
    Image.fromarray(np.full((meta["size"], meta["size"], 3), 128, np.uint8)).save(buffer, "PNG")
    row: dict[str, Any] = {"image": buffer.getvalue()}
    if meta["kind"] == "translator":
        row |= {"target": meta["domains"][0], "intensity": 1.0, "seed": 0}
    return pd.DataFrame([row])


def _tags(model: LoadedModel, meta: Mapping[str, Any], more: Mapping[str, str]) -> dict[str, str]:
    told = ("kind", "method", "data_hash", "commit", "version", "licence", "pretrained")
    scores = {f"metric.{name}": f"{value:.6g}" for name, value in meta["metrics"].items()}
    own = {HASH_TAG: model.content_hash, **{name: str(meta[name]) for name in told}}
    return {**own, **scores, **more}


def _add_version(
    client: Any, name: str, logged: Any, run_id: str | None, text: str, alias: str, tags: dict[str, str]
) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name, logged.artifact_location, run_id, tags=tags, description=text, model_id=logged.model_id
    ).version
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return str(version)
