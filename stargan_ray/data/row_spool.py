"""Labels of rows on this machine's disk: gone through in storage order or in the order of a column, in little memory.

What is said of a data set as a whole (its name, its duplicates, its index) takes all its rows, and an ingest of
millions must not hold them. Only a sample of a column is ever held whole: it cuts the rows into pieces of values
that lie beside each other, and a piece is read, sorted and forgotten.
"""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stargan_ray.data import storage

PART, PLACE = "part", "place"  # columns of what :meth:`RowSpool.ordered` gives: the table's number, the row in it
_PIECE = 1 << 13  # rows that are sorted together, some 2 MB
_SAMPLED = 64  # every so many rows one value, of at most 64 bytes as a rule


class _Place(NamedTuple):
    start: int  # first byte in the file
    size: int  # bytes
    rows: int


class RowSpool:
    """Tables of one schema in a temporary file.

    Args:
        file: an open, empty file in the folder for temporary ones.
        piece: rows that are in memory together, roughly; more where more of them have one value.
    """

    def __init__(self, file: IO[bytes], piece: int = _PIECE) -> None:
        self._file = file
        self._piece = piece
        self._at: list[_Place] = []  # of each table
        self._kept: dict[int, npt.NDArray[np.bool_]] = {}  # of tables that lack rows
        self.rows = 0  # that were added, less those that were dropped

    def __len__(self) -> int:
        return len(self._at)

    def add(self, table: pa.Table) -> int:
        """Add a table behind the others; gives its number.

        Raises:
            StorageError: If there is no room for it.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        data = sink.getvalue()
        try:
            self._at.append(_Place(self._file.seek(0, io.SEEK_END), data.size, table.num_rows))
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise storage.failure("write labels to", tempfile.gettempdir(), error) from error
        self.rows += table.num_rows
        return len(self._at) - 1

    def drop(self, part: int, place: int) -> None:
        """Leave out a row from now on."""
        kept = self._kept.setdefault(part, np.ones(self._at[part].rows, np.bool_))
        self.rows -= int(kept[place])
        kept[place] = False

    def table(self, part: int) -> pa.Table:
        """The rows of a table that are left, with their PLACE in it."""
        at = self._at[part]
        self._file.seek(at.start)
        table = pa.ipc.open_stream(self._file.read(at.size)).read_all()
        table = table.append_column(PLACE, pa.array(np.arange(at.rows, dtype=np.int32)))
        return table.filter(pa.array(self._kept[part])) if part in self._kept else table

    def ordered(self, column: str, others: Sequence[str] = ()) -> Iterator[pa.Table]:
        """All rows in the order of a column, piece by piece; rows of one value are in one piece.

        Args:
            column: of text without nulls, in the order of its bytes; equal values in the order of part and place.
            others: columns that come with it; PART and PLACE may be among them.
        """
        names = [column, *others]
        marks, spans = self._survey(column)
        for low, high in itertools.pairwise([None, *marks, None]):
            some = [
                _between(self._with_part(part, names), column, low, high)
                for part, (least, most) in spans.items()
                if (low is None or most >= low) and (high is None or least < high)
            ]
            if some:
                piece = pa.concat_tables(some)
                yield piece.take(pc.sort_indices(piece[column]))

    def _with_part(self, part: int, names: Sequence[str]) -> pa.Table:
        table = self.table(part)
        if PART in names:
            table = table.append_column(PART, pa.array(np.full(table.num_rows, part, np.int32)))
        return table.select(names)

    def _survey(self, column: str) -> tuple[list[str], dict[int, tuple[str, str]]]:
        """The values that cut the column into pieces, and the least and largest value of every table that has rows."""
        spans: dict[int, tuple[str, str]] = {}
        sample: list[pa.ChunkedArray] = []
        ahead = 0  # rows since the last sampled one
        for part in range(len(self)):
            values = self.table(part)[column]
            if len(values):
                spans[part] = tuple(pc.min_max(values).as_py().values())
            sample.append(values.take(pa.array(np.arange(-ahead % _SAMPLED, len(values), _SAMPLED))))
            ahead += len(values)
        drawn = pa.chunked_array([chunk for each in sample for chunk in each.chunks], pa.string())
        ranked = drawn.take(pc.sort_indices(drawn))
        cuts: npt.NDArray[np.int64] = np.arange(0, len(ranked), max(1, self._piece // _SAMPLED))[1:]
        return list(dict.fromkeys(ranked.take(pa.array(cuts)).to_pylist())), spans


def _between(table: pa.Table, column: str, low: str | None, high: str | None) -> pa.Table:
    """The rows whose value is in [low, high), None being open."""
    if low is not None:
        table = table.filter(pc.greater_equal(table[column], low))
    if high is not None:
        table = table.filter(pc.less(table[column], high))
    return table
