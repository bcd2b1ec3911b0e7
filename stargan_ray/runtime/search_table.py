"""What a person sees of a search: a table that lives on a terminal, a line for each event in a log."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from stargan_ray.recipes.space import point_text
from stargan_ray.runtime.search_ledger import Trial

_ROWS = 20  # of the table: the best, and what is running


class SearchTable:
    """Shows the trials of a search while it runs; a context.

    Args:
        objectives: names of the two figures.
        trials: how many are wanted.
        steps: of a trial's last training.
        console: where; None = stderr.
    """

    def __init__(self, objectives: tuple[str, str], trials: int, steps: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._objectives, self._wanted, self._steps = objectives, trials, steps
        self._live = Live(console=self._console, refresh_per_second=2, transient=True)
        self._trials: dict[str, Trial] = {}
        self._start, self._before = time.monotonic(), 0.0

    def __enter__(self) -> SearchTable:
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last table on the terminal."""
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self.table())

    def known(self, trials: Sequence[Trial]) -> None:
        """Trials of earlier calls."""
        self._trials |= {trial.key: trial for trial in trials}
        self._before = self._done()

    def show(self, trial: Trial) -> None:
        """A trial as it stands now."""
        self._trials[trial.key] = trial
        if self._console.is_terminal:
            self._live.update(self.table())
        else:
            self._console.print(self.line(trial), markup=False, highlight=False, soft_wrap=True)

    def line(self, trial: Trial) -> str:
        """One event for a log."""
        figures = "  ".join(f"{name} {trial.last[name]:.3f}" for name in (*self._objectives, "score") if trial.last)
        what = trial.label or point_text(trial.fields)
        told = [f"trial {trial.order}", trial.status, f"step {trial.step}", figures, what, trial.why, self._state()]
        return " | ".join(part for part in told if part)

    def table(self) -> Table:
        """The best trials and those that run."""
        shown = Table(title=self._state(), title_justify="left", expand=False)
        for heading in ("trial", "point", "step", *self._objectives, "score", "status"):
            shown.add_column(heading.replace("_", " "), overflow="fold")
        order = sorted(self._trials.values(), key=lambda t: (t.status != "running", -t.last.get("score", -1.0)))
        for trial in order[:_ROWS]:
            values = [f"{trial.last[name]:.3f}" if trial.last else "" for name in (*self._objectives, "score")]
            point = trial.label or point_text(trial.fields)
            shown.add_row(str(trial.order), point, str(trial.step), *values, trial.why[:40] or trial.status)
        return shown

    def _state(self) -> str:
        over = [trial for trial in self._trials.values() if trial.status != "running"]
        text = f"{len(over)} of {self._wanted} trials"
        if best := max((t for t in over if t.judged), key=lambda t: t.last["score"], default=None):
            text += f", best score {best.last['score']:.3f} ({best.label or f'trial {best.order}'})"
        done = self._done() - self._before
        if done > 0.5 and (left := self._wanted - self._done()) > 0:
            text += f", {(time.monotonic() - self._start) / done * left / 60:.0f} min left"
        return text

    def _done(self) -> float:
        """Trials that are over, and the part of those that run that is behind them."""
        return sum(1.0 if t.status != "running" else t.step / self._steps for t in self._trials.values())
