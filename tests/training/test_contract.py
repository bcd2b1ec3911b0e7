"""What every translator promises, whichever method it is: one test over all of them.

pytest tests/training/test_contract.py
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import RECIPE, TRANSLATORS, batches_of, differing, helpers_of, run, state_of, tensors, with_train
from torch import Tensor

from stargan_ray.config import METHODS, Recipe, from_json, to_json
from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Target, Translator
from stargan_ray.training import step as step_module
from stargan_ray.training.checkpoint import Checkpoints, read_meta
from stargan_ray.training.loop import fresh_state, train
from stargan_ray.training.recording import NoRecords
from stargan_ray.training.step import State
from stargan_ray.training.weights import load_weights
from stargan_ray.training.worker import LocalWorker

NAMES = sorted(TRANSLATORS)
SIZE = RECIPE.data.size


def recipe_of(name: str, **fields: Any) -> Recipe:
    recipe = with_train(**fields)
    return replace(recipe, method=TRANSLATORS[name])


def test_the_list_holds_every_method_that_translates() -> None:
    translators = {kind.name for kind in METHODS.values() if isinstance(kind(), Translator)}
    assert {method.name for method in TRANSLATORS.values()} == translators


def faces(count: int = 3) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, SIZE, SIZE, generator=drawn) * 2 - 1, torch.arange(count)


def targets(method: Any, count: int = 3) -> dict[str, Target]:
    label = torch.arange(count) + 3
    drawn = torch.Generator().manual_seed(2)
    latent = torch.randn(count, method.latent_dim, generator=drawn)
    reference = torch.rand(count, 3, SIZE, SIZE, generator=drawn) * 2 - 1
    return {"latent": Target(label, latent=latent), "reference": Target(label, reference=reference)}


def prepared(name: str) -> tuple[Any, dict[str, Any]]:
    """A method and its networks after a few steps of noise on their weights, so that no input is at its zero start."""
    state = state_of(recipe_of(name))
    torch.manual_seed(4)
    for network in state.networks.values():
        for parameter in network.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
        network.eval()
    return state.method, {**state.helpers, **state.networks}


@pytest.mark.parametrize("guide", ["latent", "reference"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_translations_have_the_images_shape_and_are_a_function_of_what_is_given(name: str, guide: str) -> None:
    method, networks = prepared(name)
    images, labels = faces()
    target = targets(method)[guide]
    out = method.translate(networks, images, labels, target)
    assert out.shape == images.shape
    assert torch.isfinite(out).all()
    torch.manual_seed(77)
    assert torch.equal(out, method.translate(networks, images, labels, target))
    elsewhere = target._replace(label=(target.label + 1) % 8)
    assert not torch.equal(out, method.translate(networks, images, labels, elsewhere))
    code = method.code(networks, target)
    assert code.shape == method.own_code(networks, images, labels).shape
    assert code.ndim == 2


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_intensity_and_share_go_from_one_end_to_the_other(name: str) -> None:
    method, networks = prepared(name)
    images, labels = faces()
    first, second = targets(method).values()
    second = second._replace(label=first.label + 2)

    def to(target: Target) -> Tensor:
        out: Tensor = method.translate(networks, images, labels, target)
        return out

    own = method.render(networks, images, method.own_code(networks, images, labels))
    assert torch.equal(to(first._replace(intensity=0.0)), own)
    assert torch.equal(to(first._replace(other=second, share=0.0)), to(first))
    torch.testing.assert_close(to(first._replace(other=second, share=1.0)), to(second))
    # a little further is a little change: no jump in between
    between = [to(first._replace(intensity=x)) for x in (0.0, 0.25, 0.5, 0.75, 1.0)]
    moves = [float((b - a).abs().mean()) for a, b in itertools.pairwise(between)]
    assert all(0 < move < 0.9 * sum(moves) for move in moves)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_target_that_the_networks_cannot_have_is_refused(name: str) -> None:
    method, networks = prepared(name)
    images, labels = faces()
    given = targets(method)
    for bad in (-1, 8):
        wanted = torch.tensor([0, bad, 1])
        for target in (*given.values(), given["latent"]._replace(other=given["latent"]._replace(label=wanted))):
            if target.other is None:
                target = target._replace(label=wanted)
            with pytest.raises(InputError, match=rf"^target label = {bad}: allowed are 0 to 7, the model's domains$"):
                method.translate(networks, images, labels, target)
    large = given["reference"]._replace(reference=torch.zeros(3, 3, 2 * SIZE, 2 * SIZE))
    with pytest.raises(InputError, match=r"^target reference = 64 × 64 pixels: allowed are 32 × 32, the image's$"):
        method.translate(networks, images, labels, large)
    with pytest.raises(InputError, match=r"^intensity = 1\.5: allowed are 0 to 1$"):
        method.translate(networks, images, labels, given["latent"]._replace(intensity=1.5))


@pytest.mark.parametrize("name", NAMES)
def test_each_phase_moves_exactly_its_networks_and_computes_no_gradient_of_others(
    name: str, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: dict[str, set[str]] = {}
    graded: dict[str, set[str]] = {}
    update = step_module._update

    def weights(state: State) -> dict[str, Tensor]:
        return {n: torch.cat([p.detach().flatten() for p in net.parameters()]) for n, net in state.networks.items()}

    def spy(state: State, phase: Any) -> None:
        before = weights(state)
        graded[phase.name] = {
            n for n, net in state.networks.items() if any(p.grad is not None for p in net.parameters())
        }
        update(state, phase)
        after = weights(state)
        moved[phase.name] = {n for n in before if not torch.equal(before[n], after[n])}

    monkeypatch.setattr(step_module, "_update", spy)
    recipe = recipe_of(name, steps=max(phase.every for phase in TRANSLATORS[name].phases()))
    state = state_of(recipe)
    helpers = {n: [p.clone() for p in net.parameters()] for n, net in state.helpers.items()}
    run(dataset, recipe, state, Checkpoints(str(tmp_path)))
    assert moved == {phase.name: set(phase.updates) for phase in state.method.phases()}
    assert graded == moved
    assert set().union(*moved.values()) == set(state.networks), "a network that no phase trains"
    for n, before in helpers.items():
        for old, new in zip(before, state.helpers[n].parameters(), strict=True):
            assert torch.equal(old, new)
            assert new.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_resume_equals_no_interruption(name: str, dataset: Dataset, tmp_path: Path) -> None:
    whole, half = state_of(recipe_of(name)), state_of(recipe_of(name))
    run(dataset, recipe_of(name, steps=7), whole, Checkpoints(str(tmp_path / "whole")))
    run(dataset, recipe_of(name, steps=3), half, Checkpoints(str(tmp_path / "half")))
    torch.manual_seed(999)
    resumed = state_of(recipe_of(name, seed=5))
    assert Checkpoints(str(tmp_path / "half")).load_latest(resumed)
    run(dataset, recipe_of(name, steps=7), resumed, Checkpoints(str(tmp_path / "half")))
    assert differing(tensors(whole), tensors(resumed)) == []


@pytest.mark.parametrize("name", NAMES)
def test_thirty_steps_change_the_networks_and_no_term_runs_away(name: str, dataset: Dataset, tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []

    class Recorder(NoRecords):
        def metrics(self, step: int, values: Any) -> None:
            seen.append(dict(values))

    recipe = recipe_of(name, steps=30, report_every=10)
    state = state_of(recipe)
    before = tensors(state)
    run(dataset, recipe, state, Checkpoints(str(tmp_path)), recorder=Recorder())
    assert set(differing(before, {k: v for k, v in tensors(state).items() if k in before}))
    phases = {phase.name for phase in state.method.phases()}
    terms = [{k: v for k, v in values.items() if k.split("/")[0] in phases} for values in seen]
    assert len(terms) == 3
    assert all(math.isfinite(v) for values in terms for v in values.values())
    for key, last in terms[-1].items():
        assert abs(last) < 20 * abs(terms[0][key]) + 20, (key, terms[0][key], last)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_rebuilt_from_its_account_alone(name: str, dataset: Dataset, tmp_path: Path) -> None:
    recipe = recipe_of(name, steps=2)
    state = state_of(recipe)
    batches = batches_of(dataset, recipe, LocalWorker())
    meta = {"recipe": to_json(recipe), "domains": [str(n) for n in range(8)]}
    folder = Path(train(recipe, state, batches, LocalWorker(), Checkpoints(str(tmp_path)), meta=meta).checkpoint)
    told = read_meta(folder)
    again = fresh_state(from_json(told["recipe"]), len(told["domains"]), LocalWorker(), helpers_of(recipe.method))
    for n, network in again.networks.items():
        load_weights(network, folder / f"{n}.safetensors")
        network.eval()
    images, labels = faces()
    target = targets(recipe.method)["latent"]
    for network in state.networks.values():
        network.eval()
    with torch.no_grad():
        expected = state.method.translate({**state.helpers, **state.networks}, images, labels, target)  # type: ignore[union-attr]
        actual = again.method.translate({**again.helpers, **again.networks}, images, labels, target)  # type: ignore[union-attr]
    assert torch.equal(expected, actual)
