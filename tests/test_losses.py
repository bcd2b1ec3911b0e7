"""Each loss against its equation written out in numpy, its gradient against finite differences, and properties.

pytest tests/test_losses.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stargan_ray import losses


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def unit(*shape: int, seed: int = 0) -> Tensor:
    x = normal(*shape, seed=seed)
    return x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("real", [True, False])
def test_adversarial_is_binary_cross_entropy(real: bool) -> None:
    logits = 3 * normal(7)
    p = 1 / (1 + np.exp(-logits.numpy()))
    expected = -np.log(p if real else 1 - p).mean()
    assert losses.adversarial(logits, real).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: losses.adversarial(x, real), logits.requires_grad_())


def test_adversarial_stays_finite_where_the_literal_form_overflows() -> None:
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for real in (True, False):
        value = losses.adversarial(logits, real)
        assert value.item() == pytest.approx(5e3)
        assert torch.autograd.grad(value, logits)[0].isfinite().all()


def test_classification_is_cross_entropy() -> None:
    logits, label = 3 * normal(5, 4), torch.tensor([0, 3, 1, 1, 2])
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(5), label.numpy()]).mean()
    assert losses.classification(logits, label).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: losses.classification(x, label), logits.requires_grad_())


def test_r1_of_a_linear_critic_in_closed_form() -> None:
    """D(x) = <w, x>: the gradient is w for every image, so R1 = |w|² / 2 and its own gradient is w."""
    weight = normal(3, 4, 4).requires_grad_()
    images = normal(5, 3, 4, 4, seed=1).requires_grad_()
    penalty = losses.r1_penalty((images * weight).sum((1, 2, 3)), images)
    assert penalty.item() == pytest.approx(0.5 * weight.square().sum().item(), rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad(penalty, weight)[0], weight.detach(), rtol=1e-12, atol=0)


def test_r1_is_the_mean_of_each_images_own_gradient_and_can_be_trained_through() -> None:
    images, weight = normal(4, 3, 2, 2, seed=1), normal(12, seed=2)

    def penalty(weight: Tensor) -> Tensor:
        x = images.clone().requires_grad_()
        return losses.r1_penalty((x.flatten(1) @ weight).tanh(), x)

    rows = images.flatten(1).numpy()
    slopes = 1 - np.tanh(rows @ weight.numpy()) ** 2  # d tanh(<w, x>) / dx = slope · w
    expected = 0.5 * np.mean([np.sum((slope * weight.numpy()) ** 2) for slope in slopes])
    assert penalty(weight).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(penalty, weight.requires_grad_())


def test_l1_is_the_mean_absolute_difference() -> None:
    first, second = normal(3, 3, 4, 4), normal(3, 3, 4, 4, seed=1)
    expected = np.abs(first.numpy() - second.numpy()).mean()
    assert losses.l1(first, second).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(losses.l1, (first.requires_grad_(), second.requires_grad_()))


def test_identity_distance_of_unit_vectors_is_two_minus_two_cosines() -> None:
    first, second = unit(6, 16), unit(6, 16, seed=1)
    a, b = first.numpy(), second.numpy()
    assert losses.identity_distance(first, second).item() == pytest.approx(((a - b) ** 2).sum(1).mean(), rel=1e-12)
    assert losses.identity_distance(first, second).item() == pytest.approx((2 - 2 * (a * b).sum(1)).mean(), rel=1e-12)
    assert losses.identity_distance(first, first).item() == 0
    assert losses.identity_distance(first, -first).item() == pytest.approx(4)
    assert torch.autograd.gradcheck(losses.identity_distance, (first.requires_grad_(), second.requires_grad_()))


@pytest.mark.parametrize("real", [True, False])
def test_wasserstein_is_the_mean_of_patches_with_a_sign(real: bool) -> None:
    patches = normal(3, 2, 2)
    expected = patches.numpy().mean() * (-1 if real else 1)
    assert losses.wasserstein(patches, real).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: losses.wasserstein(x, real), patches.requires_grad_())


def test_gradient_penalty_of_a_linear_critic_in_closed_form() -> None:
    """D(x) = <w, x>, cut into patches: their sum has the gradient w for every image, so the penalty is (|w| − 1)²."""
    weight = normal(3, 4, 4).requires_grad_()
    mixed = normal(5, 3, 4, 4, seed=1).requires_grad_()
    patches = (mixed * weight).sum(1)
    penalty = losses.gradient_penalty(patches, mixed)
    norm = np.linalg.norm(weight.detach().numpy())
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-12)
    expected = 2 * (norm - 1) / norm * weight.detach()
    torch.testing.assert_close(torch.autograd.grad(penalty, weight)[0], expected, rtol=1e-12, atol=1e-12)


def test_gradient_penalty_is_each_images_own_and_can_be_trained_through() -> None:
    images, weight = normal(4, 3, 2, 2, seed=1), 0.3 * normal(12, seed=2)

    def penalty(weight: Tensor) -> Tensor:
        x = images.clone().requires_grad_()
        return losses.gradient_penalty((x.flatten(1) @ weight).tanh(), x)

    slopes = 1 - np.tanh(images.flatten(1).numpy() @ weight.numpy()) ** 2
    expected = np.mean([(np.linalg.norm(slope * weight.numpy()) - 1) ** 2 for slope in slopes])
    assert penalty(weight).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(penalty, weight.requires_grad_())


def test_l2_is_the_mean_squared_difference() -> None:
    first, second = normal(3, 3, 4, 4), normal(3, 3, 4, 4, seed=1)
    expected = ((first.numpy() - second.numpy()) ** 2).mean()
    assert losses.l2(first, second).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(losses.l2, (first.requires_grad_(), second.requires_grad_()))


# -- the contextual loss ---------------------------------------------------------------------------------------


def contextual_of_one(x: np.ndarray, y: np.ndarray, h: float) -> float:
    """−log CX of maps (C, h, w), position by position as the equations are written."""
    x, y = (maps.reshape(len(maps), -1).T for maps in (x, y))  # positions down, channels across
    mean = y.mean(0)
    d = np.empty((len(x), len(y)))
    for i, a in enumerate(x - mean):
        for j, b in enumerate(y - mean):
            d[i, j] = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
    relative = d / (d.min(1, keepdims=True) + 1e-5)
    w = np.exp((1 - relative) / h)
    cx = w / w.sum(1, keepdims=True)
    return float(-np.log(np.mean([cx[:, j].max() for j in range(len(y))])))


@pytest.mark.parametrize("h", [0.5, 0.1, 2.0])
def test_contextual_is_its_equations_written_out(h: float) -> None:
    x, y = normal(3, 5, 4, 3), normal(3, 5, 4, 3, seed=1) + 0.5
    expected = np.mean([contextual_of_one(a, b, h) for a, b in zip(x.numpy(), y.numpy(), strict=True)])
    assert losses.contextual(x, y, h, 32).item() == pytest.approx(expected, rel=1e-10)


def test_contextual_can_be_trained_through_on_both_sides() -> None:
    x, y = normal(2, 4, 3, 2).requires_grad_(), normal(2, 4, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: losses.contextual(a, b, 0.5, 32), (x, y))


def test_contextual_does_not_mind_where_things_are_and_minds_what_they_are() -> None:
    x, y = normal(2, 5, 4, 4), normal(2, 5, 4, 4, seed=1)
    order = torch.from_numpy(np.random.default_rng(3).permutation(16))
    moved = x.flatten(2)[..., order].view_as(x)
    value = losses.contextual(x, y, 0.5, 32)
    assert losses.contextual(moved, y, 0.5, 32).item() == pytest.approx(value.item(), rel=1e-12)
    assert losses.contextual(x, y.flatten(2)[..., order].view_as(y), 0.5, 32).item() == pytest.approx(value.item())
    assert losses.contextual(
        3 * (x - y.mean((2, 3), keepdim=True)) + y.mean((2, 3), keepdim=True), y, 0.5, 32
    ).item() == (pytest.approx(value.item()))
    # the same image in another order is the same content: 0 is the least, log of the positions the most
    assert losses.contextual(y.flatten(2)[..., order].view_as(y), y, 0.5, 32).item() == pytest.approx(0, abs=1e-12)
    assert 0.1 < value.item() < np.log(16)


def test_contextual_compares_at_most_as_many_positions_as_told() -> None:
    x, y = normal(2, 5, 8, 8), normal(2, 5, 8, 8, seed=1)
    pooled = [maps.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5)) for maps in (x, y)]
    assert losses.contextual(x, y, 0.5, 4).item() == pytest.approx(losses.contextual(*pooled, 0.5, 8).item(), rel=1e-12)


def test_contextual_stays_finite_where_the_literal_form_overflows() -> None:
    """Equal maps and one exact match far from all others: distances of 0 beside 2, relative ones of 2e5."""
    y = normal(1, 6, 3, 3).float()
    for x in (y.clone(), torch.zeros_like(y), y.flip(3)):
        x.requires_grad_()
        value = losses.contextual(x, y, 0.05, 32)
        assert torch.isfinite(value)
        assert torch.autograd.grad(value, x)[0].isfinite().all()


def test_identity_contrast_is_the_softmax_of_cosines() -> None:
    generated, source = unit(5, 8), unit(5, 8, seed=1)
    e = np.exp(generated.numpy() @ source.numpy().T / 0.3)
    expected = -np.mean([np.log(e[i, i] / e[i].sum()) for i in range(5)])
    assert losses.identity_contrast(generated, source, 0.3).item() == pytest.approx(expected, rel=1e-12)
    both = generated.requires_grad_(), source.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: losses.identity_contrast(x, y, 0.3), both)


def test_identity_contrast_is_not_won_by_one_code_for_everyone() -> None:
    same = unit(1, 8).expand(6, 8)
    assert losses.identity_contrast(same, same, 0.1).item() == pytest.approx(np.log(6))
    people = torch.eye(6, 8, dtype=torch.float64)
    assert losses.identity_contrast(people, people, 0.1).item() < 1e-3
    swapped = people.roll(1, 0)  # others' faces: worse than saying nothing
    assert losses.identity_contrast(swapped, people, 0.1).item() > np.log(6)


def test_decorrelation_is_the_mean_squared_correlation() -> None:
    first, second = normal(9, 4), normal(9, 3, seed=1)
    both = np.corrcoef(first.numpy().T, second.numpy().T)[:4, 4:]
    assert losses.decorrelation(first, second).item() == pytest.approx((both**2).mean(), rel=1e-6)
    assert torch.autograd.gradcheck(losses.decorrelation, (first.requires_grad_(), second.requires_grad_()))


def test_decorrelation_knows_no_scale_and_is_zero_for_what_tells_nothing() -> None:
    first, second = normal(9, 4), normal(9, 3, seed=1)
    value = losses.decorrelation(first, second).item()
    scales = normal(3, seed=2).abs() + 0.1
    assert losses.decorrelation(5 * first - 2, second * scales + 7).item() == pytest.approx(value, rel=1e-5)
    # every combination of two signs once: neither tells the other; a column against itself is told wholly
    signs = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    assert losses.decorrelation(signs[:, :1], signs[:, 1:]).item() == pytest.approx(0, abs=1e-12)
    assert losses.decorrelation(signs[:, :1], -3 * signs[:, :1]).item() == pytest.approx(1, rel=1e-6)
    assert losses.decorrelation(torch.ones(4, 2).double(), signs).item() == 0  # a code that has collapsed is no error


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: losses.adversarial(x[:, 0], True),
        lambda x: losses.classification(x, torch.zeros(4, dtype=torch.int64)),
        lambda x: losses.l1(x, x + 1),
        lambda x: losses.identity_distance(x, -x),
        lambda x: losses.wasserstein(x, True),
        lambda x: losses.l2(x, x + 1),
        lambda x: losses.contextual(x.view(2, 4, 2, 2), x.flip(0).view(2, 4, 2, 2), 0.5, 32),
        lambda x: losses.identity_contrast(x, x, 0.5),
        lambda x: losses.decorrelation(x, x * x),
    ],
)
def test_half_precision_is_summed_in_full(loss: Callable[[Tensor], Tensor]) -> None:
    assert loss(normal(4, 8).bfloat16()).dtype == torch.float32
    assert loss(normal(4, 8)).dtype == torch.float64
