"""A search as a person runs it: real trainings under Ray Tune, its driver killed, what diverges recorded, then more.

pytest tests/runtime/test_search.py
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from forked import run_job
from small_search import build_place, flags_of, searching, status_of_job

from stargan_ray.config import flatten, from_json
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.search_ledger import Ledger


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, untrained supporting networks that know its eight expressions, and a recipe."""
    return build_place(tmp_path_factory.mktemp("search"))


def flags_of_four(name: str) -> list[str]:
    """Of a search of four trials; a rate of 1e30 diverges at once: such a trial is recorded and ends nothing."""
    own = ["--search", "rate_d=choice(1e-4,1e30)", "--only", "--scheduler", "none", "--parallel", "2"]
    return ["lambda-id", *flags_of(name, *own), "--trials", "4", "--seed", "1"]


def test_what_diverges_is_recorded_and_the_best_recipe_gives_the_best_weights(place: Path) -> None:
    with searching(place, flags_of_four("s"), place / "first.log") as job:
        assert job.ended(900) == 0, job.said
    assert "2 trials at once" in job.said
    trials = Ledger(str(place / "runs" / "s")).all()
    found = {trial.label: trial for trial in trials}
    assert {"paper", "no identity loss", "recipe"} <= set(found)
    assert len(trials) == 4
    (drawn,) = (trial for trial in trials if not trial.label)
    assert drawn.fields["method.rate_d"] == 1e30, "the only value that no other trial had"
    assert (drawn.status, drawn.step) == ("diverged", 0)
    assert "not finite" in drawn.why
    for trial in (found["paper"], found["no identity loss"], found["recipe"]):
        assert [rung.step for rung in trial.rungs] == [2, 4]
    assert json.loads((place / "runs/s/report.json").read_text())["counts"] == {"diverged": 1, "finished": 3}
    assert "<svg" in (place / "runs/s/front.svg").read_text()
    _assert_nested(place, "s", finished=3)

    best = max((t for t in trials if t.judged), key=lambda trial: trial.last["score"])
    flags = ("--config", "runs/s/best.json", "--data", "faces", "--name", "again", "--identity", "identity", "--local")
    done = run_job("train", *flags, cwd=place)
    assert done.returncode == 0, done.stderr
    one, other = load_model(place / "runs/again"), load_model(place / f"runs/s/s-{best.key}")
    assert one.content_hash == other.content_hash


@pytest.mark.slow  # more ways to be killed are in test_search_killed.py
def test_a_killed_search_goes_on_and_trains_no_finished_trial_again(place: Path) -> None:
    flags, ledger = flags_of_four("killed"), Ledger(str(place / "runs" / "killed"))
    with searching(place, flags, place / "killed.log") as job:
        job.until("a trial", lambda: any(trial.status == "finished" for trial in ledger.all()), 900)
    over = {trial.key: trial for trial in ledger.all() if trial.status == "finished"}
    assert 1 <= len(over) < 4
    folders = [place / f"runs/killed/killed-{key}" for key in over]
    written = {path: path.stat().st_mtime_ns for folder in folders for path in folder.glob("**/*.safetensors")}
    assert written

    with searching(place, flags, place / "again.log") as again:
        assert again.ended(900) == 0, again.said
    assert f"{len(over)} of them are over; 2 trials at once" in again.said
    for path, when in written.items():
        assert path.stat().st_mtime_ns == when, f"{path} was trained again"
    counts = json.loads((place / "runs/killed/report.json").read_text())["counts"]
    assert counts == {"diverged": 1, "finished": 3}
    _assert_nested(place, "killed", finished=3)


def _assert_nested(place: Path, name: str, finished: int) -> None:
    """MLflow has the search, the trials in it, their curves and how they ended."""
    from stargan_ray.runtime.mlflow_store import EXPERIMENT, connect, experiment_id, find_run

    uri = f"sqlite:///{place}/runs/mlflow.db"
    client = connect(uri)
    experiment = experiment_id(client, uri, EXPERIMENT)
    parent = find_run(client, experiment, name)
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    ends = [run.info.status for run in nested]
    assert ends.count("FINISHED") == finished
    assert ends.count("FAILED") == 1
    good = next(run for run in nested if run.info.status == "FINISHED")
    assert [m.step for m in client.get_metric_history(good.info.run_id, "search/score")] == [2, 4]
    assert {m.step for m in client.get_metric_history(good.info.run_id, "g_latent/adv")} == {1, 2, 3, 4}
    assert client.get_run(parent).info.status == "FINISHED"
    challenger = client.get_model_version_by_alias("expression-translator", "challenger")
    assert challenger.run_id in {run.info.run_id for run in nested}


@pytest.mark.slow
def test_a_population_hands_weights_over_and_its_schedule_is_a_recipe_like_any_other(place: Path) -> None:
    flags = ["schedule", *flags_of("p"), "--members", "2", "--segments", "2"]
    with searching(place, flags, place / "population.log") as job:
        assert job.ended(900) == 0, job.said
    report = json.loads((place / "runs/p/report.json").read_text())
    first, second = report["segments"]
    assert [member["values"] for member in first] == [[0.1], [8.0]]
    better = max(first, key=lambda member: member["score"])["values"]
    assert all(member["values"][:1] == better for member in second), "the worse one goes on from the better one"
    assert second[0]["values"] != second[1]["values"]
    best = tuple(report["best"]["values"])
    flags = ["--config", "runs/p/best.json", "--data", "faces", "--name", "whole", "--identity", "identity", "--local"]
    done = run_job("train", *flags, cwd=place)
    assert done.returncode == 0, done.stderr
    whole = load_model(place / "runs/whole")
    runs = [p for p in (place / "runs/p").glob("p-*") if load_model(p).meta["step"] == 4]
    schedules = {tuple(load_model(p).method.lambda_id.values): load_model(p) for p in runs}  # type: ignore[union-attr]
    assert schedules[best].content_hash == whole.content_hash, "a training from nothing comes to the same weights"
    assert len({model.content_hash for model in schedules.values()}) == 2


@pytest.mark.slow
def test_the_losses_are_balanced_against_each_other_and_the_report_says_how(place: Path) -> None:
    space = {f"method.{name}" for name in ("lambda_ds.start", "lambda_cyc", "lambda_sty", "lambda_id.end")}
    ten = ["--set", "train.steps=10", "train.checkpoint_every=5", "--trials", "4", "--seed", "1"]
    with searching(place, ["balance", *flags_of("b", *ten)], place / "balance.log") as job:
        assert job.ended(900) == 0, job.said
    assert "judged at steps 5, 10" in job.said
    report = json.loads((place / "runs/b/report.json").read_text())
    assert (report["search"], report["recipe"]) == ("balance", "few")
    assert set(report["space"]) == space
    assert sum(report["counts"].values()) == 4
    *anchors, drawn = report["trials"]
    assert [trial["label"] for trial in anchors] == ["paper", "no identity loss", "recipe"]
    assert (drawn["label"], set(drawn["values"])) == ("", space)
    own = {path: value for path, value in anchors[2]["values"].items() if path != "method.lambda_id.end"}
    assert own == {f"method.{name}": 1.0 for name in ("lambda_ds.start", "lambda_cyc", "lambda_sty")}
    assert all(drawn["values"][path] != value for path, value in own.items()), "all of them are drawn"
    judged = {trial["key"]: trial for trial in report["trials"] if trial["status"] == "finished"}
    assert all({*report["objectives"], "score"} <= set(trial["figures"]) for trial in judged.values())
    assert set(report["front"]) <= set(judged)
    best = judged[report["best"]]
    assert best["figures"]["score"] == max(trial["figures"]["score"] for trial in judged.values())
    assert best["key"] in job.lines()[-1] or "challenger" in job.lines()[-1]
    told = flatten(from_json(json.loads((place / "runs/b/best.json").read_text())))
    assert {path: told[path] for path in space} == best["values"], "best.json is the best trial's recipe"
    page = (place / "runs/b/search.html").read_text()
    for word in ("lambda_ds.start", "lambda_cyc", "lambda_sty", "lambda_id.end", "no identity loss"):
        assert word in page, word
    rows = list(csv.DictReader((place / "runs/b/trials.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == [trial["status"] for trial in report["trials"]]
    seen = status_of_job("b", place)
    assert (seen.state, seen.step, len(seen.trials)) == ("finished", 4, 4)


def test_what_cannot_be_searched_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for flags, message in (
        (["--parallel", "9"], "a trial of few needs 1 CPUs; lower --parallel"),
        (["--identity-judge", "identity"], "identity cannot judge the identity: it is the identity network"),
        (["--first-rung", "2"], "--first-rung 2.0: allowed is 0 < share <= 1"),
    ):
        done = run_job("tune", "lambda-id", *flags_of("bad", *flags))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert message in done.stderr


def test_another_recipe_is_another_search(place: Path) -> None:
    from stargan_ray.errors import InputError
    from stargan_ray.recipes.searches import search_named
    from stargan_ray.runtime.search import Job as Asked
    from stargan_ray.runtime.search import open_task, require_same

    def asked(**fixed: Any) -> Asked:
        search = search_named("lambda-id", str(place / "few.json"), fixed=fixed)
        models = {name: str(place / name) for name in ("identity", "expression", "identity-judge")}
        return Asked(
            search, str(place / "faces"), str(place / "faces"), str(place / "other"), "n",
            helpers={"identity": models["identity"]}, expression_judge=models["expression"],
            identity_judge=models["identity-judge"], people=6, translations=24,
        )  # fmt: skip

    job = asked()
    task = open_task(job)
    require_same(task.ledger, job, task)
    require_same(task.ledger, replace(job, trials=30), task)
    changed = asked(**{"lambda_cyc": 2.0})
    with pytest.raises(InputError, match=r"a search with other method.lambda_cyc than now"):
        require_same(task.ledger, changed, open_task(changed))
    fewer = replace(job, translations=25)
    with pytest.raises(InputError, match="a search with other judged than now"):
        require_same(task.ledger, fewer, open_task(fewer))


def test_a_trial_that_could_not_be_trained_says_why_and_is_tried_again(place: Path, tmp_path: Path) -> None:
    from stargan_ray.recipes.searches import search_named
    from stargan_ray.runtime.examination import Docket
    from stargan_ray.runtime.search import Job as Asked
    from stargan_ray.runtime.search import plan
    from stargan_ray.runtime.search_ledger import trial_of
    from stargan_ray.runtime.search_trial import Task, carry_out

    search = search_named("margin")
    docket = Docket(str(place / "faces"), "", 32, "val")
    task = Task(search, str(tmp_path / "gone"), str(tmp_path / "s"), "s", docket, None, (500,))
    done = carry_out(task, trial_of(search, {"method.margin": 0.5}), lambda _step, _values: None)
    assert done.status == "failed"
    assert "gone" in done.why
    assert task.ledger.all() == [done]
    known, queue = plan(Asked(search, docket.data, docket.data, str(tmp_path), "s", trials=3), task.ledger)
    assert known == []
    assert queue[0].key == done.key, "what failed for a reason outside comes first"
    assert [trial.label for trial in queue[1:]] == ["paper", "recipe"]
