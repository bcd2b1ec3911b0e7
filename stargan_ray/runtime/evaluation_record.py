"""What an evaluation found, in the MLflow run that trained the model."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from stargan_ray.errors import InputError
from stargan_ray.evaluation.report import at
from stargan_ray.runtime.mlflow_store import EXPERIMENT, NAME_TAG, connect, experiment_id, find_run, tracking_uri
from stargan_ray.runtime.models import LoadedModel

_MOST = 900  # metrics in one call; MLflow takes 1,000
_FORBIDDEN = re.compile(r"[^\w\-. :/]+")  # in the name of a metric


def record_evaluation(model: LoadedModel, report: Mapping[str, Any], page: str, uri: str = "") -> str:
    """Every figure with an interval as metrics ``evaluation/<path>``, with ``/low`` and ``/high``; report and page too.

    Args:
        model: what was evaluated; its run is the newest of the name that it gives, or a new one where it gives none.
        report: the content of evaluation.json.
        page: of evaluation.html.
        uri: of MLflow; empty = ``tracking_uri()``.

    Returns:
        The id of the MLflow run.

    Raises:
        InputError: MLflow cannot be reached or does not take it.
    """
    from mlflow.entities import Metric
    from mlflow.exceptions import MlflowException

    uri = uri or tracking_uri()
    client = connect(uri)
    try:
        experiment = experiment_id(client, uri, EXPERIMENT)
        name = str(model.meta["run"]) or f"evaluation of {model.content_hash[:12]}"
        run = find_run(client, experiment, name)
        if not run:
            run = str(client.create_run(experiment, tags={NAME_TAG: name}, run_name=name).info.run_id)
            client.set_terminated(run)
        now, step = int(time.time() * 1000), int(model.meta["step"])
        metrics = [Metric(key, value, now, step) for key, value in _figures(report)]
        for first in range(0, len(metrics), _MOST):
            client.log_batch(run, metrics=metrics[first : first + _MOST])
        place = f"evaluation/{report['data']['content_hash'][:12]}"
        client.log_dict(run, dict(report), f"{place}/evaluation.json")
        client.log_text(run, page, f"{place}/evaluation.html")
    except MlflowException as error:
        raise InputError(f"MLflow at {uri} does not take the evaluation: {' '.join(str(error).split())}") from error
    return run


def _figures(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for path, ends in _leaves(report["intervals"], ""):
        value = at(report, path)
        name = "evaluation/" + _FORBIDDEN.sub("-", path.replace(".", "/"))
        for suffix, number in (("", value), ("/low", ends["low"]), ("/high", ends["high"])):
            if number is not None:
                yield name + suffix, float(number)


def _leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if set(node) == {"low", "high", "n"}:
        yield path, node
        return
    for key, below in node.items():
        yield from _leaves(below, f"{path}.{key}" if path else key)
