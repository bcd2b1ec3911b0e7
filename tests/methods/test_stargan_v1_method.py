"""StarGAN v1 and LAUN: the step equals one written out, who runs when, what is refused, how it is used.

pytest tests/methods/test_stargan_v1_method.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.config import DataConfig, Recipe, TrainConfig
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Step, Target, Translator
from stargan_ray.methods.laun import LAUN
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.models.laun import AttentionUNet
from stargan_ray.recipes import RECIPES
from stargan_ray.schedules import HeldDecay
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import LocalWorker

SIZE, DOMAINS, BATCH, EMA = 16, 3, 3, 0.9
# Every weight differs from 1 and every schedule moves within the first steps, so that none can be forgotten.
SMALL: dict[str, Any] = {
    "first": 4,
    "blocks": 1,
    "first_critic": 4,
    "largest": 8,
    "layers": 3,
    "lambda_cls": 0.7,
    "lambda_rec": 3.0,
    "lambda_gp": 2.0,
    "n_critic": 2,
    "rate_g": HeldDecay(1e-3, 2, 7),
    "rate_d": HeldDecay(2e-3, 1, 9),
    "average": True,
}
METHODS: dict[str, StarGANv1] = {
    "v1": StarGANv1(**SMALL),
    "every step": StarGANv1(**{**SMALL, "n_critic": 1}, compose="mask"),
    "seldom penalty": StarGANv1(**SMALL, gp_every=2),
    "laun": LAUN(**SMALL, depth=3, lambda_cx=0.6, cx_bandwidth=0.4, cx_side=8),
    "laun without context": LAUN(**SMALL, depth=3, lambda_cx=0.0),
}


class Features(nn.Module):
    """Small maps (b, 5, 4, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 4, 4)

    def forward(self, image: Tensor, layer: str) -> Tensor:
        assert layer == "conv4_2"
        return F.relu(self.conv(image))


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def state_of(method: StarGANv1) -> State:
    recipe = Recipe("test", "", method, DataConfig(size=SIZE), TrainConfig(seed=3))  # type: ignore[arg-type]
    torch.manual_seed(8)
    return fresh_state(recipe, DOMAINS, LocalWorker(), {name: Features() for name in method.helpers})


def batch_of(step: int) -> dict[str, Tensor]:
    rng = np.random.default_rng(step)
    labels = {name: torch.from_numpy(rng.integers(0, DOMAINS, BATCH)) for name in ("source_label", "target_label")}
    source = torch.from_numpy(rng.uniform(-1, 1, (BATCH, 3, SIZE, SIZE))).to(torch.get_default_dtype())
    return {"source": source, **labels}


def noise_of(step: int) -> Callable[[str, int], Tensor]:
    def normal(name: str, width: int) -> Tensor:
        rng = np.random.default_rng((step, *name.encode()))
        return torch.from_numpy(rng.standard_normal((BATCH, width)))

    return normal


def fast(state: State, **options: Any) -> dict[str, Tensor]:
    return run_step(state, LocalWorker(), [(batch_of(state.step), noise_of(state.step))], ema=EMA, **options)


# -- the plain step: everything recomputed, nothing frozen, one image after another -----------------------------


@dataclass
class Plain:
    method: Any
    networks: dict[str, Any]
    features: Any
    averages: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    @staticmethod
    def of(state: State) -> Plain:
        networks = copy.deepcopy(state.networks)
        adam = {
            name: torch.optim.Adam(net.parameters(), betas=(0.5, 0.999), fused=False, foreach=False)
            for name, net in networks.items()
        }
        features = copy.deepcopy(state.helpers.get("features"))
        return Plain(state.method, networks, features, copy.deepcopy(state.averaged), adam)

    def iterate(self, step: int) -> None:
        self.update(self.d_loss(step), "discriminator", self.method.rate_d(step))
        if (step + 1) % self.method.n_critic == 0:
            self.update(self.g_loss(step), "generator", self.method.rate_g(step))
        for name, average in self.averages.items():
            for mine, theirs in zip(average.parameters(), self.networks[name].parameters(), strict=True):
                mine.data = EMA * mine.data + (1 - EMA) * theirs.data

    def update(self, loss: Tensor, name: str, rate: float) -> None:
        for network in self.networks.values():
            network.zero_grad()
        loss.backward()
        self.optimizers[name].param_groups[0]["lr"] = rate
        self.optimizers[name].step()

    def d_loss(self, step: int) -> Tensor:
        """−D(x) + D(x̃) + λ_cls CE(D_cls(x), y) + λ_gp (‖∇D(x̂)‖ − 1)², the mean of each image's own."""
        G, D, method = self.networks["generator"], self.networks["discriminator"], self.method
        batch, alphas = batch_of(step), Step(step, noise_of(step)).uniform("mix", 1)
        total = torch.zeros(())
        for x, y, target, alpha in zip(
            batch["source"].split(1), batch["source_label"], batch["target_label"], alphas, strict=True
        ):
            fake = G(x, F.one_hot(target[None], DOMAINS)).detach()
            real_patches, logits = D(x)
            total = total - real_patches.mean() + D(fake)[0].mean()
            total = total - method.lambda_cls * logits.log_softmax(1)[0, y]
            if step % method.gp_every == 0:
                mixed = (alpha * x + (1 - alpha) * fake).requires_grad_()
                (slope,) = torch.autograd.grad(D(mixed)[0].sum(), mixed, create_graph=True)
                total = total + method.lambda_gp * method.gp_every * ((slope**2).sum().sqrt() - 1) ** 2
        return total / BATCH

    def g_loss(self, step: int) -> Tensor:
        """−D(x̃) + λ_cls CE(D_cls(x̃), ỹ) + λ_rec |G(x̃, y) − x|, squared for LAUN, + λ_cx L_cx."""
        G, D, method = self.networks["generator"], self.networks["discriminator"], self.method
        batch = batch_of(step)
        total = torch.zeros(())
        for x, y, target in zip(batch["source"].split(1), batch["source_label"], batch["target_label"], strict=True):
            fake = G(x, F.one_hot(target[None], DOMAINS))
            patches, logits = D(fake)
            total = total - patches.mean() - method.lambda_cls * logits.log_softmax(1)[0, target]
            apart = G(fake, F.one_hot(y[None], DOMAINS)) - x
            total = total + method.lambda_rec * (apart**2 if isinstance(method, LAUN) else apart.abs()).mean()
            if self.features is not None:
                total = total + method.lambda_cx * self.context(fake, x)
        return total / BATCH

    def context(self, fake: Tensor, real: Tensor) -> Tensor:
        """−log mean_j max_i CX_ij over the 16 positions of the maps."""
        a, b = (self.features(image, "conv4_2")[0].flatten(1).T for image in (fake, real))
        a, b = a - b.mean(0), b - b.mean(0)
        d = 1 - (a @ b.T) / (a.norm(dim=1)[:, None] * b.norm(dim=1))
        w = torch.exp((1 - d / (d.min(1, keepdim=True).values + 1e-5)) / self.method.cx_bandwidth)
        return -torch.log((w / w.sum(1, keepdim=True)).max(0).values.mean())


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", METHODS)
def test_the_fast_step_equals_the_plain_step(name: str) -> None:
    state = state_of(METHODS[name])
    plain = Plain.of(state)
    start = {n: copy.deepcopy(net.state_dict()) for n, net in state.networks.items()}
    for step in range(6):
        fast(state)
        plain.iterate(step)
    for ours, theirs in ((state.networks, plain.networks), (state.averaged, plain.averages)):
        for n, network in ours.items():
            for key, value in network.state_dict().items():
                torch.testing.assert_close(
                    value, theirs[n].state_dict()[key], rtol=0, atol=1e-9, msg=lambda m, k=f"{n}.{key}: ": k + m
                )
    for n, network in state.networks.items():  # the steps were no trifles
        assert max((v - start[n][k]).abs().max() for k, v in network.state_dict().items()) > 5e-4


# -- who runs when ---------------------------------------------------------------------------------------------


def test_g_is_updated_after_n_critic_updates_of_d() -> None:
    state = state_of(StarGANv1(**{**SMALL, "n_critic": 3}))
    ran = [{name.split("/")[0] for name in fast(state)} for _ in range(6)]
    assert ran == [{"d"}, {"d"}, {"d", "g"}] * 2


def test_defaults_are_the_published_ones() -> None:
    for method in (StarGANv1(), LAUN()):
        assert (method.lambda_cls, method.lambda_rec, method.lambda_gp) == (1, 10, 10)
        assert (method.n_critic, method.gp_every, method.averaged, method.compose) == (5, 1, (), "image")
        for network in ("generator", "discriminator"):
            rates = [method.rate(network, step) for step in (0, 99_999, 100_000, 150_000, 200_000)]
            assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 5e-5, 0])
            settings = method.optimizer(network, [nn.Parameter(torch.zeros(1))]).defaults
            assert (settings["betas"], settings["weight_decay"], settings["lr"]) == ((0.5, 0.999), 0, 1e-4)
        assert isinstance(method, Translator)
    assert (StarGANv1().helpers, LAUN().helpers, LAUN(lambda_cx=0).helpers) == ((), ("features",), ())
    assert LAUN().cx_bandwidth == 0.5
    for name in ("stargan-v1", "laun"):
        for size in (64, 128, 256):
            recipe = RECIPES[f"{name}-{size}"]
            assert (recipe.data.shape.batch, recipe.train.steps, recipe.train.best) == (16, 200_000, "")
            with torch.device("meta"):
                recipe.method.networks(size, 8)


def test_the_average_is_kept_where_it_is_asked_for() -> None:
    assert set(state_of(METHODS["v1"]).averaged) == {"generator"}
    assert state_of(replace(METHODS["v1"], average=False)).averaged == {}


@pytest.mark.usefixtures("double")
def test_the_contextual_loss_trains_g_through_the_frozen_features() -> None:
    method = METHODS["laun"]
    state = state_of(method)
    networks = {**state.helpers, **state.networks}
    assert isinstance(networks["generator"], AttentionUNet)
    batch = batch_of(0)
    fake = networks["generator"](batch["source"], batch["target_label"])
    method.extra_terms(networks, batch, Step(0, noise_of(0)), fake)["cx"].value.backward()
    assert max(p.grad.abs().max() for p in networks["generator"].parameters() if p.grad is not None) > 1e-6
    assert all(p.grad is None for p in networks["features"].parameters())
    assert "g/cx" not in fast(state_of(METHODS["laun without context"]))


def test_bfloat16_keeps_weights_and_the_penalty_in_full_precision() -> None:
    for name in ("every step", "laun"):
        state = state_of(METHODS[name])
        values = [fast(state, bf16=True) for _ in range(2)]
        assert all(v.isfinite() for part in values for v in part.values())
        assert all(v.dtype == torch.float32 for part in values for v in part.values())
        assert all(p.dtype == torch.float32 for net in state.networks.values() for p in net.parameters())


def test_the_penalty_sees_full_precision_under_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    state = state_of(METHODS["every step"])
    layer: Any = state.networks["discriminator"]
    layer.patches.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    fast(state, bf16=True)
    # D's real and fake, D's mixed images, G's fakes
    assert seen == [torch.bfloat16, torch.float32, torch.bfloat16]


# -- use -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", ["v1", "laun"])
def test_translate_goes_from_the_own_label_to_the_targets(name: str) -> None:
    method = METHODS[name]
    state = state_of(method)
    batch = batch_of(0)
    image, label, target = batch["source"], batch["source_label"], batch["target_label"]
    own, goal = (F.one_hot(y, DOMAINS).double() for y in (label, target))
    G = state.networks["generator"]
    # no latent, or a reference whose label alone counts
    for guide in (Target(target, latent=torch.zeros(BATCH, 0)), Target(target, reference=image.flip(0))):
        for intensity in (0.0, 0.25, 1.0):
            out = method.translate(state.networks, image, label, guide._replace(intensity=intensity))
            torch.testing.assert_close(out, G(image, (1 - intensity) * own + intensity * goal), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("kind", "field", "value", "allowed"),
    [
        *(
            (StarGANv1, f, v, "finite values >= 0")
            for f in ("lambda_cls", "lambda_rec", "lambda_gp")
            for v in (-1.0, float("nan"), float("inf"))
        ),
        (StarGANv1, "n_critic", 0, "values >= 1"),
        (StarGANv1, "gp_every", 0, "values >= 1"),
        (StarGANv1, "layers", 0, "values >= 1"),
        (StarGANv1, "blocks", -1, "values >= 0"),
        (StarGANv1, "beta1", 1.0, "0 <= beta1 < 1"),
        (LAUN, "lambda_cx", -0.1, "finite values >= 0"),
        (LAUN, "lambda_rec", -0.1, "finite values >= 0"),
        (LAUN, "cx_bandwidth", 0.0, "finite values > 0"),
        (LAUN, "cx_side", 1, "2 to 64"),
        (LAUN, "depth", 0, "1 to 8"),
    ],
)
def test_values_that_no_run_can_mean_are_refused(kind: type[StarGANv1], field: str, value: float, allowed: str) -> None:
    with pytest.raises(InputError, match=rf"method\.{field} = {value}: allowed (is|are) {allowed}") as caught:
        kind(**{field: value})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
