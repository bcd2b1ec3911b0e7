"""What a person sees of a search, on a terminal and in a log.

pytest tests/runtime/test_search_table.py
"""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from stargan_ray.recipes.searches import OF_TRANSLATOR
from stargan_ray.runtime.search_ledger import Trial
from stargan_ray.runtime.search_table import SearchTable

FIRST, SECOND = OF_TRANSLATOR


def _trial(order: int, score: float, step: int = 1000, **more: object) -> Trial:
    trial = Trial(f"key{order}", "", {"method.lambda_id.end": 1.5 + order}, order=order)
    judged = trial.with_rung(step, {FIRST: score, SECOND: score}, OF_TRANSLATOR)
    return replace(judged, **{"status": "finished", **more})  # type: ignore[arg-type]


def _table(terminal: bool, trials: int = 4) -> tuple[SearchTable, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160)
    return SearchTable(OF_TRANSLATOR, trials, 1000, console), out


def test_a_log_gets_a_line_for_each_event() -> None:
    table, out = _table(terminal=False)
    with table:
        table.known([_trial(0, 0.5)])
        table.show(replace(_trial(1, 0.0), status="running", rungs=()))
        table.show(_trial(1, 0.75))
        table.show(_trial(2, 0.25, step=500, status="stopped"))
        table.show(Trial("key3", "paper", {}, "diverged", "step 3: a gradient is not finite", order=3))
    lines = out.getvalue().splitlines()
    assert len(lines) == 4, "one line an event, and no table"
    assert lines[0].startswith(
        "trial 1 | running | step 0 | lambda_id.end=2.5 | 1 of 4 trials, best score 0.500 (trial 0)"
    )
    assert "trial 1 | finished | step 1000 | target_expression_accuracy 0.750  tar 0.750  score 0.750" in lines[1]
    assert "2 of 4 trials, best score 0.750 (trial 1)" in lines[1]
    assert "min left" in lines[1]
    assert "stopped" in lines[2]
    assert "trial 3 | diverged | step 0 | paper | step 3: a gradient is not finite | 4 of 4 trials" in lines[3]
    assert "min left" not in lines[3]
    assert "\x1b" not in out.getvalue(), "no colours in a log"


def test_a_terminal_gets_one_table_with_what_runs_and_the_best_first() -> None:
    table, out = _table(terminal=True)
    with table:
        for order, score in enumerate((0.2, 0.9, 0.4)):
            table.show(_trial(order, score))
        table.show(replace(_trial(3, 0.1, step=500), status="running"))
        shown = table.table()
    column = list(shown.columns[0].cells)
    assert column == ["3", "1", "2", "0"]
    assert "3 of 4 trials, best score 0.900 (trial 1)" in str(shown.title)
    assert "finished" in out.getvalue().split("trials, best")[-1], "the last table stays"
