"""Where a published data set lies: a folder or an archive at a path or URI.

Readers list and read through this one seam, so that every layout works in each of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple, cast

from stargan_ray.data import storage
from stargan_ray.data.archive_members import open_member, read_members
from stargan_ray.data.archives import Archive, kind_of, list_archive
from stargan_ray.data.locations import shown
from stargan_ray.data.schema import Skipped
from stargan_ray.data.storage import Listed
from stargan_ray.data.units import Source
from stargan_ray.errors import InputError

_DEEPEST = 4  # folders that lie around a layout, as in an archive of a folder of the data set
_SIDE_BY_SIDE = 16  # objects that are waited for at once: a bucket answers late, but many at a time


class File(NamedTuple):
    """Where the bytes of one file are."""

    uri: str
    size: int  # bytes
    modified: int  # ns: a changed file is read again
    offset: int | None = None  # in the archive at the URI; None is the file at the URI itself


@dataclass(frozen=True)
class Tree:
    """A folder with all that is below it."""

    root: str  # the path or URI that was given
    folder: tuple[str, ...] = ()  # of this tree, below the root
    alone: File | None = None  # the root itself, where it is a file and no folder
    archive: Archive | None = None  # the root itself, where it is one

    @property
    def where(self) -> str:
        """How messages name it."""
        return "/".join((self.root, *self.folder))

    def below(self, *folder: str) -> Tree:
        """The tree of a folder in this one."""
        return replace(self, folder=(*self.folder, *folder))

    def list(self, *folder: str) -> list[Listed]:
        """What lies directly in a folder, sorted by name; empty when there is no such folder.

        Raises:
            StorageError: If the folder cannot be listed.
        """
        if self.archive is not None:
            return self.archive.list((*self.folder, *folder))
        if self.alone is not None:
            return []
        return storage.list_folder(storage.join(self.root, *self.folder, *folder))

    def file(self, folder: Sequence[str], listed: Listed) -> File:
        """Where the bytes of something listed in a folder are."""
        if self.archive is not None:
            offset = self.archive.offset(*self.folder, *folder, listed.name)
            return File(self.root, listed.size or 0, listed.modified, offset)
        uri = storage.join(self.root, *self.folder, *folder, listed.name)
        return File(uri, listed.size or 0, listed.modified)

    def find(self, *path: str) -> File | None:
        """The file of exactly this name, or None."""
        for listed in self.list(*path[:-1]):
            if listed.name == path[-1] and not listed.folder and listed.size is not None:
                return self.file(path[:-1], listed)
        return None

    def names(self, most: int = 5) -> str:
        """The first names in the tree, for messages."""
        return ", ".join(shown(listed.name) for listed in self.list()[:most]) or "nothing"


def open_tree(path: str, expected: str) -> Tree:
    """The tree at a path or URI.

    Args:
        path: A folder, an archive, or another file, which is then alone in its tree.
        expected: What should be there, for the error.

    Raises:
        InputError: If nothing is there, or it is an archive that cannot be used.
    """
    uri = storage.absolute(path)
    if not storage.exists(uri):
        raise InputError(f"{uri} does not exist: give {expected}")
    try:
        size = storage.size(uri)
    except storage.StorageError:  # a folder
        return Tree(uri)
    name = storage.resolve(uri)[1].rpartition("/")[2]
    times = [listed.modified for listed in storage.list_folder(storage.parent(uri)) if listed.name == name]
    modified = times[0] if times else 0
    if kind_of(uri) is not None:
        return Tree(uri, archive=list_archive(uri, size, modified))
    return Tree(uri, alone=File(uri, size, modified))


def with_refused(source: Source, tree: Tree) -> Source:
    """The source, which also counts what was refused of the archive that it is in."""
    refused = () if tree.archive is None else tuple(Skipped(*each) for each in tree.archive.refused)
    return replace(source, skipped=(*refused, *source.skipped))


def locate(tree: Tree, data_set: str, layouts: Mapping[str, Callable[[Tree], Source | None]]) -> Source:
    """What the first layout that fits makes of the tree, or of the only folder in it, and so on downwards.

    Args:
        tree: Where to look.
        data_set: Its name, for the error.
        layouts: A description of each layout, and the function that gives None where it is another one.

    Raises:
        InputError: If none fits: what was found, and which layouts were tried.
    """
    here = tree
    for _ in range(_DEEPEST):
        for find in layouts.values():
            found = find(here)
            if found is not None:
                return with_refused(found, tree)
        folders = [listed.name for listed in here.list() if listed.folder and not hidden(listed.name)]
        if len(folders) != 1:
            break
        here = here.below(folders[0])
    raise InputError(
        f"{tree.where} has no layout of {data_set} (found {here.names()}): expected {' or '.join(layouts)}"
    )


def hidden(name: str) -> bool:
    """Whether a name is one that systems and archivers leave behind (``.DS_Store``, ``__MACOSX``)."""
    return name.startswith((".", "__"))


def open_file(file: File) -> BinaryIO:
    """A reader of a file's bytes that can seek.

    Raises:
        StorageError: If it cannot be opened.
    """
    if file.offset is not None:
        return open_member(file.uri, file.modified, file.offset, file.size)
    return cast(BinaryIO, io.BufferedReader(storage.open_input(file.uri)))


def read_files(files: Sequence[File]) -> Iterator[bytes | None]:
    """The bytes of each file, in the order given; None for one that cannot be read.

    Those in a bucket are read ahead of the caller, up to all of them. From a disk, threads that do so take more of
    the interpreter's time than they save of the disk's.

    Args:
        files: All of one tree; together they fit into memory.
    """
    if files and files[0].offset is not None:
        places = [(file.offset or 0, file.size) for file in files]
        yield from read_members(files[0].uri, files[0].modified, places)
    elif files and storage.local_path(files[0].uri) is None:
        with ThreadPoolExecutor(_SIDE_BY_SIDE, "read") as pool:
            yield from pool.map(_read, files)
    else:
        yield from map(_read, files)


def _read(file: File) -> bytes | None:
    try:
        return storage.read_bytes(file.uri, file.size)
    except storage.StorageError:
        return None
