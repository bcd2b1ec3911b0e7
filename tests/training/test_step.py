"""One iteration: accumulation equals the full batch, bad gradients stop it before the update, averages are right.

pytest tests/training/test_step.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small import METHOD, RECIPE, differing, state_of, tensors
from torch import Tensor, nn

from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.models import winograd_layer
from stargan_ray.models.winograd_layer import WinogradConv2d
from stargan_ray.training import step as step_module
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.step import NonFiniteError, State, check_marks, run_step
from stargan_ray.training.worker import LocalWorker

BATCH, SIZE = 4, 32


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def part_of(step: int, rows: slice = slice(None)) -> tuple[dict[str, Tensor], Any]:
    rng = np.random.default_rng(step)
    dtype = torch.get_default_dtype()
    batch = {
        name: torch.from_numpy(rng.uniform(-1, 1, (BATCH, 3, SIZE, SIZE))).to(dtype)[rows]
        for name in ("source", "reference", "reference2")
    }
    labels = {n: torch.from_numpy(rng.integers(0, 8, BATCH))[rows] for n in ("source_label", "target_label")}

    def normal(name: str, width: int) -> Tensor:
        numbers = np.random.default_rng((step, *name.encode())).standard_normal((BATCH, width))
        return torch.from_numpy(numbers)[rows]

    return batch | labels, normal


def iterate(state: State, cuts: int = 1) -> dict[str, Tensor]:
    each = BATCH // cuts
    parts = [part_of(state.step, slice(n * each, (n + 1) * each)) for n in range(cuts)]
    return run_step(state, LocalWorker(), parts, ema=0.9)


def test_wide_convolutions_are_winograds_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the networks and their averages, on a processor, by the recipe's field."""
    monkeypatch.setattr(winograd_layer, "_CHANNELS", 4)
    for wanted in (True, False):
        state = fresh_state(replace(RECIPE, train=replace(RECIPE.train, winograd=wanted)), 8, LocalWorker(), {})
        for networks in (state.networks, state.averaged):
            found = any(isinstance(layer, WinogradConv2d) for layer in networks["generator"].modules())
            assert found is wanted


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("cuts", [2, 4])
def test_accumulation_equals_the_full_batch(cuts: int) -> None:
    """Exact mathematics: instance norm looks at one image, every loss is a mean over the batch."""
    whole, cut = state_of(), state_of()
    for _ in range(3):
        values, of_parts = iterate(whole), iterate(cut, cuts)
        for name in values:
            torch.testing.assert_close(of_parts[name], values[name], rtol=1e-9, atol=1e-11)
    expected, actual = tensors(whole), tensors(cut)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name].double(), value.double(), rtol=1e-8, atol=1e-9)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("cuts", [1, 2])
def test_a_limit_clips_the_gradient_of_the_whole_batch(cuts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the library's clipping of each network's gradients between backward and step."""
    limit = 1e-3
    expected, actual = state_of(), state_of()
    monkeypatch.setattr(StarGANv2, "clip_value", limit)
    iterate(actual, cuts)
    monkeypatch.setattr(StarGANv2, "clip_value", 0.0)
    clipped = []
    for name, optimizer in expected.optimizers.items():
        parameters = list(expected.networks[name].parameters())

        def clip(*_: Any, parameters: Any = parameters) -> None:
            clipped.append(max(float(p.grad.abs().max()) for p in parameters) > limit)
            nn.utils.clip_grad_value_(parameters, limit)

        optimizer.register_step_pre_hook(clip)
    iterate(expected)
    assert any(clipped)
    for name, value in tensors(expected).items():
        torch.testing.assert_close(tensors(actual)[name].double(), value.double(), rtol=1e-8, atol=1e-9)
    free = state_of()
    iterate(free)
    assert differing(tensors(free), tensors(expected))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("cuts", [1, 2])
def test_a_bad_gradient_stops_before_the_update(bad: float, cuts: int) -> None:
    state = state_of()
    iterate(state)
    before = tensors(state)
    each = BATCH // cuts
    parts = [part_of(1, slice(n * each, (n + 1) * each)) for n in range(cuts)]
    parts[-1][0]["source"][0, 0, 3, 3] = bad
    with pytest.raises(NonFiniteError, match=r"step 1, d_latent: .*stopped before the update") as caught:
        run_step(state, LocalWorker(), parts, ema=0.9)
    assert "\n" not in str(caught.value)
    assert differing(before, tensors(state)) == []
    assert state.step == 1


def test_a_bad_gradient_in_a_later_phase_moves_none_of_its_networks() -> None:
    """A network of G's loss alone turns bad: D has moved, G, F, E and the averages have not."""
    state = state_of()
    iterate(state)
    before = tensors(state)
    state.helpers["identity"].linear.bias.data.fill_(float("nan"))  # type: ignore[union-attr]
    state.method = replace(METHOD, conditional_critic=False)
    for name in ("generator", "discriminator"):
        state.networks[name].identity = None
    with pytest.raises(NonFiniteError, match="step 1, g_latent"):
        iterate(state)
    moved = {name.split(".")[0] for name in differing(_shared(before, state), tensors(state))}
    assert moved == {"discriminator"}


def _shared(before: dict[str, Tensor], state: State) -> dict[str, Tensor]:
    return {name: before[name] for name in tensors(state)}


def test_a_marked_update_is_skipped_by_the_optimiser() -> None:
    """What happens on a GPU, where reading the flag would make the device wait: fused Adam looks at it itself."""
    state = state_of()
    iterate(state)
    before = tensors(state)
    phase = state.method.phases()[2]
    for bad, skipped in ((False, False), (True, True), (False, True)):  # once bad, every later update is a no-op
        step_module._mark(state, phase, torch.tensor(bad))
        start = tensors(state)
        for name in phase.updates:
            for parameter in state.networks[name].parameters():
                parameter.grad = torch.full_like(parameter, float("nan") if bad else 1.0)
            state.optimizers[name].step()
        assert (differing(start, tensors(state)) == []) is skipped
        if not bad and not skipped:
            check_marks(state)
    with pytest.raises(NonFiniteError, match="a gradient is not finite"):
        check_marks(state)
    assert all(value.isfinite().all() for value in tensors(state).values())
    assert differing(before, tensors(state)) != []


def test_optimisers_that_cannot_skip_are_refused() -> None:
    state = state_of()
    phase = state.method.phases()[0]
    parameters = list(state.networks["discriminator"].parameters())
    state.optimizers["discriminator"] = torch.optim.Adam(parameters, fused=False)
    with pytest.raises(AssertionError, match="only fused optimisers"):
        step_module._mark(state, phase, torch.tensor(False))


def test_no_marks_no_error() -> None:
    state = state_of()
    iterate(state)
    check_marks(state)


@pytest.mark.usefixtures("double")
def test_averages_are_exponential_moving_averages_of_the_weights() -> None:
    state = state_of()
    names = [f"{n}.{k}" for n, net in state.averaged.items() for k, _ in net.named_parameters()]

    def read(networks: dict[str, nn.Module]) -> dict[str, np.ndarray]:
        own = {f"{n}.{k}": p for n, net in networks.items() for k, p in net.named_parameters()}
        return {name: own[name].detach().numpy().copy() for name in names}

    expected = read(state.networks)  # an average starts as the initialised network
    assert all(np.array_equal(v, expected[n]) for n, v in read(state.averaged).items())
    for _ in range(4):
        iterate(state)
        now = read(state.networks)
        expected = {name: 0.9 * expected[name] + 0.1 * now[name] for name in names}
    for name, value in read(state.averaged).items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-14)
        assert not np.array_equal(value, now[name]) or not value.any()
    assert all(not p.requires_grad for net in state.averaged.values() for p in net.parameters())


def test_statistics_of_batch_norm_are_averaged_with_the_weights_and_counters_are_copied() -> None:
    """Statistics of now beside weights of then make a network that nobody trained."""
    state = state_of(replace(RECIPE, method=ExpressionMethod(width=2, average=True)))
    network, average = state.networks["classifier"], state.averaged["classifier"]
    floats = [n for n, b in network.named_buffers() if b.is_floating_point()]
    assert floats
    expected = {n: dict(network.named_buffers())[n].clone() for n in floats}
    for _ in range(3):
        iterate(state)
        now = dict(network.named_buffers())
        expected = {n: 0.9 * value + 0.1 * now[n] for n, value in expected.items()}
    for name, value in average.named_buffers():
        if name in expected:
            torch.testing.assert_close(value, expected[name])
        else:
            assert value == now[name] == 3


def test_rates_are_set_from_the_step() -> None:
    class Warm(type(METHOD)):  # type: ignore[misc]
        def rate(self, name: str, step: int) -> float:
            return 1e-3 * (step + 1)

    state = state_of(replace(RECIPE, method=Warm(**vars(METHOD))))
    for step in range(2):
        iterate(state)
        rates = {group["lr"] for optimizer in state.optimizers.values() for group in optimizer.param_groups}
        assert rates == {1e-3 * (step + 1)}
    # Adam without momentum moves by the rate: a rate of the first step alone would show
    assert state.step == 2


def test_terms_come_back_detached_and_named_by_phase() -> None:
    values = iterate(state_of())
    assert set(values) == {
        *(f"{phase}/{term}" for phase in ("d_latent", "d_reference") for term in ("real", "fake", "r1")),
        *(f"{phase}/{term}" for phase in ("g_latent", "g_reference") for term in ("adv", "sty", "ds", "cyc", "id")),
    }
    assert not any(value.requires_grad for value in values.values())
