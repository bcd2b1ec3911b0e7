"""The review as a process: killed after a verdict, two reviewers at once, ended by Ctrl-C, errors in one line.

pytest tests/runtime/test_review_job.py
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from forked import run_job
from reviewable import write_refined
from served_review import ServedReview

from stargan_ray.data.reviews import read_reviews


@pytest.fixture
def uris(tmp_path: Path) -> tuple[str, str]:
    return write_refined(tmp_path)


def test_a_server_that_is_killed_right_after_a_verdict_has_lost_nothing(uris: tuple[str, str]) -> None:
    source, refined = uris
    for count in range(1, 4):
        with ServedReview(refined, "ann") as job:
            assert job.told.startswith(f"50 faces to review by ann, {count - 1} of them judged already")
            job.enter()
            place = job.get("/summary")["next"]
            assert place == count - 1
            job.judge(place, "drop")
            job.kill()
        assert len(read_reviews(source).standing) == count
    assert len(list((Path(source) / "reviews").glob("ann.*.json"))) == 3


def test_two_reviewers_at_once_each_go_on_with_their_own(uris: tuple[str, str]) -> None:
    source, refined = uris
    for start in (0, 3):
        with ServedReview(refined, "ann") as ann, ServedReview(refined, "bob") as bob:
            assert ann.host != bob.host
            ann.enter()
            bob.enter()
            for turn in range(3):
                assert ann.get("/summary")["next"] == bob.get("/summary")["next"] == start + turn
                ann.judge(start + turn, "drop")
                bob.judge(start + turn, "drop")
            ann.kill()
    said = read_reviews(source).standing
    assert sorted(each.reviewer for each in said) == ["ann"] * 6 + ["bob"] * 6
    assert len({each.key for each in said}) == 6


def test_ctrl_c_ends_in_order_with_the_figures(uris: tuple[str, str]) -> None:
    source, refined = uris
    with ServedReview(refined, "ann", "--per-class", "3") as job:
        job.enter()
        assert job.get("/summary")["summary"]["size"] == 12
        for place in range(4):
            job.judge(place, "drop")
        status, out, error = job.interrupt()
    assert (status, error) == (0, "")
    assert "precision" in out
    assert "judged by ann (4)" in out
    assert out.endswith(f"reviews: {source}/reviews\n")


def test_the_report_serves_nothing(uris: tuple[str, str]) -> None:
    source, refined = uris
    done = run_job("review", "--refined", refined, "--report")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nobody has judged yet" in done.stdout
    assert "http" not in done.stdout
    assert not (Path(source) / "reviews").exists()


def test_what_cannot_be_done_is_one_line(uris: tuple[str, str]) -> None:
    source, refined = uris
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for flags, told in (
            (["--refined", refined], "--reviewer is missing"),
            (["--refined", refined, "--reviewer", "../ann"], "--reviewer '../ann': allowed are"),
            (["--refined", refined, "--reviewer", "ann", "--per-class", "0"], "--per-class 0: allowed are"),
            (["--refined", source, "--reviewer", "ann"], "has no decisions of a filter"),
            (["--refined", refined + "x", "--reviewer", "ann"], "holds no data set"),
            (["--refined", refined, "--reviewer", "ann", "--port", port], f"--port {port} is in use"),
            (["--refined", refined, "--reviewer", "ann", "--prot", port], "did you mean --port?"),
        ):
            done = run_job("review", *flags)
            assert (done.returncode, done.stdout) == (2, ""), flags
            assert done.stderr.startswith("error: ")
            assert done.stderr.count("\n") == 1, done.stderr
            assert told in done.stderr
    moved = source + "-moved"
    shutil.move(source, moved)
    done = run_job("review", "--refined", refined, "--report")
    assert (done.returncode, "pass --data with where it lies now" in done.stderr) == (2, True)
    assert run_job("review", "--refined", refined, "--report", "--data", moved).returncode == 0
