"""Which MLflow store is meant, and how it is reached: at once, or with one clear line why not."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stargan_ray.errors import InputError

EXPERIMENT = "stargan-ray"
NAME_TAG = "stargan_ray.name"  # of an MLflow run: the run's name, which more than one can have
_PROBE_S = 3.0
# MLflow's defaults wait for minutes. A person's own settings win.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
# They tell of every migration of a new store, every step of a registration, and of a missing pip.
_CHATTY = ("alembic", "mlflow.pyfunc", "mlflow.utils.environment")
_ECHO = "mlflow.store.db.utils"  # what it logs as an error, with its traceback, it raises as well


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or a SQLite file under ``runs/`` of the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('runs/mlflow.db').absolute()}"


def connect(uri: str) -> Any:
    """An ``MlflowClient``.

    Raises:
        InputError: a server does not answer at once, or the store cannot be opened.
    """
    for variable, value in _PATIENCE.items():
        os.environ.setdefault(variable, value)
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=_PROBE_S).close()
        except OSError as error:
            raise InputError(
                f"MLflow at {uri} cannot be reached ({error}): start it, or correct MLFLOW_TRACKING_URI"
            ) from error
    import mlflow
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger(_ECHO).setLevel(logging.CRITICAL)
    try:
        with _alone(uri):
            return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, OSError) as error:
        raise InputError(f"the MLflow store {uri} cannot be opened: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Opening a SQLite store makes its tables, which two processes must not do at the same time."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    store = Path(uri.removeprefix("sqlite:///"))
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_name(f".{store.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, also by the end of the process
        yield


@contextlib.contextmanager
def default_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's own default for a while: its registry asks that one, whatever the client was told."""
    import mlflow

    variable = os.environ.get("MLFLOW_TRACKING_URI")  # MLflow sets it too, so it says what was the default before
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if variable is not None:
            os.environ["MLFLOW_TRACKING_URI"] = variable


def find_run(client: Any, experiment: str, name: str) -> str:
    """The id of the newest MLflow run of a name in an experiment, by its id; empty when there is none."""
    wanted, newest = f"tags.`{NAME_TAG}` = '{name}'", ["attributes.start_time DESC"]
    found = client.search_runs([experiment], wanted, max_results=1, order_by=newest)
    return str(found[0].info.run_id) if found else ""


def experiment_id(client: Any, uri: str, name: str) -> str:
    """The id of an experiment, made when it is not there; a local store keeps artifacts beside itself."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        place = None
        if not uri.startswith("http"):
            store = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else Path("runs/mlflow.db")
            place = (store.absolute().parent / "mlartifacts" / name).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:  # another process has made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)
