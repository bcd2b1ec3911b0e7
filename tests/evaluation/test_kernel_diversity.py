"""Kernel distance against a double loop and against torchmetrics; diversity over all pairs, resampled by person.

pytest tests/evaluation/test_kernel_diversity.py
"""

import numpy as np
import pytest
import torch
from torchmetrics.image import kid

from stargan_ray.errors import InputError
from stargan_ray.evaluation.diversity import diversity, pairwise_distances
from stargan_ray.evaluation.kernel import kernel_distance, squared_mmd

RNG = np.random.default_rng(3)
A, B = RNG.normal(size=(7, 5)), RNG.normal(0.5, 1.2, size=(9, 5))


def test_squared_mmd_is_the_double_loop():
    def k(x, y):
        return (x @ y / 5 + 1) ** 3

    within_a = np.mean([k(A[i], A[j]) for i in range(7) for j in range(7) if i != j])
    within_b = np.mean([k(B[i], B[j]) for i in range(9) for j in range(9) if i != j])
    across = np.mean([k(x, y) for x in A for y in B])
    assert squared_mmd(A, B) == pytest.approx(within_a + within_b - 2 * across, rel=1e-12)


def test_squared_mmd_is_that_of_torchmetrics():
    theirs = kid.poly_mmd(torch.from_numpy(A), torch.from_numpy(B[:7]))  # it takes sets of one size
    assert squared_mmd(A, B[:7]) == pytest.approx(float(theirs), rel=1e-9)


def test_equal_distributions_are_at_zero_and_others_are_not():
    one, same, other = RNG.normal(size=(200, 4)), RNG.normal(size=(300, 4)), RNG.normal(1, 1, size=(200, 4))
    near, far = kernel_distance(one, same), kernel_distance(one, other)
    assert near.low < 0 < near.high
    assert far.low > 0
    assert far == kernel_distance(one, other)
    assert (far.n, far.low < far.value < far.high) == (200, True)
    with pytest.raises(InputError, match="at least 2 rows"):
        kernel_distance(one[:1], other)


def test_diversity_is_the_mean_over_all_pairs():
    outputs = [torch.full((2, 3, 4, 4), level) for level in (0.0, 0.1, 0.4)]
    found = pairwise_distances(outputs, lambda a, b: (a - b).abs().mean((1, 2, 3)))
    np.testing.assert_allclose(found, [(0.1 + 0.4 + 0.3) / 3] * 2, rtol=1e-6)
    with pytest.raises(InputError, match="at least 2"):
        pairwise_distances(outputs[:1], lambda a, b: a)


def test_diversity_is_resampled_by_person():
    values = np.repeat([0.1, 0.5, 0.2, 0.6], 25)
    by_person, by_image = diversity(values, np.repeat(list("abcd"), 25)), diversity(values, np.arange(100))
    assert by_person.value == by_image.value == pytest.approx(0.35)
    assert by_person.high - by_person.low > 3 * (by_image.high - by_image.low)
