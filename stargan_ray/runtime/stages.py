"""Stages of a longer job: each is done once, timed, and reused while what it depends on is unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console


@dataclass
class Stages:
    """The record of stages in a folder.

    Args:
        folder: one small JSON a finished stage.
        console: where they are announced.
        prepare: called once, before the first stage that is not reused.
        stop: once it is set no stage begins.
    """

    folder: Path
    console: Console
    prepare: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)
    seconds: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[float, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _prepared: bool = False

    def run(self, name: str, depends: Any, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a stage, or take its result from the last time.

        Args:
            name: of the stage.
            depends: JSON values that decide its result: configs, and the results of earlier stages.
            work: returns a small JSON result.

        Raises:
            KeyboardInterrupt: ``stop`` is set.
        """
        if self.stop.is_set():
            raise KeyboardInterrupt
        fingerprint = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()
        path = self.folder / f"{name}.json"
        if path.is_file():
            record: dict[str, Any] = json.loads(path.read_text())
            if record["fingerprint"] == fingerprint:
                self._took(name, *record["span"])
                self.console.print(f"[green]✓[/] {name}: as before ({self.seconds[name]:.0f} s then)")
                return dict(record["result"])
        self.console.print(f"[bold]▶ {name}[/]")
        start = time.time()
        with self._lock:
            if not self._prepared:
                self.prepare()
            self._prepared = True
        result = work()
        self._took(name, start, time.time())
        record = {"fingerprint": fingerprint, "span": self.spans[-1], "result": result}
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".tmp")
        beside.write_text(json.dumps(record, indent=1))
        beside.replace(path)
        self.console.print(f"[green]✓[/] {name}: {self.seconds[name]:.0f} s")
        return result

    @property
    def total_seconds(self) -> float:
        """Time in which at least one stage was at work: stages side by side count once, pauses do not."""
        total, until = 0.0, 0.0
        for start, end in sorted(self.spans):
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return total

    def _took(self, name: str, start: float, end: float) -> None:
        self.seconds[name] = end - start
        self.spans.append((start, end))


class PeakMemory:
    """The largest memory of this process and all it started, sampled; shared pages are counted once (PSS)."""

    def __init__(self, every_s: float = 5.0) -> None:
        self.peak_bytes = 0
        self._every = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="memory")

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self.peak_bytes = max(self.peak_bytes, _tree_bytes(psutil.Process(os.getpid())))


def _tree_bytes(root: psutil.Process) -> int:
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            memory = process.memory_full_info()
        except psutil.Error:  # it ended in between
            continue
        total += getattr(memory, "pss", memory.uss)
    return total
