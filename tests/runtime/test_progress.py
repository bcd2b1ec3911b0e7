"""What is shown of work that takes long, on a terminal and in a log.

pytest tests/runtime/test_progress.py
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stargan_ray.runtime import progress
from stargan_ray.runtime.progress import bar, counting, display


class Clock:
    """Seconds as the test wants them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _log(clock: Clock) -> tuple[io.StringIO, Console]:
    """As of `ray job submit`."""
    out = io.StringIO()
    return out, Console(file=out, width=80, get_time=clock)


def test_a_log_gets_a_line_a_minute_of_each_run_with_steps_losses_and_time_left() -> None:
    out, console = _log(clock := Clock())
    with display(console) as shown:
        shows = {name: bar(shown, name, 1_000) for name in ("one", "other")}
        for step in range(1, 201):
            clock.now = float(step)
            shows["one"](step, {"speed/images_per_second": 64.0, "g_latent/adv": 0.5, "val/accuracy": 0.25})
            if step >= 150:
                shows["other"](step, {})
        said = out.getvalue().splitlines()
    assert [line.split()[0] for line in said] == ["one:", "one:", "one:", "other:", "one:"]
    assert said[0].startswith("one: 10 of 1000 in 0:00:10, 0:16:30 left  64 img/s  adv 0.500  accuracy 0.250")
    assert [line.split()[1] for line in said] == ["10", "70", "130", "150", "190"]


def test_what_is_counted_is_told_too_and_what_is_over_soon_is_one_line_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, console = _log(clock := Clock())
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    with counting("score") as on_scored:
        for _ in range(3):
            clock.now += 8
            on_scored(100, 400)
        assert out.getvalue().splitlines() == ["score: 300 of 400 in 0:00:16, 0:00:08 left"]
    with counting("embed") as on_scored:
        on_scored(5, 5)
    assert out.getvalue().splitlines()[-1].startswith("embed ")


def test_a_terminal_has_bars_and_no_lines() -> None:
    terminal = io.StringIO()
    with display(Console(file=terminal, width=80, force_terminal=True)) as shown:
        show = bar(shown, "one", 100)
        show(50, {})
    assert "50/100" in terminal.getvalue()
    assert "50 of 100" not in terminal.getvalue()
