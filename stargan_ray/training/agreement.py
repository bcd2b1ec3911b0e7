"""A step after which all workers of a group stop, agreed on without a round in any step.

The threads of ``presence.py`` talk through its store. One worker's wish makes rank 0 propose a step that lies a little
ahead. Each worker's thread accepts it unless its worker is past it already; a worker that comes to a step that it has
accepted waits there for the word of rank 0: stop, if everyone has accepted it, or go on. So either all workers stop
after the same step or none does, however far apart they are.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable

from stargan_ray.training.presence import Presence

_log = logging.getLogger(__name__)
_HURRY_S = 0.1  # between beats while something is being agreed on


class Agreement:
    """This worker's part in it.

    Args:
        presence: of this worker.
        asked: why this worker should stop, empty while it should not; called by the presence's thread.
    """

    def __init__(self, presence: Presence, asked: Callable[[], str]) -> None:
        self._presence, self._asked, self._store = presence, asked, presence.store
        self._changed = threading.Condition()
        self._step = 0  # steps that are done here
        self._accepted: tuple[int, int, str] | None = None  # number of the proposal, its step, why to stop after it
        self._words: dict[int, bool] = {}  # of rank 0, on the proposals accepted here
        self._answered, self._wished, self._failed = 0, False, False
        self._round, self._open, self._before = 0, False, 0  # those of rank 0
        if presence.rank == 0:
            self._store.set("wish", "")
            self._store.set("proposal", json.dumps([0, 0, ""]))
            self._store.set("word", json.dumps([0, False]))

    def reached(self, step: int) -> str:
        """Why to stop now that so many steps are done, or nothing; waits only where a stop is being agreed on."""
        with self._changed:
            self._step = step
            if self._accepted is None or step < self._accepted[1]:
                return ""
            number, _, why = self._accepted
            self._changed.wait_for(lambda: number in self._words, self._presence.timeout_s)
            return why if self._words.get(number) else ""

    def beat(self) -> None:
        """What the presence's thread does at every beat."""
        if not self._wished and (why := self._ask()):
            self._wished = True
            self._store.set("wish", why)
        if self._presence.rank == 0:
            self._lead()
        self._answer()
        self._presence.hurry_s = _HURRY_S if self._wished or self._accepted else 0.0

    def _ask(self) -> str:
        try:
            return self._asked()
        except Exception as error:  # whoever is asked may be gone; this worker still answers the others
            if not self._failed:
                _log.warning("whether to stop cannot be asked: %s", error)
            self._failed = True
            return ""

    def _lead(self) -> None:
        """Rank 0: propose a step, collect the answers, give the word."""
        world_size = len(self._presence.members)
        if self._open:
            keys = [_answer_key(self._round, rank) for rank in range(world_size)]
            if self._store.check(keys):
                agreed = all(answer == b"yes" for answer in self._store.multi_get(keys))
                self._store.set("word", json.dumps([self._round, agreed]))
                self._open = agreed  # if not, the next one lies further ahead
        elif why := self._store.get("wish").decode():
            self._round, self._open = self._round + 1, True
            # All threads see it within a beat: it lies two beats ahead, and further at every attempt.
            ahead = math.ceil(self._pace() * 2 * self._presence.beat_s * self._round)
            self._store.set("proposal", json.dumps([self._round, self._step + 1 + ahead, why]))
        self._before = self._step

    def _pace(self) -> float:
        """Steps a second."""
        return max(self._step - self._before, 0) / (self._presence.hurry_s or self._presence.beat_s)

    def _answer(self) -> None:
        """Accept a proposal in time or refuse it, and take rank 0's word."""
        number, step, why = json.loads(self._store.get("proposal"))
        if number > self._answered:
            with self._changed:
                accepts = self._step < step
                self._accepted = (number, step, why) if accepts else None
            self._answered = number
            self._store.set(_answer_key(number, self._presence.rank), "yes" if accepts else "no")
        said, agreed = json.loads(self._store.get("word"))
        if self._accepted and said == self._accepted[0] and said not in self._words:
            with self._changed:
                self._words[said] = agreed
                self._accepted = self._accepted if agreed else None
                self._changed.notify_all()


def _answer_key(number: int, rank: int) -> str:
    return f"answer/{number}/{rank}"
