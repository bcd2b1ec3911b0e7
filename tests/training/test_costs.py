"""What an iteration costs: against hand counts, the published figures, and what a real graph keeps.

pytest tests/training/test_costs.py
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small import RECIPE, TRANSLATORS, helpers_of
from torch import nn

from stargan_ray.recipes import recipe_named
from stargan_ray.training import costs as costs_module
from stargan_ray.training.costs import costs


def test_an_iteration_of_stargan_v2_at_256_px_costs_what_was_measured() -> None:
    """The published iteration costs 2,914 GFLOP an image, 2,585 without waste; 1×1 shortcuts at the small side save."""
    found = costs(recipe_named("stargan-v2-256"), 8, {}, images=1)
    assert 2_300 < found.gflop <= 2_585
    assert found.parameters["generator"] == 33_892_995
    assert found.state == 4 * (5 * (33_892_995 + 7_363_072 + 21_113_920) + 4 * 20_855_368)
    assert 0.5 < found.activations / 2**30 < 12.3 / 8  # 12.3 GiB at batch 8 before the shortcuts were moved


@pytest.mark.parametrize("name", sorted(TRANSLATORS))
def test_costs_are_linear_in_the_images(name: str) -> None:
    recipe = replace(RECIPE, method=TRANSLATORS[name])
    one, four = (costs(recipe, 8, helpers_of(recipe.method), images=n) for n in (2, 4))
    assert one.gflop == pytest.approx(four.gflop, rel=0.05)
    assert one.activations == pytest.approx(four.activations, rel=0.1)
    assert one.gflop > 0


def test_seldom_phases_are_averaged_over_their_period() -> None:
    method = replace(TRANSLATORS["stargan-v2"], r1_every=1)
    often, seldom = (costs(replace(RECIPE, method=replace(method, reference_every=n)), 8, {}) for n in (1, 4))
    assert 0.3 * often.gflop < seldom.gflop < 0.7 * often.gflop  # the reference half runs every fourth time
    assert seldom.activations == pytest.approx(often.activations, rel=0.5)


def test_the_recipes_of_other_mathematics_are_cheaper() -> None:
    """At 256 px: R1 is a fifteenth of the published iteration, what merging shares an eighth."""
    published, lazy, merged = (
        costs(recipe_named(f"stargan-v2-256{n}"), 8, {}).gflop for n in ("", "-lazy-r1", "-merged")
    )
    assert lazy / published == pytest.approx(0.929, abs=0.005)
    assert merged / published == pytest.approx(0.874, abs=0.005)


def test_what_is_kept_is_counted_once_and_goes_with_its_graph() -> None:
    linear = nn.Linear(8, 4)
    kept = costs_module._Kept({p.untyped_storage()._cdata for p in linear.parameters()})
    x = torch.randn(5, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        out = linear(x).exp()  # keeps x, once, and its own result; not the weights
        out = out + linear(x).sum()
        assert kept.most == 5 * 8 * 4 + 5 * 4 * 4
        del out
        assert not kept.bytes
        linear(torch.randn(1, 8)).sum()
    assert kept.most == 5 * 8 * 4 + 5 * 4 * 4
