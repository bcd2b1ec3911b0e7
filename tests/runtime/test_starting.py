"""What a run starts from and whether it may go on: every name of a model is understood, other data are refused.

pytest tests/runtime/test_starting.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import DOMAINS, TinyModels

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.models import export_model
from stargan_ray.runtime.registry import register
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.session import run_worker, thread_source
from stargan_ray.runtime.starting import start_from
from stargan_ray.training.checkpoint import read_meta, recipe_of
from stargan_ray.training.loop import Outcome, fresh_state
from stargan_ray.training.recording import NoRecords
from stargan_ray.training.step import State
from stargan_ray.training.worker import LocalWorker


def fresh(where: Path) -> State:
    """A state of the method that a checkpoint is of, with other weights."""
    recipe = recipe_of(where)
    recipe = replace(recipe, train=replace(recipe.train, seed=9))
    return fresh_state(recipe, 3, LocalWorker(), {})


def started(
    tiny: TinyModels, where: str, domains: Sequence[str] = DOMAINS
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The generator of a translator that starts from there, and the report."""
    state = fresh(tiny.best)
    report = start_from(state, where, domains)
    return state.networks["generator"].state_dict(), report


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_means_its_best_checkpoint(tiny: TinyModels) -> None:
    weights, report = started(tiny, str(tiny.run))
    assert report == {"from": str(tiny.best), "method": "stargan-v2-id", "domains": DOMAINS, "fresh": []}
    assert same(weights, load_file(tiny.best / "generator.safetensors"))
    assert same(weights, started(tiny, str(tiny.best))[0])
    assert not same(weights, started(tiny, str(tiny.best.with_name("step-00000002")))[0])


def test_a_model_folder_gives_what_it_has(tiny: TinyModels, tmp_path: Path) -> None:
    folder = export_model(tiny.run, tmp_path / "model")
    weights, report = started(tiny, str(folder))
    assert (report["from"], report["fresh"]) == (str(folder), ["discriminator"])
    assert same(weights, load_file(tiny.best / "generator.average.safetensors"))


def test_a_run_in_a_bucket_is_copied_and_the_copy_taken_away(
    tiny: TinyModels, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    storage.put_folder(tiny.run, f"{s3}/runs/start")
    weights, report = started(tiny, f"{s3}/runs/start")
    assert report["from"] == f"{s3}/runs/start/checkpoints/{tiny.best.name}"
    assert same(weights, load_file(tiny.best / "generator.safetensors"))
    assert not list(tmp_path.iterdir())


def test_a_registered_model_is_a_start_by_its_alias(
    tiny: TinyModels, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    register(export_model(tiny.identity, tmp_path / "model"), name="start", uri=store)
    state = fresh(tiny.identity)
    assert start_from(state, "models:/start@champion", DOMAINS) == {
        "from": "models:/start/1",
        "method": "identity",
        "domains": DOMAINS,
        "fresh": [],
    }
    assert same(state.networks["embedder"].state_dict(), load_file(tiny.identity / "embedder.safetensors"))


def test_more_and_other_domains_start_from_those_that_both_know(tiny: TinyModels) -> None:
    """DOMAINS are neutral, happiness and sadness: one goes, two come, and the order changes."""
    now = ["anger", "sadness", "neutral", "contempt"]
    state = fresh_state(recipe_of(tiny.best), len(now), LocalWorker(), {})
    own = state.networks["discriminator"].state_dict()["head.weight"].clone()
    report = start_from(state, str(tiny.best), now)
    assert report["domains"] == DOMAINS
    before = load_file(tiny.best / "discriminator.safetensors")
    head = state.networks["discriminator"].state_dict()["head.weight"]
    assert torch.equal(head[1], before["head.weight"][2])
    assert torch.equal(head[2], before["head.weight"][0])
    assert torch.equal(head[[0, 3]], own[[0, 3]])
    averaged = load_file(tiny.best / "mapping.average.safetensors")["out.weight"]
    assert torch.equal(state.averaged["mapping"].state_dict()["out.weight"][2], averaged[0])
    assert all(entry.endswith(("[anger]", "[contempt]")) for entry in report["fresh"])
    assert {"discriminator.head.weight[anger]", "mapping.out.weight[contempt]"} <= set(report["fresh"])


def test_another_method_gives_the_networks_that_it_shares(tiny: TinyModels) -> None:
    """StarGAN v2 from StarGAN v2 with identity: what is of the identity stays behind, nothing is missed."""
    recipe = recipe_of(tiny.best)
    fields = {n: v for n, v in vars(recipe.method).items() if n in StarGANv2.__dataclass_fields__}
    state = fresh_state(replace(recipe, method=StarGANv2(**fields)), 3, LocalWorker(), {})
    report = start_from(state, str(tiny.best), DOMAINS)
    assert (report["method"], report["fresh"]) == ("stargan-v2-id", [])


def test_a_checkpoint_of_another_method_is_one_line(tiny: TinyModels) -> None:
    with pytest.raises(InputError, match=r"is of the method expression: nothing of it fits stargan-v2-id") as caught:
        started(tiny, str(tiny.expression))
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_one_line(tiny: TinyModels, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model here") as caught:
        started(tiny, str(tmp_path / "nowhere" / "else"))
    assert "\n" not in str(caught.value)


# -- going on -----------------------------------------------------------------------------------------------------


def tiny_recipe(name: str) -> Recipe:
    base = recipe_named(name)
    shape = replace(base.data.shape, batch=4, lanes=1, window=4)
    method = base.method
    if name == "identity-tiny":
        method = replace(method, width=0.05, middle_blocks=0, hidden=8, embedding=8)
    elif name == "expression-tiny":
        method = replace(method, width=2)
    else:
        method = replace(method, first=8, first_critic=8, largest=16, bottleneck=8, depth=1)
    train = replace(base.train, steps=2, validate_every=0, sample_every=0, threads=1)
    return replace(base, method=method, data=replace(base.data, shape=shape), train=train)


def population(folder: Path, seed: int) -> str:
    write_dataset(str(folder), read_faces(FacesConfig(people=6, images_per_person=8, size=32, seed=seed)))
    return str(folder)


def trained(run: Run, steps: int) -> Outcome:
    run = replace(run, recipe=replace(run.recipe, train=replace(run.recipe.train, steps=steps)))
    return run_worker(run, LocalWorker(), thread_source, NoRecords())


@pytest.mark.parametrize("name", ["identity-tiny", "expression-tiny", "stargan-v2-tiny"])
def test_a_run_goes_on_where_its_data_has_moved_to_and_not_with_other_data(name: str, tmp_path: Path) -> None:
    data, others = population(tmp_path / "a", 0), population(tmp_path / "b", 1)
    moved = population(tmp_path / "c", 0)
    run = Run(tiny_recipe(name), data, str(tmp_path / "runs"), "first")
    kept = trained(run, 2).checkpoint
    hashes = [open_dataset(uri).manifest.content_hash[:12] for uri in (data, others)]
    with pytest.raises(InputError, match=f"'first' exists with data of content {hashes[0]}, .* has {hashes[1]}: give"):
        trained(replace(run, data=others), 4)
    assert run.checkpoints.names() == [Path(kept).name]
    assert trained(replace(run, data=moved), 4).step == 4


def test_a_run_of_a_time_without_data_hashes_goes_on(tmp_path: Path) -> None:
    run = Run(tiny_recipe("identity-tiny"), population(tmp_path / "a", 0), str(tmp_path / "runs"), "old")
    path = Path(trained(run, 2).checkpoint) / "meta.json"
    told = read_meta(path.parent)
    path.write_text(path.read_text().replace(f'"data_hash": "{told["data_hash"]}",', ""))
    assert "data_hash" not in read_meta(path.parent)
    assert trained(run, 4).step == 4
