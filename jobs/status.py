r"""Watch runs and searches: what they say on storage, so it needs neither Ray nor MLflow nor a GPU.

    python jobs/status.py                                          a table of all under runs
    python jobs/status.py first                                    a run, or a search of jobs/tune.py
    python jobs/status.py first --follow                           until it ends
    python jobs/status.py when/when-0123456789 --storage s3://bucket/runs --json

A run that was killed is "silent" since its last sign of life. This program ends with 0 for one that trains or is
finished, 3 stopped, 4 failed, 5 silent, with --follow by how it ended, for a table with 0, and with 2 where there is
nothing to show.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stargan_ray.runtime.status import Status

EXITS = {"training": 0, "finished": 0, "stopped": 3, "failed": 4, "silent": 5}
_MISSED = 5  # looks in a row that storage may refuse while it is followed


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What to look at.

    Attributes:
        name: of a run or search; of a search's run SEARCH/RUN; empty = all.
        storage: URI under which their folders lie.
        follow: look again and again until what is looked at has ended.
        every: seconds between two looks.
        json: print JSON; with --follow a line for each change.
    """

    name: Annotated[str, tyro.conf.Positional] = ""
    storage: str = "runs"
    follow: bool = False
    every: float = 2.0
    json: bool = False

    def __post_init__(self) -> None:
        if not self.every >= 0.1:
            raise InputError(f"--every {self.every}: allowed are values >= 0.1")


def main() -> None:
    """Parse, look, print; the status is that of the run."""
    job = cli.parse(Watch, __doc__)
    from rich.console import Console

    from stargan_ray.runtime.status import all_statuses, as_json, status_of
    from stargan_ray.runtime.watching import Watcher

    watcher = Watcher()

    def look() -> list[Status]:
        return [status_of(job.storage, job.name, watcher)] if job.name else all_statuses(job.storage, watcher)

    found = look()
    if job.follow:
        found = followed(job, found, look)
    elif job.json:
        told = [as_json(status) for status in found]
        print(json.dumps(told[0] if job.name else told, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        Console().print(shown(job, found))
    if job.name and EXITS[found[0].state]:
        sys.exit(EXITS[found[0].state])


def followed(job: Watch, found: list[Status], look: Callable[[], list[Status]]) -> list[Status]:
    """Show every change until nothing trains any more; gives the last."""
    from rich.console import Console
    from rich.live import Live

    from stargan_ray.data.locations import StorageError

    console, missed = Console(), 0
    before: list[Status] = []
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not job.json else None
    with live or contextlib.nullcontext():
        while True:
            if live:
                live.update(shown(job, found), refresh=True)
            elif found != before:
                print(*told(job, found, before), sep="\n", flush=True)
            if all(status.over for status in found):
                return found
            before = found
            time.sleep(job.every)
            try:
                found, missed = look(), 0
            except StorageError:
                missed += 1
                if missed >= _MISSED:
                    raise


def shown(job: Watch, found: list[Status]) -> RenderableType:
    """For a terminal."""
    from stargan_ray.runtime.status_show import in_full, table

    return in_full(found[0], time.time()) if job.name else table(found, time.time())


def told(job: Watch, found: list[Status], before: list[Status]) -> list[str]:
    """For a log or a program: what has changed."""
    from stargan_ray.runtime.status import as_json
    from stargan_ray.runtime.status_show import line

    changed = [status for status in found if status not in before]
    if job.json:
        return [json.dumps(as_json(status), ensure_ascii=False, allow_nan=False) for status in changed]
    return [line(status, time.time()) for status in changed]


if __name__ == "__main__":
    cli.job(main)
