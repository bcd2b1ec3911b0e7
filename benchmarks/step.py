"""One iteration of StarGAN v2 at the tiny size against the textbook step in the published order.

python benchmarks/step.py

The textbook step recomputes everything and freezes nothing; both compute the same mathematics (the equality is a
test: tests/methods). The tiny recipe's own iteration, with its cheaper mathematics, stands beside them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from measure import alternate, report  # isort: skip
from stargan_ray import losses
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.recipes import recipe_named
from stargan_ray.schedules import LinearDecay
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import LocalWorker

BATCH, SIZE, DOMAINS = 16, 32, 8


def make_batch() -> dict[str, Tensor]:
    """Random images and labels of one step."""
    images = {name: torch.rand(BATCH, 3, SIZE, SIZE) * 2 - 1 for name in ("source", "reference", "reference2")}
    return images | {name: torch.randint(DOMAINS, (BATCH,)) for name in ("source_label", "target_label")}


def make_step(method: StarGANv2, batch: dict[str, Tensor]) -> Callable[[], object]:
    """Our iteration."""
    torch.manual_seed(0)
    networks = method.networks(SIZE, DOMAINS)
    averaged = {name: copy.deepcopy(networks[name]).requires_grad_(False) for name in method.averaged}
    optimizers = {name: method.optimizer(name, list(net.parameters())) for name, net in networks.items()}
    state = State(method, networks, networks, {}, averaged, optimizers)
    worker = LocalWorker()
    return lambda: run_step(state, worker, [(batch, lambda _, width: torch.randn(BATCH, width))], ema=0.999)


class Textbook:
    """Four separate updates, every forward pass with its graph, plain Adam, an average tensor by tensor."""

    def __init__(self, method: StarGANv2, batch: dict[str, Tensor]) -> None:
        torch.manual_seed(0)
        self.method, self.batch = method, batch
        nets = method.networks(SIZE, DOMAINS)
        self.g, self.f = nets["generator"], nets["mapping"]
        self.e, self.d = nets["style_encoder"], nets["discriminator"]
        self.adams = {
            net: torch.optim.Adam(net.parameters(), 1e-4, (0.0, 0.99), weight_decay=1e-4) for net in nets.values()
        }
        self.averages = [(net, copy.deepcopy(net)) for net in (self.g, self.f, self.e)]

    def critic(self, image: Tensor, label: Tensor) -> Tensor:
        """The logit of each image's domain."""
        logits: Tensor = self.d(image)
        return logits.gather(1, label[:, None]).squeeze(1)

    def update(self, loss: Tensor, *nets: Any) -> None:
        """Clear every gradient, back-propagate to everything, step some networks."""
        for adam in self.adams.values():
            adam.zero_grad()
        loss.backward()
        for net in nets:
            self.adams[net].step()

    def styles(self, latent: bool) -> tuple[Tensor, Tensor]:
        """Two target styles, with graphs."""
        b, y = self.batch, self.batch["target_label"]
        if latent:
            return tuple(self.f(torch.randn(BATCH, self.method.latent_dim), y) for _ in range(2))  # type: ignore[return-value]
        return self.e(b["reference"], y), self.e(b["reference2"], y)

    def d_loss(self, latent: bool) -> Tensor:
        """Adversarial loss and R1."""
        real = self.batch["source"].clone().requires_grad_()
        on_real = self.critic(real, self.batch["source_label"])
        with torch.no_grad():
            fake = self.g(real, self.styles(latent)[0])
        on_fake = self.critic(fake, self.batch["target_label"])
        adversarial = losses.adversarial(on_real, real=True) + losses.adversarial(on_fake, real=False)
        return adversarial + losses.r1_penalty(on_real, real)

    def g_loss(self, latent: bool) -> Tensor:
        """Adversarial, style, diversity and cycle losses."""
        x, y, target = self.batch["source"], self.batch["source_label"], self.batch["target_label"]
        style, other = self.styles(latent)
        fake = self.g(x, style)
        loss = losses.adversarial(self.critic(fake, target), real=True)
        loss = loss + losses.l1(self.e(fake, target), style) - losses.l1(fake, self.g(x, other).detach())
        return loss + losses.l1(self.g(fake, self.e(x, y)), x)

    def __call__(self) -> None:
        """One iteration."""
        self.update(self.d_loss(latent=True), self.d)
        self.update(self.d_loss(latent=False), self.d)
        self.update(self.g_loss(latent=True), self.g, self.f, self.e)
        self.update(self.g_loss(latent=False), self.g)
        for net, average in self.averages:
            for mine, theirs in zip(average.parameters(), net.parameters(), strict=True):
                mine.data = torch.lerp(theirs.data, mine.data, 0.999)


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    tiny = recipe_named("stargan-v2-tiny").method
    assert isinstance(tiny, StarGANv2)
    same = replace(
        tiny,
        compose="image",
        r1_every=1,
        reference_every=1,
        lambda_cls=LinearDecay(0.0, 0),
        lambda_ds=LinearDecay(1.0, 0),
    )
    batch = make_batch()
    seconds = alternate(
        10,
        textbook=Textbook(same, batch),
        ours=make_step(same, batch),
        folded_ours=make_step(replace(same, patch=2, first=32, first_critic=32, largest=64), batch),
        tiny_recipe=make_step(tiny, batch),
    )
    report("step-32", "python benchmarks/step.py", seconds, batch=BATCH, size=SIZE)


if __name__ == "__main__":
    main()
