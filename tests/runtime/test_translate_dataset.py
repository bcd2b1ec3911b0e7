"""A translated data set: what its rows are, where they come from, and that nothing but the request changes them.

pytest tests/runtime/test_translate_dataset.py   (the job six times, three times with a Ray of its own; two minutes)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from forked import StartedJob
from tiny_models import DOMAINS, TinyModels, recipe_for

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.pools import load_pool
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import INDEX_SCHEMA
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.plans import make_plan
from stargan_ray.runtime.request import Request
from stargan_ray.runtime.translate import draw_latent, read_image, to_png, translate_image
from stargan_ray.runtime.translate_files import translate_files

UNITS = 24

Start = Callable[..., StartedJob]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces of eight expressions and three splits in many shards, so that there is a half-way."""
    path = tmp_path_factory.mktemp("data") / "faces"
    config = FacesConfig(people=12, images_per_person=16, size=32, splits=(0.5, 0.25, 0.25))
    assert len(write_dataset(str(path), read_faces(config, shard_rows=8)).shards) >= UNITS
    return path


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the job writes in one process when nothing happens to it."""
    out = tmp_path_factory.mktemp("whole") / "translated"
    finish(start(out))
    return out


@pytest.fixture(scope="module")
def start(data: Path, tiny: TinyModels) -> Start:
    """Starts the job, which sees to its threads itself."""

    def run(out: Path, *flags: str) -> StartedJob:
        command = ["--model", str(tiny.run), "--input", str(data), "--dataset", "--seed", "3", "--out", str(out)]
        return StartedJob("translate", *command, *flags, together=True)

    return run


def finish(job: StartedJob) -> str:
    said = job.communicate()[0]
    assert job.returncode == 0, said
    return said


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def shards(out: Path) -> dict[str, tuple[int, int]]:
    """The shards that are there, and what would be another if one were written again."""
    found = {}
    for path in out.glob("rows/*.parquet"):
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def kill_half_way(job: StartedJob, out: Path, least: int) -> None:
    """SIGKILL to the driver, then to what it had started."""
    while len(shards(out)) < least:
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.002)
    family = psutil.Process(job.pid).children(recursive=True)
    job.kill()
    job.communicate()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=10)
    assert not (out / "manifest.json").exists()
    assert least <= len(shards(out)) < UNITS


def test_rows_are_the_translations_of_their_source_alone(data: Path, whole: Path, tiny: TinyModels) -> None:
    source, result, model = open_dataset(str(data)), open_dataset(str(whole)), load_model(tiny.run)
    rows = {row["key"]: row for row in source.index.to_pylist()}
    names = source.manifest.domains
    expected = {
        (key, target): row
        for key, row in rows.items()
        for target in DOMAINS
        if target != names[row["expression"]]  # its own is no target
    }
    assert len(result) == len(expected)
    images = dict(zip(rows, source.images(np.arange(len(source))), strict=True))
    for row, data_ in zip(result.index.to_pylist(), result.images(np.arange(len(result))), strict=True):
        key, _, target = row["key"].rpartition("/")
        origin = expected.pop((key, target))
        assert DOMAINS[row["expression"]] == target
        assert (row["identity"], row["split"], row["source"]) == (origin["identity"], origin["split"], "translated")
        assert row["weight"] is None
        if len(expected) % 7 == 0:
            image = read_image(images[key], model.size)
            alone = translate_image(model, image, DOMAINS.index(target), latent=draw_latent(model, 3, key))
            assert data_ == to_png(alone[0])
    assert not expected
    assert tuple(result.manifest.domains) == tuple(DOMAINS)
    assert result.manifest.rows_by_split.keys() == source.manifest.rows_by_split.keys()


def test_lineage_and_manifest_say_where_it_comes_from(data: Path, whole: Path, tiny: TinyModels) -> None:
    source, result, model = open_dataset(str(data)), open_dataset(str(whole)), load_model(tiny.run)
    lineage = pq.read_table(whole / "lineage.parquet")
    assert lineage["key"].to_pylist() == result.index["key"].to_pylist()
    hashes = dict(zip(source.index["key"].to_pylist(), source.index["content_hash"].to_pylist(), strict=True))
    for line, label in zip(lineage.to_pylist(), result.index["expression"].to_pylist(), strict=True):
        assert line["key"] == f"{line['source_key']}/{line['target']}"
        assert line["source_hash"] == hashes[line["source_key"]]
        assert line["target"] == DOMAINS[label]
        told = (line["seed"], line["intensity"], line["model"], line["model_hash"])
        assert told == (3, 1.0, model.where, model.content_hash)
    said = result.manifest.source
    assert (said["reader"], said["data"], said["content_hash"], said["model_hash"]) == (
        "translate",
        str(data),
        source.manifest.content_hash,
        model.content_hash,
    )


def test_training_opens_it_as_any_other(whole: Path) -> None:
    dataset = open_dataset(str(whole))
    assert dataset.index.schema == INDEX_SCHEMA
    recipe = recipe_for(StarGANv2(first=8, largest=16, bottleneck=8, depth=1), size=16)
    plan = make_plan(recipe, dataset)
    train = np.flatnonzero(np.array(dataset.index["split"].to_pylist()) == "train")
    assert set(plan.rows) == set(train)
    rows = plan.rows[plan.chunk(0, 0).rows]
    assert load_pool(dataset, rows, 16).shape == (len(rows), 3, 16, 16)


def test_the_pictures_of_the_files_road_are_the_same(whole: Path, data: Path, tiny: TinyModels, tmp_path: Path) -> None:
    """A row of the data set is what jobs/translate.py gives for the data set as plain images."""
    pictures = translate_files(load_model(tiny.run), str(data), Request("happiness", seed=3), tmp_path)
    result = open_dataset(str(whole))
    place = {key: row for row, key in enumerate(result.index["key"].to_pylist())}
    compared = 0
    for line in pictures.written[::5]:
        if (row := place.get(f"{line['input']}/happiness")) is not None:
            assert result.images(np.array([row]))[0] == (tmp_path / line["output"]).read_bytes()
            compared += 1
    assert compared > 20


def test_a_pool_changes_no_byte(start: Start, whole: Path, tmp_path: Path) -> None:
    finish(start(tmp_path / "pool", "--parallel", "2"))
    assert files(tmp_path / "pool") == files(whole)


def test_a_kill_changes_no_byte(start: Start, whole: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    kill_half_way(start(alone), alone, 5)
    before = shards(alone)
    said = finish(start(alone))
    assert before.items() <= shards(alone).items()  # what was written is taken over
    assert files(alone) == files(whole), said


@pytest.mark.slow  # the pool and the kill by themselves are above, and refine's pool is killed in test_refine_killed.py
def test_a_kill_of_a_pool_changes_no_byte(start: Start, whole: Path, tmp_path: Path) -> None:
    pool = tmp_path / "killed-pool"
    kill_half_way(start(pool, "--parallel", "2"), pool, 3)
    before = shards(pool)
    finish(start(pool, "--parallel", "2"))
    assert before.items() <= shards(pool).items()
    assert files(pool) == files(whole)
