"""The iterations of the methods as a textbook writes them: everything recomputed, nothing shared, nothing frozen.

StarGAN v1, LAUN and StarGAN v2 are written out. Of the others ``Plain`` runs the method's own losses that way, which
still has what the losses themselves save, such as one call for two uses of a network.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from stargan_ray import losses
from stargan_ray.methods.base import Step
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.methods.stargan_v2 import StarGANv2

Batch = dict[str, Tensor]


class Textbook:
    """Separate updates, every forward pass with its graph, plain Adam, an average tensor by tensor."""

    averaged: tuple[str, ...] = ()

    def __init__(self, networks: dict[str, Any], batch: Batch, betas: tuple[float, float], decay: float) -> None:
        self.networks, self.batch = networks, batch
        self.adams = {
            net: torch.optim.Adam(net.parameters(), 1e-4, betas, weight_decay=decay) for net in networks.values()
        }
        self.averages = [(networks[name], copy.deepcopy(networks[name])) for name in self.averaged]

    def update(self, loss: Tensor, *nets: Any) -> None:
        """Clear every gradient, back-propagate to everything, step some networks."""
        for adam in self.adams.values():
            adam.zero_grad()
        loss.backward()
        for net in nets:
            self.adams[net].step()

    def average(self) -> None:
        """Move the averages."""
        for net, average in self.averages:
            for mine, theirs in zip(average.parameters(), net.parameters(), strict=True):
                mine.data = torch.lerp(theirs.data, mine.data, 0.999)


class Plain(Textbook):
    """Any method's phases, each as if it were alone."""

    def __init__(self, method: Any, networks: dict[str, Any], batch: Batch, helpers: dict[str, Any]) -> None:
        self.averaged = method.averaged
        super().__init__(networks, batch, (0.0, 0.99), 1e-4)
        self.method, self.called = method, {**helpers, **networks}
        self.index = 0

    def __call__(self) -> None:
        """One iteration."""
        for phase in self.method.phases():
            if phase.due(self.index):
                step = Step(self.index, lambda _, width: torch.randn(len(self.batch["source"]), width))
                terms = phase.loss(self.called, self.batch, step)
                total: Any = sum(term.weight * term.value for term in terms.values())
                self.update(total, *(self.networks[name] for name in phase.updates))
        self.average()
        self.index += 1


class TextbookV2(Textbook):
    """StarGAN v2's four updates in the published order."""

    averaged = ("generator", "mapping", "style_encoder")

    def __init__(self, method: StarGANv2, networks: dict[str, Any], batch: Batch) -> None:
        super().__init__(networks, batch, (0.0, 0.99), 1e-4)
        self.latent_dim = method.latent_dim
        self.g, self.f = networks["generator"], networks["mapping"]
        self.e, self.d = networks["style_encoder"], networks["discriminator"]

    def critic(self, image: Tensor, label: Tensor) -> Tensor:
        """The logit of each image's domain."""
        logits: Tensor = self.d(image)
        return logits.gather(1, label[:, None]).squeeze(1)

    def styles(self, latent: bool) -> tuple[Tensor, Tensor]:
        """Two target styles, with graphs."""
        b, y = self.batch, self.batch["target_label"]
        if latent:
            return tuple(self.f(torch.randn(len(y), self.latent_dim, device=y.device), y) for _ in range(2))  # type: ignore[return-value]
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
        self.average()


class TextbookV1(Textbook):
    """StarGAN v1's and LAUN's n_critic updates of D and one of G."""

    def __init__(self, method: StarGANv1, networks: dict[str, Any], batch: Batch, features: Any = None) -> None:
        super().__init__(networks, batch, (0.5, 0.999), 0.0)
        self.method, self.features = method, features
        self.g, self.d = networks["generator"], networks["discriminator"]

    def d_loss(self) -> Tensor:
        """WGAN-GP and the classification of real images."""
        x, method = self.batch["source"], self.method
        fake = self.g(x, self.batch["target_label"]).detach()
        on_real, classes = self.d(x)
        on_fake, _ = self.d(fake)
        share = torch.rand(len(x), 1, 1, 1)
        mixed = (share * x + (1 - share) * fake).requires_grad_()
        penalty = losses.gradient_penalty(self.d(mixed)[0], mixed)
        loss = losses.wasserstein(on_real, real=True) + losses.wasserstein(on_fake, real=False)
        loss = loss + method.lambda_cls * losses.classification(classes, self.batch["source_label"])
        return loss + method.lambda_gp * penalty

    def g_loss(self) -> Tensor:
        """Adversarial, classification and reconstruction losses, and the contextual one."""
        x, target, method = self.batch["source"], self.batch["target_label"], self.method
        fake = self.g(x, target)
        patches, classes = self.d(fake)
        back = self.g(fake, self.batch["source_label"])
        loss = losses.wasserstein(patches, real=True) + method.lambda_cls * losses.classification(classes, target)
        loss = loss + method.lambda_rec * method.reconstruction(back, x)
        if self.features is not None:
            seen = {**self.networks, "features": self.features}
            for term in method.extra_terms(seen, self.batch, None, fake).values():  # type: ignore[arg-type]
                loss = loss + term.weight * term.value
        return loss

    def __call__(self) -> None:
        """``n_critic`` iterations: all that is between two updates of G."""
        for _ in range(self.method.n_critic):
            self.update(self.d_loss(), self.d)
        self.update(self.g_loss(), self.g)
