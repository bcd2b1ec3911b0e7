"""Images that a CSV holds as numbers: FER2013's 2,304 grey values a line, one image of 48 × 48 pixels.

The table is walked once to find where its lines begin; a unit then reads its own lines and nothing else.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from stargan_ray.data.readers.tables import columns
from stargan_ray.data.schema import Row, Skipped
from stargan_ray.data.trees import File, open_file
from stargan_ray.errors import InputError

SIDE = 48
_BLOCK = 1 << 22
_LONGEST = 1 << 16  # bytes of a line; a whole one has some 9,000
USAGES = {"training": "train", "publictest": "val", "privatetest": "test"}


@dataclass(frozen=True)
class Label:
    """What another table says of a line: an expression's index, or why the line is left out."""

    expression: int | None
    reason: str = ""
    usage: str = ""  # as that table spells it; it must be the line's own


@dataclass(frozen=True)
class Lines:
    """Some lines of the table, one after the other."""

    file: File
    start: int  # the byte where the first begins
    first: int  # number of that line's image, from 0
    count: int


@dataclass(frozen=True)
class PixelsUnit:
    """Images of some lines; they may belong to several splits."""

    number: int
    reader: str
    lines: Lines
    at: Mapping[str, int]  # positions of emotion, pixels and Usage
    expressions: tuple[int, ...]  # of the table's own codes
    labels: tuple[Label, ...] | None = None  # of the lines, in place of the table's codes

    @property
    def fingerprint(self) -> str:
        """Hash of the table's size and time, the lines and their labels."""
        told = [
            self.reader,
            self.lines.file,
            (self.lines.start, self.lines.first, self.lines.count),
            dict(self.at),
            self.expressions,
            None if self.labels is None else [vars(label) for label in self.labels],
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Skipped]:
        """A row for every usable line, a reason for every other.

        Raises:
            InputError: If the table cannot be read any more.
        """
        try:
            with open_file(self.lines.file) as stream:
                stream.seek(self.lines.start)
                for place in range(self.lines.count):
                    key = f"row-{self.lines.first + place:05d}"
                    label = None if self.labels is None else self.labels[place]
                    line = _line(stream)
                    yield Skipped(key, "wrong number of pixels") if line is None else self._row(key, line, label)
        except OSError as error:
            raise InputError(f"{self.lines.file.uri} cannot be read ({error}): get it again") from error

    def _row(self, key: str, line: bytes, label: Label | None) -> Row | Skipped:
        values = _split(line)
        if values is None:
            return Skipped(key, "no line of a CSV")
        if not values:
            return Skipped(key, "empty")
        if len(values) <= max(self.at.values()):
            return Skipped(key, "too few columns")
        usage = values[self.at["Usage"]].strip().lower()
        if usage not in USAGES:
            return Skipped(key, "unknown Usage")
        if label is None:
            code = values[self.at["emotion"]].strip()
            if code not in map(str, range(len(self.expressions))):
                return Skipped(key, "label out of range")
            label = Label(self.expressions[int(code)])
        elif label.usage.strip().lower() != usage:
            return Skipped(key, "Usage differs between the tables")
        if label.expression is None:
            return Skipped(key, label.reason)
        image = _png(values[self.at["pixels"]])
        if isinstance(image, str):
            return Skipped(key, image)
        return Row(key, image, label.expression, None, USAGES[usage], self.reader)


def _line(stream: BinaryIO) -> bytes | None:
    """The next line, or None in place of one that is too long for an image."""
    line = stream.readline(_LONGEST)
    if len(line) < _LONGEST or line.endswith(b"\n"):
        return line
    while line and not line.endswith(b"\n"):
        line = stream.readline(_LONGEST)
    return None


def _split(line: bytes) -> list[str] | None:
    """The values of a line, or None where it is no CSV."""
    try:
        return next(csv.reader([line.decode("utf-8", "replace").strip()]), [])
    except csv.Error:
        return None


def _png(pixels: str) -> bytes | str:
    """The grey values as a PNG, or why they are no image."""
    words = pixels.split()
    if len(words) != SIDE * SIDE:
        return "wrong number of pixels"
    try:
        values = np.array([int(word) for word in words])
    except (ValueError, OverflowError):
        return "pixels are no numbers"
    if values.min() < 0 or values.max() > 255:
        return "pixel out of range"
    out = io.BytesIO()
    Image.fromarray(values.reshape(SIDE, SIDE).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def pixel_table(file: File, where: str, shard_rows: int) -> tuple[dict[str, int], list[Lines]]:
    """The columns of a table of images, and its lines in parts.

    Args:
        file: The CSV.
        where: Its name, for errors.
        shard_rows: Most lines of one part.

    Raises:
        InputError: If it cannot be opened, a column is missing, or there is no line below the header.
    """
    parts: list[Lines] = []
    try:
        with open_file(file) as stream:
            header = stream.readline(_LONGEST)
            names = _split(header) if header.endswith(b"\n") else None
            if names is None:
                raise InputError(f"{where} has no line 1 that names the columns: expected emotion, pixels, Usage")
            at = columns(names, ("emotion", "pixels", "Usage"), where)
            start, count = len(header), 0
            for end in _line_ends(stream, len(header)):
                count += 1
                if count == shard_rows:
                    parts.append(Lines(file, start, len(parts) * shard_rows, count))
                    start, count = end, 0
    except OSError as error:
        raise InputError(f"{where} cannot be read ({error}): get it again") from error
    if count:
        parts.append(Lines(file, start, len(parts) * shard_rows, count))
    if not parts:
        raise InputError(f"{where} holds no image: only its line 1 was found")
    return at, parts


def _line_ends(stream: BinaryIO, place: int) -> Iterator[int]:
    """The byte after each line, from ``place`` to the end of the stream; the last line may lack its newline."""
    last = place
    while block := stream.read(_BLOCK):
        for found in np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")):
            last = place + int(found) + 1
            yield last
        place += len(block)
    if place > last:
        yield place
