"""``ray …`` in the READMEs: each command and option is one that Ray's command line has."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from typing import Any

from checking.faults import Fault

_LINE = re.compile(r"^\s*(?:timeout \d+ )?(?:\.venv/bin/)?ray ([a-z-]+ .*)$", re.MULTILINE)


def ray_command_faults(file: str, text: str) -> Iterator[Fault]:
    """Commands of a text that Ray would not take; those at the start of a line, as in a block of commands."""
    for line in _LINE.findall(re.sub(r"\\\n\s*", " ", text)):
        words = shlex.split(line.partition(" #")[0].partition(" > ")[0])
        if said := _refused(words):
            yield Fault(file, "command", f"ray {' '.join(words)}: {said}")


def _refused(words: list[str]) -> str:
    import click

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray Serve, which comes with it, uses what pydantic gives up
        from ray.scripts.scripts import cli

    command: Any = cli
    while isinstance(command, click.Group):
        if not words or words[0] not in command.commands:
            return f"there is no ray {words[0] if words else ''}"
        command, words = command.commands[words[0]], words[1:]
    try:
        command.make_parser(click.Context(command)).parse_args(list(words))
    except click.ClickException as error:
        return error.format_message()
    return ""
