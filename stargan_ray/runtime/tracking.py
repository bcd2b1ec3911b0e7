"""The MLflow door for runs: one writer, whatever the number of workers; training never waits for it.

Every record goes to a local spool first (``spool.py``) and is delivered from there, in order, by a thread.
While MLflow is away, records wait; what is left at the end is delivered by the next run of the same name, on whatever
machine, since a copy of what waits lies in the run's storage (``spool_copy.py``), written with every checkpoint too.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from stargan_ray.errors import InputError
from stargan_ray.runtime.mlflow_store import EXPERIMENT, NAME_TAG, connect, experiment_id, find_run, tracking_uri
from stargan_ray.runtime.spool import Courier, Spool
from stargan_ray.runtime.spool_copy import SpoolCopy

_log = logging.getLogger(__name__)
_BATCH_METRICS, _BATCH_PARAMS, _PARAM_CHARACTERS = 1000, 100, 6000  # MLflow's own limits
_REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # sending such a record again would not help
_TRIES = 5  # of a record that fails for another reason while the store answers


class Tracking:
    """The records of one run; a ``Recorder`` of the training loop. Nothing but ``close`` waits for MLflow.

    Args:
        name: the run's name: the same name continues the same MLflow run.
        params: of the run, by dotted path.
        tags: commit, data hash, version, ….
        uri: of MLflow; empty = ``tracking_uri()``.
        spool: folder under which records wait.
        experiment: of MLflow.
        fresh: nothing is resumed: a new MLflow run is made, even if the name was used before.
        storage: URI of the run's folder, where a copy of waiting records goes; empty = they wait in the spool alone.
    """

    def __init__(
        self,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        *,
        uri: str = "",
        spool: Path = Path("runs/spool"),
        experiment: str = EXPERIMENT,
        fresh: bool = False,
        storage: str = "",
    ) -> None:
        if not re.fullmatch(r"[\w.-]+", name):
            raise InputError(f"name = {name!r}: allowed are letters, digits, '.', '_' and '-'")
        self._copy = SpoolCopy(storage) if storage else None
        if self._copy:
            self._copy.restore(spool / name)
        self._spool = Spool(spool / name)
        self._store = _RunStore(name, uri or tracking_uri(), experiment, self._spool, self._copy)
        self._stop = threading.Event()
        self._courier = Courier(self._spool, self._store.deliver, self._store.failed)
        texts = {key: str(value)[:_PARAM_CHARACTERS] for key, value in params.items()}
        self._add({"kind": "start", "params": texts, "tags": dict(tags), "fresh": fresh})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step."""
        legal = {re.sub(r"[^\w. :/-]", "_", name)[:250]: float(value) for name, value in values.items()}
        self._add({"kind": "metrics", "step": step, "values": legal})

    def image(self, step: int, name: str, png: bytes) -> None:
        """A picture of a step, kept as the artifact ``<name>/step-<step>.png``."""
        self.artifact(png, f"{name}/step-{step:08d}.png")

    def artifact(self, data: bytes | Path, name: str) -> None:
        """A file, given by content or path, kept as the artifact ``name``."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise InputError(f"artifact {name!r}: allowed are relative paths without '..'")
        self._add({"kind": "artifact", "under": "/".join(path.parts[:-1])}, data, path.name)

    def secure(self) -> None:
        """What was recorded so far outlives this machine, from now on: it is in MLflow, or a copy is in storage."""
        if self._copy and self.waiting:
            self._copy.save(self._spool, now=True)

    def request_stop(self) -> None:
        """Ask the run to end after its step."""
        self._stop.set()

    def stop_requested(self) -> bool:
        """Whether ``request_stop`` was called."""
        return self._stop.is_set()

    @property
    def run_id(self) -> str:
        """The id of the MLflow run; empty while MLflow has not been reached."""
        return self._store.run_id

    @property
    def waiting(self) -> int:
        """Records that are not delivered yet."""
        return self._spool.waiting

    def close(self, status: str = "FINISHED", timeout_s: float = 60.0) -> int:
        """Deliver what can be delivered.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
            timeout_s: the longest wait; MLflow that is away is tried once more and not waited for.

        Returns:
            How many records are left in the spool.
        """
        self._add({"kind": "close", "status": status})
        self._courier.close(timeout_s)
        left = self.waiting
        if self._copy:
            self._copy.save(self._spool, now=True) if left else self._copy.forget()
        if left:
            _log.warning(
                "%d records are not in MLflow at %s yet: they wait in %s for the next run of that name",
                left,
                self._store.uri,
                self._spool.folder,
            )
        return left

    def _add(self, record: dict[str, Any], data: bytes | Path | None = None, name: str = "") -> None:
        try:
            self._spool.append({**record, "time": int(time.time() * 1000)}, data, name)
        except OSError as error:
            _log.warning("a record is lost: %s cannot be written (%s)", self._spool.folder, error)
        self._courier.notify()


class _RunStore:
    """The MLflow run of a name, as its thread sees it."""

    def __init__(self, name: str, uri: str, experiment: str, spool: Spool, copy: SpoolCopy | None) -> None:
        self.name, self.uri, self.experiment, self.spool, self._copy = name, uri, experiment, spool, copy
        self.run_id = ""
        self._client: Any = None
        self._experiment_id = ""
        self._away = False
        self._refusals = 0

    def failed(self, error: Exception) -> None:
        """One line when MLflow goes away, none for every attempt."""
        self._client = None
        if not self._away:
            said = " ".join(str(error).split())[:300]
            message = "MLflow does not take records: %s. Training goes on; they wait in %s"
            _log.warning(message, said, self.spool.folder)
        self._away = True
        if self._copy:
            self._copy.save(self.spool)

    def deliver(self, records: list[tuple[int, dict[str, Any]]]) -> None:
        """Send records in order; neighbouring metrics go together."""
        if self._client is None:
            self._client = connect(self.uri)
            self._find_run()
        for kind, group in itertools.groupby(records, key=lambda item: item[1]["kind"]):
            batch = list(group)
            for some in [batch] if kind == "metrics" else [[item] for item in batch]:
                content = [record for _, record in some]
                self._send(kind, content)
                self.spool.done(some[-1][0], content)
        if self._away:
            _log.warning("MLflow at %s takes records again", self.uri)
        self._away = False
        if self._copy and not self.spool.waiting:
            self._copy.forget()

    def _find_run(self) -> None:
        """The newest run of the name, or a new one."""
        self._experiment_id = experiment_id(self._client, self.uri, self.experiment)
        self.run_id = find_run(self._client, self._experiment_id, self.name)
        if self.run_id:
            self._note_sent(self._client.get_run(self.run_id))
        else:
            self.run_id = self._new_run()

    def _new_run(self) -> str:
        run = self._client.create_run(self._experiment_id, tags={NAME_TAG: self.name}, run_name=self.name)
        return str(run.info.run_id)

    def _send(self, kind: str, records: list[dict[str, Any]]) -> None:
        """Send records of a kind; one that can never be taken is dropped, so that it does not hold up the rest."""
        from mlflow.exceptions import MlflowException

        try:
            getattr(self, f"_send_{kind}")(records)
        except MlflowException as error:
            if error.error_code not in _REFUSED:
                self._client.get_run(self.run_id)  # raises when it is the store that fails, not the record
                self._refusals += 1
                if self._refusals < _TRIES:
                    raise
            _log.warning("MLflow refuses %d records of kind %s, which are dropped: %s", len(records), kind, error)
        self._refusals = 0

    def _send_start(self, records: list[dict[str, Any]]) -> None:
        """Parameters and tags; a parameter cannot change in MLflow: what a resumed run changed is a tag."""
        from mlflow.entities import Param, RunTag

        (record,) = records
        run = self._client.get_run(self.run_id)
        if record["fresh"] and run.data.params:
            self.run_id = self._new_run()
            run = self._client.get_run(self.run_id)
        params = {key: value for key, value in record["params"].items() if run.data.params.get(key) != value}
        changed = {key: value for key, value in params.items() if key in run.data.params}
        new = [Param(key, value) for key, value in params.items() if key not in changed]
        for first in range(0, len(new), _BATCH_PARAMS):
            self._client.log_batch(self.run_id, params=new[first : first + _BATCH_PARAMS])
        tags = record["tags"] | ({"stargan_ray.changed_params": json.dumps(changed)} if changed else {})
        self._client.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])
        self._client.update_run(self.run_id, status="RUNNING")
        self._note_sent(run)

    def _note_sent(self, run: Any) -> None:
        """A run resumed from a checkpoint repeats the steps behind it: what is there is not sent again."""
        histories = {key: self._client.get_metric_history(self.run_id, key) for key in run.data.metrics}
        self.spool.notes = {"sent": {key: max(m.step for m in points) for key, points in histories.items()}}

    def _send_metrics(self, records: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        sent = self.spool.notes.setdefault("sent", {})
        metrics, last = [], dict(sent)
        for record in records:
            for name, value in record["values"].items():
                if record["step"] > last.get(name, -1):
                    metrics.append(Metric(name, value, record["time"], record["step"]))
                    last[name] = record["step"]
        for first in range(0, len(metrics), _BATCH_METRICS):
            self._client.log_batch(self.run_id, metrics=metrics[first : first + _BATCH_METRICS])
        sent.update(last)  # lost workers repeat steps too

    def _send_artifact(self, records: list[dict[str, Any]]) -> None:
        (record,) = records
        path = self.spool.folder / record["file"]
        if path.is_file():  # delivered already when the end of the process came between this and done()
            self._client.log_artifact(self.run_id, str(path), record["under"] or None)

    def _send_close(self, records: list[dict[str, Any]]) -> None:
        (record,) = records
        self._client.set_terminated(self.run_id, record["status"], record["time"])
