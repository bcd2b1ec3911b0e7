"""The supporting networks' methods: the triplet loss against numpy, mining, solver, and that both learn.

pytest tests/methods/test_expression_identity.py
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import tyro
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Method, Step
from stargan_ray.methods.expression import PUBLISHED_SOLVER, ExpressionMethod
from stargan_ray.methods.identity import COPIED_RECIPE, IdentityMethod
from stargan_ray.methods.solver import Solver
from stargan_ray.metric_losses import contrastive_loss, mine, triplet_gaps, triplet_loss

SMALL_IDENTITY = IdentityMethod(width=0.125, middle_blocks=0, stem_stride=1, hidden=32, embedding=16)
SMALL_EXPRESSION = ExpressionMethod(backbone="test_resnet", dropout=0.0)


def unit(rows: int, width: int, seed: int = 0) -> Tensor:
    values = torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, width)))
    return torch.nn.functional.normalize(values, dim=1)


def normal(rows: int, seed: int = 0) -> Step:
    generator = torch.Generator().manual_seed(seed)
    return Step(0, lambda _, width: torch.randn(rows, width, generator=generator))


# -- the triplet loss ---------------------------------------------------------------------------------------


def test_triplet_loss_is_the_papers_equation() -> None:
    a, p, n = (unit(7, 5, seed) for seed in (1, 2, 3))
    total = 0.0
    for i in range(7):
        near = float(((a[i].numpy() - p[i].numpy()) ** 2).sum())
        far = float(((a[i].numpy() - n[i].numpy()) ** 2).sum())
        total += max(0.0, near - far + 0.2)
    assert total > 0
    assert triplet_loss(a, p, n, 0.2).item() == pytest.approx(total / 7, abs=1e-12)


def test_gradient_of_the_triplet_loss_is_that_of_finite_differences() -> None:
    points = tuple(unit(6, 4, seed).requires_grad_() for seed in (4, 5, 6))
    assert torch.autograd.gradcheck(lambda a, p, n: triplet_loss(a, p, n, 0.3), points, atol=1e-7)


def test_rotating_the_sphere_changes_nothing() -> None:
    rotation, _ = torch.linalg.qr(unit(5, 5, seed=9))
    points = [unit(8, 5, seed) for seed in (1, 2, 3)]
    turned = [point @ rotation for point in points]
    torch.testing.assert_close(triplet_loss(*points, 0.2), triplet_loss(*turned, 0.2))


def test_no_triplets_give_zero_and_a_graph() -> None:
    embedding = unit(4, 3).requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    loss = triplet_loss(embedding[none], embedding[none], embedding[none], 0.2)
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad is not None
    assert embedding.grad.abs().sum() == 0


# -- the contrastive loss -----------------------------------------------------------------------------------


def test_contrastive_loss_is_that_of_its_authors() -> None:
    embedding, person = unit(9, 5), torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 4])  # two have nobody beside them
    cosine = (embedding @ embedding.T).numpy() / 0.2
    losses = []
    for i in range(7):
        others = [k for k in range(9) if k != i]
        total = np.log(np.exp(cosine[i, others]).sum())
        losses.append(np.mean([total - cosine[i, j] for j in others if person[j] == person[i]]))
    assert contrastive_loss(embedding, person, 0.2).item() == pytest.approx(np.mean(losses), abs=1e-9)


def test_gradient_of_the_contrastive_loss_is_that_of_finite_differences() -> None:
    person = torch.tensor([0, 0, 1, 1, 2])
    points = unit(5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: contrastive_loss(e, person, 0.5), (points,), atol=1e-7)


@pytest.mark.parametrize("person", [torch.arange(4), torch.zeros(4, dtype=torch.int64)])
def test_a_batch_that_says_nothing_gives_zero_and_a_graph(person: Tensor) -> None:
    embedding = unit(4, 3).requires_grad_()
    loss = contrastive_loss(embedding, person, 0.1)
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad is not None
    assert embedding.grad.abs().sum() == 0


def test_the_gap_is_zero_where_all_faces_are_one_and_minus_two_where_people_are_at_right_angles() -> None:
    method, person = replace(SMALL_IDENTITY, loss="contrastive", gather=False), torch.tensor([0, 0, 1, 1])
    for embedding, gap in ((torch.eye(4)[[0, 0, 0, 0]], 0.0), (torch.eye(4)[[0, 0, 1, 1]], -2.0)):
        network = {"embedder": _Fixed(embedding)}
        terms = method.contrastive(network, {"source": torch.zeros(4), "person": person}, normal(4))
        assert float(terms["gap"].value) == pytest.approx(gap, abs=1e-6)


class _Fixed(torch.nn.Module):
    """These embeddings, whatever is shown."""

    def __init__(self, embedding: Tensor) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, image: Tensor) -> Tensor:
        return self.embedding


# -- mining -------------------------------------------------------------------------------------------------

PERSON = torch.arange(6).repeat_interleave(4)


@pytest.mark.parametrize("mining", ["random", "semi-hard", "batch-hard"])
def test_mined_triplets_are_two_faces_of_one_person_and_one_of_another(mining: str) -> None:
    a, p, n = mine(unit(24, 3), PERSON, mining, 0.5, torch.randn(24, 24))  # type: ignore[arg-type]
    assert len(a) > 0
    assert bool((PERSON[a] == PERSON[p]).all())
    assert bool((a != p).all())
    assert bool((PERSON[a] != PERSON[n]).all())


def test_semi_hard_triplets_lie_inside_the_margin_of_the_squared_distance() -> None:
    embedding = unit(24, 3)
    a, p, n = mine(embedding, PERSON, "semi-hard", 0.5, torch.randn(24, 24))
    gaps = triplet_gaps(embedding[a], embedding[p], embedding[n])
    assert bool(((gaps < 1e-6) & (gaps >= -0.5 - 1e-6)).all())
    squared = torch.cdist(embedding, embedding).square()
    same = PERSON[:, None] == PERSON[None]
    expected = sum(
        int(((squared[i] > squared[i, j]) & (squared[i] <= squared[i, j] + 0.5) & ~same[i]).sum())
        for i in range(24)
        for j in range(24)
        if i != j and same[i, j]
    )
    assert len(a) == expected


def test_batch_hard_takes_the_furthest_positive_and_the_nearest_negative() -> None:
    embedding = unit(24, 3)
    a, p, n = mine(embedding, PERSON, "batch-hard", 0.5, torch.randn(24, 24))
    squared = torch.cdist(embedding, embedding).square()
    same = PERSON[:, None] == PERSON[None]
    assert torch.equal(p, squared.masked_fill(~same, -1).argmax(1)[a])
    assert torch.equal(n, squared.masked_fill(same, 9).argmin(1)[a])
    assert sorted(a.tolist()) == list(range(24))


def test_random_negatives_are_a_function_of_the_noise_and_spread_over_the_batch() -> None:
    noise = torch.randn(24, 24, generator=torch.Generator().manual_seed(0))
    first, again = (mine(unit(24, 3), PERSON, "random", 1.0, noise) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert len(first[0]) == 6 * 4 * 3
    assert len(first[2].unique()) > 12


# -- the solver ---------------------------------------------------------------------------------------------


def test_cosine_warms_up_peaks_and_ends_at_zero() -> None:
    solver = Solver(peak=0.1, total=100, warmup=10)
    rates = [solver.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert solver.rate(100) == solver.rate(10**6) == 0


def test_published_steps_multiply_by_nine_tenths_every_five_epochs_after_the_eightieth() -> None:
    epoch = 28_709 // 128
    rates = [PUBLISHED_SOLVER.rate(n * epoch) for n in (0, 79, 80, 84, 85, 249)]
    assert rates == pytest.approx([0.01, 0.01, 0.009, 0.009, 0.0081, 0.01 * 0.9**34])


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_solver_builds_the_optimiser_it_names(kind: str) -> None:
    built = Solver(kind=kind, momentum=0.8, weight_decay=0.1).build([torch.nn.Parameter(torch.ones(2))])  # type: ignore[arg-type]
    assert type(built).__name__.lower() == kind
    assert built.defaults["weight_decay"] == 0.1
    assert built.defaults.get("momentum", built.defaults.get("betas", (0,))[0]) == 0.8


@pytest.mark.parametrize(
    ("field", "value"),
    [("peak", 0.0), ("momentum", 1.0), ("total", 0), ("warmup", -1), ("decay_factor", 0.0), ("eps", 0.0)],
)
def test_unusable_solver_values_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"method\.solver\.{field} = .*allowed"):
        Solver(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (ExpressionMethod, "label_smoothing", 1.0),
        (ExpressionMethod, "clip_value", -0.1),
        (ExpressionMethod, "clip_value", float("nan")),
        (IdentityMethod, "margin", 0.0),
        (IdentityMethod, "temperature", 0.0),
        (IdentityMethod, "pretrained", "timm"),
    ],
)
def test_unusable_method_values_are_refused_by_name(kind: type, field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"method\.{field} = .*allowed"):
        kind(**{"width": 0.5, field: value})


# -- the contract -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "plan", "network"),
    [(SMALL_EXPRESSION, "domains", "classifier"), (SMALL_IDENTITY, "identities", "embedder")],
)
def test_methods_keep_the_contract(method: Method, plan: str, network: str) -> None:
    assert method.plan == plan
    assert method.helpers == method.averaged == ()
    assert replace(method, average=True).averaged == (network,)  # type: ignore[type-var]
    assert list(method.networks(32, 8)) == [network]
    (phase,) = method.phases()
    assert phase.updates == (network,)
    assert hash(method) == hash(replace(method))  # type: ignore[type-var]


def test_every_field_is_a_flag() -> None:
    method = tyro.cli(IdentityMethod, args=["--mining", "batch-hard", "--solver.kind", "sgd", "--relu-before-norm"])
    assert (method.mining, method.solver.kind, method.relu_before_norm) == ("batch-hard", "sgd", True)
    assert tyro.cli(ExpressionMethod, args=["--solver.peak", "0.5"]).solver.peak == 0.5
    assert COPIED_RECIPE.solver.eps == 0.1


def batch_of(method: Method) -> dict[str, Tensor]:
    """Sixteen images of four brightnesses: person and expression are the brightness."""
    torch.manual_seed(0)
    kind = torch.arange(4).repeat_interleave(4)
    images = (kind / 4)[:, None, None, None] + 0.1 * torch.randn(16, 3, 32, 32)
    return {"source": images, "source_label": kind, "person": kind}


@pytest.mark.parametrize(
    "method",
    [
        SMALL_EXPRESSION,
        SMALL_IDENTITY,
        replace(SMALL_IDENTITY, mining="batch-hard"),
        replace(SMALL_IDENTITY, loss="contrastive"),
    ],
)
def test_a_method_learns_what_can_be_learned(method: Method) -> None:
    batch = batch_of(method)
    networks = method.networks(32, 4)
    (name,) = networks
    (phase,) = method.phases()
    optimizer = method.optimizer(name, list(networks[name].parameters()))
    optimizer.param_groups[0]["lr"] = 0.01
    told = []
    for _ in range(12):
        terms = phase.loss(networks, batch, normal(16))
        loss = torch.stack([term.value * term.weight for term in terms.values() if term.weight]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        told.append({key: float(term.value.detach()) for key, term in terms.items()})
    if name == "classifier":
        assert told[-1]["accuracy"] == 1
        assert told[-1]["cross_entropy"] < told[0]["cross_entropy"]
    else:
        with torch.no_grad():
            squared = torch.cdist(*[networks[name](batch["source"])] * 2).square()
        same = batch["person"][:, None] == batch["person"][None]
        # means: twelve steps need not part every single pair on every machine
        assert squared[~same].mean() > 4 * squared[same].mean()
        assert 0 <= told[-1].get("active", 0) <= 1


def test_metrics_carry_no_gradient_and_no_weight() -> None:
    for method in (SMALL_EXPRESSION, SMALL_IDENTITY):
        terms = method.phases()[0].loss(method.networks(32, 4), batch_of(method), normal(16))
        metrics = [term for term in terms.values() if not term.weight]
        assert metrics
        assert not any(term.value.requires_grad for term in metrics)
        assert all(term.value.shape == () for term in terms.values())
