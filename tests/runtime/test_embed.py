"""Embeddings beside a data set: each image once, again only when it or the embedder changes, restartable.

pytest tests/runtime/test_embed.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from forked import run_job
from planted import DOMAINS, GivenUnit, damage, encoded, noise, row, sound, write
from tiny_models import TinyModels

from stargan_ray.data.decode import decode
from stargan_ray.data.embeddings import Store, Vectors
from stargan_ray.data.pools import Pixels
from stargan_ray.data.schema import Row
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.data.units import Source
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.embed import Embed, Embedded, Embedder, embed, open_embedder
from stargan_ray.runtime.models import load_model

SIZE = 16
ROWS = sound(per_domain=10)  # 20 in train, 16 in val, 16 in test


def corners(images: Pixels) -> npt.NDArray[np.float32]:
    """Unit vectors of four pixels that a mirror image has elsewhere."""
    found = images[:, 0, 0, [0, 3, 7, -1]].astype(np.float32) + 1
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def noted(calls: Path, limit: int) -> Embed:
    """Leaves a letter for each image, and ends when there are more than ``limit``."""

    def embed_noted(images: Pixels) -> Vectors:
        if calls.exists() and len(calls.read_text()) + len(images) > limit:
            raise Killed
        with calls.open("a") as log:
            log.write(len(images) * "x")
        return np.stack([corners(images), corners(images[..., ::-1])], axis=1)

    return embed_noted


class Killed(BaseException):
    """Stands for the end of the process between two blocks."""


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], int]:
    """How many images were embedded since the last question."""
    told = 0

    def count() -> int:
        nonlocal told
        before, told = told, len((tmp_path / "calls").read_text()) if (tmp_path / "calls").exists() else 0
        return told - before

    return count


@pytest.fixture
def embedder(tmp_path: Path) -> Embedder:
    return Embedder("corners", "c" * 64, 4, SIZE, partial(noted, tmp_path / "calls", 10_000))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data", ROWS)
    return tmp_path / "data"


def vectors_of(data: Path, done: Embedded, width: int = 4) -> dict[str, Vectors]:
    """Key -> (2, I), read as a training reads it."""
    dataset = open_dataset(str(data))
    about = json.loads(Path(done.uri, "about.json").read_text())
    store = Store(dataset.uri, about["content_hash"], about["size"], width)
    everyone = np.arange(len(dataset))
    found = store.load(dataset, everyone, mirrored=True, how="").of(everyone)
    return dict(zip(dataset.index["key"].to_pylist(), found, strict=True))


# -- what is stored --------------------------------------------------------------------------------------------


def test_the_vectors_are_those_of_the_embedder_and_of_the_mirror_image(data: Path, tiny: TinyModels) -> None:
    done = embed(open_dataset(str(data)), open_embedder(str(tiny.identity)), block=30)
    model = load_model(tiny.identity)
    assert Path(done.uri).relative_to(data).as_posix() == f"embeddings/{model.content_hash[:16]}-32px"
    dataset = open_dataset(str(data))
    found = vectors_of(data, done, 8)
    for key, image in zip(dataset.index["key"].to_pylist(), dataset.images(np.arange(len(dataset))), strict=True):
        pixels = to_float(torch.from_numpy(decode(image, 32))[None])
        with torch.no_grad():
            expected = torch.cat([model.networks["embedder"](view) for view in (pixels, pixels.flip(3))])
        np.testing.assert_allclose(found[key], expected.numpy(), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found[key], axis=1), 1, atol=1e-5)
        assert np.abs(found[key][0] - found[key][1]).max() > 1e-4
    about = json.loads(Path(done.uri, "about.json").read_text())
    assert about == {
        "model": model.where,
        "content_hash": model.content_hash,
        "dimension": 8,
        "size": 32,
        "data_hash": dataset.manifest.content_hash,
        "images": len(dataset),
        "unreadable": 0,
    }


def test_a_training_loads_the_views_and_rows_it_draws_from(data: Path, embedder: Embedder) -> None:
    embed(open_dataset(str(data)), embedder)
    dataset = open_dataset(str(data))
    store = Store(dataset.uri, embedder.content_hash, SIZE, 4)
    rows = np.array([3, 9, 4])
    plain = store.load(dataset, rows, mirrored=False, how="")
    assert plain.vectors.shape == (3, 1, 4)
    both = store.load(dataset, rows, mirrored=True, how="").of(np.array([[9, 9], [4, 3]]))
    assert both.shape == (2, 2, 2, 4)
    np.testing.assert_array_equal(both[1, 0, :1], plain.of(np.array([4]))[0])
    with pytest.raises(AssertionError):
        plain.of(np.array([5]))


def test_a_bucket_holds_them_as_a_folder_does(s3: str, data: Path, embedder: Embedder) -> None:
    here = vectors_of(data, embed(open_dataset(str(data)), embedder))
    write_dataset(f"{s3}/data", Source({"reader": "planted"}, DOMAINS, (GivenUnit(0, tuple(ROWS)),)))
    dataset = open_dataset(f"{s3}/data")
    assert embed(dataset, embedder, block=20).uri == f"{s3}/data/embeddings/cccccccccccccccc-16px"
    assert embed(dataset, embedder).known == len(here)
    everyone = np.arange(len(dataset))
    found = Store(dataset.uri, embedder.content_hash, SIZE, 4).load(dataset, everyone, mirrored=True, how="")
    for key, vectors in zip(dataset.index["key"].to_pylist(), found.of(everyone), strict=True):
        np.testing.assert_array_equal(vectors, here[key])


# -- once ------------------------------------------------------------------------------------------------------


def test_each_image_is_embedded_once_and_again_only_when_something_changes(
    data: Path, embedder: Embedder, calls: Callable[[], int]
) -> None:
    changed = row("changed", expression=0)
    rows: list[Row] = [*ROWS, changed, ROWS[0]._replace(key="copy")]
    write(data.parent / "more", rows)
    more = data.parent / "more"
    done = embed(open_dataset(str(more)), embedder, block=20)
    assert (done.images, done.known, calls()) == (53, 0, 53)  # the copy has its vector with the original
    first = vectors_of(more, done)
    np.testing.assert_array_equal(first["copy"], first[ROWS[0].key])
    done = embed(open_dataset(str(more)), embedder, block=7)
    assert (done.known, calls()) == (53, 0)
    # ingested again: one image is another, one is new, one has gone, one has another name
    again = [*ROWS[1:], changed._replace(image=encoded(noise(1))), row("new"), ROWS[0]._replace(key="renamed")]
    overwrite(more, again)
    done = embed(open_dataset(str(more)), embedder)
    assert (done.images, done.known, calls()) == (54, 52, 2)
    second = vectors_of(more, done)
    np.testing.assert_array_equal(second["renamed"], first[ROWS[0].key])
    assert not np.array_equal(second["changed"], first["changed"])
    # other weights, and images of another size
    assert embed(open_dataset(str(more)), replace(embedder, content_hash="d" * 64)).known == 0
    assert calls() == 54
    assert embed(open_dataset(str(more)), embedder, size=24).known == 0
    assert calls() == 54


def overwrite(folder: Path, rows: list[Row]) -> None:
    (folder / "manifest.json").unlink()
    write(folder, rows)


def test_a_killed_run_goes_on_behind_its_last_block(
    data: Path, embedder: Embedder, calls: Callable[[], int], tmp_path: Path
) -> None:
    dying = replace(embedder, make=partial(noted, tmp_path / "calls", 25))
    with pytest.raises(Killed):
        embed(open_dataset(str(data)), dying, block=10)
    assert calls() == 20
    told: list[tuple[int, int]] = []
    done = embed(open_dataset(str(data)), embedder, block=10, on_embedded=lambda *each: told.append(each))
    assert calls() == 32
    assert told == [(20, 52), (10, 52), (10, 52), (10, 52), (2, 52)]
    found = vectors_of(data, done)
    other = vectors_of(data, embed(open_dataset(str(data)), replace(embedder, content_hash="e" * 64)))
    assert all(np.array_equal(found[key], other[key]) for key in other)


def test_a_damaged_file_is_made_again(data: Path, embedder: Embedder, calls: Callable[[], int]) -> None:
    done = embed(open_dataset(str(data)), embedder, block=30)
    before = vectors_of(data, done)
    calls()
    file = sorted(Path(done.uri).glob("*.parquet"))[0]
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match="have no embedding"):
        vectors_of(data, done)
    done = embed(open_dataset(str(data)), embedder, block=30)
    assert calls() in (22, 30)
    after = vectors_of(data, done)
    assert all(np.array_equal(before[key], after[key]) for key in before)


# -- what cannot be embedded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("instead", [b"no image", encoded(noise(5))])
def test_an_image_that_is_not_what_the_index_says_has_no_vector_until_it_is_mended(
    instead: bytes, data: Path, embedder: Embedder, calls: Callable[[], int]
) -> None:
    """Also a sound one: its vector would be found under the hash of another."""
    broken = ROWS[3]
    damage(data, broken.key, instead)
    done = embed(open_dataset(str(data)), embedder, block=10)
    assert (done.unreadable, calls()) == (1, 51)
    with pytest.raises(InputError) as caught:
        vectors_of(data, done)
    assert str(caught.value).startswith(
        "1 of 52 training images have no embedding of 16 px by this embedder, the first"
    )
    assert repr(broken.key) in str(caught.value)
    done = embed(open_dataset(str(data)), embedder, block=10)
    assert (done.known, done.unreadable, calls()) == (51, 1, 0)
    damage(data, broken.key, broken.image)
    done = embed(open_dataset(str(data)), embedder, block=10)
    assert (done.known, done.unreadable, calls()) == (51, 0, 1)
    np.testing.assert_array_equal(vectors_of(data, done)[broken.key][0], corners(decode(broken.image, SIZE)[None])[0])


def test_an_embedder_without_numbers_is_refused(data: Path, embedder: Embedder) -> None:
    def nothing() -> Embed:
        return lambda images: np.full((len(images), 2, 4), np.nan, np.float32)

    with pytest.raises(InputError, match="corners gives embeddings that are not finite"):
        embed(open_dataset(str(data)), replace(embedder, make=nothing))
    with pytest.raises(InputError, match="--block 0: allowed are values >= 1"):
        embed(open_dataset(str(data)), embedder, block=0)


# -- the job ---------------------------------------------------------------------------------------------------


def test_the_job_embeds_with_a_pool_as_alone_and_says_what_is_wrong_in_one_line(
    data: Path, tiny: TinyModels, tmp_path: Path
) -> None:
    flags = ("--data", str(data), "--model", str(tiny.identity))
    done = run_job("embed", *flags, "--block", "20", "--parallel", "2")
    assert done.returncode == 0, done.stderr
    uri = done.stdout.splitlines()[-1].removeprefix("embeddings: ")
    assert done.stdout == f"52 images: 52 embedded, 0 known before, 0 unreadable\nembeddings: {uri}\n"
    write(tmp_path / "alone", ROWS)
    alone = embed(open_dataset(str(tmp_path / "alone")), open_embedder(str(tiny.identity)))
    here = Embedded(uri, 52, 0, 0)
    found, expected = vectors_of(data, here, 8), vectors_of(tmp_path / "alone", alone, 8)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], atol=1e-5)

    def refused(*flags: str) -> str:
        done = run_job("embed", *flags)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        return done.stderr

    assert "is a model of kind expression" in refused(*flags[:2], "--model", str(tiny.expression))
    assert "--parallel 0" in refused(*flags, "--parallel", "0")
    assert "no manifest.json" in refused("--data", str(tmp_path / "none"), *flags[2:])
