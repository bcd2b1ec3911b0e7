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
        lambda x: losses.identity_contrast(x, x, 0.5),
        lambda x: losses.decorrelation(x, x * x),
    ],
)
def test_half_precision_is_summed_in_full(loss: Callable[[Tensor], Tensor]) -> None:
    assert loss(normal(4, 8).bfloat16()).dtype == torch.float32
    assert loss(normal(4, 8)).dtype == torch.float64
