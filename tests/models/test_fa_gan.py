"""The FA-GAN-style networks: regions and their graph against written-out forms, the two codes, shapes, ablations.

pytest tests/models/test_fa_gan.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stargan_ray.methods.fa_gan import FAGANStyle
from stargan_ray.models.fa_gan import AttributeEncoder, Generator, Prototypes
from stargan_ray.models.regions import FACE_PARTS, RegionGraph, RegionPool, region_edges, region_prior

PARTS = len(FACE_PARTS)
NAMES = ["surround", *FACE_PARTS]
SMALL: dict[str, Any] = {
    "first": 4,
    "largest": 8,
    "bottleneck": 8,
    "depth": 1,
    "identity_dim": 5,
    "coarse_dim": 3,
    "fine_dim": 2,
}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def roughen(network: nn.Module) -> None:
    """Random values where initialisation has zeros, so that no term of an equation can hide."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def graph_of(parts: int = PARTS, side: int = 8) -> RegionGraph:
    graph = RegionGraph(6, 3, parts=parts, side=side)
    roughen(graph)
    return graph


# -- regions ---------------------------------------------------------------------------------------------------


def test_every_part_of_the_face_is_where_it_should_be_and_the_top_and_sides_are_the_surrounds() -> None:
    prior = region_prior(PARTS, 64)
    for number, (x, y) in enumerate(FACE_PARTS.values(), start=1):
        assert prior[:, int(y * 64), int(x * 64)].argmax() == number
    owner = prior.argmax(0)
    for border in (owner[0], owner[:, 0], owner[:, -1]):
        assert (border == 0).all()
    assert set(owner.unique().tolist()) == set(range(PARTS + 1))


def test_a_gaussian_falls_with_the_square_of_the_distance() -> None:
    prior = region_prior(1, 10)
    x, y = FACE_PARTS["mouth"]
    for row, column in ((0, 0), (6, 5), (9, 2)):
        square = ((column + 0.5) / 10 - x) ** 2 + ((row + 0.5) / 10 - y) ** 2
        assert prior[1, row, column].item() == pytest.approx(-square / (2 * 0.08**2), rel=1e-12)
    assert prior[0].unique().tolist() == [-4.5]


def test_edges_join_what_is_close_or_mirrored() -> None:
    edges = region_edges(PARTS)
    assert torch.equal(edges, edges.T)
    assert edges.diagonal().all()
    assert edges[0].all()

    def joined(first: str, second: str) -> bool:
        return bool(edges[NAMES.index(first), NAMES.index(second)])

    assert joined("left eye", "left brow")
    assert joined("mouth", "chin")
    assert joined("left cheek", "right cheek")  # far apart, but two of a kind
    assert joined("left brow", "right brow")
    assert not joined("mouth", "left brow")
    assert not joined("forehead", "chin")
    assert not joined("left eye", "right mouth corner")


def test_the_edges_are_those_of_a_mirrored_face() -> None:
    swap = [NAMES.index(n.replace("left", "?").replace("right", "left").replace("?", "right")) for n in NAMES]
    edges = region_edges(PARTS)
    assert torch.equal(edges[swap][:, swap], edges)


# -- the graph -------------------------------------------------------------------------------------------------


def written_out(graph: RegionGraph, x: Tensor, code: Tensor) -> np.ndarray[Any, Any]:
    """The graph in loops: share out, average, two weighted means over neighbours with their layers, spread, add."""
    attend, bias = graph.attend.weight.detach().numpy()[:, :, 0, 0], graph.attend.bias.detach().numpy()  # type: ignore[union-attr]
    affinity, edges = graph.affinity.detach().numpy(), graph.edges.numpy()
    weight = np.zeros_like(affinity)
    for row in range(len(weight)):
        total = sum(math.exp(affinity[row, other]) for other in np.flatnonzero(edges[row]))
        for other in np.flatnonzero(edges[row]):
            weight[row, other] = math.exp(affinity[row, other]) / total
    layers = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (graph.inner, graph.outer)]
    out = np.empty(x.shape)
    for i, (image, told) in enumerate(zip(x.numpy(), code.numpy(), strict=True)):
        places = image.reshape(image.shape[0], -1)
        logits = graph.prior.numpy().reshape(len(weight), -1) + attend @ places + bias[:, None]
        share = np.exp(logits) / np.exp(logits).sum(0)
        nodes = np.stack([np.append((s * places).sum(1) / s.sum(), told) for s in share])
        nodes = weight @ nodes @ layers[0][0].T + layers[0][1]
        nodes = weight @ np.where(nodes > 0, nodes, 0.2 * nodes) @ layers[1][0].T + layers[1][1]
        out[i] = ((places + nodes.T @ share) / math.sqrt(2)).reshape(image.shape)
    return out


def test_the_graph_equals_its_loops() -> None:
    graph, x, code = graph_of(), torch.randn(2, 6, 8, 8), torch.randn(2, 3)
    same(graph(x, code), torch.from_numpy(written_out(graph, x, code)))


def test_gradients_of_the_graph() -> None:
    graph = graph_of(parts=3, side=4)
    x, code = torch.randn(1, 6, 4, 4, requires_grad=True), torch.randn(1, 3, requires_grad=True)
    assert torch.autograd.gradcheck(graph, (x, code))
    graph(x, code).square().sum().backward()
    for name, parameter in graph.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
    # where there is no edge there is nothing to learn
    assert (graph.affinity.grad[~graph.edges] == 0).all()  # type: ignore[index]


def test_shares_of_a_place_and_weights_of_a_region_sum_to_one() -> None:
    graph = graph_of()
    shares, weight = graph.shares(torch.randn(2, 6, 8, 8)), graph.adjacency()
    same(shares.sum(1), torch.ones(2, 64))
    same(weight.sum(1), torch.ones(PARTS + 1))
    assert (shares > 0).all()
    assert ((weight > 0) == graph.edges).all()


def test_training_starts_from_the_places_of_an_aligned_face() -> None:
    generator = FAGANStyle(**SMALL).networks(16, 3)["generator"]
    assert isinstance(generator, Generator)
    graph = generator.graph
    assert graph is not None
    shares = graph.shares(torch.randn(1, 8, 8, 8))
    same(shares[0].view(-1, 8, 8), region_prior(PARTS, 8).softmax(0))
    counts = graph.edges.sum(1, keepdim=True)
    same(graph.adjacency(), graph.edges / counts)


def test_the_order_of_the_regions_means_nothing() -> None:
    """The same regions under other numbers, with their edges: the same map."""
    graph, other = graph_of(), graph_of()
    order = torch.randperm(PARTS + 1)
    other.load_state_dict(graph.state_dict())
    with torch.no_grad():
        other.attend.weight.copy_(graph.attend.weight[order])
        other.attend.bias.copy_(graph.attend.bias[order])  # type: ignore[union-attr, index]
        other.affinity.copy_(graph.affinity[order][:, order])
    other.prior, other.edges = graph.prior[order], graph.edges[order][:, order]
    x, code = torch.randn(2, 6, 8, 8), torch.randn(2, 3)
    same(other(x, code), graph(x, code))
    other.affinity.data = graph.affinity.data  # with edges of others' weights it is another graph
    assert not torch.allclose(other(x, code), graph(x, code))


def test_one_convolution_carries_a_change_to_the_neighbours_and_no_further() -> None:
    graph = graph_of()
    nodes = torch.randn(PARTS + 1, 6)
    for region in range(PARTS + 1):
        changed = nodes.clone()
        changed[region] += 1
        moved = (graph.adjacency() @ (changed - nodes)).abs().amax(1) > 0
        assert torch.equal(moved, graph.edges[:, region])
    eye, mouth = NAMES.index("left eye"), NAMES.index("mouth")
    weight = graph.adjacency()
    assert weight[mouth, eye] == 0
    assert (weight @ weight)[mouth, eye] > 0  # the second reaches the neighbours' neighbours


def test_a_pool_is_the_weighted_mean_of_each_region() -> None:
    x = torch.randn(2, 3, 8, 8)
    share = region_prior(PARTS, 8).softmax(0)
    expected = [[(x[i] * s).sum((1, 2)) / s.sum() for s in share] for i in range(2)]
    same(RegionPool(PARTS, 8)(x), torch.stack([torch.cat(rows) for rows in expected]))
    same(RegionPool(0, 8)(x), x.mean((2, 3)))  # no parts: the whole face


# -- the networks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bottleneck", [4, 8])
@pytest.mark.parametrize("compose", ["image", "mask"])
@pytest.mark.parametrize("parts", [0, 5, 12])
@pytest.mark.parametrize("latent_dim", [0, 2])
def test_shapes(bottleneck: int, compose: Any, parts: int, latent_dim: int) -> None:
    fields = {**SMALL, "bottleneck": bottleneck, "compose": compose, "parts": parts, "latent_dim": latent_dim}
    networks = FAGANStyle(**fields).networks(32, 3)
    image, label = torch.randn(2, 3, 32, 32), torch.tensor([0, 2])
    identity, person = networks["identity_encoder"](image)
    assert identity.shape == (2, 8, bottleneck, bottleneck)
    assert person.shape == (2, 5)
    same(person.norm(dim=1), torch.ones(2))
    assert networks["attribute_encoder"](image, label).shape == (2, 5)
    code = networks["prototypes"](torch.randn(2, latent_dim), label)
    assert code.shape == (2, 5)
    assert networks["generator"](identity, code, image).shape == image.shape
    assert networks["discriminator"](image).shape == (2, 3)


def test_the_coarse_code_is_of_the_whole_face_and_the_fine_one_of_its_regions() -> None:
    """A change in the last, deepest layer reaches the coarse part alone."""
    network = FAGANStyle(**SMALL).networks(32, 3)["attribute_encoder"]
    assert isinstance(network, AttributeEncoder)
    image, label = torch.randn(2, 3, 32, 32), torch.tensor([0, 2])
    before = network(image, label)
    with torch.no_grad():
        network.last.weight.add_(1.0)
    after = network(image, label)
    assert (after[:, :3] != before[:, :3]).all()
    assert torch.equal(after[:, 3:], before[:, 3:])
    assert not torch.allclose(network(image, label.flip(0)), after)  # what, and not only how


def test_a_fine_code_leaves_the_bottleneck_alone() -> None:
    """Coarse to fine: the middle of the generator hears the coarse code only."""
    network = Generator(
        32, bottleneck=8, first=4, largest=8, depth=1, parts=0, coarse_dim=3, fine_dim=2, compose="image"
    )
    middle: list[Tensor] = []
    network.middle[0].register_forward_hook(lambda _, __, out: middle.append(out))
    identity, code, image = torch.randn(1, 8, 8, 8), torch.randn(1, 5), torch.randn(1, 3, 32, 32)
    outs = [network(identity, code + move, image) for move in (0, torch.tensor([0, 0, 0, 0, 1]), torch.eye(5)[:1])]
    assert torch.equal(middle[0], middle[1])
    assert not torch.allclose(middle[0], middle[2])
    assert not torch.allclose(outs[0], outs[1])


def test_a_prototype_is_a_gaussian_a_domain() -> None:
    network = Prototypes(3, code_dim=4, latent_dim=2)
    roughen(network)
    latent, label = torch.randn(5, 2), torch.tensor([0, 2, 1, 2, 0])
    assert network.spread is not None
    rows = [
        network.mean[y] + network.spread.weight[y] @ z + network.spread.bias[y]
        for z, y in zip(latent, label, strict=True)
    ]
    same(network(latent, label), torch.stack(rows))
    plain = Prototypes(3, code_dim=4, latent_dim=0)
    same(plain(torch.empty(5, 0), label), plain.mean[label])
    assert torch.pdist(plain.mean).min() > 0.1


def test_a_mask_copies_where_it_is_closed_and_paints_where_it_is_open() -> None:
    network = FAGANStyle(**SMALL, compose="mask").networks(32, 3)["generator"]
    assert isinstance(network, Generator)
    identity, code, image = torch.randn(1, 8, 8, 8), torch.randn(1, 5), torch.rand(1, 3, 32, 32) * 2 - 1
    bias: Tensor = network.paint.bias.detach()  # type: ignore[union-attr]
    bias[3] = -60.0
    same(network(identity, code, image), image)
    bias[3] = 60.0
    painted = network(identity, code, image)
    assert not torch.allclose(painted, image, atol=0.1)
    same(network(identity, code, torch.zeros_like(image)), painted)
    assert painted.abs().max() <= 1
