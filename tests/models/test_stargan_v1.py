"""StarGAN v1's and LAUN's networks: published parameter counts, layers in order, codes between domains, masks.

pytest tests/models/test_stargan_v1.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.methods.laun import LAUN
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.models.laun import AttentionGate, AttentionUNet
from stargan_ray.models.stargan_v1 import Discriminator, Generator, with_planes


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def roughen(network: nn.Module) -> None:
    """Random values where initialisation has zeros and ones, so that no term of an equation can hide."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


class Weights:
    """Hands out a network's tensors in the order in which they are held; every one must be used."""

    def __init__(self, network: nn.Module) -> None:
        self.left = [parameter.detach() for parameter in network.parameters()]

    def take(self) -> Tensor:
        return self.left.pop(0)

    def normed(self, x: Tensor, **how: Any) -> Tensor:
        """Convolution, IN, ReLU."""
        x = F.conv2d(x, self.take(), **how)
        return self.norm(x).clamp(min=0)

    def norm(self, x: Tensor) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        scale = torch.sqrt((centred**2).mean((2, 3), keepdim=True) + 1e-5)
        weight, bias = self.take(), self.take()
        return centred / scale * weight[:, None, None] + bias[:, None, None]


def planes(image: Tensor, code: Tensor) -> Tensor:
    high, wide = image.shape[2:]
    return torch.cat([image, code.repeat_interleave(high * wide, 1).view(*code.shape, high, wide)], 1)


def inputs(size: int = 16, domains: int = 5) -> tuple[Tensor, Tensor]:
    return torch.rand(2, 3, size, size) * 2 - 1, torch.rand(2, domains)


# -- StarGAN v1 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("domains", "generator", "critic"), [(7, 8_436_800, 44_778_432), (8, 8_439_936, 44_786_624)])
def test_published_parameter_counts_at_128_px(domains: int, generator: int, critic: int) -> None:
    with torch.device("meta"):
        networks = StarGANv1().networks(128, domains)
    assert {name: count(network) for name, network in networks.items()} == {
        "generator": generator,
        "discriminator": critic,
    }


def test_generator_is_its_layers_in_the_published_order() -> None:
    network = Generator(5, first=4, blocks=2)
    roughen(network)
    image, code = inputs()
    w = Weights(network)
    x = w.normed(planes(image, code), padding=3)
    assert x.shape == (2, 4, 16, 16)
    for shape in ((2, 8, 8, 8), (2, 16, 4, 4)):
        x = w.normed(x, stride=2, padding=1)
        assert x.shape == shape
    for _ in range(2):
        x = x + w.norm(F.conv2d(w.normed(x, padding=1), w.take(), padding=1))
    for shape in ((2, 8, 8, 8), (2, 4, 16, 16)):
        x = w.norm(F.conv_transpose2d(x, w.take(), stride=2, padding=1)).clamp(min=0)
        assert x.shape == shape
    x = torch.tanh(F.conv2d(x, w.take(), padding=3))
    assert not w.left
    torch.testing.assert_close(network(image, code), x, rtol=1e-11, atol=1e-11)


def test_critic_is_its_layers_in_the_published_order() -> None:
    network = Discriminator(32, 5, first=4, largest=8, layers=4)
    roughen(network)
    image, _ = inputs(32)
    w = Weights(network)
    x = image
    for shape in ((2, 4, 16, 16), (2, 8, 8, 8), (2, 8, 4, 4), (2, 8, 2, 2)):
        x = F.conv2d(x, w.take(), w.take(), stride=2, padding=1)
        x = torch.where(x > 0, x, 0.01 * x)
        assert x.shape == shape
    patches, classes = network(image)
    torch.testing.assert_close(patches, F.conv2d(x, w.take(), padding=1)[:, 0], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(classes, torch.einsum("bchw,kchw->bk", x, w.take()), rtol=1e-11, atol=1e-11)
    assert not w.left
    assert (patches.shape, classes.shape) == ((2, 2, 2), (2, 5))


# -- LAUN ------------------------------------------------------------------------------------------------------


def gate(w: Weights, skip: Tensor, deep: Tensor) -> Tensor:
    """x · σ(ψ(ReLU(W_x x + W_g g)))."""
    of_skip, of_gate, bias, psi, psi_bias = (w.take() for _ in range(5))
    hidden = torch.einsum("oc,bchw->bohw", of_skip[:, :, 0, 0], skip)
    hidden = hidden + torch.einsum("oc,bchw->bohw", of_gate[:, :, 0, 0], deep) + bias[:, None, None]
    share = 1 / (1 + torch.exp(-(psi[0] * hidden.clamp(min=0)).sum(1, keepdim=True) - psi_bias))
    return skip * share


def test_the_u_net_is_its_layers_in_order() -> None:
    network = AttentionUNet(5, first=4, depth=3)
    roughen(network)
    image, code = inputs()
    blocks = {name: [Weights(part) for part in getattr(network, name)] for name in ("encode", "up", "gates", "decode")}
    x, skips = planes(image, code), []
    for level, w in enumerate(blocks["encode"]):
        if level:
            x = w.normed(x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5)), padding=1)
        else:
            x = F.conv2d(x, w.take(), w.take(), padding=1).clamp(min=0)
        x = w.normed(x, padding=1)
        assert x.shape == (2, 4 << level, 16 >> level, 16 >> level)
        skips.append(x)
    for level in range(2):
        x = blocks["up"][level].normed(x.repeat_interleave(2, 2).repeat_interleave(2, 3), padding=1)
        x = torch.cat([gate(blocks["gates"][level], skips[1 - level], x), x], 1)
        w = blocks["decode"][level]
        x = w.normed(w.normed(x, padding=1), padding=1)
    assert not any(w.left for part in blocks.values() for w in part)
    x = torch.tanh(
        torch.einsum("oc,bchw->bohw", network.paint.weight[:, :, 0, 0], x) + network.paint.bias[:, None, None]
    )
    torch.testing.assert_close(network(image, code), x, rtol=1e-11, atol=1e-11)


def test_published_widths_of_the_u_net() -> None:
    with torch.device("meta"):
        network = LAUN().networks(128, 8)["generator"]
    assert isinstance(network, AttentionUNet)
    assert [block[-1][0].out_channels for block in network.encode] == [64, 128, 256, 512]  # type: ignore[index,union-attr]
    assert [gate.psi.in_channels for gate in network.gates] == [128, 64, 32]  # type: ignore[union-attr]


def test_a_gate_opens_and_closes_the_skip() -> None:
    layer = AttentionGate(4)
    skip, deep = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    for bias, expected in ((50.0, skip), (-50.0, torch.zeros_like(skip))):
        layer.psi.bias.data.fill_(bias)
        torch.testing.assert_close(layer(skip, deep), expected)
    layer.psi.bias.data.zero_()
    share = layer(skip, deep) / skip
    assert share.std() > 1e-3  # a position is judged by what is there
    torch.testing.assert_close(share, share[:, :1].expand_as(share))  # and by one number for all its channels


# -- what both promise -----------------------------------------------------------------------------------------


BOTH = {
    "stargan-v1": lambda **f: Generator(5, first=4, blocks=1, **f),
    "laun": lambda **f: AttentionUNet(5, first=4, depth=3, **f),
}


@pytest.mark.parametrize("name", BOTH)
def test_labels_are_one_hot_codes_and_codes_in_between_are_taken(name: str) -> None:
    network = BOTH[name]()
    roughen(network)
    image, _ = inputs()
    label = torch.tensor([4, 1])
    code = torch.zeros(2, 5)
    code[0, 4] = code[1, 1] = 1
    assert torch.equal(network(image, label), network(image, code))
    half = network(image, 0.5 * code + 0.1)
    assert (half - network(image, code)).abs().max() > 1e-3


@pytest.mark.parametrize("name", BOTH)
def test_a_mask_copies_where_it_is_closed_and_paints_where_it_is_open(name: str) -> None:
    network = BOTH[name](compose="mask")
    image, code = inputs()
    seen: list[Tensor] = []

    def force(value: float) -> Any:
        def hook(_: nn.Module, __: Any, out: Tensor) -> Tensor:
            seen.append(out)
            return torch.cat([out[:, :3], torch.full_like(out[:, 3:], value)], 1)

        return network.paint.register_forward_hook(hook)

    for value in (-50.0, 50.0):
        handle = force(value)
        out = network(image, code)
        torch.testing.assert_close(out, image if value < 0 else seen[-1][:, :3].tanh())
        handle.remove()


@pytest.mark.parametrize(
    ("method", "size", "least"),
    [
        (StarGANv1(), 96, r"64 \(method\.layers = 6\)"),
        (StarGANv1(), 32, r"64 \(method\.layers = 6\)"),
        (LAUN(layers=3), 8, r"16 \(method\.depth = 4\)"),
        (LAUN(layers=3, cx_layer="conv5_1"), 16, r"32 \(maps of method\.cx_layer = conv5_1"),
    ],
)
def test_a_size_that_the_networks_cannot_halve_is_refused(method: StarGANv1, size: int, least: str) -> None:
    with pytest.raises(InputError, match=rf"data\.size = {size}: allowed are powers of two >= {least}"):
        method.networks(size, 8)


def test_the_u_net_sees_its_label_everywhere_and_not_only_at_the_edge() -> None:
    """A norm after the first convolution would remove what is constant over an image, and so the label planes."""
    network = AttentionUNet(5, first=8, depth=3)
    image = torch.rand(4, 3, 32, 32) * 2 - 1
    first, second = (network.encode[0](with_planes(image, torch.full((4,), k), 5)) for k in (0, 1))
    moved = (first - second).abs().mean((0, 1))
    inside = moved[8:24, 8:24].mean()
    edge = (moved.sum() - moved[2:-2, 2:-2].sum()) / (32**2 - 28**2)
    assert inside > 0.5 * edge  # 0.12 to 0.17 with a norm there
