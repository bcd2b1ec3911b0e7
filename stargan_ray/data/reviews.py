"""What people said of the rows of a data set: verdicts in files beside it; what they come to is in review_outcomes.

Verdicts lie in ``<data set>/reviews/``, one JSON file a reviewer and session, so that no two writers share a
file. A session rewrites its own file, atomically, at every verdict; nothing else is ever changed. A reviewer's
later verdict on a key replaces the earlier one, and an undo takes the latest one back, in whichever session it
was given: what had been said before it stands again.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from stargan_ray.data import storage
from stargan_ray.errors import InputError, unknown

FOLDER = "reviews"
ACTIONS = ("keep", "drop", "relabel", "undo")
VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Action = Literal["keep", "drop", "relabel", "undo"]


def check_reviewer(name: str) -> str:
    """The name, if it can be a reviewer's: it becomes part of a file's name in every store.

    Raises:
        InputError: If it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--reviewer {name!r}: allowed are 1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit"
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reviewer said of one image and its label.

    Attributes:
        key: of the row.
        content_hash: of the image that was judged.
        label: the row's label then, or None.
        action: ``keep`` = the label is right, ``drop`` = the row is of no use, ``relabel`` = ``new_label`` is
            right, ``undo`` = the reviewer's latest verdict on the key is taken back.
        new_label: a domain's name for ``relabel``, else None.
        reviewer: who.
        at: when: ISO 8601 in UTC with microseconds, so that the order of the texts is that of the times.
    """

    key: str
    content_hash: str
    label: str | None
    action: Action
    new_label: str | None = None
    reviewer: str
    at: str

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_reviewer(self.reviewer)
        if self.action not in ACTIONS:
            raise unknown("action", self.action, ACTIONS)
        if (self.action == "relabel") != (self.new_label is not None):
            raise InputError(f"{self.action} of {self.key!r}: a new label goes with relabel, and with nothing else")
        if self.action == "relabel" and self.new_label == self.label:
            raise InputError(f"relabel of {self.key!r} to {self.label!r}, which is its label: that is keep")
        if self.action == "keep" and self.label is None:
            raise InputError(f"keep of {self.key!r}, which has no label to confirm: allowed are relabel and drop")
        if self.at != _text(datetime.fromisoformat(self.at)):
            raise InputError(f"at = {self.at!r}: allowed is a time in UTC such as {_text(datetime.now(UTC))}")


@dataclass(frozen=True)
class Reviews:
    """Everything that was ever said of a data set, in the order of time."""

    entries: tuple[Verdict, ...] = ()

    @cached_property
    def standing(self) -> tuple[Verdict, ...]:
        """The verdicts that hold: of each reviewer and key the latest that was not taken back."""
        said: dict[tuple[str, str], list[Verdict]] = {}
        for each in self.entries:
            before = said.setdefault((each.reviewer, each.key), [])
            if each.action != "undo":
                before.append(each)
            elif before:
                before.pop()
        return tuple(sorted((held[-1] for held in said.values() if held), key=lambda each: each.at))

    def of(self, reviewer: str) -> Reviews:
        """What one reviewer said."""
        return Reviews(tuple(each for each in self.entries if each.reviewer == reviewer))

    def plus(self, entry: Verdict) -> Reviews:
        """With one entry more."""
        return Reviews(tuple(sorted((*self.entries, entry), key=lambda each: each.at)))

    @property
    def fingerprint(self) -> str:
        """Of what stands, whenever it was said: 64 hexadecimal digits, equal for verdicts that mean the same."""
        said = sorted(json.dumps(asdict(each) | {"at": ""}) for each in self.standing)
        return hashlib.sha256("\n".join(said).encode()).hexdigest()


def read_reviews(data: str) -> Reviews:
    """All verdicts beside a data set; none is an empty :class:`Reviews`.

    Args:
        data: its URI.

    Raises:
        InputError: If a file is damaged: its verdicts would be lost silently.
        StorageError: If the folder cannot be read.
    """
    folder = storage.join(data, FOLDER)
    names = [name for name in storage.list_names(folder) if name.endswith(".json") and not name.startswith(".")]
    entries = [entry for name in names for entry in _read(storage.join(folder, name))]
    return Reviews(tuple(sorted(entries, key=lambda each: each.at)))


def _read(uri: str) -> list[Verdict]:
    try:
        told = json.loads(storage.read_bytes(uri))
        if told["version"] != VERSION:
            raise InputError(f"version {told['version']!r}, this program reads {VERSION}")
        if not all(isinstance(value, str | None) for entry in told["verdicts"] for value in entry.values()):
            raise TypeError("a value that is no text")
        return [Verdict(reviewer=told["reviewer"], **entry) for entry in told["verdicts"]]
    except storage.StorageError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise InputError(f"{uri} is no whole file of reviews ({error}): mend it or take it away") from error


class Session:
    """One sitting of one reviewer: the only writer of its file.

    Args:
        data: URI of the data set.
        reviewer: who judges.
        now: the clock.

    Raises:
        InputError: If the name cannot be a reviewer's, or as :func:`read_reviews`.
    """

    def __init__(self, data: str, reviewer: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.reviewer = check_reviewer(reviewer)
        self.uri = storage.join(data, FOLDER, f"{reviewer}.{now():%Y%m%dT%H%M%S}.{uuid.uuid4().hex[:8]}.json")
        self.reviews = read_reviews(data)  # of everyone, as of the start, with what this session has added
        self._data, self._now = data, now
        self._own: tuple[Verdict, ...] = ()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read what others have said meanwhile.

        Raises:
            InputError: As :func:`read_reviews`.
        """
        with self._lock:
            self.reviews = read_reviews(self._data)

    def judge(
        self, key: str, content_hash: str, label: str | None, action: Action, new_label: str | None = None
    ) -> Verdict:
        """Store a verdict, or an undo; it is on storage when this returns, and nowhere when it raises.

        Args:
            key: of the row.
            content_hash: of its image.
            label: its label, or None.
            action: see :class:`Verdict`; ``undo`` of a key on which nothing of this reviewer stands is refused.
            new_label: for ``relabel``.

        Raises:
            InputError: If it means nothing.
            StorageError: If it cannot be written.
        """
        with self._lock:
            mine = self.reviews.of(self.reviewer)
            if action == "undo" and key not in {each.key for each in mine.standing}:
                raise InputError(f"undo of {key!r}: {self.reviewer} has no verdict on it")
            entry = Verdict(
                key=key,
                content_hash=content_hash,
                label=label,
                action=action,
                new_label=new_label,
                reviewer=self.reviewer,
                at=_text(max(self._now(), _after(mine.entries))),
            )
            own = (*self._own, entry)
            storage.write_bytes(self.uri, _document(self.reviewer, own))
            self._own, self.reviews = own, self.reviews.plus(entry)
            return entry


def _after(entries: Sequence[Verdict]) -> datetime:
    """The first time after them: a clock that was set back must not let an older verdict win."""
    if not entries:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(entries[-1].at) + timedelta(microseconds=1)


def _document(reviewer: str, verdicts: Iterable[Verdict]) -> bytes:
    entries: list[dict[str, Any]] = []
    for each in verdicts:
        entry = asdict(each)
        del entry["reviewer"]  # the file's
        entries.append(entry)
    told = {"version": VERSION, "reviewer": reviewer, "verdicts": entries}
    return json.dumps(told, indent=1, ensure_ascii=False).encode() + b"\n"


def _text(time: datetime) -> str:
    if time.tzinfo is None:
        return ""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
