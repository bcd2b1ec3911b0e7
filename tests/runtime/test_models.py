"""Model folders: what an export keeps, that every place to load from gives the same model, and one-line errors.

Run: pytest tests/runtime/test_models.py   (a loopback S3 server; a few seconds)
"""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import DOMAINS, TinyModels

from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.models import identity as identity_networks
from stargan_ray.runtime.card import card
from stargan_ray.runtime.models import export_model, fresh_networks, load_model
from stargan_ray.training.checkpoint import recipe_of


def refusal(where: str | Path, **more: str) -> str:
    with pytest.raises(InputError) as caught:
        load_model(where, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_means_its_best_checkpoint_and_its_averages(tiny: TinyModels) -> None:
    model = load_model(tiny.run)
    assert model.where == str(tiny.best)
    assert (model.kind, model.domains, model.size) == ("translator", tuple(DOMAINS), 16)
    saved = load_file(tiny.best / "generator.average.safetensors")
    loaded = model.networks["generator"].state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())
    assert set(model.networks) == {"generator", "mapping", "style_encoder", "identity"}
    for network in model.networks.values():
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_an_export_is_the_same_model_and_needs_nothing_else(tiny: TinyModels, tmp_path: Path) -> None:
    run, helper = tmp_path / "run", tmp_path / "identity"
    shutil.copytree(tiny.run, run)
    shutil.copytree(tiny.identity, helper)
    before = load_model(run)
    out = export_model(run, tmp_path / "model", helpers={"identity": helper})
    shutil.rmtree(run)
    shutil.rmtree(helper)
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert names == [
        "generator.safetensors",
        "helpers/identity/embedder.safetensors",
        "helpers/identity/meta.json",
        "mapping.safetensors",
        "meta.json",
        "style_encoder.safetensors",
    ]
    after = load_model(out)
    assert after.content_hash == before.content_hash
    assert after.meta == before.meta
    assert after.helpers["identity"].content_hash == before.helpers["identity"].content_hash
    assert load_model(export_model(out, out)).content_hash == before.content_hash  # over itself


def test_the_meta_and_the_card_say_what_a_user_must_know(tiny: TinyModels) -> None:
    meta = load_model(tiny.run).meta
    assert meta["metrics"] == {"val/score": 0.9}  # what it can do, not how fast it was trained
    assert (meta["licence"], meta["data_hash"], meta["commit"]) == ("Apache-2.0", "d" * 64, "c0ffee")
    text = card(meta)
    for told in ("Apache-2.0", "d" * 64, "happiness", "0.9", "Intended use", "Limits", "none used", "16 × 16"):
        assert told in text


def test_loading_leaves_the_random_state_alone(tiny: TinyModels) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_model(tiny.identity)
    assert torch.equal(torch.rand(4), expected)


def test_loading_downloads_no_pretrained_weights(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object) -> None:
        raise AssertionError("pretrained weights were asked for")

    monkeypatch.setattr(identity_networks, "load_trunk", download)
    recipe = recipe_of(tiny.identity)
    method = IdentityMethod(middle_blocks=0, pretrained="timm")
    with pytest.raises(AssertionError, match="asked for"):
        method.networks(32, 3)
    object.__setattr__(recipe, "method", method)
    assert list(fresh_networks(recipe, 3)) == ["embedder"]


def test_a_model_in_a_bucket_is_copied_for_as_long_as_it_is_used(tiny: TinyModels, s3: str) -> None:
    storage.put_folder(tiny.run, f"{s3}/runs/small")
    model = load_model(f"{s3}/runs/small")
    assert model.where.endswith("runs/small/checkpoints/step-00000001")
    assert model.content_hash == load_model(tiny.run).content_hash
    folder = model.folder
    assert folder.is_dir()
    del model
    gc.collect()
    assert not folder.exists()
    assert "there is no model here" in refusal(f"{s3}/runs/smal")


def test_errors_are_one_line_that_says_what_to_do(tiny: TinyModels, tmp_path: Path) -> None:
    assert "did you mean" in refusal(tiny.run.with_name("ru"))
    assert str(tiny.run) in refusal(tiny.run.with_name("ru"))
    assert "no model here" in refusal(tmp_path / "nowhere" / "model")
    assert "nothing in it has a meta.json" in refusal(tmp_path)
    assert "device" in refusal(tiny.identity, device="warp")
    assert "scheme" in refusal("ftp://host/model")

    broken = tmp_path / "broken"
    shutil.copytree(tiny.identity, broken)
    weights = broken / "embedder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    assert "damaged" in refusal(broken)
    weights.unlink()
    assert "no such file" in refusal(broken)
    (broken / "meta.json").write_text("{}")
    assert "format" in refusal(broken)


def test_another_helper_than_in_training_is_refused(tiny: TinyModels, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny.best, checkpoint)
    meta = json.loads((checkpoint / "meta.json").read_text())
    meta["helpers"]["identity"]["content_hash"] = "0" * 64
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    assert "hashes differ" in refusal(checkpoint)
    del meta["helpers"]
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    assert "does not say where the helper 'identity' is" in refusal(checkpoint)


def test_an_export_replaces_models_and_nothing_else(tiny: TinyModels, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny.identity, checkpoint)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for taken in (checkpoint, other, other / "thesis.txt"):
        with pytest.raises(InputError, match="no model folder"):
            export_model(tiny.identity, taken)
    assert (other / "thesis.txt").read_text() == "mine"
    out = export_model(tiny.identity, tmp_path / "out")
    assert export_model(tiny.expression, out) == out
    assert load_model(out).kind == "expression"
