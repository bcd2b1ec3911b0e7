"""Many different image files at little cost, for the benchmarks of reading them."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from stargan_ray.data.faces import FacesConfig, generate
from stargan_ray.data.schema import EXPRESSIONS

_DRAWN = 320  # pictures that are really drawn


def pictures(count: int, size: int) -> Iterator[bytes]:
    """Grey JPEGs of generated faces, each with bytes of its own: drawn ones with a number in a comment segment."""
    drawn = []
    for row, _ in generate(FacesConfig(people=_DRAWN // 16, size=size), 0, min(count, _DRAWN)):
        out = io.BytesIO()
        Image.open(io.BytesIO(row.image)).convert("L").save(out, "JPEG", quality=90)
        drawn.append(out.getvalue())
    for number in range(count):
        face = drawn[number % len(drawn)]
        comment = b"%08d" % number
        yield face[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + face[2:]


def named(count: int, size: int) -> Iterator[tuple[str, bytes]]:
    """The pictures under the names of a plain folder of domains, a tenth of them in val."""
    for number, data in enumerate(pictures(count, size)):
        split = "val" if number % 10 == 9 else "train"
        yield f"{split}/{EXPRESSIONS[number // 10 % len(EXPRESSIONS)]}/{number:07d}.jpg", data


def write_folder(root: Path, count: int, size: int) -> Path:
    """As files in folders."""
    for name, data in named(count, size):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, count: int, size: int) -> Path:
    """As a stored .zip, as the published copies are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, data in named(count, size):
            file.writestr(name, data)
    return path


def forget(root: Path) -> None:
    """Ask the kernel to drop what it keeps of the files in memory; their names and sizes it keeps."""
    os.sync()  # what is not on the disk yet cannot be dropped
    for path in (root,) if root.is_file() else sorted(root.rglob("*.jpg")):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
