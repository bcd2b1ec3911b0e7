"""Reader of LFW (Labeled Faces in the Wild): people, no expressions.

``Name_Surname/Name_Surname_0001.jpg`` or the same files in one folder. A person is in one split only, chosen by
the hash of the name; with a file of pairs (``pairs.txt``, ``pairsDevTest.txt``) the people in it are test, and
the others are train and val.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from stargan_ray.data import storage
from stargan_ray.data.readers.files import Layout, Limits, split_by_hash
from stargan_ray.data.storage import Listed
from stargan_ray.data.trees import Tree, hidden, locate, open_tree
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError

_NAME = re.compile(r"(?P<person>.+)_(?P<number>\d{4})\.(jpg|jpeg|png)", re.IGNORECASE)


@dataclass(frozen=True)
class LfwConfig:
    """Which copy of LFW.

    Attributes:
        path: the folder of people, or of images; a path or a URI.
        pairs: a file of pairs whose people are to be test; a path or a URI.
        limits: what is refused.
    """

    path: str
    pairs: str | None = None
    limits: Limits = field(default_factory=Limits)


def read_lfw(config: LfwConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """LFW as a source; rows have an identity and no expression.

    Args:
        config: Which copy.
        shard_rows: Most rows of one unit.

    Raises:
        InputError: If nothing is there, the layout is another one, or the pairs cannot be read.
    """
    tree = open_tree(config.path, "the folder of LFW")
    test = None if config.pairs is None else people_in_pairs(config.pairs)
    layouts: dict[str, Callable[[Tree], Source | None]] = {
        "<Name_Surname>/<Name_Surname>_0001.jpg": lambda here: _read(here, _people(here), config, test, shard_rows),
        "<Name_Surname>_0001.jpg": lambda here: _read(here, _flat(here), config, test, shard_rows),
    }
    return locate(tree, "LFW", layouts)


def _people(tree: Tree) -> list[tuple[tuple[str, ...], Listed]] | None:
    """All files, if there are folders that hold images of their own name, else None."""
    listed = [each for each in tree.list() if not hidden(each.name)]
    folders = [each.name for each in listed if each.folder]
    # A folder around the layout is told by its content: it holds no image named after itself.
    if not any(_person(each.name) == name for name in folders[:20] for each in tree.list(name)):
        return None
    beside: list[tuple[tuple[str, ...], Listed]] = [((), each) for each in listed if not each.folder]
    return beside + [((name,), each) for name in folders for each in tree.list(name)]


def _flat(tree: Tree) -> list[tuple[tuple[str, ...], Listed]] | None:
    listed = tree.list()
    return [((), each) for each in listed] if any(_person(each.name) and not each.folder for each in listed) else None


def _person(name: str) -> str | None:
    match = _NAME.fullmatch(name)
    return match["person"] if match else None


def _read(
    tree: Tree,
    files: list[tuple[tuple[str, ...], Listed]] | None,
    config: LfwConfig,
    test: frozenset[str] | None,
    shard_rows: int,
) -> Source | None:
    if files is None:
        return None
    layout = Layout()
    seen: set[str] = set()
    for folder, listed in files:
        person = _person(listed.name)
        if person is None or folder not in ((), (person,)):
            why = "name is not Name_0001.jpg" if person is None else "name differs from its folder"
            layout.skip("/".join((*folder, listed.name)), why)
            continue
        seen.add(person)
        split = _split(person, test)
        layout.take(tree, folder, listed, split=split, identity=person)
    absent = len((test or frozenset()) - seen)
    if absent:
        layout.notes.append(f"{absent} people of the pairs have no image here")
    told = None if test is None else hashlib.sha256("\n".join(sorted(test)).encode()).hexdigest()
    described = {"reader": "lfw", "path": tree.root, "test_people": told}
    return layout.source(described, config.limits, every_domain=False, shard_rows=shard_rows)


def _split(person: str, test: frozenset[str] | None) -> str:
    if test is None:
        return split_by_hash(person)
    return "test" if person in test else split_by_hash(person, test=False)


@dataclass(frozen=True)
class NamedPair:
    """Two images of LFW, each a person's name and the number of the image, and the fold of the protocol."""

    first: tuple[str, int]
    second: tuple[str, int]
    fold: int

    @property
    def same(self) -> bool:
        """Whether both show one person."""
        return self.first[0] == self.second[0]


def people_in_pairs(path: str) -> frozenset[str]:
    """The people in a file of pairs; see ``read_pairs``."""
    return frozenset(name for pair in read_pairs(path) for name, _ in (pair.first, pair.second))


def read_pairs(path: str) -> list[NamedPair]:
    """A file of pairs: lines ``name n1 n2`` and ``name1 n1 name2 n2``, in each fold first these, then those.

    Folds are told by their beginning, a pair of one person behind one of two people, so that a copy without the
    first line has them too; ``pairsDevTest.txt`` is one fold.

    Args:
        path: A path or a URI. The first line, with the numbers of folds and pairs, may be missing.

    Raises:
        InputError: If it cannot be read, or a line is no pair.
    """
    try:
        lines = storage.read_bytes(storage.absolute(path)).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error}): give pairs.txt or pairsDevTest.txt") from error
    pairs: list[NamedPair] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or (number == 1 and all(word.isdecimal() for word in words)):
            continue
        names, numbers = (words[:1] * 2, words[1:]) if len(words) == 3 else (words[::2], words[1::2])
        if len(words) not in (3, 4) or not all(each.isdecimal() for each in numbers):
            raise InputError(f"{path}: line {number} is no pair: expected name n1 n2, or name1 n1 name2 n2")
        first, second = zip(names, map(int, numbers), strict=True)
        last = pairs[-1] if pairs else None
        begins = last is not None and len(words) == 3 and not last.same
        pairs.append(NamedPair(first, second, 0 if last is None else last.fold + begins))
    if not pairs:
        raise InputError(f"{path} names no pairs: give pairs.txt or pairsDevTest.txt")
    return pairs


def image_of(key: str) -> tuple[str, int] | None:
    """The person's name and the number of the image, by the key of a row; None where the key is no file of LFW."""
    name = key.rpartition("/")[2]
    return (match["person"], int(match["number"])) if (match := _NAME.fullmatch(name)) else None
