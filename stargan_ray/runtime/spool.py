"""A queue of records in a local folder: what is written before it is delivered survives the process.

    <folder>/records.jsonl    one record a line, in order; images and other files lie beside it
    <folder>/files/<id>/<name>
    <folder>/state.json       how many bytes of records.jsonl are delivered, and what the reader noted

One process at a time uses a folder; within it, one thread reads while any number append.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BATCH = 100
_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0
_COMPACT_BYTES = 1 << 20  # a delivered file is emptied when it has grown to this


class Spool:
    """The queue; ``read`` then ``done`` is at least once: a record is gone only after ``done``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "records.jsonl"
        self._path.touch()
        self._lock = threading.Lock()
        state = folder / "state.json"
        saved = json.loads(state.read_text()) if state.is_file() else {}
        self.notes: dict[str, Any] = saved.get("notes", {})
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]  # the last line may be torn by the end of its process
        if len(whole) < len(data):
            self._path.write_bytes(whole)
        self._offset = saved.get("offset", 0) if saved.get("offset", 0) <= len(whole) else 0
        self._waiting = whole[self._offset :].count(b"\n")

    @property
    def waiting(self) -> int:
        """Records that are not delivered."""
        return self._waiting

    def append(self, record: dict[str, Any], data: bytes | Path | None = None, name: str = "") -> None:
        """Add a record, with a file that the reader finds under the key ``file``.

        Args:
            record: JSON values.
            data: the content of the file, or a file to copy.
            name: the file's name.
        """
        if data is not None:
            path = self.folder / "files" / uuid.uuid4().hex / name
            path.parent.mkdir(parents=True)
            if isinstance(data, bytes):
                path.write_bytes(data)
            else:
                shutil.copyfile(data, path)
            record = {**record, "file": str(path.relative_to(self.folder))}
        line = json.dumps(record).encode() + b"\n"
        with self._lock, self._path.open("ab") as file:
            file.write(line)
            self._waiting += 1

    def read(self, limit: int) -> list[tuple[int, dict[str, Any]]]:
        """The first waiting records with the position behind each."""
        found = []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for _ in range(limit):
                line = file.readline()
                if not line.endswith(b"\n"):
                    break
                found.append((file.tell(), json.loads(line)))
        return found

    def done(self, position: int, records: list[dict[str, Any]]) -> None:
        """Forget the records up to a position; their files are deleted."""
        with self._lock:
            self._waiting -= len(records)
            self._offset = position
            finished = position >= _COMPACT_BYTES and position == self._path.stat().st_size
            if finished:
                self._offset = 0
            self._save()
            if finished:
                self._path.write_bytes(b"")
        for record in records:
            if "file" in record:
                shutil.rmtree((self.folder / record["file"]).parent, ignore_errors=True)

    def _save(self) -> None:
        beside = self.folder / "state.json.tmp"
        beside.write_text(json.dumps({"offset": self._offset, "notes": self.notes}))
        beside.replace(self.folder / "state.json")


class Courier:
    """A thread that delivers a spool's records in order, again and again until it succeeds.

    Args:
        spool: where they are.
        deliver: takes the first waiting records, as ``Spool.read`` gives them, and calls ``done`` as it goes;
            what it raises means: try later.
        failed: told of every failure.
    """

    def __init__(
        self,
        spool: Spool,
        deliver: Callable[[list[tuple[int, dict[str, Any]]]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._spool, self._deliver, self._failed = spool, deliver, failed
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """There is something new."""
        self._news.set()

    def close(self, timeout_s: float) -> None:
        """End after the last record, or after one more failure, or when the time is up."""
        self._closing.set()
        self._news.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        delay = _RETRY_S
        while True:
            self._news.clear()
            records = self._spool.read(_BATCH)
            if not records and self._closing.is_set():
                return
            if not records:
                self._news.wait()
                continue
            try:
                self._deliver(records)
                delay = _RETRY_S
            except Exception as error:  # whatever the other side raises, it may be well again later
                self._failed(error)
                if self._closing.is_set():
                    return
                self._closing.wait(delay)
                delay = min(2 * delay, _LONGEST_RETRY_S)
