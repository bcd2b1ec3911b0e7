"""What readers of image files share: the entries found, why others were refused, the units that check them.

Image bytes are taken over as they are, after a full decode (or, if so asked, their header) has shown that they are
an image. What is not taken over is counted by reason and listed: ``empty``, ``oversized``, ``not an image``,
``unreadable``, …
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from stargan_ray.data.decode import UndecodableError, Verify, brightness, check, crop
from stargan_ray.data.dlib_files import require_dlib
from stargan_ray.data.face_detection import face_chip, has_face, require_chips
from stargan_ray.data.locations import shown
from stargan_ray.data.readers.entries import Entries, Entry, Packed
from stargan_ray.data.readers.names import domains_of
from stargan_ray.data.schema import SPLITS, Row, Skipped
from stargan_ray.data.storage import Listed
from stargan_ray.data.trees import Tree, read_files
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError, unknown

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_UNIT_BYTES = 256 << 20  # a unit is held in memory while it is written


@dataclass(frozen=True)
class Limits:
    """What is refused before it can do harm.

    Attributes:
        max_bytes: larger files are skipped.
        max_pixels: images with more pixels are skipped, before they are decoded.
        verify: decode reads every image to its end; header is faster and believes what a JPEG or PNG with its end
            says of itself, so that damage within a JPEG is met only later, where it is decoded.
        faces: leave out images in which dlib finds no frontal face (extra judge); a core looks at about 100 a second.
        chip: cut out the face that dlib finds, upright, with so many pixels a side, and leave out images without one;
            0 = images stay as they are. For photos that are wider than the face, or faces that are not upright.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 64_000_000
    verify: Verify = "decode"
    faces: bool = False
    chip: int = 0

    def __post_init__(self) -> None:
        if self.verify not in get_args(Verify):
            raise unknown("verify", self.verify, get_args(Verify))
        if self.chip and not 16 <= self.chip <= 1024:
            raise InputError(f"--limits.chip {self.chip}: allowed are 0 and 16 to 1024 pixels")
        if self.chip:
            require_chips("--limits.chip")
        if self.faces:
            require_dlib("--limits.faces")

    def told(self) -> dict[str, object]:
        """What names an ingest, as JSON values; what was once the only way is not mentioned."""
        told: dict[str, object] = {"max_bytes": self.max_bytes, "max_pixels": self.max_pixels}
        if self.verify != "decode":
            told["verify"] = self.verify
        if self.chip:
            told["chip"] = self.chip
        return told | {"faces": True} if self.faces else told


@dataclass(frozen=True)
class FilesUnit:
    """Some files of one split."""

    number: int
    reader: str
    entries: Packed
    expressions: tuple[int | None, ...]  # of the entries
    limits: Limits
    darkest: float = 0.0  # images with a lower mean grey value, of 255, are skipped

    @functools.cached_property  # asked for when the source is named and again when the unit is written
    def fingerprint(self) -> str:
        """Hash of the files' names, sizes, times and labels and of the limits."""
        entries = [entry.told() for entry in self.entries]
        told = [self.reader, entries, self.expressions, self.limits.told(), self.darkest]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Skipped]:
        """A row for every usable file, a reason for every other."""
        entries = list(self.entries)
        small = [entry.file for entry in entries if entry.file.size <= self.limits.max_bytes]
        contents = read_files(small)
        for entry, expression in zip(entries, self.expressions, strict=True):
            if entry.file.size > self.limits.max_bytes:
                yield Skipped(entry.key, "oversized")
            else:
                yield row_of(entry, next(contents), expression, self.reader, self.limits, self.darkest)


def row_of(
    entry: Entry, data: bytes | None, expression: int | None, reader: str, limits: Limits, darkest: float = 0.0
) -> Row | Skipped:
    """The row of a file's bytes, which are None if they cannot be read, or why there is none."""
    try:
        if data is None:
            return Skipped(entry.key, "unreadable")
        check(data, limits.max_pixels, limits.verify)
        if darkest and brightness(data) < darkest:
            return Skipped(entry.key, "almost black")
        if entry.box is not None:
            data = crop(data, entry.box)
        if limits.chip:
            data = face_chip(data, limits.chip)
        elif limits.faces and not has_face(data):
            data = None
        if data is None:
            return Skipped(entry.key, "no face found")
    except UndecodableError as error:
        return Skipped(entry.key, error.reason)
    return Row(entry.key, data, expression, entry.identity, entry.split, reader)


@dataclass
class Layout:
    """What a reader found, while it looks around."""

    entries: Entries = field(default_factory=Entries)
    skipped: list[Skipped] = field(default_factory=list)
    domains: set[str] = field(default_factory=set)  # also of folders that turned out empty
    notes: list[str] = field(default_factory=list)
    darkest: float = 0.0  # as in FilesUnit

    def take(
        self,
        tree: Tree,
        folder: Sequence[str],
        listed: Listed,
        *,
        split: str,
        domain: str | None = None,
        identity: str | None = None,
        key: str | None = None,
        box: tuple[int, int, int, int] | None = None,
    ) -> None:
        """Take over a file that was listed in a folder of the tree, if its name is that of an image."""
        key = "/".join((*folder, listed.name)) if key is None else key
        if key != shown(key):
            self.skip(key, "name is not UTF-8")
        elif listed.folder or not is_image(listed.name):
            self.skip(key, "not an image")
        else:
            self.add(Entry(key, tree.file(folder, listed), split, domain, identity, box), listed)

    def add(self, entry: Entry, listed: Listed | None) -> None:
        """Take a file over, or note why not; ``listed`` is None for a file that is not there."""
        if listed is None:
            self.skip(entry.key, "missing")
        elif listed.size is None:
            self.skip(entry.key, "unreadable")
        elif listed.size == 0:
            self.skip(entry.key, "empty")
        else:
            self.entries.append(entry)

    def skip(self, path: str, reason: str) -> None:
        """Note a file that is not taken over."""
        self.skipped.append(Skipped(shown(path), reason))

    def require_domains(self, where: str) -> None:
        """Check that train, and val where there is one, has files of every domain.

        Raises:
            InputError: Naming the first domain that is missing.
        """
        domains, index = domains_of(self.domains)
        splits = {(entry.split, entry.domain) for entry in self.entries}
        present = {(split, index[domain]) for split, domain in splits if domain is not None}
        for split in ("train", "val"):
            absent = [name for number, name in enumerate(domains) if (split, number) not in present]
            if absent and (split == "train" or any(other == split for other, _ in splits)):
                raise InputError(
                    f"{where}: domain {absent[0]!r} has no image in {split}: add some, or pass --allow-missing"
                )

    def source(
        self,
        description: Mapping[str, object],
        limits: Limits,
        *,
        every_domain: bool,
        shard_rows: int = SHARD_ROWS,
    ) -> Source:
        """The entries cut into units.

        Args:
            description: For the manifest; its ``reader`` names the rows' source.
            limits: What to refuse.
            every_domain: Whether a domain without usable images is an error.
            shard_rows: Most rows of one unit.
        """
        domains, index = domains_of(self.domains)
        if index and sorted(index) != sorted(domains):
            self.notes.append(
                "names read as expressions: " + ", ".join(f"{n} → {domains[i]}" for n, i in index.items())
            )
        units: list[FilesUnit] = []
        for split in SPLITS:
            for entries in cut((entry for entry in self.entries if entry.split == split), shard_rows):
                labels = tuple(None if entry.domain is None else index[entry.domain] for entry in entries)
                packed, reader = Packed.of(entries), str(description["reader"])
                units.append(FilesUnit(len(units), reader, packed, labels, limits, self.darkest))
        return Source(
            description={**description, **limits.told()},
            domains=domains,
            units=tuple(units),
            skipped=tuple(self.skipped),
            notes=tuple(self.notes),
            every_domain=every_domain,
        )


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image of a kind that is read."""
    return name.lower().endswith(SUFFIXES)


def split_by_hash(name: str, *, test: bool = True) -> str:
    """The split of a person or image by the hash of its name alone: 10 % val, 10 % test, the rest train.

    Args:
        name: Of the person, so that all of its images get one split.
        test: False puts those of test into train and leaves val as it is.
    """
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    if share < 0.1:
        return "val"
    return "test" if share < 0.2 and test else "train"


def cut(entries: Iterable[Entry], shard_rows: int) -> Iterator[tuple[Entry, ...]]:
    """The entries in parts of at most ``shard_rows`` that fit into memory together."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and (len(part) == shard_rows or size + entry.file.size > _UNIT_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(entry)
        size += entry.file.size
    if part:
        yield tuple(part)
