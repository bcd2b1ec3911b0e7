"""Reading a folder or a .zip of JPEGs into a data set, beside a bare loop that reads, hashes and writes Parquet.

python benchmarks/ingest.py              # generated faces of 48 and of 256 pixels
python benchmarks/ingest.py fer2013/     # a folder {train,val,test}/<domain>/*.jpg of your own

``ingest`` reads every image to the last coefficient besides, ``ingest_header`` its header and its end; the loops
``bare_decode`` and ``bare_header`` do the same by the plainest means, by Pillow. The files are in memory, or (``cold``)
have to be waited for.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from measure import alternate, report, throughput
from pictures import forget, write_folder, write_zip
from PIL import Image
from rich.console import Console

from stargan_ray.data.decode import Verify
from stargan_ray.data.readers.files import Limits
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.schema import ROW_GROUP
from stargan_ray.data.units import SHARD_ROWS
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.ingest import ingest
from stargan_ray.runtime.progress import display

ROUNDS = 5
SETS = ((48_000, 48), (12_000, 256))  # files, pixels
PART = 8  # each so many-th file is a smaller set, which shows what does not depend on the number of files


@dataclass(frozen=True)
class Bare:
    """Read, hash, write; of several processes each does every so many-th shard."""

    root: Path
    out: Path
    verify: Verify | None = None  # check each image too
    parts: int = 1

    def __call__(self, part: int = 0) -> None:
        """One process's share."""
        archive = zipfile.ZipFile(self.root) if self.root.is_file() else None
        names = archive.namelist() if archive else list(walk(str(self.root)))
        for start in range(part * SHARD_ROWS, len(names), self.parts * SHARD_ROWS):
            shard = names[start : start + SHARD_ROWS]
            images = [archive.read(name) if archive else read(name) for name in shard]
            for image in images if self.verify else ():
                opened = Image.open(io.BytesIO(image))
                if self.verify == "decode":
                    opened.load()
                else:
                    assert image.endswith(b"\xff\xd9")
            write(self.out / f"{start}.parquet", shard, images)


def walk(folder: str) -> Iterator[str]:
    """Every file below a folder, in order."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from walk(entry.path)
        else:
            yield entry.path


def every(step: int, root: Path, work: Path) -> Path:
    """A copy of each so many-th file of a folder or an archive."""
    part = work / f"part-{root.name}"
    if root.is_file():
        with zipfile.ZipFile(root) as archive, zipfile.ZipFile(part, "w") as file:
            for name in archive.namelist()[::step]:
                file.writestr(name, archive.read(name))
        return part
    for name in list(walk(str(root)))[::step]:
        path = part / Path(name).relative_to(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(name, path)
    return part


def read(name: str) -> bytes:
    """A file's bytes by the shortest way."""
    with open(name, "rb") as file:  # noqa: PTH123 - a Path costs as much as the read
        return file.read()


def write(path: Path, names: Sequence[str], images: Sequence[bytes]) -> None:
    """A shard by pyarrow alone, as `stargan_ray.data.units` sets it up."""
    hashes = [hashlib.sha256(image).hexdigest() for image in images]
    labels = [name.split("/")[-2] for name in names]
    table = pa.table({"key": names, "image": pa.array(images, pa.binary()), "label": labels, "content_hash": hashes})
    text = ["key", "label", "content_hash"]
    compression = {"image": "none"} | dict.fromkeys(text, "zstd")
    pq.write_table(
        table, path, row_group_size=ROW_GROUP, compression=compression, use_dictionary=text, write_statistics=False
    )


def measure(name: str, root: Path, out: Path) -> None:
    """One folder or archive: in memory and cold by one process, in memory by two."""

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    def cold() -> None:
        clear()
        forget(root)

    def ours(parallel: int, path: Path = root, verify: Verify = "decode") -> None:
        source = read_folder(FolderConfig(str(path), Limits(verify=verify), allow_missing=True))
        ingest(source, str(out), parallel=parallel, overwrite=False, progress=silent)

    silent = display(Console(quiet=True))
    part = every(PART, root, out.parent)
    bare, decoded, headed = (Bare(root, out, verify) for verify in (None, "decode", "header"))
    one: dict[str, Callable[[], object]] = {
        "bare": bare,
        "bare_decode": decoded,
        "bare_header": headed,
        "ingest": lambda: ours(1),
        "ingest_header": lambda: ours(1, verify="header"),
    }
    seconds = alternate(ROUNDS, clear, **one)
    seconds |= {f"cold_{key}": values for key, values in alternate(ROUNDS, cold, **one).items()}
    start_ray()  # its start is measured by benchmarks/refine.py, that of its workers here
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        two: dict[str, Callable[[], object]] = {
            "bare": lambda: pool.map(replace(bare, parts=2), range(2)),
            "bare_decode": lambda: pool.map(replace(decoded, parts=2), range(2)),
            "bare_header": lambda: pool.map(replace(headed, parts=2), range(2)),
            "ingest": lambda: ours(2),
            "ingest_part": lambda: ours(2, part),
            "ingest_header": lambda: ours(2, verify="header"),
            "ingest_header_part": lambda: ours(2, part, "header"),
        }
        taken = alternate(ROUNDS, clear, **two)
    for mine in ("ingest", "ingest_header"):
        taken[f"{mine}_without_start"] = [  # what the other files took, as if all had
            (whole - few) * PART / (PART - 1) for whole, few in zip(taken[mine], taken[f"{mine}_part"], strict=True)
        ]
    seconds |= {f"two_{key}": values for key, values in taken.items() if not key.endswith("_cpu")}
    ratios = {
        f"{prefix}{mine}{end} to {prefix}{base}{clock}": throughput(
            seconds, f"{prefix}{mine}{end}", f"{prefix}{base}{clock}"
        )
        for mine, check in (("ingest", "bare_decode"), ("ingest_header", "bare_header"))
        for prefix, end, clock in (
            ("", "", ""),
            ("", "_cpu", "_cpu"),
            ("cold_", "", ""),
            ("two_", "", ""),
            ("two_", "_without_start", ""),
        )
        for base in ("bare", check)
    }
    files = len(list(walk(str(root)))) if root.is_dir() else len(zipfile.ZipFile(root).namelist())
    report(name, " ".join(["python", *sys.argv]), seconds, files=files, throughput=ratios)


def main() -> None:
    """Measure generated files of both sizes as a folder and as a .zip, or a folder that is given."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if len(sys.argv) > 1:
            measure("ingest-own", Path(sys.argv[1]), work / "out")
            return
        for count, size in SETS:
            measure(f"ingest-{size}", write_folder(work / f"{size}", count, size), work / "out")
            measure(f"ingest-{size}-zip", write_zip(work / f"{size}.zip", count, size), work / "out")


if __name__ == "__main__":
    main()
