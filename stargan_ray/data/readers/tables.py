"""Tables that data sets are published with: columns found by name, whatever the spaces and capitals around it."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence

from stargan_ray.data.trees import File, open_file
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
    found = [_plain(name) for name in header]
    for name in wanted:
        if name.lower() not in found:
            near = difflib.get_close_matches(name.lower(), found, n=1)
            hint = f", is it {near[0]!r}?" if near else ""
            raise InputError(
                f"{where} has no column {name!r}{hint} (found {', '.join(found)[:200] or 'nothing'}): "
                f"line 1 names {', '.join(wanted)}"
            )
    return {name: found.index(name.lower()) for name in wanted}


def read_table(
    file: File, wanted: Sequence[str], where: str, published: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and wanted values of each line that is not empty; a value that a short line lacks is empty.

    Args:
        file: The CSV, which is read line by line.
        wanted: Names of the columns.
        where: The table, for errors.
        published: All columns in their published order, for a copy whose line 1 is no header already.

    Raises:
        InputError: If it is empty, lacks a column, or is no CSV in UTF-8.
    """
    try:
        with open_file(file) as stream:
            lines = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""))
            at: dict[str, int] | None = None
            for line in lines:
                if at is None:
                    names = [name.lower() for name in published]
                    bare = len(line) == len(names) and not {_plain(name) for name in line} & set(names)
                    at = columns(published if bare else line, wanted, where)
                    if not bare:
                        continue
                if line:
                    yield lines.line_num, {n: line[i].strip() if i < len(line) else "" for n, i in at.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} is no CSV in UTF-8 ({error}): save it as one") from error
    except OSError as error:
        raise InputError(f"{where} cannot be read ({error}): get the file again") from error
    if at is None:
        raise InputError(f"{where} is empty: line 1 names {', '.join(wanted)}")


def _plain(name: str) -> str:
    return name.strip().strip("\ufeff").strip().lower()
