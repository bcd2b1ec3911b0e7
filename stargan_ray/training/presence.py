"""Who of a group of workers is there and how far it is, asked only when something is wrong.

Every worker has a thread that leaves a sign of life (step, what it does) at rank 0's key-value store once a second,
so training itself does nothing for it. When a collective fails, or a step takes nearly as long as a collective may,
the signs tell which worker did not come: one that gives no sign any more, or one that is alive and does something else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, but not named by its stubs

_log = logging.getLogger(__name__)
_PATIENCE_BEATS = 6  # a worker that gave no sign for so long is taken for stopped or dead
_STUCK_SHARE = 0.9  # of the time-out, after which a step that does not end is reported: NCCL ends the process at it
FAILED = "a collective failed"  # how a worker ended that only met the fault of another


class LostWorkerError(RuntimeError):
    """A collective failed; the message names the workers that did not come to it, and the step."""


@dataclass(frozen=True)
class Member:
    """Where a worker is."""

    rank: int
    host: str
    address: str
    pid: int

    def __str__(self) -> str:
        return f"rank {self.rank} ({self.host}, {self.address}, pid {self.pid})"


@dataclass(frozen=True)
class Sign:
    """A sign of life: its number, the step that the worker is in, what it does, and how it ended if it did."""

    count: int = 0
    step: int = 0
    doing: str = "starting"
    end: str = ""


class Presence:
    """The presence of this worker, and its view of the others; every worker of the group makes one at the same time.

    Args:
        rank: of this worker.
        world_size: of the group.
        timeout_s: the longest that a collective may take.
    """

    beat_s = 1.0  # between signs

    def __init__(self, rank: int, world_size: int, timeout_s: float) -> None:
        self.rank, self.timeout_s = rank, timeout_s
        self.on_beat: Callable[[], None] = lambda: None  # what else the thread does at every beat
        self.hurry_s = 0.0  # between beats while it is not 0
        self.step, self.doing, self._end, self._count = 0, "starting", "", 0
        self._since = time.monotonic()
        self._lock, self._ended = threading.Lock(), threading.Event()
        host = os.environ.get("MASTER_ADDR", "127.0.0.1")  # set by whoever started a group of several machines
        waits = timedelta(seconds=_PATIENCE_BEATS * self.beat_s)
        own = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=waits) if rank == 0 else None
        me = Member(rank, socket.gethostname(), _address_towards(host), os.getpid())
        everyone: list[Any] = [None] * world_size
        dist.all_gather_object(everyone, (me, own.port if own else 0))
        self.members: list[Member] = [member for member, _ in everyone]
        self.store = own or TCPStore(host, everyone[0][1], wait_for_workers=False, timeout=waits)
        self._tell()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="presence")

    def begin(self) -> None:
        """Start giving signs; every worker calls it."""
        dist.barrier()  # from here on what each worker has put into the store can be read without waiting
        self._thread.start()
        threading.Thread(target=self._watch, daemon=True, name="presence-watch").start()

    def at(self, step: int, doing: str = "training") -> None:
        """Note where this worker is; sent with the next sign."""
        self.step, self.doing, self._since = step, doing, time.monotonic()

    def leave(self, why: str = "") -> None:
        """End the signs; ``why`` is told to the others."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(2 * self.beat_s)
        if why:
            self._end = " ".join(why.split())[:300]
            self.ask(self._tell)

    def explain(self) -> str:
        """Which workers did not come to the collective that failed here; waits some beats for what the others say."""
        self._end = FAILED
        self.ask(self._tell)
        before = self._signs()
        for _ in range(_PATIENCE_BEATS):
            time.sleep(self.beat_s)
            now = self._signs()
            if before is None or now is None:
                break
            if all(sign.end or rank == self.rank for rank, sign in enumerate(now)):
                break
        if before is None or now is None:
            said = self._store_silent()
        else:
            said = self._compared(before, now, "met the same error: the network between them failed")
        if self.rank == 0:
            time.sleep(2 * self.beat_s)  # others may still be reading what is kept here
        return f"step {self.step}: {said}"

    def _compared(self, before: list[Sign], now: list[Sign], nobody: str) -> str:
        """What two looks at everyone's signs say; ``nobody`` where they accuse no worker."""
        said = []
        for member, old, new in zip(self.members, before, now, strict=True):
            if member.rank == self.rank or new.end == FAILED:
                continue
            if new.end:
                said.append(f"{member} ended in step {new.step}: {new.end}")
            elif new.count == old.count:
                said.append(f"{member} gives no sign of life since step {new.step} ({new.doing}): stopped or dead")
            else:
                said.append(f"{member} is alive but did not come: it is in step {new.step} ({new.doing})")
        return "; ".join(said) or f"every worker is alive and {nobody}"

    def _store_silent(self) -> str:
        return f"{self.members[0]}, which keeps the signs of all, does not answer: stopped, dead or cut off"

    def _signs(self) -> list[Sign] | None:
        """Everyone's last sign, or None where the store does not answer."""
        keys = [_key(member.rank) for member in self.members]
        found = self.ask(lambda: self.store.multi_get(keys))
        return None if found is None else [Sign(**json.loads(text)) for text in found]

    def ask(self, question: Callable[[], Any]) -> Any:
        """What the store answers; None when it does not: its process may be stopped, which no time-out of it sees."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def work() -> None:
            with contextlib.suppress(RuntimeError):
                answers.put(question())

        thread = threading.Thread(target=work, daemon=True, name="presence-ask")
        thread.start()
        thread.join(_PATIENCE_BEATS * self.beat_s)
        return None if answers.empty() else answers.get()

    def _tell(self) -> None:
        with self._lock:
            self._count += 1
            sign = Sign(self._count, self.step, self.doing, self._end)
            self.store.set(_key(self.rank), json.dumps(asdict(sign)))

    def _beat(self) -> None:
        while not self._ended.wait(self.hurry_s or self.beat_s):
            try:
                self._tell()
            except RuntimeError:  # rank 0 has gone, or ends before the others do
                return
            with contextlib.suppress(RuntimeError):  # it may be there again at the next beat
                self.on_beat()

    def _watch(self) -> None:
        """A thread of its own: the one that gives signs waits where the store does not answer."""
        reported = -1
        while not self._ended.wait(self.beat_s):
            waited = time.monotonic() - self._since
            if waited > _STUCK_SHARE * self.timeout_s and reported != self.step:
                reported = self.step
                self._report_stuck(waited)

    def _report_stuck(self, waited: float) -> None:
        """Say who holds this worker up while it can still say it."""
        before = self._signs()
        time.sleep(_PATIENCE_BEATS / 2 * self.beat_s)
        now = self._signs()
        if before is None or now is None:
            said = self._store_silent()
        else:  # who is where this worker is waits as it does
            waits = [new.count > old.count and self._is_here(new) for old, new in zip(before, now, strict=True)]
            now = [replace(new, end=FAILED) if here else new for here, new in zip(waits, now, strict=True)]
            said = self._compared(before, now, "in this step: it is long, or the network between them is stuck")
        _log.error("step %d takes %.0f s (%s): %s", self.step, waited, self.doing, said)

    def _is_here(self, sign: Sign) -> bool:
        return (sign.step, sign.doing) == (self.step, self.doing)


def _key(rank: int) -> str:
    return f"sign/{rank}"


def _address_towards(host: str) -> str:
    """The address of this machine that others reach it by; no packet is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "address unknown"
