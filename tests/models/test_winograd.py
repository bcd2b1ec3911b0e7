"""Winograd's convolutions: torch's own with their derivatives in fp64, their rounding in fp32, and whole iterations.

pytest tests/models/test_winograd.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.models import winograd, winograd_layer
from stargan_ray.models.blocks import AdaINBlock, ResidualBlock
from stargan_ray.models.conv import CriticConv2d
from stargan_ray.models.winograd import Form
from stargan_ray.models.winograd_layer import WinogradConv2d, WinogradCriticConv2d, with_winograd
from stargan_ray.schedules import LinearDecay
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import LocalWorker

Convolution = Callable[[Tensor, Tensor, Tensor | None], Tensor]
SIZES = [(2, 3, 8, 8), (1, 2, 2, 2), (9, 3, 4, 4), (3, 4, 6, 10), (2, 3, 64, 40), (3, 4, 7, 5)]
PLAIN: dict[Form, Convolution] = {
    Form(): lambda x, w, b: F.conv2d(x, w, b, padding=1),
    Form(double=True): lambda x, w, b: F.conv2d(F.interpolate(x, scale_factor=2), w, b, padding=1),
    Form(add=True, scale=1 / 4): lambda x, w, b: F.avg_pool2d(F.conv2d(x, w, b, padding=1), 2),
    Form(turned=True): lambda x, w, b: F.conv_transpose2d(x, w, b, padding=1),
}


def ours(form: Form) -> Convolution:
    apply: Callable[..., Tensor] = winograd_layer._Convolution.apply
    return lambda x, w, b: apply(x, w, b, form, False)


def derivatives(convolution: Convolution, shape: tuple[int, ...], n_out: int, turned: bool) -> list[Tensor]:
    """The result, its gradients, and those of a penalty on the gradients by the image and by the weights."""
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    channels = (shape[1], n_out) if turned else (n_out, shape[1])
    weight = torch.randn(*channels, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(n_out, dtype=torch.float64, requires_grad=True)
    result = convolution(x, weight, bias)
    first = torch.autograd.grad(result.sin().sum(), (x, weight, bias), create_graph=True)
    penalty: Any = sum(each.square().sum() for each in first) + result.square().sum()
    return [result, *first, *torch.autograd.grad(penalty, (x, weight, bias))]


@pytest.fixture(params=[1, 128])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many blocks as there are rows of tiles, and as few as there can be."""
    monkeypatch.setattr(winograd, "_TILES", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("form", PLAIN)
def test_results_and_derivatives_are_those_of_torch(form: Form, shape: tuple[int, ...]) -> None:
    """Of sides of whole tiles and others; halved, as everywhere, only where sides are even."""
    if form.add:
        shape = (*shape[:2], shape[2] + shape[2] % 2, shape[3] + shape[3] % 2)
    expected, found = (derivatives(each, shape, 5, form.turned) for each in (PLAIN[form], ours(form)))
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).abs().max() <= 1e-12 * theirs.abs().max()


def test_in_fp32_it_is_nearly_as_exact_as_torch() -> None:
    """Of 512 channels, forwards and by the weights: within four times of torch's own rounding, or 5e-6."""
    torch.manual_seed(0)
    x, weight, grad = torch.randn(4, 512, 16, 16), torch.randn(512, 512, 3, 3) / 68, torch.randn(4, 512, 16, 16)

    def error(convolution: Convolution) -> list[float]:
        def values(dtype: torch.dtype, chosen: Convolution) -> list[Tensor]:
            image, kernel = x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()
            result = chosen(image, kernel, None)
            return [result.detach(), *torch.autograd.grad(result, (image, kernel), grad.to(dtype))]

        exact = values(torch.float64, PLAIN[Form()])
        return [
            float((a - b).norm() / b.norm()) for a, b in zip(values(torch.float32, convolution), exact, strict=True)
        ]

    for mine, theirs in zip(error(ours(Form())), error(PLAIN[Form()]), strict=True):
        assert mine < max(4 * theirs, 5e-6)


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow layers and small maps too."""
    monkeypatch.setattr(winograd_layer, "_CHANNELS", 1)
    monkeypatch.setattr(winograd_layer, "_TILES", 1)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def count(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Form]:
    """The forms that ``convolve`` or ``by_weight`` is called with from now on."""
    seen: list[Form] = []
    plain: Callable[..., Tensor] = getattr(winograd_layer, name)

    def watched(*values: Any) -> Tensor:
        seen.append(values[-1])
        return plain(*values)

    monkeypatch.setattr(winograd_layer, name, watched)
    return seen


@pytest.mark.usefixtures("everywhere", "double")
def test_an_iteration_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """StarGAN v2 with R1, two iterations in fp64: every weight and average."""
    method = StarGANv2(
        first=6, largest=8, bottleneck=8, depth=1, style_dim=4, latent_dim=3, mapping_hidden=6,
        lambda_ds=LinearDecay(1.0, 40),
    )  # fmt: skip
    method = replace(method, first_critic=6)
    called = count(monkeypatch, "convolve")

    def trained(prepare: Callable[[nn.Module], nn.Module]) -> dict[str, Tensor]:
        torch.manual_seed(0)
        networks = {name: prepare(net) for name, net in method.networks(16, 8).items()}
        averaged = {name: copy.deepcopy(networks[name]).requires_grad_(False) for name in method.averaged}
        optimizers = {name: method.optimizer(name, list(net.parameters())) for name, net in networks.items()}
        state = State(method, networks, networks, {}, averaged, optimizers)
        batch = {name: torch.rand(4, 3, 16, 16) * 2 - 1 for name in ("source", "reference", "reference2")}
        batch |= {name: torch.randint(8, (4,)) for name in ("source_label", "target_label")}
        for _ in range(2):
            run_step(state, LocalWorker(), [(batch, lambda _, width: torch.randn(4, width))], ema=0.9)
        return {f"{name}.{key}": v for name, net in networks.items() for key, v in net.state_dict().items()} | {
            f"average.{name}.{key}": v for name, net in averaged.items() for key, v in net.state_dict().items()
        }

    expected = trained(lambda network: network)
    assert not called
    found = trained(with_winograd)
    assert {(form.double, form.add) for form in called} == {(False, False), (True, False), (False, True)}
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-7, atol=1e-7, msg=name)


@pytest.mark.usefixtures("everywhere")
def test_parameters_and_their_names_stay() -> None:
    block = ResidualBlock(6, 8, downsample=True, conv=CriticConv2d)
    before, random = dict(block.named_parameters()), torch.get_rng_state()
    after = dict(with_winograd(block).named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is before[name] for name in before)
    assert isinstance(block.conv1, WinogradCriticConv2d)
    assert type(block.shortcut) is CriticConv2d  # of 1 × 1
    assert torch.equal(torch.get_rng_state(), random)
    copied = copy.deepcopy(block)
    image = torch.randn(2, 6, 8, 8)
    assert torch.equal(copied(image), block(image))


def test_what_would_not_gain_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few channels, few tiles, tiles that stand over, another number type: torch's own convolution."""
    layers = nn.Sequential(nn.Conv2d(127, 128, 3, padding=1), nn.Conv2d(128, 128, 3, padding=1))
    layers.append(nn.Conv2d(128, 128, 3, padding=1, stride=2)).append(nn.Conv2d(128, 128, 3))
    layers.append(nn.Conv2d(128, 128, 3, padding=1, groups=2))
    with_winograd(layers)
    assert [type(layer) for layer in layers] == [nn.Conv2d, WinogradConv2d, *3 * [nn.Conv2d]]
    called = count(monkeypatch, "convolve")
    layer = layers[1]
    for image in (torch.randn(8, 128, 8, 8), torch.randn(64, 128, 5, 4)):
        layer(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(64, 128, 4, 4)).dtype == torch.bfloat16
    assert not called
    layer(torch.randn(64, 128, 4, 4))
    assert called


@pytest.mark.usefixtures("everywhere")
def test_a_penalty_takes_no_gradient_by_weights_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """R1's first derivative is by the image alone; what D's weights get of it comes with the second."""
    critic = with_winograd(nn.Sequential(CriticConv2d(3, 4, 3, padding=1)))
    plain = with_winograd(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)))
    called = count(monkeypatch, "by_weight")
    for network, times in ((critic, 0), (plain, 1)):
        called.clear()
        image = torch.randn(2, 3, 8, 8, requires_grad=True)
        (grad,) = torch.autograd.grad(network(image).sin().sum(), image, create_graph=True)
        assert len(called) == times
        grad.square().sum().backward()
        assert len(called) == times + 2


@pytest.mark.usefixtures("everywhere")
def test_memory_of_an_evaluation_serves_a_training() -> None:
    """It is kept from call to call; taken inside ``inference_mode`` it must be of use outside."""
    winograd._KEPT.__dict__.clear()
    block = with_winograd(AdaINBlock(4, 5, 3, upsample=True))
    image, style = torch.randn(2, 4, 8, 8), torch.randn(2, 3)
    with torch.inference_mode():
        expected = block(image, style).clone()
    found = block(image, style)
    found.sum().backward()
    torch.testing.assert_close(found, expected)
