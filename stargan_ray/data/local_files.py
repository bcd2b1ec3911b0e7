"""Files of this machine, as :mod:`stargan_ray.data.storage` lists, reads and writes them: by the plainest calls."""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_PIECE = 8 << 20  # bytes


class Listed(NamedTuple):  # a tuple: there is one for every file of a data set
    """Something that lies in a folder; a link stands for what it points to."""

    name: str
    folder: bool
    size: int | None  # bytes; None for what cannot be read as a file, such as a pipe or a link to nowhere
    modified: int  # ns since 1970, 0 if unknown


def scan(folder: Path) -> list[Listed]:
    """What lies directly in a folder, in any order; empty when it is absent.

    Raises:
        OSError: If it cannot be listed.
    """
    return [_listed(entry) for entry in os.scandir(folder)] if folder.exists() else []


def _listed(entry: os.DirEntry[str]) -> Listed:
    try:
        found = entry.stat()
    except OSError:
        return Listed(entry.name, False, None, 0)
    regular = stat.S_ISREG(found.st_mode)
    return Listed(entry.name, stat.S_ISDIR(found.st_mode), found.st_size if regular else None, found.st_mtime_ns)


def read(path: str, expected: int = 0) -> bytes:
    """A file's bytes; for small files pyarrow's streams, and Python's own, take longer than the system.

    Args:
        path: Absolute.
        expected: Its size, if it is known, which saves to ask for it.

    Raises:
        OSError: If it cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        expected = expected or os.fstat(file).st_size
        data = os.read(file, expected + 1)  # one byte more than there should be shows that this is all
        if len(data) == expected:
            return data
        parts = [data]
        while parts[-1]:
            parts.append(os.read(file, _PIECE))
        return b"".join(parts)
    finally:
        os.close(file)


def write(path: Path, data: Any) -> None:
    """Write bytes, a buffer or a stream beside the target and rename it into place."""

    def fill(beside: Path) -> None:
        with beside.open("wb") as file:
            if hasattr(data, "read"):
                shutil.copyfileobj(data, file, length=_PIECE)
            else:
                file.write(data)

    write_by(path, fill)


def write_by(path: Path, fill: Callable[[Path], object]) -> int:
    """Let a function write a file beside the target, and rename it into place; gives its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        fill(beside)
        file = os.open(beside, os.O_RDONLY)
        try:
            os.fsync(file)
            size = os.fstat(file).st_size
        finally:
            os.close(file)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return size
