"""What a search learns from, without a cluster: the ledger, the sampler, the scheduler.

pytest tests/runtime/test_searcher.py
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stargan_ray.errors import InputError
from stargan_ray.evaluation.pareto import pareto_front
from stargan_ray.recipes.searches import OF_TRANSLATOR, Search, search_named
from stargan_ray.recipes.space import Choice, Range
from stargan_ray.runtime.search_ledger import Ledger, Trial, trial_of
from stargan_ray.runtime.search_scheduler import _Known, _Nobody, scheduler_of
from stargan_ray.runtime.searcher import OptunaSearcher, distribution

END, START = "method.lambda_id.end", "method.lambda_id.start"
FIRST, SECOND = OF_TRANSLATOR


def _search() -> Search:
    whole = search_named("lambda-id")
    return whole.extended({}, [path for path in whole.space if path != END])


def _done(search: Search, end: float, first: float, second: float, order: int = 0) -> Trial:
    trial = trial_of(search, {END: end}, order=order).with_rung(1000, {FIRST: first, SECOND: second}, OF_TRANSLATOR)
    return replace(trial, status="finished")


def test_a_trial_is_stored_and_found_by_its_point(tmp_path: Path) -> None:
    ledger, search = Ledger(str(tmp_path)), _search()
    trial = _done(search, 2.0, 0.8, 0.4)
    assert trial.last["score"] == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert ledger.find(trial.key) is None
    ledger.write(trial)
    assert ledger.find(trial_of(search, {END: 2.0}).key) == trial
    later = replace(trial_of(search, {END: 3.0}, "paper", order=1), status="diverged", why="step 3: not finite")
    ledger.write(later)
    assert ledger.all() == [trial, later]
    assert trial_of(search, {END: 2.5}).key not in (trial.key, later.key)
    (tmp_path / "trials" / f"{trial.key}.json").write_text('{"key": 3')
    with pytest.raises(InputError, match=f"{trial.key}.json is no trial of a search"):
        ledger.all()


def test_a_key_is_of_the_recipe_and_not_of_how_it_is_said() -> None:
    search = _search()
    own = search.recipe.method.lambda_id.end  # type: ignore[union-attr]
    assert trial_of(search, {END: own}).key == trial_of(search, {}).key


def test_what_must_be_tried_comes_first_and_nothing_twice() -> None:
    search = _search()
    known = [_done(search, 2.0, 0.5, 0.5)]
    queue = [trial_of(search, {END: 0.0, START: 0.0}, "no identity loss", 1), trial_of(search, {END: 4.0}, "paper", 2)]
    searcher = OptunaSearcher(search, queue, known, seed=0)
    suggested = [searcher.suggest(str(number))["trial"] for number in range(8)]  # type: ignore[index]
    assert suggested[:2] == queue
    assert [trial.order for trial in suggested] == list(range(1, 9))
    assert len({trial.key for trial in (*known, *suggested)}) == 9
    assert len(searcher.study.get_trials()) == 1 + 6, "what is known was told, the queue was not drawn"


def test_a_point_outside_of_the_space_teaches_nothing_and_harms_nothing() -> None:
    search = _search()
    zero = replace(_done(search, 0.0, 0.9, 0.1), label="no identity loss")
    searcher = OptunaSearcher(search, [], [zero], seed=0)
    assert searcher.study.get_trials() == []
    inside = OptunaSearcher(search, [trial_of(search, {END: 4.0})], [], seed=0)
    inside.suggest("a")
    inside.on_trial_complete("a", {FIRST: 0.7, SECOND: 0.6})
    assert inside.study.get_trials()[0].values == [0.7, 0.6]
    assert inside.study.get_trials()[0].params == {END: 4.0}


def test_failed_trials_are_told_as_failed() -> None:
    searcher = OptunaSearcher(_search(), [], [], seed=0)
    for number, (result, error) in enumerate(((None, True), ({"step": 3}, False), ({FIRST: 0.5, SECOND: 0.5}, False))):
        searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), result, error)
    assert [trial.state.name for trial in searcher.study.get_trials()] == ["FAIL", "FAIL", "COMPLETE"]


def test_a_small_space_comes_to_its_end() -> None:
    search = search_named("lambda-id").extended(
        {"inject": Choice(("stem", "none"))}, list(search_named("lambda-id").space)
    )
    searcher = OptunaSearcher(search, [], [], seed=0)
    found: list[Any] = []
    while (point := searcher.suggest(str(len(found)))) != "FINISHED":
        found.append(point["trial"].fields["method.inject"])  # type: ignore[index]
        searcher.on_trial_complete(str(len(found) - 1), {FIRST: 0.5, SECOND: 0.5})
    assert sorted(found) == ["none", "stem"]


def _two(end: float) -> tuple[float, float]:
    """Known: the first is best at 0.5, the second at 2, so the front is what lies between."""
    return 1 - abs(math.log(end / 0.5)) / 4, 1 - abs(math.log(end / 2.0)) / 4


def test_the_sampler_finds_the_front_of_a_known_function_and_goes_on_from_what_is_known() -> None:
    search = _search()
    searcher = OptunaSearcher(search, [], [], seed=1)
    ends: list[float] = []
    for number in range(40):
        trial = searcher.suggest(str(number))["trial"]  # type: ignore[index]
        ends.append(trial.fields[END])
        searcher.on_trial_complete(str(number), dict(zip(OF_TRANSLATOR, _two(ends[-1]), strict=True)))
    points = np.array([_two(end) for end in ends])
    on = np.array(ends)[pareto_front(points)]
    inside = [0.5 <= end <= 2 for end in ends]
    assert [0.5 <= end <= 2 for end in on] == [True] * len(on)
    assert sum(inside[20:]) > sum(inside[:6]) * 20 / 6, "the later half looks where the front is"
    known = [_done(search, end, *_two(end), order=k) for k, end in enumerate(ends)]
    again = OptunaSearcher(search, [], known, seed=2)
    later = [again.suggest(str(k))["trial"].fields[END] for k in range(60)]  # type: ignore[index]
    assert sum(0.4 <= end <= 2.5 for end in later) >= 0.55 * 60, "0.42 of them by chance"


def test_distributions_say_what_the_ranges_say() -> None:
    assert distribution(Range(0.5, 8, log=True)).log  # type: ignore[attr-defined]
    whole = distribution(Range(0, 100, step=25))
    assert (whole.low, whole.high, whole.step) == (0, 100, 25)  # type: ignore[attr-defined]
    assert distribution(Choice(("a", "b"))).choices == ("a", "b")  # type: ignore[attr-defined]


def _ask(scheduler: Any, ledger: Ledger, trial: Trial, *values: tuple[int, float]) -> list[str]:
    """How the trial stands in the ledger after each result."""
    ledger.write(trial)
    asked = _Known(trial.key, {"trial": trial})
    scheduler.on_trial_add(_Nobody, asked)
    stands = []
    for step, score in values:
        assert scheduler.on_trial_result(_Nobody, asked, {"step": step, "score": score}) == "CONTINUE", "never killed"
        found = ledger.find(trial.key)
        assert found is not None
        stands.append(found.status)
    return stands


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_bad_trial_is_told_to_end_half_way_also_by_what_earlier_calls_found(name: Any, tmp_path: Path) -> None:
    ledger, search = Ledger(str(tmp_path)), _search()
    known = []
    for order, score in enumerate((0.5, 0.6, 0.7, 0.8)):
        trial = trial_of(search, {END: 1.0 + order}, order=order)
        for step in (500, 1000):
            trial = trial.with_rung(step, {FIRST: score, SECOND: score}, OF_TRANSLATOR)
        known.append(replace(trial, status="finished"))
    bad, good = trial_of(search, {END: 6.0}), trial_of(search, {END: 7.0})
    scheduler = scheduler_of(name, (500, 1000), known, ledger)
    assert _ask(scheduler, ledger, bad, (500, 0.1)) == ["stopped"]
    assert _ask(scheduler, ledger, good, (500, 0.9)) == ["running"]
    fresh = scheduler_of(name, (500, 1000), [], ledger)
    assert _ask(fresh, ledger, bad, (500, 0.1)) == ["running"], "there is nothing to hold it against"


def test_a_trial_that_was_judged_at_its_end_is_not_stopped_there(tmp_path: Path) -> None:
    ledger, search = Ledger(str(tmp_path)), _search()
    done = _done(search, 2.0, 0.5, 0.5)
    assert _ask(scheduler_of("asha", (500, 1000), [], ledger), ledger, done, (1000, 0.1)) == ["finished"]


def test_without_rungs_or_a_scheduler_nothing_is_stopped(tmp_path: Path) -> None:
    ledger, trial = Ledger(str(tmp_path)), trial_of(_search(), {END: 6.0})
    for scheduler in (scheduler_of("none", (500, 1000), [], ledger), scheduler_of("asha", (1000,), [], ledger)):
        assert _ask(scheduler, ledger, trial, (500, 0.0)) == ["running"]
