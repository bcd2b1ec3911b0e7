"""Reader of plain folders: ``{train,val,test}/<domain>/*``, or a CSV with path, expression, identity, split.

The folder may be in an archive. The domains are the folders' names in alphabetical order; if all of them are
expressions in some spelling, they are the project's expressions in its own order. Of the CSV only ``path`` is
required, relative to the CSV or whole; an empty expression is a row without one, and without the column
``split`` every row is in train.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from stargan_ray.data import storage
from stargan_ray.data.locations import shown
from stargan_ray.data.readers.entries import Entry
from stargan_ray.data.readers.files import Layout, Limits
from stargan_ray.data.readers.names import SPLIT_FOLDERS
from stargan_ray.data.trees import File, Tree, open_tree, with_refused
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError

_COLUMNS = ("path", "expression", "identity", "split")


@dataclass(frozen=True)
class FolderConfig:
    """Which folder, and what to accept of it.

    Attributes:
        path: the folder or archive with train/ and val/, or the CSV; a path or a URI.
        limits: what is refused.
        allow_missing: accept a domain without images in train or in val.
    """

    path: str
    limits: Limits = field(default_factory=Limits)
    allow_missing: bool = False


def read_folder(config: FolderConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """A folder or a CSV as a source.

    Args:
        config: What to read.
        shard_rows: Most rows of one unit.

    Raises:
        InputError: If nothing is there, the layout is another one, or a domain is missing.
    """
    tree = open_tree(config.path, "a folder with train/ and val/, or a CSV file")
    path = tree.root
    layout = _read_csv(path) if path.partition("?")[0].lower().endswith(".csv") else _read_tree(tree)
    if not config.allow_missing:
        layout.require_domains(path)
    described = {"reader": "folder", "path": path, "allow_missing": config.allow_missing}
    every = not config.allow_missing
    return with_refused(layout.source(described, config.limits, every_domain=every, shard_rows=shard_rows), tree)


def _read_tree(tree: Tree) -> Layout:
    layout = Layout()
    found = tree.list()
    if not any(listed.folder and listed.name.lower() in SPLIT_FOLDERS for listed in found):
        raise InputError(
            f"{tree.where} has no train/ or val/ (found {tree.names()}): expected {{train,val}}/<domain>/*"
        )
    for top in found:
        split = SPLIT_FOLDERS.get(top.name.lower())
        if split is None or not top.folder:
            layout.skip(top.name, "outside train, val and test")
            continue
        for domain in tree.list(top.name):
            if not domain.folder:
                layout.skip(f"{top.name}/{domain.name}", "outside a domain's folder")
            elif domain.name != shown(domain.name):
                layout.skip(f"{top.name}/{domain.name}", "name is not UTF-8")
            else:
                layout.domains.add(domain.name)
                folder = (top.name, domain.name)
                for listed in tree.list(*folder):
                    layout.take(tree, folder, listed, split=split, domain=domain.name)
    return layout


def _read_csv(path: str) -> Layout:
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip().lower() for name in next(reader, [])]
    if "path" not in header:
        raise InputError(f"{path} has no column 'path' (found {', '.join(header) or 'nothing'}): line 1 names them")
    layout = Layout()
    others = [name for name in header if name not in _COLUMNS]
    if others:
        layout.notes.append(f"columns not used: {', '.join(others)}")
    if "split" not in header:
        layout.notes.append("no column 'split': every row is in train")
    folders: dict[str, dict[str, storage.Listed]] = {}
    seen: set[str] = set()
    for values in reader:
        row = dict(zip(header, (value.strip() for value in values), strict=False))
        key = row.get("path", "")
        if key in seen:
            layout.skip(key, "listed twice")
        elif key:
            seen.add(key)
            _add_line(layout, row, storage.parent(path), folders)
        elif values:
            layout.skip(f"line {reader.line_num}", "no path")
    return layout


def _add_line(layout: Layout, row: dict[str, str], base: str, folders: dict[str, dict[str, storage.Listed]]) -> None:
    """One line of a CSV; ``folders`` keeps what was listed, since a request for each file would be slow."""
    key = row["path"]
    split = SPLIT_FOLDERS.get((row.get("split") or "train").lower())
    if split is None:
        layout.skip(key, "unknown split")
        return
    uri = key if "://" in key or key.startswith("/") else storage.join(base, *PurePosixPath(key).parts)
    folder = storage.parent(uri)
    if folder not in folders:
        try:
            folders[folder] = {listed.name: listed for listed in storage.list_folder(folder)}
        except storage.StorageError:  # one bad line is no reason to stop
            folders[folder] = {}
    listed = folders[folder].get(PurePosixPath(key).name)
    domain = row.get("expression") or None
    if domain is not None:
        layout.domains.add(domain)
    file = File(uri, *((listed.size or 0, listed.modified) if listed else (0, 0)))
    layout.add(Entry(key, file, split, domain, row.get("identity") or None), listed)
