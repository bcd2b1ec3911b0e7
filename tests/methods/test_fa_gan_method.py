"""The FA-GAN-style iteration equals a plain one; what its terms reach; bad input; translation by its codes.

pytest tests/methods/test_fa_gan_method.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.config import DataConfig, Recipe, TrainConfig
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Step, Target
from stargan_ray.methods.fa_gan import FAGANStyle
from stargan_ray.models.regions import FACE_PARTS
from stargan_ray.recipes import RECIPES
from stargan_ray.schedules import HeldDecay, LinearDecay
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import LocalWorker

SIZE, DOMAINS, BATCH, EMA = 16, 3, 4, 0.9
# Every weight differs from 1 and every schedule moves within the first steps, so that none can be forgotten.
METHOD = FAGANStyle(
    first=4,
    largest=8,
    bottleneck=8,
    depth=1,
    identity_dim=5,
    coarse_dim=3,
    fine_dim=2,
    latent_dim=2,
    lambda_cls=LinearDecay(0.6, 5),
    lambda_rec=0.9,
    lambda_cyc=1.3,
    lambda_id=0.4,
    temperature=0.5,
    lambda_def=0.7,
    lambda_dis=0.3,
    lambda_proto=0.8,
    lambda_r1=1.2,
    rate_g=HeldDecay(1e-4, 1, 8),
    rate_d=HeldDecay(1.5e-4, 2, 7),
)
METHODS = {
    "whole": METHOD,
    "mask": replace(METHOD, compose="mask", latent_dim=0, lambda_rec=0.0),
    "seldom": replace(METHOD, r1_every=2, parts=5),
    "no graph": replace(METHOD, parts=0, reference_share=0.0),
}
ALL = ("identity_encoder", "attribute_encoder", "prototypes", "generator")
_IMAGES = ("source", "reference", "reference2")


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def state_of(method: FAGANStyle) -> State:
    recipe = Recipe("test", "", method, DataConfig(size=SIZE), TrainConfig(seed=3))
    state = fresh_state(recipe, DOMAINS, LocalWorker(), {})
    graph: Any = state.networks["generator"].graph
    if graph is not None:  # at their start the regions do not depend on the image: it would not be seen
        nn.init.normal_(graph.attend.weight, std=0.1)
        nn.init.normal_(graph.affinity, std=0.5)
    state.averaged["generator"].load_state_dict(state.networks["generator"].state_dict())
    return state


def batch_of(step: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(step)
    images = {name: torch.from_numpy(rng.uniform(-1, 1, (BATCH, 3, SIZE, SIZE))) for name in _IMAGES}
    labels = {name: torch.from_numpy(rng.integers(0, DOMAINS, BATCH)) for name in ("source_label", "target_label")}
    return {n: x.to(torch.get_default_dtype()) for n, x in images.items()} | labels


def noise_of(step: int) -> Callable[[str, int], Tensor]:
    def normal(name: str, width: int) -> Tensor:
        rng = np.random.default_rng((step, *name.encode()))
        return torch.from_numpy(rng.standard_normal((BATCH, width)))

    return normal


def fast(state: State, **options: Any) -> dict[str, Tensor]:
    return run_step(state, LocalWorker(), [(batch_of(state.step), noise_of(state.step))], ema=EMA, **options)


# -- the plain step: two updates, everything recomputed, nothing shared, nothing frozen -------------------------


class Plain:
    def __init__(self, state: State) -> None:
        self.method: Any = state.method
        self.networks: Any = copy.deepcopy(state.networks)
        self.averages: Any = copy.deepcopy(state.averaged)
        self.adam = {
            name: torch.optim.Adam(
                net.parameters(), lr=1.0, betas=(0.0, 0.99), weight_decay=1e-4, fused=False, foreach=False
            )
            for name, net in self.networks.items()
        }

    def iterate(self, step: int) -> None:
        held = {"g": (1e-4, 1, 8), "d": (1.5e-4, 2, 7)}
        rates = {n: v if step < a else v * (b - step) / (b - a) for n, (v, a, b) in held.items()}
        self.update(self.d_loss(step), ("discriminator",), rates["d"])
        self.update(self.g_loss(step), ALL, rates["g"])
        for name, average in self.averages.items():
            for mine, theirs in zip(average.parameters(), self.networks[name].parameters(), strict=True):
                mine.data = EMA * mine.data + (1 - EMA) * theirs.data

    def update(self, loss: Tensor, names: tuple[str, ...], rate: float) -> None:
        for network in self.networks.values():
            network.zero_grad()
        loss.backward()
        for name in names:
            self.adam[name].param_groups[0]["lr"] = rate
            self.adam[name].step()

    def target_code(self, step: int) -> Tensor:
        """Row by row: a reference's code, which trains nobody, or a prototype."""
        batch, noise = batch_of(step), noise_of(step)
        coin = torch.distributions.Normal(0.0, 1.0).cdf(noise("guide", 1))
        rows = []
        for i, y in enumerate(batch["target_label"]):
            if coin[i, 0] < self.method.reference_share:
                rows.append(self.networks["attribute_encoder"](batch["reference"][i : i + 1], y[None])[0].detach())
            else:
                rows.append(self.networks["prototypes"](noise("latent", self.method.latent_dim)[i : i + 1], y[None])[0])
        return torch.stack(rows)

    def paint(self, image: Tensor, code: Tensor) -> Tensor:
        out: Tensor = self.networks["generator"](self.networks["identity_encoder"](image)[0], code, image)
        return out

    def d_loss(self, step: int) -> Tensor:
        """−log D_y(x) − log(1 − D_ỹ(x̃)) + R1 + λ_cls CE, x the sources and the references."""
        method, batch, D = self.method, batch_of(step), self.networks["discriminator"]
        fake = self.paint(batch["source"], self.target_code(step)).detach()
        x = torch.cat([batch["source"], batch["reference"]]).requires_grad_()
        y = torch.cat([batch["source_label"], batch["target_label"]])
        real, on_fake = D(x), D(fake)[torch.arange(BATCH), batch["target_label"]]
        on_real = real[torch.arange(2 * BATCH), y]
        loss = -torch.log(on_real.sigmoid()).mean() - torch.log(1 - on_fake.sigmoid()).mean()
        if step % method.r1_every == 0:
            (slope,) = torch.autograd.grad(on_real.sum(), x, create_graph=True)
            loss = loss + method.lambda_r1 * method.r1_every * 0.5 * (slope**2).sum() / len(x)
        return loss + method.lambda_cls(step) * F.nll_loss(real.log_softmax(1), y)

    def g_loss(self, step: int) -> Tensor:
        method, batch, E = self.method, batch_of(step), self.networks["attribute_encoder"]
        x, y, target = batch["source"], batch["source_label"], batch["target_label"]
        code = self.target_code(step)
        fake, own = self.paint(x, code), E(x, y)
        logits = self.networks["discriminator"](fake)
        loss = -torch.log(logits[torch.arange(BATCH), target].sigmoid()).mean()
        loss = loss + method.lambda_cls(step) * F.nll_loss(logits.log_softmax(1), target)
        loss = loss + method.lambda_rec * (self.paint(x, own) - x).abs().mean()
        loss = loss + method.lambda_cyc * (self.paint(fake, own) - x).abs().mean()
        loss = loss + method.lambda_def * (E(fake, target) - code.detach()).abs().mean()
        middle = self.networks["prototypes"](torch.zeros(BATCH, method.latent_dim), y)
        loss = loss + method.lambda_proto * (middle - own.detach()).abs().mean()
        people, seen = (self.networks["identity_encoder"](image)[1] for image in (x, fake))
        cosines = (seen @ people.detach().T / method.temperature).log_softmax(1)
        loss = loss - method.lambda_id * cosines.diagonal().mean()
        return loss + method.lambda_dis * (_correlation(people, own) ** 2).mean()


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    a, b = (x - x.mean(0) for x in (first, second))
    scale = ((a**2).mean(0) + 1e-8).sqrt()[:, None] * ((b**2).mean(0) + 1e-8).sqrt()
    return (a.T @ b / len(a)) / scale


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", METHODS)
def test_the_iteration_equals_the_plain_one(name: str) -> None:
    state = state_of(METHODS[name])
    plain = Plain(state)
    start = {n: copy.deepcopy(net.state_dict()) for n, net in state.networks.items()}
    for step in range(4):
        fast(state)
        plain.iterate(step)
    for ours, theirs in ((state.networks, plain.networks), (state.averaged, plain.averages)):
        for n, network in ours.items():
            for key, value in network.state_dict().items():
                torch.testing.assert_close(
                    value, theirs[n].state_dict()[key], rtol=0, atol=1e-10, msg=lambda m, k=f"{n}.{key}": k + m
                )
    for n, network in state.networks.items():  # the steps were no trifles
        assert max((v - start[n][k]).abs().max() for k, v in network.state_dict().items()) > 5e-5
    assert set(state.averaged) == set(ALL)


# -- what a term reaches ---------------------------------------------------------------------------------------


def reached(term: str, **fields: Any) -> dict[str, float]:
    """Largest gradient of one term of G's phase on each network."""
    method = replace(METHOD, **fields)
    state = state_of(method)
    terms = method.g(state.networks, batch_of(0), Step(0, noise_of(0)))
    terms[term].value.backward()
    grads = {
        n: [p.grad.abs().max() for p in net.parameters() if p.grad is not None] for n, net in state.networks.items()
    }
    return {n: float(max(g, default=torch.tensor(0.0))) for n, g in grads.items()}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("term", "fields", "networks"),
    [
        ("proto", {}, {"prototypes"}),  # only the prototypes follow: codes that are all the same would win otherwise
        ("dis", {}, {"identity_encoder", "attribute_encoder"}),
        ("rec", {}, {"identity_encoder", "attribute_encoder", "generator"}),
        ("id", {}, {"identity_encoder", "prototypes", "generator"}),
        # a reference's code is a given: its encoder learns from what it sees in the fake alone
        ("adv", {"reference_share": 1.0}, {"discriminator", "identity_encoder", "generator"}),
        ("adv", {"reference_share": 0.0}, {"discriminator", "identity_encoder", "prototypes", "generator"}),
        ("def", {"reference_share": 1.0}, {"attribute_encoder", "identity_encoder", "generator"}),
    ],
)
def test_a_term_trains_whom_it_is_meant_to(term: str, fields: dict[str, Any], networks: set[str]) -> None:
    assert {n for n, size in reached(term, **fields).items() if size > 1e-9} == networks


@pytest.mark.usefixtures("double")
def test_the_coin_decides_between_reference_and_prototype() -> None:
    """At 0 no reference matters, at 1 no prototype; in between each row follows one of the two."""
    state = state_of(METHOD)

    def code(share: float) -> Tensor:
        made: Tensor = replace(METHOD, reference_share=share)._fake(state.networks, batch_of(0), Step(0, noise_of(0)))[
            "code"
        ]
        return made

    batch = batch_of(0)
    shown = state.networks["attribute_encoder"](batch["reference"], batch["target_label"])
    prototype = state.networks["prototypes"](noise_of(0)("latent", 2), batch["target_label"])
    torch.testing.assert_close(code(1.0), shown)
    torch.testing.assert_close(code(0.0), prototype)
    coin = Step(0, noise_of(0)).uniform("guide", 1)[:, 0]
    middle = float(coin.median()) + 1e-9
    from_reference = (code(middle) - shown).abs().amax(1) < 1e-12
    assert torch.equal(from_reference, coin < middle)
    assert 0 < from_reference.sum() < BATCH


@pytest.mark.parametrize("step", [0, 1, 3, 9])
def test_weights_follow_the_step(step: int) -> None:
    method = replace(METHOD, r1_every=3)
    networks = state_of(method).networks
    terms = method.g(networks, batch_of(step), Step(step, noise_of(step)))
    assert {n: t.weight for n, t in terms.items() if n not in ("adv", "cls")} == {
        "rec": 0.9,
        "cyc": 1.3,
        "id": 0.4,
        "def": 0.7,
        "dis": 0.3,
        "proto": 0.8,
    }
    critic = method.d(networks, batch_of(step), Step(step, noise_of(step)))
    for found in (terms, critic):
        assert found["cls"].weight == pytest.approx(0.6 * (1 - step / 5)) if step < 5 else "cls" not in found
    assert critic["r1"].weight == pytest.approx(3.6) if step % 3 == 0 else "r1" not in critic


def test_a_weight_of_zero_is_no_term() -> None:
    method = replace(METHOD, lambda_rec=0.0, lambda_cyc=0.0, lambda_id=0.0, lambda_proto=0.0, lambda_r1=0.0)
    assert set(fast(state_of(method))) == {
        *(f"d/{term}" for term in ("real", "fake", "cls")),
        *(f"g/{term}" for term in ("adv", "cls", "def", "dis")),
    }


@pytest.mark.parametrize("compose", ["image", "mask"])
def test_bfloat16_keeps_weights_and_the_penalty_in_full_precision(compose: Any) -> None:
    state = state_of(replace(METHOD, compose=compose))
    values = fast(state, bf16=True)
    assert all(v.isfinite() for v in values.values())
    assert values["d/r1"].dtype == values["g/dis"].dtype == torch.float32
    assert all(p.dtype == torch.float32 for net in state.networks.values() for p in net.parameters())


# -- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((f"lambda_{n}", v) for n in ("rec", "cyc", "id", "def", "dis", "proto", "r1") for v in (-1.0, float("nan"))),
        ("weight_decay", -1e-4),
        ("temperature", 0.0),
        ("temperature", float("inf")),
        ("reference_share", 1.5),
        ("parts", len(FACE_PARTS) + 1),
        ("parts", -1),
        ("r1_every", 0),
        ("identity_dim", 0),
        ("coarse_dim", 0),
        ("fine_dim", 0),
        ("latent_dim", -1),
        ("bottleneck", 12),
        ("bottleneck", 2),
    ],
)
def test_a_value_that_no_run_can_mean_is_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"^method\.{field} = {value}: allowed are .+$"):
        FAGANStyle(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [("lambda_rec", "lambda_cyc", "lambda_def"), ("lambda_id", "lambda_dis")])
def test_an_encoder_that_would_learn_nothing_is_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=" = ".join(rf"method\.{f}" for f in fields) + " = 0: .* one must be > 0"):
        FAGANStyle(**dict.fromkeys(fields, 0.0))  # type: ignore[arg-type]


def test_a_schedule_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match=r"end = 5: allowed are 0 \(no decay\) and values > until = 10"):
        FAGANStyle(rate_g=HeldDecay(1e-4, 10, 5))


@pytest.mark.parametrize("size", [48, 16, 31])
def test_a_size_that_the_networks_cannot_halve_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=rf"data\.size = {size}: allowed are powers of two >= 32"):
        FAGANStyle().networks(size, 8)


# -- use -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", METHODS)
def test_translate_moves_from_the_own_deformation_to_the_target(name: str) -> None:
    method = METHODS[name]
    networks = state_of(method).networks
    batch = batch_of(0)
    image, label, target = batch["source"], batch["source_label"], batch["target_label"]
    latent = noise_of(0)("latent", method.latent_dim)
    E, I, G = (networks[n] for n in ("attribute_encoder", "identity_encoder", "generator"))  # noqa: E741
    for goal, code in (
        (Target(target, reference=batch["reference"]), E(batch["reference"], target)),
        (Target(target, latent=latent), networks["prototypes"](latent, target)),
    ):
        for intensity in (0.0, 0.25, 1.0):
            mixed = (1 - intensity) * E(image, label) + intensity * code
            out = method.translate(networks, image, label, goal._replace(intensity=intensity))
            torch.testing.assert_close(out, G(I(image)[0], mixed, image), rtol=0, atol=1e-11)


def test_every_size_has_a_recipe_that_calls_itself_fa_gan_style() -> None:
    for size, suffix in ((32, "tiny"), (64, "64"), (128, "128"), (256, "256")):
        recipe = RECIPES[f"fa-gan-{suffix}"]
        assert recipe.data.size == size
        assert recipe.about.startswith("FA-GAN-style")
        assert isinstance(recipe.method, FAGANStyle)
        assert recipe.method.rate_g.end == recipe.method.rate_d.end == recipe.train.steps
    assert RECIPES["fa-gan-256"].method == FAGANStyle()
