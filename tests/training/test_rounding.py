"""bf16 on processors without it: the numbers of a matrix unit, forwards and backwards, where precision says bf16.

pytest tests/training/test_rounding.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import state_of
from test_step import part_of
from torch import Tensor, nn

from stargan_ray.training import rounding
from stargan_ray.training.rounding import RoundedProducts, rounded
from stargan_ray.training.step import run_step
from stargan_ray.training.worker import LocalWorker

LAYERS = {
    "convolution": (nn.Conv2d(5, 7, 3, padding=1), (3, 5, 8, 8)),
    "linear": (nn.Linear(9, 4), (6, 9)),
    "linear without bias": (nn.Linear(9, 4, bias=False), (2, 6, 9)),
}


def passes(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Result and gradients under autocast."""
    image = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(image)
    return [result, *torch.autograd.grad(result.float().square().sum(), [image, *layer.parameters()])]


@pytest.mark.parametrize("name", LAYERS)
def test_results_are_those_of_exact_sums_rounded_once(name: str) -> None:
    """The reference multiplies and adds the same bf16 numbers in fp64; a sum may be rounded to the next bf16 number."""
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = torch.randn(shape)
    with RoundedProducts():
        result, by_x, *_ = passes(layer, x)
    exact = {key: value.bfloat16().double() for key, value in layer.state_dict().items()}
    wide = torch.func.functional_call(layer.double(), exact, (x.bfloat16().double(),))
    layer.float()
    assert result.dtype == torch.bfloat16
    assert by_x.dtype == torch.float32  # as autocast hands it back
    step = torch.finfo(torch.bfloat16).eps
    assert ((result.double() - wide).abs() <= 0.51 * step * wide.abs() + 1e-6).all()
    assert (result.double() != layer(x).double()).any()  # it is not fp32


@pytest.mark.parametrize("name", LAYERS)
def test_they_agree_with_torchs_own(name: str) -> None:
    """Which adds in another order: within a few steps of bf16 of the largest number."""
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = torch.randn(shape)
    own = passes(layer, x)
    with RoundedProducts():
        ours = passes(layer, x)
    for mine, theirs in zip(ours, own, strict=True):
        assert mine.dtype == theirs.dtype
        assert (mine - theirs).abs().max() <= 0.02 * theirs.abs().max()


def test_it_is_entered_for_bf16_on_such_a_processor_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for device, bf16, supported, wanted in (
        ("cpu", True, False, True),
        ("cpu", True, True, False),
        ("cpu", False, False, False),
        ("cuda", True, False, False),
    ):
        monkeypatch.setattr(rounding, "has_bf16", lambda supported=supported: supported)
        assert isinstance(rounded(torch.device(device), bf16), RoundedProducts) is wanted


def test_an_iteration_in_bf16_goes_through_it_and_stays_near_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "has_bf16", lambda: False)
    seen: list[torch.dtype] = []
    plain = RoundedProducts.__torch_dispatch__

    def watched(self: RoundedProducts, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            seen.append(args[0].dtype)
        return plain(self, func, types, args, kwargs)

    monkeypatch.setattr(RoundedProducts, "__torch_dispatch__", watched)
    values = []
    for bf16 in (False, True):
        state = state_of()
        values.append(run_step(state, LocalWorker(), [part_of(0)], ema=0.9, bf16=bf16))
        assert bool(seen) is bf16
    assert {torch.bfloat16, torch.float32} == set(seen)  # R1's passes are in fp32
    for name, value in values[0].items():
        assert values[1][name] == pytest.approx(float(value), rel=0.05, abs=0.02), name
