"""What the findings on a data set mean for a person: problems first, then what is worth a look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stargan_ray.data.inspection import TRAINABLE, rows_named

IMBALANCED = 10.0  # times as many images in the largest domain as in the smallest


@dataclass(frozen=True)
class Verdict:
    """Sentences, the gravest first."""

    problems: tuple[str, ...]  # results cannot be trusted, or training not started, before they are mended
    worth_a_look: tuple[str, ...]


def judge(found: Mapping[str, Any]) -> Verdict:
    """The verdict on what :func:`findings` gives."""
    return Verdict(tuple(_problems(found)), tuple(_worth_a_look(found)))


def _problems(found: Mapping[str, Any]) -> list[str]:
    said = []
    leaks, conflicts, unreadable = found["copies"]["across_splits"], found["conflicts"], found["unreadable"]
    if leaks:
        said.append(f"{_n(leaks, 'image')} in more than one split: judges would see what training has seen")
    if conflicts["expression"]:
        said.append(f"{_n(conflicts['expression'], 'image')} under different expressions: at most one is right")
    if conflicts["identity"]:
        said.append(f"{_n(conflicts['identity'], 'image')} under the names of different people")
    if unreadable["rows"]:
        why = ", ".join(f"{count} {reason}" for reason, count in unreadable["by_reason"].items())
        said.append(f"{_n(unreadable['rows'], 'row')} that cannot be read ({why}): ingest the data again")
    for name, count in found["counts"]["too_few"].items():
        said.append(
            f"domain {name!r} has {_count(count, 'image')} in train: a step takes {TRAINABLE} different references"
        )
    return said


def _worth_a_look(found: Mapping[str, Any]) -> list[str]:
    said = []
    counts, people, within = found["counts"], found["people"], found["copies"]["within_split"]
    if people["in_several_splits"]:
        who = _n(people["in_several_splits"], "person", "people")
        said.append(f"{who} in more than one split: a judge of unseen people has seen them")
    if found["near_black"]["rows"]:
        said.append(f"{_n(found['near_black']['rows'], 'near-black image')}")
    if found["near_empty"]["rows"]:
        said.append(f"{_n(found['near_empty']['rows'], 'near-empty image')}")
    if within:
        said.append(f"{_n(within, 'image')} several times in one split ({rows_named(within)} rows)")
    if counts["imbalance"] is not None and counts["imbalance"] >= IMBALANCED:
        said.append(f"the largest domain of train has {counts['imbalance']:.0f} times the images of the smallest")
    if "train" not in counts["splits"]:
        said.append("no row is in train: this set can judge, not train")
    if counts["skipped"]:
        why = ", ".join(f"{count} {reason}" for reason, count in counts["skipped"].items())
        said.append(f"{_count(sum(counts['skipped'].values()), 'file')} not taken over at ingest ({why})")
    return said


def _n(things: Any, one: str, many: str = "") -> str:
    return _count(len(things), one, many)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
