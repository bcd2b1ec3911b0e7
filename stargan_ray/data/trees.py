"""Where a published data set lies: a folder at a path or URI. Readers list and read through this one seam."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from stargan_ray.data import storage
from stargan_ray.data.locations import shown
from stargan_ray.data.storage import Listed
from stargan_ray.data.units import Source
from stargan_ray.errors import InputError

_DEEPEST = 4  # folders that lie around a layout, as in an archive of a folder of the data set


@dataclass(frozen=True)
class File:
    """Where the bytes of one file are."""

    uri: str
    size: int  # bytes
    modified: int  # ns: a changed file is read again


@dataclass(frozen=True)
class Tree:
    """A folder with all that is below it."""

    root: str  # the path or URI that was given
    folder: tuple[str, ...] = ()  # of this tree, below the root
    alone: File | None = None  # the root itself, where it is a file and no folder

    @property
    def where(self) -> str:
        """How messages name it."""
        return "/".join((self.root, *self.folder))

    def below(self, *folder: str) -> Tree:
        """The tree of a folder in this one."""
        return Tree(self.root, (*self.folder, *folder))

    def list(self, *folder: str) -> list[Listed]:
        """What lies directly in a folder, sorted by name; empty when there is no such folder.

        Raises:
            StorageError: If the folder cannot be listed.
        """
        if self.alone is not None:
            return []
        return storage.list_folder(storage.join(self.root, *self.folder, *folder))

    def file(self, folder: Sequence[str], listed: Listed) -> File:
        """Where the bytes of something listed in a folder are."""
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
        path: A folder, or a file, which is then alone in its tree.
        expected: What should be there, for the error.

    Raises:
        InputError: If nothing is there.
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
    return Tree(uri, alone=File(uri, size, times[0] if times else 0))


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
                return found
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
    return cast(BinaryIO, io.BufferedReader(storage.open_input(file.uri)))


def read_files(files: Sequence[File]) -> Iterator[bytes | None]:
    """The bytes of each file, in the order given; None for one that cannot be read."""
    for file in files:
        try:
            yield storage.read_bytes(file.uri)
        except storage.StorageError:
            yield None
