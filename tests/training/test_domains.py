"""A start from a network of more, fewer or other domains: what both know is taken by name, the rest is fresh and told.

pytest tests/training/test_domains.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small import TRANSLATORS
from torch import nn

from stargan_ray.methods.base import Target
from stargan_ray.models.blocks import DomainLinear
from stargan_ray.training.domains import Entries, domain_axes
from stargan_ray.training.weights import load_matching

OLD = ("neutral", "happiness", "sadness")
NEW = ("sadness", "contempt", "neutral", "anger")


def saved(network: nn.Module, folder: Path) -> Path:
    path = folder / "network.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


def test_entries_are_taken_by_name(tmp_path: Path) -> None:
    before, now = DomainLinear(3, 5, 4), DomainLinear(4, 5, 4)
    fresh = now.weight.detach().clone()
    taken, left = load_matching(now, saved(before, tmp_path), OLD, NEW)
    assert taken == ["bias", "weight"]
    assert left == ["bias[anger]", "bias[contempt]", "weight[anger]", "weight[contempt]"]
    assert torch.equal(now.weight[0], before.weight[2])  # sadness
    assert torch.equal(now.weight[2], before.weight[0])  # neutral
    assert torch.equal(now.weight[[1, 3]], fresh[[1, 3]])


def test_entries_in_the_middle_of_an_axis_keep_what_lies_around_them() -> None:
    """A convolution over image planes, label planes and something behind them."""
    theirs = torch.arange(7.0).view(1, 7).repeat(2, 1)  # 3 planes, 3 domains, 1 behind
    mine = -torch.arange(1.0, 9.0).view(1, 8).repeat(2, 1)
    entries = Entries(1, 3, OLD, NEW)
    assert entries.fit(theirs, mine)
    assert entries.merged(theirs, mine)[0].tolist() == [0, 1, 2, 5, -5, 3, -7, 6]
    assert not entries.fit(theirs[:, :-1], mine)
    assert entries.unknown == ("contempt", "anger")


def test_the_same_number_in_another_order_is_sorted_by_name(tmp_path: Path) -> None:
    before, now = DomainLinear(2, 3, 3), DomainLinear(2, 3, 3)
    _, left = load_matching(now, saved(before, tmp_path), ("a", "b"), ("b", "a"))
    assert left == []
    assert torch.equal(now.weight, before.weight.flip(0))


def test_a_tensor_that_differs_otherwise_stays_fresh(tmp_path: Path) -> None:
    before, now = DomainLinear(3, 5, 4), DomainLinear(4, 6, 4)
    taken, left = load_matching(now, saved(before, tmp_path), OLD, NEW)
    assert taken == ["bias"]
    assert "weight" in left


@pytest.mark.parametrize("name", sorted(TRANSLATORS))
@torch.no_grad()
def test_a_translator_with_one_more_domain_does_the_old_ones_as_before(name: str, tmp_path: Path) -> None:
    """Every tensor that depends on the domains is declared: nothing stays fresh but the new domain's entries."""
    method = TRANSLATORS[name]
    torch.manual_seed(0)
    before, now = method.networks(32, 3), method.networks(32, 4)
    more = ("contempt", *OLD)
    for n, network in now.items():
        _, left = load_matching(network, saved(before[n], tmp_path), OLD, more)
        assert all(entry.endswith("[contempt]") for entry in left), (n, left)
        assert bool(left) is bool(domain_axes(network))
        network.eval()
        before[n].eval()
    assert any(domain_axes(network) for network in now.values())
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    latent = torch.randn(2, method.latent_dim)  # type: ignore[union-attr]
    identity = {"identity": lambda x: torch.ones(len(x), 5) / 5**0.5}
    label = torch.tensor([1, 2])

    def out(networks: dict[str, nn.Module], shift: int) -> torch.Tensor:
        translated: torch.Tensor = method.translate(  # type: ignore[union-attr]
            {**identity, **networks}, image, label.roll(1) + shift, Target(label + shift, latent=latent, intensity=0.5)
        )
        return translated

    torch.testing.assert_close(out(now, 1), out(before, 0), rtol=1e-5, atol=1e-5)
