"""The judge's method: ArcFace's loss against numpy, its centres, the number of people, and that it learns.

pytest tests/methods/test_identity_judge.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Step
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.metric_losses import ArcFaceHead

SMALL = IdentityJudgeMethod(backbone="test_resnet", hidden=32, embedding=16, people=4, scale=8.0)
PERSON = torch.arange(4).repeat_interleave(4)
STEP = Step(0, lambda _, width: torch.zeros(16, width))


def head(people: int = 5, margin: float = 28.6, scale: float = 8.0) -> ArcFaceHead:
    torch.manual_seed(0)
    return ArcFaceHead(people, 3, margin, scale).double()


def unit(rows: int, width: int) -> Tensor:
    values = torch.from_numpy(np.random.default_rng(1).standard_normal((rows, width)))
    return F.normalize(values, dim=1)


def test_the_loss_adds_the_margin_to_the_angle_of_the_own_centre() -> None:
    network, vector, person = head(), unit(7, 3), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    centres = network.loss.W.detach().numpy()
    cosine = vector.numpy() @ (centres / np.linalg.norm(centres, axis=0))
    total = 0.0
    for row, own in zip(cosine, person.tolist(), strict=True):
        angle = np.arccos(row[own])
        assert angle < np.pi - np.radians(28.6)  # beyond it the published loss goes on linearly
        logits = row.copy()
        logits[own] = np.cos(angle + np.radians(28.6))
        logits = 8.0 * logits
        total += np.log(np.exp(logits).sum()) - logits[own]
    loss, accuracy = network(vector, person)
    assert loss.item() == pytest.approx(total / 7, abs=1e-12)
    assert accuracy.item() == pytest.approx((cosine.argmax(1) == person.numpy()).mean())
    plain, _ = head(margin=0.0)(vector, person)
    assert plain.item() == pytest.approx(F.cross_entropy(torch.from_numpy(8.0 * cosine), person).item(), abs=1e-12)
    assert loss.item() > plain.item()


def test_the_gradient_of_faces_and_centres_is_that_of_finite_differences() -> None:
    network, person = head(), torch.tensor([0, 1, 2, 3])

    def loss(vector: Tensor, centres: Tensor) -> Tensor:
        return torch.func.functional_call(network, {"loss.W": centres}, (vector, person))[0]

    points = unit(4, 3).requires_grad_(), network.loss.W.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, points, atol=1e-6)


def test_the_loss_is_exact_under_autocast() -> None:
    network, vector, person = head(scale=64.0).float(), unit(7, 3).float(), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    expected, _ = network(vector, person)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = network(vector, person)
    assert torch.equal(loss, expected)


def test_it_keeps_the_contract() -> None:
    assert (SMALL.plan, SMALL.helpers, SMALL.averaged) == ("identities", (), ())
    assert replace(SMALL, average=True).averaged == ("embedder",)
    networks = SMALL.networks(32, 8)
    assert list(networks) == ["embedder", "centres"]
    (phase,) = SMALL.phases()
    assert phase.updates == ("embedder", "centres")


def test_one_update_reaches_embedder_and_centres_and_training_learns() -> None:
    torch.manual_seed(0)
    method = replace(SMALL, solver=Solver(kind="adam", peak=3e-3, weight_decay=0.0, total=60))
    # four brightnesses: the person is the brightness
    images = (PERSON / 4)[:, None, None, None] + 0.1 * torch.randn(16, 3, 32, 32)
    networks = method.networks(32, 8)
    optimizers = [method.optimizer(name, list(net.parameters())) for name, net in networks.items()]
    losses = []
    for _ in range(40):
        terms = method.arcface(networks, {"source": images, "person": PERSON}, STEP)
        terms["arcface"].value.backward()
        assert all(p.grad is not None for net in networks.values() for p in net.parameters())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(terms["arcface"].value.item())
    assert terms["accuracy"].value.item() == 1.0
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone", "legacy_xception"),
        ("people", 1),
        ("people", -1),
        ("margin_degrees", 90.0),
        ("margin_degrees", -1.0),
        ("margin_degrees", float("nan")),
        ("scale", 0.5),
        ("scale", float("inf")),
    ],
)
def test_unusable_values_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"method\.{field} = .*allowed"):
        IdentityJudgeMethod(**{field: value})  # type: ignore[arg-type]


def test_networks_need_the_number_of_people() -> None:
    with pytest.raises(InputError, match=r"method\.people = 0"):
        replace(SMALL, people=0).networks(32, 8)
