"""A data set in the making: the labels of what its units wrote, and what is said of all rows together at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stargan_ray.data.manifest import Census, ContentHasher, Shard, content_hash
from stargan_ray.data.row_spool import PART, PLACE, RowSpool
from stargan_ray.data.schema import GROUP_ROWS, INDEX_SCHEMA, SPLITS
from stargan_ray.data.units import Written, write_groups

_REPEATING = ("identity", "split", "source")


class _File(NamedTuple):
    """A shard; they are ordered by split, then by unit."""

    split: int
    number: int
    path: str
    bytes: int
    rows: int
    hash: str
    part: int  # its table in the spool


@dataclass(frozen=True)
class Content:
    """What the keys say, in their order."""

    hash: str
    repeated_keys: int  # keys of several rows
    first_repeated: str | None


class Draft:
    """Collects what units wrote, in any order.

    Args:
        domains: names of the expressions.
        file: an open, empty file in the folder for temporary ones, for the labels.
    """

    def __init__(self, domains: Sequence[str], file: IO[bytes]) -> None:
        self._domains = domains
        self._spool = RowSpool(file)
        self._files: list[_File] = []
        self._begins: list[npt.NDArray[np.uint64]] = []  # of the hashes of each table: eight bytes a row are held
        self._weighted = False
        self._skipped: dict[int, tuple[tuple[str, str], ...]] = {}
        self.truths: list[int] = []  # units that wrote a truth
        self.image_bytes = 0

    def add(self, one: Written) -> None:
        """Take in what a unit left.

        Raises:
            StorageError: If the temporary file has no room for it.
        """
        for (path, split, size), labels in zip(one.files, one.labels, strict=True):
            self._weighted |= labels["weight"].null_count < labels.num_rows
            part = self._spool.add(labels)
            self._begins.append(
                np.array([int(name[:16], 16) for name in labels["content_hash"].to_pylist()], np.uint64)
            )
            named = content_hash(labels, self._domains)
            self._files.append(_File(SPLITS.index(split), one.number, path, size, labels.num_rows, named, part))
        if one.skipped:
            self._skipped[one.number] = one.skipped
        if one.truth:
            self.truths.append(one.number)
        self.image_bytes += one.image_bytes

    @property
    def rows(self) -> int:
        """How many there are."""
        return self._spool.rows

    @property
    def shards(self) -> list[Shard]:
        """All of them, in storage order."""
        return [Shard(file.path, SPLITS[file.split], file.rows, file.bytes, file.hash) for file in sorted(self._files)]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of what the units did not take over, in their order."""
        return [each for number in sorted(self._skipped) for each in self._skipped[number]]

    def copies(self) -> pa.Table:
        """The rows whose image a row with an earlier key has: key, and where they are for :meth:`drop`."""
        shared = self._sharing_an_image().sort_by([("content_hash", "ascending"), ("key", "ascending")])
        again = _as_the_one_before(shared["content_hash"])
        # the key of the first row with the image, at every row; another row with that very key is an error anyway
        first = np.maximum.accumulate(np.where(again, 0, np.arange(len(again))))
        later = again & ~pc.equal(shared["key"], shared["key"].take(pa.array(first))).to_numpy()
        return shared.filter(pa.array(later)).drop_columns(["content_hash"]).sort_by("key")

    def drop(self, rows: pa.Table) -> None:
        """Leave out some :meth:`copies`.

        The shards keep them: they can be taken over by a later run whatever else is in the data set then.
        """
        for part, place in zip(rows[PART].to_pylist(), rows[PLACE].to_pylist(), strict=True):
            self._spool.drop(part, place)
        self._weighted = self._weighted and any(
            (table := self._spool.table(part))["weight"].null_count < table.num_rows for part in range(len(self._spool))
        )

    def _sharing_an_image(self) -> pa.Table:
        """The rows whose hash begins like another's: few more than those that have the image of another."""
        begins = np.sort(np.concatenate(self._begins))
        several = np.unique(begins[1:][begins[1:] == begins[:-1]])
        found = []
        for part, mine in enumerate(self._begins):
            if not part or np.isin(mine, several).any():  # of the first part also nothing, for its columns
                table = self._spool.table(part).filter(pa.array(np.isin(mine, several)))
                found.append(table.append_column(PART, pa.array(np.full(table.num_rows, part, np.int32))))
        return pa.concat_tables(found).select(["content_hash", "key", PART, PLACE])

    def content(self) -> Content:
        """The name of the content, and what is wrong with the keys."""
        hasher = ContentHasher(self._domains, weighted=self._weighted)
        count, first = 0, None
        for piece in self._spool.ordered("key", hasher.columns[1:]):
            twice = pc.unique(piece["key"].filter(pa.array(_as_the_one_before(piece["key"]))))
            count, first = count + len(twice), first or next(iter(twice.to_pylist()), None)
            hasher.update(piece)
        return Content(hasher.hexdigest(), count, first)

    def write_index(self, uri: str) -> Census:
        """Write the index, counting the rows.

        Raises:
            StorageError: If the URI cannot be written.
        """
        census = Census()
        write_groups(uri, INDEX_SCHEMA, self._groups(census), _REPEATING)
        return census

    def _groups(self, census: Census) -> Iterator[pa.Table]:
        """The index in storage order, in row groups of about one size, counted as they are given."""
        waiting: list[pa.Table] = []
        files = sorted(self._files)
        for position, file in enumerate(files):
            table = self._spool.table(file.part)
            shard = pa.array(np.full(table.num_rows, position, np.int32))
            columns = [*table.drop_columns([PLACE]).columns, shard, table[PLACE]]
            waiting.append(pa.Table.from_arrays(columns, schema=INDEX_SCHEMA))
            if sum(each.num_rows for each in waiting) >= GROUP_ROWS or position == len(files) - 1:
                group, waiting = pa.concat_tables(waiting).combine_chunks(), []
                census.add(group)
                yield group


def _as_the_one_before(texts: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """(n,) which values of a sorted column equal the one before."""
    found = np.zeros(len(texts), np.bool_)
    if len(texts) > 1:
        found[1:] = pc.equal(texts[1:], texts[:-1]).to_numpy()
    return found
