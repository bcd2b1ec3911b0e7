"""What a person sees and does while a run trains: a progress bar, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

_FIRST_S, _EVERY_S = 10.0, 60.0  # in a log: the first line of a bar, and from one to the next

Show = Callable[[int, Mapping[str, float]], None]


@contextlib.contextmanager
def interrupts(request_stop: Callable[[], object]) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks the run to end after its step; the second raises."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a handler
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print("stopping after this step with a checkpoint; once more stops at once", file=sys.stderr)
        request_stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lines(Progress):
    """For a log, which keeps whatever is printed: a line for each bar now and then instead of the bars."""

    def __init__(self, *columns: ProgressColumn, **more: Any) -> None:
        super().__init__(*columns, **more)
        self._due: dict[TaskID, float] = {}  # seconds after a bar's start at which it is told of again

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Move a bar, and print where it stands if that was not done lately."""
        super().update(task_id, **fields)
        task = next(each for each in self.tasks if each.id == task_id)
        if task.elapsed is None or task.elapsed < self._due.get(task_id, _FIRST_S) or task.finished:
            return
        self._due[task_id] = task.elapsed + _EVERY_S
        left = "" if task.time_remaining is None else f", {timedelta(seconds=round(task.time_remaining))} left"
        told = f"{task.description}: {task.completed:.0f} of {task.total:.0f}"
        told += f" in {timedelta(seconds=round(task.elapsed))}{left}  {task.fields['said']}"
        self.console.print(told.rstrip(), markup=False, highlight=False, soft_wrap=True)


def display(console: Console) -> Progress:
    """Bars of steps with speed and losses, one for each run that is shown; a line a minute of each in a log."""
    columns = (
        TextColumn("{task.description}", table_column=Column(max_width=24, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        # What is said takes what width there is: in 80 columns it is cut, not the bar.
        TextColumn("{task.fields[said]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    return (Progress if console.is_terminal else _Lines)(*columns, console=console, expand=True)


def bar(progress: Progress, name: str, steps: int) -> Show:
    """A run's bar; returns what moves it."""
    task = progress.add_task(name, total=steps, said="starting")

    def show(step: int, values: Mapping[str, float]) -> None:
        if step:
            progress.update(task, completed=step, said=_said(values))

    return show


@contextlib.contextmanager
def counting(name: str, progress: Progress | None = None) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told (how many are new, of how many), in a display that is there already or in its own.

    It appears with the first that it is told: what is refused before is one line of an error, without a bar.
    """
    tasks: list[TaskID] = []
    shared = progress or display(Console(stderr=True))
    with contextlib.ExitStack() as stack:

        def show(new: int, total: int) -> None:
            if not tasks:
                if progress is None:
                    stack.enter_context(shared)
                tasks.append(shared.add_task(name, total=total, said=""))
            shared.update(tasks[0], advance=new, total=total)

        yield show


class Told:
    """Makes (how many are done, of how many) into (how many are new, of how many), as ``counting`` wants it."""

    def __init__(self, on_new: Callable[[int, int], None]) -> None:
        self._on_new, self._done = on_new, 0

    def __call__(self, done: int, total: int) -> None:
        """Pass on what is new."""
        self._on_new(done - self._done, total)
        self._done = done


@contextlib.contextmanager
def pulse(progress: Progress, name: str) -> Iterator[None]:
    """A bar that moves while something without steps is at work, and is gone after it."""
    task = progress.add_task(name, total=None, said="")
    try:
        yield
    finally:
        progress.remove_task(task)


def _said(values: Mapping[str, float]) -> str:
    """The few numbers that fit a line."""
    speed = f"{values.get('speed/images_per_second', 0):.0f} img/s"
    judged = [f"{name.split('/')[1]} {value:.3f}" for name, value in values.items() if name.startswith("val/")]
    losses = [f"{n.split('/')[1]} {v:.3f}" for n, v in values.items() if n.endswith(("/adv", "/id", "/ce", "/triplet"))]
    return "  ".join([speed, *losses[:3], *judged[:2]])
