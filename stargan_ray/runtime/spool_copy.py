"""A copy of a run's undelivered records in its storage, where it outlives the machine that holds the spool.

One object, ``<run>/spool.zip``: the waiting lines of records.jsonl, the files they name and the reader's notes.
It is written while MLflow is away and with every checkpoint, from which a run may go on elsewhere, and gone when
everything is delivered.
"""

from __future__ import annotations

import io
import json
import logging
import threading
import time
import zipfile
from pathlib import Path

from stargan_ray.data import storage
from stargan_ray.data.storage import StorageError
from stargan_ray.runtime.spool import Spool

_log = logging.getLogger(__name__)
_EVERY_S = 60.0  # at most so often, but for the end


class SpoolCopy:
    """The copy of one spool.

    Args:
        uri: of the run's folder.
    """

    def __init__(self, uri: str) -> None:
        self._uri, self._saved_at = storage.join(uri, "spool.zip"), 0.0
        self._exists = False
        self._lock = threading.Lock()  # who delivers saves and forgets, who writes a checkpoint saves

    def restore(self, folder: Path) -> None:
        """Put the copy where the spool will be opened, unless records are waiting there, which are newer."""
        try:
            self._exists = storage.exists(self._uri)
            if not self._exists or (folder.is_dir() and Spool(folder).waiting):
                return
            data = storage.read_bytes(self._uri)
        except StorageError as error:
            _log.warning("records of an earlier start may be left behind: %s", error)
            return
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            packed.extractall(folder)  # names are made safe by zipfile
        _log.warning("records of an earlier start were found in %s and are delivered now", self._uri)

    def save(self, spool: Spool, *, now: bool = False) -> None:
        """Copy what is waiting; nothing happens within a minute of the last copy, unless it must be now."""
        with self._lock:
            self._save(spool, now)

    def _save(self, spool: Spool, now: bool) -> None:
        if not now and time.monotonic() - self._saved_at < _EVERY_S and self._exists:
            return
        records = [record for _, record in spool.read(spool.waiting)]
        if not records:
            return  # they were delivered in the meantime
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("records.jsonl", "".join(json.dumps(record) + "\n" for record in records))
            archive.writestr("state.json", json.dumps({"offset": 0, "notes": spool.notes}))
            for name in (record["file"] for record in records if "file" in record):
                if (spool.folder / name).is_file():
                    archive.write(spool.folder / name, name)
        try:
            storage.write_bytes(self._uri, packed.getvalue())
        except StorageError as error:
            _log.warning("%d records wait on this machine alone: %s", len(records), error)
            return
        self._exists, self._saved_at = True, time.monotonic()

    def forget(self) -> None:
        """Everything is delivered."""
        with self._lock:
            if self._exists:
                try:
                    storage.delete(self._uri)
                except StorageError as error:
                    _log.warning("delivered records stay behind in storage: %s", error)
                    return
                self._exists = False
