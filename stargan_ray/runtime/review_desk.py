"""What a reviewer has before him: the sample's faces one by one, his verdicts on them, and what they come to."""

from __future__ import annotations

import io
import itertools
import math
import threading
from collections import Counter
from dataclasses import asdict
from typing import Any, Literal

from PIL import Image

from stargan_ray.data.decode import UndecodableError, whole
from stargan_ray.data.manifest import UNLABELLED
from stargan_ray.data.refined import Refined
from stargan_ray.data.review_outcomes import Outcome
from stargan_ray.data.review_sample import Sample
from stargan_ray.data.reviews import Session, Verdict
from stargan_ray.errors import InputError, unknown
from stargan_ray.evaluation.intervals import Estimate
from stargan_ray.evaluation.review_estimates import estimate_by_class, estimate_filter, judged_strata

SIDE = 512  # longest side in pixels of a picture that is shown; smaller ones keep their size
RECENT = 14  # verdicts that the page shows again

Said = Literal["keep", "drop", "relabel"]


class Desk:
    """The state of a sitting; everything it tells is made for JSON. Threads may share it.

    Args:
        refined: what the filter decided.
        sample: n rows of its source, in the order in which to show them; a row's *place* is its position here.
        session: stores the verdicts.
        blind: whether prediction, probabilities and the filter's decision stay hidden until a face is judged.
    """

    def __init__(self, refined: Refined, sample: Sample, session: Session, *, blind: bool = True) -> None:
        self.refined, self.sample, self.session, self.blind = refined, sample, session, blind
        index = refined.dataset.index.select(["key", "content_hash", "identity", "split"]).take(sample.rows)
        self._rows: list[dict[str, Any]] = index.to_pylist()
        labels = refined.labels
        for told, row in zip(self._rows, sample.rows.tolist(), strict=True):
            told["label"] = labels[row]
        self._places = {told["key"]: place for place, told in enumerate(self._rows)}
        self._decisions = refined.decisions.take(sample.rows).combine_chunks()
        self._sizes = Counter(self._class(place) for place in range(len(self)))
        self._lock = threading.Lock()
        self._verdicts: dict[int, Verdict] = {}
        self._recall()

    def __len__(self) -> int:
        return len(self._rows)

    def refresh(self) -> None:
        """Take in what was stored elsewhere meanwhile, also in other sessions of this reviewer.

        Raises:
            InputError: A file of reviews is damaged or cannot be read.
        """
        self.session.refresh()
        with self._lock:
            self._recall()

    def card(self, place: int) -> dict[str, Any]:
        """One face: what is known of it, and of what the filter made of it as much as may be shown now.

        Raises:
            InputError: If there is no such place.
        """
        told = self._row(place)
        verdict = self._verdicts.get(place)
        shown = not self.blind or verdict is not None
        return {
            "place": place,
            **{name: told[name] for name in ("key", "split", "identity", "label")},
            "verdict": None if verdict is None else {"action": verdict.action, "new_label": verdict.new_label},
            "prediction": self._prediction(place) if shown else None,
        }

    def picture(self, place: int) -> bytes:
        """The face as a PNG, upright and in the colours that training sees.

        Raises:
            InputError: If there is no such place, or the image cannot be read.
        """
        key = self._row(place)["key"]
        data = self.refined.dataset.images(self.sample.rows[place : place + 1])[0]
        try:
            image = whole(data).image
        except UndecodableError as error:
            raise InputError(f"{key}: {error}") from error
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    def judge(self, place: int, key: str, action: Said, new_label: str | None = None) -> None:
        """Store a verdict; relabelling to the given label is keeping.

        Args:
            place: of the face.
            key: its key, which proves that both sides mean the same face.
            action: what is to be done with the row.
            new_label: for ``relabel``.

        Raises:
            InputError: If it means nothing; nothing is stored then.
            StorageError: If it could not be stored.
        """
        told = self._row(place)
        if key != told["key"]:
            raise InputError(f"face {place} is {told['key']!r}, not {key!r}: load the page again")
        if new_label is not None and new_label not in self.refined.dataset.manifest.domains:
            raise unknown("label", new_label, self.refined.dataset.manifest.domains)
        if action == "relabel" and new_label is not None and new_label == told["label"]:
            action, new_label = "keep", None
        with self._lock:
            self._verdicts[place] = self.session.judge(key, told["content_hash"], told["label"], action, new_label)

    def undo(self) -> int | None:
        """Take the reviewer's latest verdict on a face of the sample back; gives its place, None if there is none.

        Raises:
            StorageError: If it could not be stored.
        """
        with self._lock:
            if not self._verdicts:
                return None
            place = max(self._verdicts, key=lambda each: self._verdicts[each].at)
            told = self._rows[place]
            self.session.judge(told["key"], told["content_hash"], told["label"], "undo")
            self._recall()
            return place

    def next_open(self, after: int = -1) -> int | None:
        """The first place behind ``after`` that is not judged, going round; None when all are."""
        places = range(len(self))
        round_ = itertools.chain(places[after + 1 :], places[: after + 1])
        return next((each for each in round_ if each not in self._verdicts), None)

    def summary(self) -> dict[str, Any]:
        """How far the reviewer is, and what his own verdicts say of the filter."""
        with self._lock:
            verdicts = dict(self._verdicts)
        strata = judged_strata(self.sample, {place: _outcome(each) for place, each in verdicts.items()})
        by_class = estimate_by_class(strata)
        recent = sorted(verdicts, key=lambda place: verdicts[place].at)[-RECENT:]
        return {
            "reviewer": self.session.reviewer,
            "data": self.refined.dataset.uri,
            "labels": list(self.refined.dataset.manifest.domains),
            "blind": self.blind,
            "size": len(self),
            "judged": len(verdicts),
            "actions": {each: sum(v.action == each for v in verdicts.values()) for each in ("keep", "drop", "relabel")},
            "classes": self._progress(verdicts),
            "estimates": _figures(estimate_filter(strata).section()),
            "by_class": {name: _figures(found.section()) for name, found in by_class.items()},
            "recent": [self._reminder(place, verdicts[place]) for place in recent],
        }

    def _row(self, place: int) -> dict[str, Any]:
        if not 0 <= place < len(self):
            raise InputError(f"there is no face {place}: allowed are 0 to {len(self) - 1}")
        return self._rows[place]

    def _recall(self) -> None:
        """The reviewer's verdicts that are about the images and labels as they are."""
        self._verdicts = {
            place: each
            for each in self.session.reviews.of(self.session.reviewer).standing
            if (place := self._places.get(each.key)) is not None
            and (each.content_hash, each.label) == (self._rows[place]["content_hash"], self._rows[place]["label"])
        }

    def _decision(self, place: int) -> dict[str, Any]:
        told: dict[str, Any] = self._decisions.slice(place, 1).to_pylist()[0]
        return told

    def _prediction(self, place: int) -> dict[str, Any]:
        told = self._decision(place)
        return {
            "predicted": told["predicted"],
            "confidence": _number(told["confidence"]),
            "probabilities": {name: _number(told[f"p_{name}"]) for name in self.refined.classes},
            "stratum": self.sample.strata[self.sample.stratum[place]].kind,
            "kept": told["kept"],
            "reason": told["reason"],
        }

    def _reminder(self, place: int, verdict: Verdict) -> dict[str, Any]:
        told = self._decision(place)
        return {
            "place": place,
            "label": self._rows[place]["label"],
            "action": verdict.action,
            "new_label": verdict.new_label,
            "predicted": told["predicted"],
            "confidence": _number(told["confidence"]),
        }

    def _progress(self, verdicts: dict[int, Verdict]) -> list[dict[str, Any]]:
        """Judged and all faces of each given class, in the order of the domains."""
        judged = Counter(self._class(place) for place in verdicts)
        names = (*self.refined.dataset.manifest.domains, UNLABELLED)
        return [{"label": n, "judged": judged[n], "size": self._sizes[n]} for n in names if n in self._sizes]

    def _class(self, place: int) -> str:
        return self.sample.strata[self.sample.stratum[place]].label


def _outcome(verdict: Verdict) -> Outcome:
    assert verdict.action != "undo", "an undo does not stand"
    return Outcome(verdict.action, verdict.new_label)


def _figures(section: dict[str, Any]) -> dict[str, Any]:
    """For JSON, which knows no NaN."""
    return {
        name: {key: _number(number) for key, number in asdict(value).items()} if isinstance(value, Estimate) else value
        for name, value in section.items()
    }


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
