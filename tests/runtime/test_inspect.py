"""The inspection as a person runs it: the job's lines and files, the same through Ray, errors in one line.

pytest tests/runtime/test_inspect.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forked import run_job
from planted import damage, encoded, noise, row, sound, write

from stargan_ray.data import storage
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.inspect import gather, inspect


def test_the_job_on_generated_faces(tmp_path: Path) -> None:
    faces = FacesConfig(people=10, images_per_person=8, size=32, label_noise=0)
    manifest = write_dataset(str(tmp_path / "faces"), read_faces(faces))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "faces").rglob("*")}
    done = run_job("inspect_data", "--data", str(tmp_path / "faces"), "--out", str(tmp_path / "out"), "--sample", "3")
    assert (done.returncode, done.stdout.count("problem:")) == (0, 0), done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "faces").rglob("*")}
    assert done.stdout.endswith(f"page: {tmp_path}/out/inspect.html\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["inspect.html", "inspect.json"]
    told = json.loads((tmp_path / "out" / "inspect.json").read_text())
    assert (told["problems"], told["worth_a_look"]) == ([], [])
    assert told["images"]["decoded"] == manifest.rows == 80
    assert told["images"]["sizes"] == [{"width": 32, "height": 32, "rows": 80}]
    train = manifest.rows_by_domain["train"]
    pairs = sum(train[a] * train[b] for a in train for b in train if a != b)
    assert told["pairs"]["total"] == pairs
    assert f"{pairs:,}" in done.stdout


def test_problems_are_one_line_each_and_no_failure(tmp_path: Path) -> None:
    same = encoded(noise(1))
    rows = [*sound(4), row("x", same), row("y", same, expression=1, split="val"), row("[red]z", expression=2)]
    write(tmp_path / "data", rows, ("calm", "glad", "[bold]"))
    damage(tmp_path / "data", "train/002.png", b"")
    done = run_job("inspect_data", "--data", str(tmp_path / "data"), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "inspect.json").read_text())
    assert [line for line in done.stdout.splitlines() if line.startswith("problem: ")] == [
        f"problem: {line}" for line in told["problems"]
    ]
    assert len(told["problems"]) == 4
    assert [each["key"] for each in told["unreadable"]["rows"]] == ["train/002.png"]


def test_two_actors_of_ray_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rows = [*sound(300), row("x", encoded(noise(1))), row("y", encoded(noise(1)), split="val"), row("z", b"no image")]
    write(tmp_path / "data", rows)
    damage(tmp_path / "data", "train/100.png", b"")
    alone = inspect(str(tmp_path / "data"), str(tmp_path / "alone"))
    import ray

    try:
        together = inspect(str(tmp_path / "data"), str(tmp_path / "together"), parallel=2)
        with pytest.raises(InputError, match=r"--parallel 999.*CPUs"):
            gather(open_dataset(str(tmp_path / "data")), parallel=999)
    finally:
        ray.shutdown()
    assert together.found == alone.found
    assert [each["key"] for each in together.found["unreadable"]["rows"]] == ["train/100.png", "z"]
    for name in ("inspect.html", "inspect.json"):
        assert (tmp_path / "together" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_bucket_is_inspected_as_a_folder_is(s3: str, tmp_path: Path) -> None:
    uri = storage.join(s3, "faces")
    source = read_faces(FacesConfig(people=2, images_per_person=8, size=32))
    write_dataset(uri, source)
    write_dataset(str(tmp_path / "faces"), source)
    remote = inspect(uri, storage.join(s3, "found"))
    assert storage.read_bytes(storage.join(s3, "found", "inspect.html")).startswith(b"<!doctype html>")
    local = inspect(str(tmp_path / "faces"), str(tmp_path / "found"))
    assert {**remote.found, "data": None} == {**local.found, "data": None}


def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no data set"):
        inspect(str(tmp_path), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    manifest = write(tmp_path / "data", sound(4))
    for shard in manifest.shards:
        (tmp_path / "data" / shard.path).unlink()
    with pytest.raises(InputError, match=r"cannot read .*: it does not exist"):
        inspect(str(tmp_path / "data"), str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
    done = run_job("inspect_data", "--data", str(tmp_path), "--out", str(tmp_path), "--parallel", "0")
    assert (done.returncode, done.stderr) == (2, "error: --parallel 0: allowed are values >= 1\n")
