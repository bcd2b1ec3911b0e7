"""The four networks: published parameter counts, blocks against their literal form, identity inputs, shapes.

pytest tests/models/test_stargan_v2.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.models.blocks import AdaIN, AdaINBlock, DomainLinear, ResidualBlock, he_init
from stargan_ray.models.stargan_v2 import Discriminator, Generator, MappingNetwork, StyleEncoder, stage_widths


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


def same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


# -- the literal textbook forms --------------------------------------------------------------------------------


def instance_norm(x: Tensor, weight: Tensor | float = 1.0, bias: Tensor | float = 0.0) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((2, 3), keepdim=True)
    shaped = [v[None, :, None, None] if isinstance(v, Tensor) else v for v in (weight, bias)]
    return (x - mean) / torch.sqrt(variance + 1e-5) * shaped[0] + shaped[1]


def act(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def pool(x: Tensor) -> Tensor:
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def upsample(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def residual(block: ResidualBlock, x: Tensor) -> Tensor:
    """Norm, act, conv, pool, norm, act, conv; shortcut: 1×1, then pool."""

    def norm(layer: Any, x: Tensor) -> Tensor:
        return x if isinstance(layer, nn.Identity) else instance_norm(x, layer.weight, layer.bias)

    def half(x: Tensor) -> Tensor:
        return pool(x) if block.downsample else x

    short = half(x if isinstance(block.shortcut, nn.Identity) else conv(block.shortcut, x))
    x = half(conv(block.conv1, act(norm(block.norm1, x))))
    return (short + conv(block.conv2, act(norm(block.norm2, x)))) / math.sqrt(2)


def adain(layer: AdaIN, x: Tensor, style: Tensor) -> Tensor:
    both = style @ layer.affine.weight.T + layer.affine.bias
    channels = x.shape[1]
    gamma, beta = both[:, :channels, None, None], both[:, channels:, None, None]
    return (1 + gamma) * instance_norm(x) + beta


def styled(block: AdaINBlock, x: Tensor, style: Tensor) -> Tensor:
    """AdaIN, act, up-sample, conv, AdaIN, act, conv; shortcut: up-sample, then 1×1."""

    def twice(x: Tensor) -> Tensor:
        return upsample(x) if block.upsample else x

    short = twice(x)
    if not isinstance(block.shortcut, nn.Identity):
        short = conv(block.shortcut, short)
    x = conv(block.conv1, twice(act(adain(block.norm1, x, style))))
    return (short + conv(block.conv2, act(adain(block.norm2, x, style)))) / math.sqrt(2)


# -- blocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("downsample", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("n_out", [5, 8])
def test_residual_block(n_out: int, normalize: bool, downsample: bool) -> None:
    block = ResidualBlock(5, n_out, normalize=normalize, downsample=downsample)
    roughen(block)
    x = torch.randn(2, 5, 8, 12)
    same(block(x), residual(block, x))
    assert (block.shortcut.bias is None) if n_out != 5 else isinstance(block.shortcut, nn.Identity)


@pytest.mark.parametrize("upsampled", [False, True])
@pytest.mark.parametrize("n_out", [6, 3])
def test_adain_block(n_out: int, upsampled: bool) -> None:
    block = AdaINBlock(6, n_out, 4, upsample=upsampled)
    roughen(block)
    x, style = torch.randn(2, 6, 4, 8), torch.randn(2, 4)
    same(block(x, style), styled(block, x, style))


def test_each_row_passes_its_own_domains_layer() -> None:
    layer = DomainLinear(3, 5, 4)
    roughen(layer)
    x, label = torch.randn(6, 5), torch.tensor([2, 0, 1, 1, 2, 0])
    rows = [layer.weight[k] @ row + layer.bias[k] for row, k in zip(x, label, strict=True)]
    same(layer(x, label), torch.stack(rows))


def test_initialisation_is_he_normal_with_zero_bias() -> None:
    network = nn.Sequential(nn.Conv2d(64, 128, 3), nn.Linear(400, 300))
    he_init(network)
    layers = [(network[0], 64 * 9), (network[1], 400)]
    domains = DomainLinear(4, 256, 128)
    for layer, fan in [*layers, (domains, 256)]:
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.02 * math.sqrt(2 / fan))
        assert not layer.bias.any()


# -- whole networks --------------------------------------------------------------------------------------------


def test_published_parameter_counts_at_256_px() -> None:
    with torch.device("meta"):
        networks = StarGANv2().networks(256, 8)
    counts = {name: count(network) for name, network in networks.items()}
    assert counts == {
        "generator": 33_892_995,
        "mapping": 7_363_072,
        "style_encoder": 21_113_920,
        "discriminator": 20_855_368,
    }


def test_identity_inputs_add_one_projection_each() -> None:
    with torch.device("meta"):
        networks = StarGANv2Identity(identity_dim=256).networks(256, 8)
        blind = StarGANv2Identity(identity_dim=256, conditional_critic=False).networks(256, 8)
    assert count(networks["generator"]) == 33_892_995 + 256 * 64 * 16  # a 4×4 map of the stem's 64 channels
    assert count(networks["discriminator"]) == 20_855_368 + 256 * 512
    assert count(blind["discriminator"]) == 20_855_368


def test_other_places_of_the_identity_cost_their_projection_and_what_reads_it() -> None:
    with torch.device("meta"):
        counts = {
            place: count(StarGANv2Identity(inject=place).networks(256, 8)["generator"])
            for place in ("channels", "style", "none")
        }
    assert counts["none"] == 33_892_995
    assert counts["channels"] == 33_892_995 + 256 * 8 * 16 + 64 * 8 * 9  # eight more planes into the stem
    affine = 2 * 64 * (4 * 512 + (512 + 512) + (512 + 256) + (256 + 128) + (128 + 64))
    assert counts["style"] == 33_892_995 + 256 * 64 + affine  # every AdaIN reads 64 more numbers


def test_published_widths() -> None:
    assert stage_widths(256, 16, 64, 512) == [64, 128, 256, 512, 512]
    assert stage_widths(256, 4, 64, 512) == [64, 128, 256, 512, 512, 512, 512]
    assert stage_widths(64, 16, 256, 512) == [256, 512, 512]


def test_generator_is_its_layers_in_the_published_order() -> None:
    network = Generator(32, first=4, largest=8, bottleneck=8, depth=2, style_dim=3)
    roughen(network)
    image, style = torch.randn(2, 3, 32, 32), torch.randn(2, 3)
    x = conv(network.stem, image)
    shapes = []
    for block in network.encode:
        x = residual(block, x)
        shapes.append(tuple(x.shape[1:]))
    for block in network.decode:
        x = styled(block, x, style)
        shapes.append(tuple(x.shape[1:]))
    x = conv(network.paint, act(instance_norm(x, network.norm.weight, network.norm.bias)))
    down, deep = [(8, 16, 16), (8, 8, 8)], 4 * [(8, 8, 8)]
    assert shapes == [*down, *deep, (8, 16, 16), (4, 32, 32)]
    torch.testing.assert_close(network(image, style), x, rtol=1e-11, atol=1e-11)


def test_critics_are_their_layers_in_the_published_order() -> None:
    critic = Discriminator(32, 5, first=4, largest=8)
    encoder = StyleEncoder(32, 5, first=4, largest=8, style_dim=3)
    image, label = torch.randn(2, 3, 32, 32), torch.tensor([4, 1])

    def features(network: Any) -> Tensor:
        x = conv(network.stem, image)
        for block in network.blocks:
            x = residual(block, x)
        assert tuple(x.shape) == (2, 8, 4, 4)
        rows = torch.einsum("bchw,ochw->bo", act(x), network.last.weight) + network.last.bias
        return act(rows)

    for network in (critic, encoder):
        roughen(network)
    same(critic(image), features(critic) @ critic.head.weight.T + critic.head.bias)
    style = torch.einsum("boi,bi->bo", encoder.head.weight[label], features(encoder)) + encoder.head.bias[label]
    same(encoder(image, label), style)


def test_mapping_network_is_four_shared_and_four_own_layers() -> None:
    network = MappingNetwork(3, latent_dim=4, style_dim=5, hidden=6)
    roughen(network)
    latent, label = torch.randn(4, 4), torch.tensor([0, 2, 1, 2])
    styles = []
    for row, k in zip(latent, label, strict=True):
        x = row
        for layer in network.shared:
            x = (layer.weight @ x + layer.bias).clamp(min=0)
        for branch in network.branch:
            x = (branch.weight[k] @ x + branch.bias[k]).clamp(min=0)
        styles.append(network.out.weight[k] @ x + network.out.bias[k])
    assert len(network.shared) == 4
    assert len(network.branch) == 3
    same(network(latent, label), torch.stack(styles))


def test_fresh_identity_inputs_change_nothing_and_can_learn() -> None:
    """With their zeros G and D are the plain networks, whoever the person; the gradient of the zeros is not zero."""
    image, style, person = torch.randn(2, 3, 32, 32), torch.randn(2, 3), torch.randn(2, 7)
    pairs = (
        [(Generator(32, first=4, largest=8, style_dim=3, embedding_dim=n), (image, style)) for n in (7, 0)],
        [
            (Generator(32, first=4, largest=8, style_dim=3, embedding_dim=n, inject="channels"), (image, style))
            for n in (7, 0)
        ],
        [
            (Generator(32, first=4, largest=8, style_dim=3, embedding_dim=n, inject="style"), (image, style))
            for n in (7, 0)
        ],
        [(Discriminator(32, 2, first=4, largest=8, embedding_dim=n), (image,)) for n in (7, 0)],
    )
    for (aware, inputs), (plain, _) in pairs:
        own = plain.state_dict()  # what reads the identity has it behind its other inputs
        taken = {n: t[:, : own[n].shape[1]] if t.ndim > 1 else t for n, t in aware.state_dict().items() if n in own}
        plain.load_state_dict(taken)
        out = aware(*inputs, person)
        torch.testing.assert_close(out, plain(*inputs), rtol=0, atol=2e-5)
        out.square().sum().backward()
        # Well above rounding: a constant over the image, which the instance norms remove, has a gradient of 1e-13.
        assert aware.identity.weight.grad.abs().max() > 1e-3
        with torch.no_grad():
            aware.identity.weight.normal_()
        assert (aware(*inputs, person) - aware(*inputs, person.flip(0))).abs().max() > 1e-2


def test_identity_enters_g_at_the_stem_and_d_as_a_projection() -> None:
    image, style, person = torch.randn(2, 3, 32, 32), torch.randn(2, 3), torch.randn(2, 7)
    critic = Discriminator(32, 5, first=4, largest=8, embedding_dim=7)
    roughen(critic)
    features = critic.features(image)
    plain = features @ critic.head.weight.T + critic.head.bias
    term = ((person @ critic.identity.weight.T) * features).sum(1) / math.sqrt(8)
    same(critic(image, person), plain + term[:, None])

    generator = Generator(32, first=4, largest=8, style_dim=3, embedding_dim=7)
    roughen(generator)
    stem: list[Tensor] = []
    hook = generator.encode[0].register_forward_pre_hook(lambda _, inputs: stem.append(inputs[0]))
    generator(image, style, person)
    hook.remove()
    added = (person @ generator.identity.weight.T).view(2, 4, 4, 4)
    same(stem[0], conv(generator.stem, image) + added.repeat_interleave(8, 2).repeat_interleave(8, 3))


@pytest.mark.parametrize("compose", ["image", "mask"])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_shapes_with_patch_and_mask(patch: int, compose: Any) -> None:
    method = StarGANv2(first=4, largest=8, bottleneck=4, depth=1, style_dim=3, latent_dim=2, mapping_hidden=4)
    networks = StarGANv2(**{**vars(method), "patch": patch, "compose": compose}).networks(32, 3)
    image, label = torch.randn(2, 3, 32, 32), torch.tensor([0, 2])
    style = networks["mapping"](torch.randn(2, 2), label)
    assert style.shape == (2, 3)
    assert networks["style_encoder"](image, label).shape == (2, 3)
    assert networks["generator"](image, style).shape == image.shape
    assert networks["discriminator"](image).shape == (2, 3)


@pytest.mark.parametrize("patch", [1, 2])
def test_a_mask_copies_where_it_is_closed_and_paints_where_it_is_open(patch: int) -> None:
    network = Generator(32, first=4, largest=8, bottleneck=8, style_dim=3, compose="mask", patch=patch)
    image, style = torch.rand(1, 3, 32, 32) * 2 - 1, torch.randn(1, 3)
    masks = network.paint.bias.detach().view(4, patch**2)[3]  # pixel_shuffle keeps a channel's p² together
    for value, bound in ((-50.0, image), (50.0, None)):
        masks.fill_(value)
        out = network(image, style)
        if bound is not None:
            same(out, bound)
        assert out.abs().max() <= 1
    assert not torch.allclose(out, image, atol=0.1)


@pytest.mark.parametrize("size", [48, 16, 31])
def test_a_size_that_the_networks_cannot_halve_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=rf"data\.size = {size}: allowed are powers of two >= 32"):
        StarGANv2().networks(size, 8)
