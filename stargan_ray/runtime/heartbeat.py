"""Says on storage how a run stands while it goes on: a thread of whoever keeps the records, whom nobody waits for."""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace

from stargan_ray.data.locations import StorageError
from stargan_ray.runtime.standing import Event, Kind, Report, Standing, State, write_event, write_now

_log = logging.getLogger(__name__)
BEAT_S = 5.0  # between two writings: what is reported more often is written together
_REPORTS = 20  # that are kept: the rate is theirs
_APART_S = 1.0  # at least, but for the newest: twenty reports of a fast loop would be of one moment
_CLOSE_S = 20.0  # the longest wait for storage at the end


class Heartbeat:
    """The writer of a run's ``watch`` folder.

    It writes every ``beat_s`` whether there is news or not, so that a reader can tell a long validation from a process
    that was killed. Storage that cannot be written costs a line in the log and nothing else.

    Args:
        uri: of the run or search.
        steps: that are wanted.
        step: that was reached before.
        batch: images of a step; 0 = none are counted.
        unit: what is counted.
        beat_s: seconds between two writings.
    """

    def __init__(
        self, uri: str, steps: int, *, step: int = 0, batch: int = 0, unit: str = "steps", beat_s: float = BEAT_S
    ) -> None:
        self._uri, self._beat_s = uri, beat_s
        now = time.time()
        self._standing = Standing(
            uuid.uuid4().hex,
            0,
            beat_s,
            now,
            now,
            host=socket.gethostname(),
            unit=unit,
            step=step,
            steps=steps,
            batch=batch,
        )
        self._begins, self._first = 0, step
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._failed = False
        self._happened("started", f"on {self._standing.host}, at {unit[:-1]} {step} of {steps}")
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
        self._thread.start()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, as a ``Recorder`` gets them: a report of the loop, or a validation."""
        with self._lock:
            known = self._standing
            told = {**known.values, **values}
            if "speed/images_per_second" in values:
                speed, wait = values["speed/images_per_second"], values.get("speed/data_wait_share", 0.0)
                self._report(Report(time.time(), step, speed, wait), told)
            else:
                self._standing = replace(known, step=max(known.step, step), values=told, validated=step)

    def progress(self, step: int, values: Mapping[str, float]) -> None:
        """How many of what is counted are done, with figures."""
        with self._lock:
            known = self._standing
            told = {**known.values, **values}
            if step <= self._first:  # an earlier call has come so far
                self._standing = replace(known, values=told)
                return
            if not known.reports:
                self._standing = replace(known, reports=(Report(known.started, self._first),))
            self._report(Report(time.time(), step), told)

    def began(self, workers: int) -> None:
        """The workers have started; after the first time they were started again."""
        with self._lock:
            self._begins += 1
            self._standing = replace(self._standing, workers=workers, restarts=self._begins - 1)
        if self._begins > 1:
            self._happened("restarted", f"restart {self._begins - 1}, workers: {workers}")

    def error(self, said: str) -> None:
        """Something went wrong that the run may survive."""
        self._happened("error", said)

    @property
    def restarts(self) -> int:
        """How often the workers were started again."""
        return self._standing.restarts

    def close(self, state: State, why: str = "") -> None:
        """The last word of this attempt; waits for storage, but not for long."""
        with self._lock:
            self._standing = replace(self._standing, state=state, why=" ".join(why.split())[:500])
        self._happened("ended", f"{state}: {why}" if why else state)
        self._closing.set()
        self._thread.join(_CLOSE_S)

    def _report(self, report: Report, values: Mapping[str, float | None]) -> None:
        before = [each for each in self._standing.reports if each.step < report.step]  # a restart goes back
        if len(before) > 1 and before[-1].time - before[-2].time < _APART_S:
            before.pop()
        reports = (*before, report)[-_REPORTS:]
        self._standing = replace(self._standing, step=report.step, reports=reports, values=values)

    def _happened(self, kind: Kind, said: str) -> None:
        with self._lock:
            self._events.append(Event(time.time(), kind, said, self._standing.step))

    def _work(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.is_set()  # asked before what is written is taken: the last word is in it
            self._write()
            self._closing.wait(0 if closing else self._beat_s)

    def _write(self) -> None:
        with self._lock:
            events, self._events = self._events, []
            beat = self._standing.beat + 1
            self._standing = replace(self._standing, beat=beat, written=time.time())
            standing = self._standing
        try:
            while events:
                write_event(self._uri, events[0])
                events.pop(0)
            write_now(self._uri, standing)
            self._failed = False
        except (StorageError, OSError) as error:
            with self._lock:
                self._events = events + self._events
            if not self._failed:
                _log.warning("how the run stands is not written: %s. It goes on", " ".join(str(error).split()))
            self._failed = True
