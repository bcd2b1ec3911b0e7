"""Whether those who write ``watch/now.json`` are alive, told by looking; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from stargan_ray.runtime.standing import Standing, read_now

Seen = Literal["training", "finished", "stopped", "failed", "silent"]
AT_ONCE = 16  # requests to storage
_BEATS = 4  # that may be missing: slow storage delays one
_AHEAD_S = 2.0  # a clock may be this much ahead without a word
_DOUBT_S = 86400.0  # clocks differ by less: what was written longer ago is old whoever is right


@dataclass(frozen=True)
class Look:
    """What was seen of a folder.

    Attributes:
        uri: the folder.
        standing: what it says of itself; None = nothing that can be read.
        state: ``silent`` = nobody writes any more, though it was neither finished nor stopped; None = it says nothing.
        note: what a person should know of that; mostly empty.
    """

    uri: str
    standing: Standing | None
    state: Seen | None
    note: str = ""


@dataclass
class _Beat:
    """A writer's last sign of life, since when it is the last (monotonic), and what is known of the writer."""

    sign: tuple[str, int]
    since: float
    moved: bool = False
    dead: bool = False


class Watcher:
    """Looks at folders, once or again and again.

    A writer's clock and ours may differ. Where its last word seems old, or from the future, a second look after a beat
    decides: what counts up is alive, whatever the clocks show.

    Args:
        clock: now, seconds since 1970.
        wait: for so many seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time, wait: Callable[[float], object] = time.sleep) -> None:
        self._clock, self._wait = clock, wait
        self._beats: dict[str, _Beat] = {}

    def now(self) -> float:
        """The reader's clock."""
        return self._clock()

    def look(self, uris: Sequence[str]) -> list[Look]:
        """Each folder as it is now; takes a beat longer where clocks leave a doubt."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            looks = list(pool.map(self._look, uris))
            doubtful = [place for place, each in enumerate(looks) if each.standing and each.state is None]
            if doubtful:
                beats = [standing.beat_s for place in doubtful if (standing := looks[place].standing)]
                self._wait(1.2 * max(beats) + 0.5)
                for place, each in zip(doubtful, pool.map(self._look, [uris[p] for p in doubtful]), strict=True):
                    looks[place] = self._settled(each)
        return looks

    def _look(self, uri: str) -> Look:
        try:
            standing = read_now(uri)
        except ValueError as error:
            return Look(uri, None, None, f"watch/now.json cannot be read ({error})")
        if standing is None:
            return Look(uri, None, None)
        if standing.state != "training":
            return Look(uri, standing, standing.state)
        lives = self._lives(uri, standing)
        state: Seen | None = None if lives is None else "training" if lives else "silent"
        return Look(uri, standing, state, self._clocks(standing) if lives else "")

    def _settled(self, look: Look) -> Look:
        if look.standing is None or look.state is not None:
            return look
        self._beats[look.uri].dead = True  # it has not moved
        return Look(look.uri, look.standing, "silent")

    def _lives(self, uri: str, standing: Standing) -> bool | None:
        """None = another look must tell."""
        sign, moment = (standing.attempt, standing.beat), time.monotonic()
        beat = self._beats.get(uri)
        if beat is None or beat.sign != sign:
            beat = self._beats[uri] = _Beat(sign, moment, moved=beat is not None)
        patience = _BEATS * standing.beat_s
        if beat.dead or moment - beat.since > patience:
            return False
        if beat.moved:
            return True
        age = self._clock() - standing.written
        if -_AHEAD_S <= age <= patience:
            return True
        return False if abs(age) > _DOUBT_S else None

    def _clocks(self, standing: Standing) -> str:
        age = self._clock() - standing.written
        if -_AHEAD_S <= age <= _BEATS * standing.beat_s:
            return ""
        side = "behind" if age > 0 else "ahead of"
        return f"the clock of {standing.host or 'the writer'} is about {abs(age):.0f} s {side} this machine's"
