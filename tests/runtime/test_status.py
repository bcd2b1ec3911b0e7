"""What jobs/status.py finds out from a folder: alive, ended or killed, also with wrong clocks and half-written files.

pytest tests/runtime/test_status.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from forked import StartedJob, run_job

from stargan_ray.errors import InputError
from stargan_ray.runtime.heartbeat import Heartbeat
from stargan_ray.runtime.standing import Report, Standing, read_now, write_now
from stargan_ray.runtime.status import Status, all_statuses, as_json, status_of
from stargan_ray.runtime.status_show import span
from stargan_ray.runtime.watching import Watcher

ROOT = Path(__file__).parents[2]
BEAT_S = 0.4
CALM_S = 2.0  # a beat that a busy machine does not miss
HOUR_S = 3600.0


def told(age_s: float, **more: object) -> Standing:
    """What a writer said so long ago, by this machine's clock."""
    moment = time.time() - age_s
    standing = Standing("a", 7, CALM_S, moment, moment - 60, host="there", step=40, steps=100, batch=8)
    return replace(standing, **more)  # type: ignore[arg-type]


def saved(folder: Path, step: int, accuracy: float | None = None, steps: int = 100) -> Path:
    """A complete checkpoint but for its weights."""
    where = folder / f"checkpoints/step-{step:08d}"
    where.mkdir(parents=True)
    train = {"steps": steps, "best": "val/accuracy", "higher_is_better": True}
    meta = {"step": step, "metrics": {"val/accuracy": accuracy, "classify/loss": 1.5}, "recipe": {"train": train}}
    (where / "meta.json").write_text(json.dumps(meta))
    return where


def look(folder: Path, name: str = "run", watcher: Watcher | None = None) -> Status:
    return status_of(str(folder), name, watcher or Watcher())


# ------------------------------------------------------------------------------------------------- alive or not


def test_a_run_that_is_killed_is_silent_since_its_last_beat(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from stargan_ray.runtime.heartbeat import Heartbeat\n"
        f"beating = Heartbeat(sys.argv[1], 100, beat_s={BEAT_S})\n"
        "beating.metrics(5, {'speed/images_per_second': 1.0})\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "run")], cwd=ROOT)
    while (said := read_now(str(tmp_path / "run"))) is None or said.step < 5:
        assert process.poll() is None
        time.sleep(0.05)
    assert look(tmp_path).state == "training"
    process.kill()
    process.wait()
    killed = time.time()
    time.sleep(5 * BEAT_S)  # four beats may be missing
    found = look(tmp_path)
    assert (found.state, found.step, found.over, found.left_s) == ("silent", 5, True, None)
    assert killed - 1.0 < found.since <= killed


def test_clocks_that_differ_do_not_make_the_living_silent(tmp_path: Path) -> None:
    for age, side in ((HOUR_S, "behind"), (-HOUR_S, "ahead of")):
        write_now(str(tmp_path / "run"), told(age))
        moved = replace(told(age), beat=8)

        def wait(seconds: float, moved: Standing = moved) -> None:
            assert CALM_S < seconds < 2 * CALM_S
            write_now(str(tmp_path / "run"), moved)

        found = look(tmp_path, watcher=Watcher(wait=wait))
        assert found.state == "training"
        assert f"the clock of there is about 3600 s {side} this machine's" in found.notes


@pytest.mark.parametrize("age", [HOUR_S, -HOUR_S])
def test_clocks_that_differ_do_not_make_the_dead_alive(age: float, tmp_path: Path) -> None:
    write_now(str(tmp_path / "run"), told(age))
    waited: list[float] = []
    watcher = Watcher(wait=waited.append)
    assert look(tmp_path, watcher=watcher).state == "silent"
    assert look(tmp_path, watcher=watcher).state == "silent"
    assert len(waited) == 1  # it is decided once


def test_what_was_written_days_ago_needs_no_second_look(tmp_path: Path) -> None:
    reports = (Report(0.0, 10, 8.0), Report(10.0, 20, 8.0))
    write_now(str(tmp_path / "run"), told(72 * HOUR_S, reports=reports))
    found = look(tmp_path, watcher=Watcher(wait=lambda _: pytest.fail("waited")))
    assert (found.state, found.left_s) == ("silent", None)


def test_a_writer_from_the_future_that_dies_while_it_is_watched_becomes_silent(tmp_path: Path) -> None:
    write_now(str(tmp_path / "run"), told(-1.5, beat_s=BEAT_S))
    watcher = Watcher()
    assert look(tmp_path, watcher=watcher).state == "training"
    time.sleep(5 * BEAT_S)
    assert look(tmp_path, watcher=watcher).state == "silent"


def test_workers_that_report_no_more_are_told(tmp_path: Path) -> None:
    reports = tuple(Report(told(200).written - 10 * k, 40 - k, 80.0) for k in (2, 1, 0))
    write_now(str(tmp_path / "run"), told(0, reports=reports))
    found = look(tmp_path)
    assert found.state == "training"
    assert "no report for 200 s" in found.notes[0]
    # the same silence where reports are a minute apart is none
    seldom = tuple(Report(told(200).written - 60 * k, 40 - k, 80.0) for k in (2, 1, 0))
    write_now(str(tmp_path / "run"), told(0, reports=seldom))
    assert look(tmp_path).notes == ()


# ------------------------------------------------------------------------------------------------- what is found


def test_rate_and_end_come_from_the_last_reports(tmp_path: Path) -> None:
    end = time.time()
    reports = tuple(Report(end - 30 + 10 * k, 10 + 10 * k, 80.0, 0.25) for k in range(4))
    write_now(str(tmp_path / "run"), told(0, reports=reports))
    found = look(tmp_path)
    assert (found.images_per_second, found.data_wait_share) == (80.0, 0.25)
    assert found.steps_per_second == pytest.approx(1.0)
    assert found.left_s == pytest.approx(60.0)
    write_now(str(tmp_path / "run"), told(0, reports=reports[-1:]))  # of one report by its images
    assert look(tmp_path).steps_per_second == pytest.approx(10.0)


def test_the_latest_and_the_best_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step, accuracy in ((10, 0.5), (20, 0.9), (30, float("nan")), (40, 0.7)):
        saved(run, step, accuracy)
    (run / "checkpoints/step-00000050").mkdir()  # half written: no meta.json
    saved(run, 60).joinpath("meta.json").write_text('{"step": 6')
    write_now(str(run), told(0))
    found = look(tmp_path)
    assert found.latest is not None
    assert found.best is not None
    assert (found.latest.step, found.best.step) == (40, 20)
    assert abs(found.latest.written - time.time()) < 60
    assert found.losses == {"classify/loss": 1.5}  # before the first report, those of the checkpoint


@pytest.mark.parametrize("text", ["", '{"format": 1, "attem', "[]", '{"format": 9}', '{"format": 1}'])
def test_a_damaged_file_is_said_and_the_checkpoint_tells(text: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_now(str(run), told(0))
    (run / "watch/now.json").write_text(text)
    (run / "watch/events").mkdir()
    (run / "watch/events/00001-error-00000000.json").write_text('{"ti')
    saved(run, 20)
    found = look(tmp_path)
    assert (found.state, found.step, found.steps, found.events) == ("silent", 20, 100, ())
    assert "now.json cannot be read" in found.notes[0]


def test_a_run_of_an_earlier_program_is_judged_by_its_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path / "whole", 100)
    saved(tmp_path / "cut", 60)
    assert look(tmp_path, "whole").state == "finished"
    found = look(tmp_path, "cut")
    assert (found.state, found.step, found.steps) == ("silent", 60, 100)
    assert abs(found.since - time.time()) < 60


def test_all_are_in_the_table_and_other_folders_are_not(tmp_path: Path) -> None:
    for folder in ("spool", "mlartifacts"):
        (tmp_path / folder).mkdir()
    saved(tmp_path / "old", 100)
    write_now(str(tmp_path / "new"), told(0))
    write_now(str(tmp_path / "when"), told(0, unit="trials"))
    (tmp_path / "when/search.json").write_text("{}")
    found = {status.name: (status.kind, status.state) for status in all_statuses(str(tmp_path), Watcher())}
    assert found == {"old": ("run", "finished"), "new": ("run", "training"), "when": ("search", "training")}
    with pytest.raises(InputError, match="unknown run or search 'wen': did you mean 'when'"):
        look(tmp_path, "wen")
    with pytest.raises(InputError, match="there is no run and no search"):
        all_statuses(str(tmp_path / "spool"), Watcher())
    with pytest.raises(InputError, match="no run"):
        look(tmp_path / "old", "../new")


def test_a_search_shows_its_trials_and_who_trains(tmp_path: Path) -> None:
    search = tmp_path / "when"
    (search / "trials").mkdir(parents=True)
    for order, status in enumerate(("finished", "running", "running")):
        rungs = [{"step": 50, "values": {"score": 0.4}}] if status == "finished" else []
        trial = {"key": f"k{order}", "order": order, "label": "", "fields": {"method.lambda_id": 2.0}}
        told_of = {**trial, "status": status, "why": "", "rungs": rungs, "seconds": 3.0}
        (search / f"trials/k{order}.json").write_text(json.dumps(told_of))
    (search / "trials/k9.json").write_text('{"key"')
    write_now(str(search), told(0, unit="trials", step=1, steps=8))
    write_now(str(search / "when-k1"), told(0))
    write_now(str(search / "when-k2"), told(0, state="failed"))
    found = look(tmp_path, "when")
    assert (found.kind, found.state, found.step, found.steps) == ("search", "training", 1, 8)
    assert [(trial.key, trial.status, trial.score) for trial in found.trials] == [
        ("k0", "finished", 0.4),
        ("k1", "running", None),
        ("k2", "running", None),
    ]
    assert [run.name for run in found.runs] == ["when-k1"]
    assert look(tmp_path, "when/when-k1").step == 40
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["runs"][0]["state"] == "training"

    write_now(str(search), told(0, unit="trials", step=0, steps=8, state="failed", why="the disk is full"))
    found = look(tmp_path, "when")
    assert (found.state, found.why, found.step) == ("failed", "the disk is full", 1), "the ledger knows of one more"
    assert [trial.status for trial in found.trials] == ["finished", "cut off", "cut off"]


# ------------------------------------------------------------------------------------------------------- the job


def test_the_job_ends_as_the_run_does_and_starts_at_once(tmp_path: Path) -> None:
    for state, status in (("training", 0), ("finished", 0), ("stopped", 3), ("failed", 4)):
        write_now(str(tmp_path / state), told(0, state=state, beat_s=30.0, why="no luck" * (state == "failed")))
        done = run_job("status", state, "--storage", str(tmp_path))
        assert (done.returncode, done.stderr) == (status, "")
        assert state in done.stdout
        assert ("no luck" in done.stdout) == (state == "failed")
    write_now(str(tmp_path / "killed"), told(72 * HOUR_S))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_job("status", "killed", "--storage", str(tmp_path), "--json")
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    # of the processor: whatever else the machine does
    assert spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime < 1.5
    assert done.returncode == 5
    assert json.loads(done.stdout)["state"] == "silent"
    table = run_job("status", "--storage", str(tmp_path), "--json")
    assert table.returncode == 0
    assert {status["state"] for status in json.loads(table.stdout)} == {
        *("training", "finished", "stopped", "failed", "silent")
    }
    wrong = run_job("status", "kiled", "--storage", str(tmp_path))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean 'killed'" in wrong.stderr


def test_it_loads_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv[1:] = ['--storage', {str(tmp_path)!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / 'jobs/status.py')!r})['main']()\n"
        "finally:\n"
        "    print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'ray', 'mlflow', 'pandas', 'boto3'}))\n"
    )
    saved(tmp_path / "run", 10)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


def test_it_follows_a_run_until_it_ends(tmp_path: Path) -> None:
    beating = Heartbeat(str(tmp_path / "run"), 100, batch=8, beat_s=BEAT_S)
    beating.metrics(10, {"speed/images_per_second": 8.0, "classify/loss": 2.0})
    while (said := read_now(str(tmp_path / "run"))) is None or said.step < 10:
        time.sleep(0.02)
    flags = ("run", "--storage", str(tmp_path), "--follow", "--every", "0.1")
    lines, parts = StartedJob("status", *flags), StartedJob("status", *flags, "--json")
    assert lines.stdout is not None
    assert parts.stdout is not None
    assert "training" in lines.stdout.readline()
    assert json.loads(parts.stdout.readline())["step"] == 10
    beating.metrics(20, {"speed/images_per_second": 8.0})
    time.sleep(3 * BEAT_S)
    assert lines.poll() is None
    beating.close("failed", "no luck")
    last, _ = lines.communicate(timeout=20)
    assert lines.returncode == 4
    assert "no luck" in last.splitlines()[-1]
    told_parts = [json.loads(line) for line in parts.communicate(timeout=20)[0].splitlines()]
    assert parts.returncode == 4
    assert [part["state"] for part in told_parts][-1] == "failed"
    assert 20 in {part["step"] for part in told_parts}


def test_a_training_on_s3_is_seen_while_it_goes_on_and_after(s3: str, tmp_path: Path) -> None:
    flags = ("--faces.people", "12", "--faces.size", "32", "--faces.splits", "0.7", "0.3", "0")
    assert run_job("ingest", "faces", "--out", f"{s3}/faces", *flags).returncode == 0
    small = ("--train.report-every", "2", "--train.checkpoint-every", "4", "--train.threads", "1", "--local")
    common = ("expression-tiny", "--data", f"{s3}/faces", "--storage", f"{s3}/runs", "--name", "one", *small)
    for steps in ("4", "8"):
        done = run_job("train", *common, "--train.steps", steps)
        assert done.returncode == 0, done.stderr
    found = status_of(f"{s3}/runs", "one", Watcher())
    assert (found.state, found.step, found.steps, found.calls) == ("finished", 8, 8, 2)
    assert found.latest is not None
    assert found.latest.step == 8
    assert found.images_per_second > 0
    assert {"classify/cross_entropy", "classify/accuracy"} <= found.losses.keys()
    assert found.validation["val/accuracy"] is not None
    shown = run_job("status", "one", "--storage", f"{s3}/runs")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "8 of 8 (100%)" in shown.stdout


def test_spans_of_time() -> None:
    assert [span(s) for s in (0, 59.4, 61, 600, 7260, 200_000)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "10 min",
        "2 h 1 min",
        "2 d 7 h",
    ]
