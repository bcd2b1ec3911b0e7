"""Commands of READMEs, launcher files and RayJobs: each ``python jobs/X.py …`` is read by that job's own parser."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from checking.faults import Fault
from stargan_ray.errors import InputError
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import cli

_COMMAND = re.compile(r"python (jobs/\w+\.py)([^`#|;)]*)")


class _Accepted(Exception):  # noqa: N818 - it is no error: the parser has said yes, and the job is not to begin
    """The parser has read the command."""


def commands(text: str) -> Iterator[str]:
    """The jobs' commands of a text; a backslash at the end of a line continues it, a sentence's … ends it."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        for job, rest in _COMMAND.findall(line):
            if "…" not in rest:
                yield f"{job} {rest.strip()}".strip()


def command_faults(root: Path, file: str, where: str, command: str) -> Iterator[Fault]:
    """Why a job refuses a command, if it does.

    Args:
        root: the project's folder.
        file: where the command is written.
        where: its field there.
        command: ``jobs/X.py`` and its flags; variables of the shell stay as they are.
    """
    job, *flags = shlex.split(command)
    path = root / job
    if not path.is_file():
        yield Fault(file, where, f"there is no {job}")
        return
    if said := _refused(path, flags):
        yield Fault(file, where, f"python {command}: {said}")


def _refused(path: Path, flags: list[str]) -> str:
    """What the job's parser says against its flags; empty = it takes them. The job itself does not begin."""

    def parse(*args: Any, **more: Any) -> Any:
        given = real(*args, **more)
        for field in ("recipes", "recipe"):  # jobs look them up later, where the work begins
            names = getattr(given, field, None)
            for name in [names] if isinstance(names, str) else names if isinstance(names, tuple) else []:
                if name:
                    recipe_named(name)
        raise _Accepted

    module, real, before, silent = _loaded(path), cli.parse, sys.argv, io.StringIO()
    cli.parse, sys.argv = parse, [str(path), *flags]
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            module.main()
    except _Accepted:
        return ""
    except InputError as error:
        return str(error)
    except SystemExit as error:  # --help, and what tyro itself refuses
        return "" if not error.code else " ".join(re.sub(r"[│╭╮╰╯─]", " ", silent.getvalue()).split())[:200]
    finally:
        cli.parse, sys.argv = real, before
    return ""  # --help of a job that prints it itself


@cache
def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"job_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
