"""Tables that data sets are published with: columns found by name, whatever the spaces and capitals around it."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence

from stargan_ray.data.trees import File, read_files
from stargan_ray.errors import InputError


def columns(header: Sequence[str], wanted: Sequence[str], where: str) -> dict[str, int]:
    """The position of each wanted column.

    Args:
        header: The table's first line; spaces around a name and its capitals do not matter.
        wanted: Names of the columns.
        where: The table, for the error.

    Raises:
        InputError: If one is missing: which, what was found, and the nearest of it.
    """
    found = [name.strip().strip("\ufeff").lower() for name in header]
    for name in wanted:
        if name.lower() not in found:
            near = difflib.get_close_matches(name.lower(), found, n=1)
            hint = f", is it {near[0]!r}?" if near else ""
            raise InputError(
                f"{where} has no column {name!r}{hint} (found {', '.join(found)[:200] or 'nothing'}): "
                f"line 1 names {', '.join(wanted)}"
            )
    return {name: found.index(name.lower()) for name in wanted}


def table_lines(file: File, where: str) -> list[list[str]]:
    """All lines of a small table that are not empty, the header first.

    Raises:
        InputError: If it cannot be read, is empty, or is no text in UTF-8.
    """
    data = next(read_files([file]))
    if data is None:
        raise InputError(f"{where} cannot be read: check the file and its rights")
    try:
        lines = [line for line in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} is no CSV in UTF-8 ({error}): save it as one") from error
    if not lines:
        raise InputError(f"{where} is empty: line 1 names the columns")
    return lines


def records(lines: Sequence[Sequence[str]], at: dict[str, int]) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and named values of each line, from line 2 on; a value that a short line lacks is empty.

    Args:
        lines: Those of :func:`table_lines`.
        at: Positions, from :func:`columns`.
    """
    for number, line in enumerate(lines[1:], start=2):
        yield number, {name: line[place].strip() if place < len(line) else "" for name, place in at.items()}
