"""The MLflow door for finding things: a registered model by name and alias or version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargan_ray.errors import InputError, unknown
from stargan_ray.runtime.mlflow_store import connect, default_store, tracking_uri

HASH_TAG = "content_hash"  # of a version: the SHA-256 of its weights
_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Holder:
    """The version that an alias means now.

    Attributes:
        version: its number.
        content_hash: of its weights; empty where another program registered it.
    """

    version: str
    content_hash: str


def fetch(where: str, into: Path, uri: str = "") -> tuple[Path, str]:
    """Download a registered model.

    Args:
        where: ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.
        into: a folder that it is put below.
        uri: of MLflow; empty = ``tracking_uri()``.

    Returns:
        Its model folder, and ``models:/<name>/<version>``.

    Raises:
        InputError: there is no such model, alias or version, or MLflow cannot be reached.
    """
    uri = uri or tracking_uri()
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        name, version = find_version(where, uri)
        exact = f"models:/{name}/{version}"
        with default_store(uri):
            got = mlflow.artifacts.download_artifacts(exact, dst_path=str(into))
    except (MlflowException, OSError) as error:
        raise InputError(f"{where} cannot be fetched from MLflow at {uri}: {' '.join(str(error).split())}") from error
    found = sorted(Path(got).glob("artifacts/*/meta.json"))
    if not found:
        raise InputError(f"{where} in MLflow at {uri} was not registered by this program: it holds no model folder")
    return found[0].parent, exact


def find_version(where: str, uri: str) -> tuple[str, str]:
    """The name and the version that ``models:/…`` means now; errors as ``fetch``."""
    match = _URI.fullmatch(where)
    if not match:
        raise InputError(f"{where}: allowed are models:/<name>@<alias> and models:/<name>/<version>")
    return match["name"], _version(connect(uri), uri, **match.groupdict())


def registered_hashes(name: str, uri: str = "") -> dict[str, str]:
    """Content hash of the weights -> version, for every version of a registered model; empty when there is none.

    Args:
        name: of the registered model.
        uri: of MLflow; empty = ``tracking_uri()``.

    Raises:
        InputError: MLflow cannot be reached.
    """
    uri = uri or tracking_uri()
    from mlflow.exceptions import MlflowException

    try:
        versions = connect(uri).search_model_versions(f"name = '{name}'")
    except MlflowException as error:
        raise InputError(f"MLflow at {uri} does not answer: {' '.join(str(error).split())}") from error
    return {v.tags[HASH_TAG]: str(v.version) for v in versions if HASH_TAG in v.tags}


def find_holder(name: str, alias: str, uri: str) -> Holder | None:
    """The version of a registered model that holds an alias; None while there is no such model or alias.

    Raises:
        InputError: MLflow cannot be reached.
    """
    models = {model.name: model for model in connect(uri).search_registered_models(max_results=1000)}
    if name not in models or alias not in models[name].aliases:
        return None
    version = str(models[name].aliases[alias])
    return Holder(version, hash_of(name, version, uri))


def hash_of(name: str, version: str, uri: str) -> str:
    """Content hash of the weights of a registered version; empty where another program registered it."""
    return str(connect(uri).get_model_version(name, version).tags.get(HASH_TAG, ""))


def _version(client: Any, uri: str, name: str, alias: str | None, version: str | None) -> str:
    """The version that is meant, or an error that says what there is."""
    models = {model.name: model for model in client.search_registered_models(max_results=1000)}
    if name not in models:
        if not models:
            raise InputError(
                f"model {name!r} is not registered: MLflow at {uri} has no models; set MLFLOW_TRACKING_URI"
            )
        raise unknown("registered model", name, models)
    if alias is None:
        numbers = {str(v.version) for v in client.search_model_versions(f"name = '{name}'")}
        if version not in numbers:
            raise unknown(f"version of {name}", str(version), numbers)
        return str(version)
    aliases = models[name].aliases
    if alias not in aliases:
        if not aliases:
            raise InputError(f"{name} has no alias {alias!r}, and no other: use models:/{name}/<version>")
        raise unknown(f"alias of {name}", alias, aliases)
    return str(aliases[alias])
