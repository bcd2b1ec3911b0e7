"""What every job does around its work: parse flags, errors of the world outside in one line, ours as a traceback."""

from __future__ import annotations

import atexit
import dataclasses
import difflib
import errno
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tyro

from stargan_ray.errors import InputError, unknown

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C
_OUTSIDE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ECONNREFUSED)


def parse(kind: Any, about: str | None, args: Sequence[str] | None = None, *, default: Any = None, **more: Any) -> Any:
    """The flags of a job as a value of ``kind``.

    Args:
        kind: a dataclass, or a union of dataclasses whose names are the job's first words.
        about: for ``--help``.
        args: without the program's name; None = those of this process.
        default: values of the fields that no flag names.
        more: passed on to tyro.cli.

    Raises:
        InputError: a first word or a flag that there is not, with the nearest, or a value that a field refuses.
    """
    given = list(sys.argv[1:] if args is None else args)
    words = {each.__name__.lower(): each for each in typing.get_args(kind)}
    if words and given and not given[0].startswith("-") and given[0] not in words:
        raise unknown("word", given[0], words)
    if default is not None:
        more["default"] = default
        more["config"] = (tyro.conf.AvoidSubcommands,)  # the kind of method is the recipe's
    parsed, left = tyro.cli(kind, description=about, args=given, return_unknown_args=True, **more)
    if left:
        flag = left[0].split("=")[0].replace("_", "-")
        near = difflib.get_close_matches(flag, _flags(words.get(given[0], kind), default), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"unknown argument {left[0]!r}: {hint}--help lists what is allowed")
    return parsed


def _flags(kind: Any, default: Any, prefix: str = "--") -> Iterator[str]:
    """Every flag of a dataclass and of the dataclasses in it, as tyro names them."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        renamed = [n for each in getattr(hints[field.name], "__metadata__", ()) if (n := getattr(each, "name", None))]
        name = prefix + (renamed[0] if renamed else field.name.replace("_", "-"))
        value = getattr(default, field.name, None)
        inner = type(value) if dataclasses.is_dataclass(value) else hints[field.name]
        if dataclasses.is_dataclass(inner):
            yield from _flags(inner, value, f"{name}.")
        else:
            yield name


def run(main: Callable[[], None]) -> None:
    """Run a job's main function and end the process with its status.

    0 when it returns, 2 with ``error: …`` on stderr when what was given cannot be used or a disk, a right or
    a server is lacking, 130 when interrupted. Anything else is our fault and shows its traceback.
    """
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        _end(f"error: {error}", EXIT_INPUT)
    except KeyboardInterrupt:
        _end("interrupted: the same command again goes on from here", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_INPUT)
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        _end(f"error: {error.strerror}: {error.filename or 'no file named'}", EXIT_INPUT)


def job(main: Callable[[], None]) -> None:
    """``run`` as the last thing that this process does.

    The process then ends without the destructors of the C++ libraries: under load one of their thread pools was
    seen to abort there, which turned a job's status of 2 into one of a crash.
    """
    # Arrow's own allocator keeps what shards took: 500 bytes more for each row of an ingest. It is chosen at import.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    status: list[int] = []
    atexit.register(_leave, status)  # the first to be registered runs last: Ray, MLflow and temporary files are done
    try:
        run(main)
        status.append(0)
    except SystemExit as error:
        status.append(int(error.code or 0))


def _leave(status: list[int]) -> None:
    if status:  # a fault of ours ends as Python ends it, with its traceback
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status[0])


def _end(message: str, status: int) -> None:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(status)
