"""Reader of KDEF (Karolinska Directed Emotional Faces): 70 people, seven expressions, five angles, two sessions.

A file's name says it all: ``AF01ANFL.JPG`` is session A or B, gender F or M, number 01 to 35, expression and
angle. Both sessions show the same person, so the identity is gender and number, and each person is in one
split only. Names outside this grammar, and pictures that are almost black, are counted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from stargan_ray.data.locations import shown
from stargan_ray.data.readers.files import Layout, Limits
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.storage import Listed
from stargan_ray.data.trees import Tree, hidden, locate, open_tree
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError, unknown

ANGLES = ("FL", "HL", "S", "HR", "FR")  # full left, half left, straight, half right, full right
_CODES = {
    "NE": "neutral",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
    "AF": "fear",
    "DI": "disgust",
    "AN": "anger",
}
_NAME = re.compile(rf"([AB])([FM])(\d\d)({'|'.join(_CODES)})({'|'.join(ANGLES)})\.JPE?G", re.IGNORECASE)
_FOLDER = re.compile(r"([AB])([FM])(\d\d)", re.IGNORECASE)
_PEOPLE = 35  # of each gender
_DARKEST = 16.0  # a whole picture has a mean grey value of about 100 of 255


@dataclass(frozen=True)
class KdefConfig:
    """Which copy of KDEF, and what to take of it.

    Attributes:
        path: the folder with a folder for each session and person, or with all images; a path or a URI.
        angles: of FL, HL, S, HR and FR, from full left to full right.
        limits: what is refused.
    """

    path: str
    angles: tuple[str, ...] = ANGLES
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for angle in self.angles:
            if angle not in ANGLES:
                raise unknown("angle", angle, ANGLES)
        if not self.angles:
            raise InputError(f"angles is empty: give some of {', '.join(ANGLES)}")


def read_kdef(config: KdefConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """KDEF as a source; rows have an identity such as ``F01`` and one of seven expressions.

    Args:
        config: Which copy.
        shard_rows: Most rows of one unit.

    Raises:
        InputError: If nothing is there or the layout is another one.
    """
    tree = open_tree(config.path, "the folder of KDEF")
    layouts: dict[str, Callable[[Tree], Source | None]] = {
        "AF01/AF01ANFL.JPG": lambda here: _read(here, _people(here), config, shard_rows),
        "AF01ANFL.JPG": lambda here: _read(here, _flat(here), config, shard_rows),
    }
    return locate(tree, "KDEF", layouts)


def split_of(identity: str) -> str:
    """The split of a person such as ``F01``: of each gender 4 are val, 4 are test and 27 are train.

    Which ones is the order of the hashes of all 35, so it does not depend on who is in a copy.
    """
    people = [f"{identity[0]}{number:02d}" for number in range(1, _PEOPLE + 1)]
    place = sorted(people, key=lambda person: hashlib.sha256(person.encode()).digest()).index(identity)
    return "val" if place < 4 else "test" if place < 8 else "train"


def _people(tree: Tree) -> list[tuple[tuple[str, ...], Listed]] | None:
    """All files, if there is a folder of a session and person, else None."""
    listed = tree.list()
    folders = [each.name for each in listed if each.folder and _FOLDER.fullmatch(each.name)]
    beside: list[tuple[tuple[str, ...], Listed]] = [((), each) for each in listed if each.name not in folders]
    return beside + [((name,), each) for name in folders for each in tree.list(name)] if folders else None


def _flat(tree: Tree) -> list[tuple[tuple[str, ...], Listed]] | None:
    listed = tree.list()
    return [((), each) for each in listed] if any(_NAME.fullmatch(each.name) for each in listed) else None


def _read(
    tree: Tree, files: list[tuple[tuple[str, ...], Listed]] | None, config: KdefConfig, shard_rows: int
) -> Source | None:
    if files is None:
        return None
    layout = Layout(domains=set(EXPRESSIONS[:-1]), darkest=_DARKEST)
    for folder, listed in files:
        key = "/".join((*folder, listed.name))
        if hidden(listed.name):
            layout.skip(key, "not an image")
            continue
        match = _NAME.fullmatch(shown(listed.name))
        if match is None or not 1 <= int(match[3]) <= _PEOPLE:
            layout.skip(key, "name outside KDEF's grammar")
            continue
        session, gender, number, code, angle = (part.upper() for part in match.groups())
        if folder and folder[0].upper() != f"{session}{gender}{number}":
            layout.skip(key, "name differs from its folder")
        elif angle not in config.angles:
            layout.skip(key, "another angle")
        else:
            identity = f"{gender}{number}"
            layout.take(tree, folder, listed, split=split_of(identity), domain=_CODES[code], identity=identity)
    described = {"reader": "kdef", "path": tree.root, "angles": [a for a in ANGLES if a in config.angles]}
    return layout.source(described, config.limits, every_domain=False, shard_rows=shard_rows)
