"""Translating small data sets: what is skipped, where an intensity starts, what is another data set, what is refused.

pytest tests/runtime/test_translate_dataset_requests.py   (a loopback S3 server; twenty seconds)
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from forked import run_job
from PIL import Image
from tiny_models import DOMAINS, TinyModels

from stargan_ray.data.manifest import Manifest
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.translate import closest_label, draw_latent, read_image, to_png, translate_image
from stargan_ray.runtime.translate_dataset import make_recipe, translate_dataset


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A data set of five images, of which one cannot be decoded to its end, and one has no label of the model."""
    lines = ["path,expression,identity,split"]
    for number, name in enumerate(["neutral", "happiness", "anger", "sadness", "happiness"]):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 255, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        (tmp_path / f"{number}.jpg").write_bytes(buffer.getvalue())
        lines.append(f"{number}.jpg,{name},p{number % 2},train")
    (tmp_path / "photos.csv").write_text("\n".join(lines) + "\n")
    write_dataset(str(tmp_path / "photos"), read_folder(FolderConfig(str(tmp_path / "photos.csv"))))
    shard = next((tmp_path / "photos" / "rows").glob("*.parquet"))
    table = pq.read_table(shard)
    images = table["image"].to_pylist()
    images[1] = images[1][:300]
    place = table.schema.get_field_index("image")
    pq.write_table(table.set_column(place, table.schema.field("image"), [images]), shard)
    return tmp_path / "photos"


def test_what_is_no_image_is_counted_and_intensity_starts_from_the_label(
    photos: Path, tiny: TinyModels, tmp_path: Path, s3: str
) -> None:
    recipe = make_recipe(str(tiny.run), intensity=0.5)
    out = f"{s3}/translated"
    done = translate_dataset(str(photos), out, recipe)
    source, result, model = open_dataset(str(photos)), open_dataset(out), load_model(tiny.run)
    assert done.manifest.skipped == {"unreadable": 1}
    assert len(result) == 2 + 2 + 2 + 3  # anger is no target of this model, so nothing is left out
    rows = dict(zip(result.index["key"].to_pylist(), result.images(np.arange(len(result))), strict=True))
    images = source.images(np.arange(len(source)))
    for key, label, data in zip(
        source.index["key"].to_pylist(), source.index["expression"].to_pylist(), images, strict=True
    ):
        name = source.manifest.domains[label]
        made = {target for target in DOMAINS if f"{key}/{target}" in rows}
        if not made:
            continue
        assert made == set(DOMAINS) - {name}
        image = read_image(data, model.size)
        own = DOMAINS.index(name) if name in DOMAINS else closest_label(model, image)
        target = sorted(made)[0]
        latent = draw_latent(model, 0, key)
        expected = translate_image(model, image, DOMAINS.index(target), latent=latent, intensity=0.5, source_label=own)
        assert rows[f"{key}/{target}"] == to_png(expected[0])


def test_another_request_is_another_data_set(photos: Path, tiny: TinyModels, tmp_path: Path) -> None:
    recipe, out = make_recipe(str(tiny.run), target="happiness"), tmp_path / "out"
    first = translate_dataset(str(photos), str(out), recipe).manifest
    assert first.rows == 3
    assert translate_dataset(str(photos), str(out), recipe).manifest == first
    others = {
        "seed": replace(recipe, seed=1),
        "own": replace(recipe, own=True),
        "targets": replace(recipe, targets=tuple(DOMAINS)),
        "intensity": replace(recipe, intensity=0.9),
        "model": make_recipe(str(tiny.run / "checkpoints" / "step-00000002"), target="happiness"),
    }
    for name, other in others.items():
        with pytest.raises(InputError, match=r"another data set .* --overwrite"):
            translate_dataset(str(photos), str(out), other)
        replaced = translate_dataset(str(photos), str(out), other, overwrite=True).manifest
        assert replaced.content_hash != first.content_hash, name
        keys = pq.read_table(out / "lineage.parquet")["key"].to_pylist()
        assert keys == open_dataset(str(out)).index["key"].to_pylist()
        if name == "own":
            assert replaced.rows == 4
    again = translate_dataset(str(photos), str(out), recipe, overwrite=True).manifest
    assert again == first
    assert Manifest.from_json((out / "manifest.json").read_text()) == first


def test_a_model_that_changes_meanwhile_is_refused(photos: Path, tiny: TinyModels, tmp_path: Path) -> None:
    recipe = replace(make_recipe(str(tiny.run)), model_hash="0" * 64)
    with pytest.raises(InputError, match="has changed since the job began"):
        translate_dataset(str(photos), str(tmp_path / "out"), recipe)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_cannot_be_asked_for(photos: Path, tiny: TinyModels, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'happiness'"):
        make_recipe(str(tiny.run), target="hapiness")
    with pytest.raises(InputError, match="allowed is 0 to 1"):
        make_recipe(str(tiny.run), intensity=1.5)
    with pytest.raises(InputError, match="kind identity"):
        make_recipe(str(tiny.identity))
    with pytest.raises(InputError, match="is the source itself"):
        translate_dataset(str(photos), str(photos), make_recipe(str(tiny.run)))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--parallel", "2"], "add --dataset"),
        (["--dataset", "--parallel", "0"], "allowed are values >= 1"),
        (["--dataset", "--reference", "a.jpg"], "--reference is for single pictures"),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], said: str) -> None:
    done = run_job("translate", "--model", "m", "--input", "i", "--out", "o", *flags)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
