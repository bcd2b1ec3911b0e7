"""StarGAN v1 (Choi et al., CVPR 2018): one generator told the target domain, WGAN-GP with a domain classifier.

One iteration updates D; every ``n_critic``-th updates G too, on the same batch. Its published 200,000 iterations are
those of D. A domain is a one-hot code, so an intensity and a face between two domains are codes in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray import losses
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Networks, Phase, Step, Target, Term, Terms
from stargan_ray.methods.checks import require_finite, require_least
from stargan_ray.methods.translation import CodeTranslator
from stargan_ray.models.blocks import he_init
from stargan_ray.models.stargan_v1 import Discriminator, Generator
from stargan_ray.models.stargan_v2 import Compose
from stargan_ray.schedules import HeldDecay


@dataclass(frozen=True)
class StarGANv1(CodeTranslator):
    """Hyperparameters; the defaults are the published ones.

    Attributes:
        first: channels of G at full resolution.
        blocks: G's residual blocks.
        first_critic: channels of D's first layer.
        largest: channels of D at most.
        layers: D's halvings; the image must have at least 2^layers pixels a side.
        compose: ``image`` (published) or ``mask`` (an edit of the source, see ``painted``).
        lambda_cls: weight of the domain classification, in D on real images and in G on fakes.
        lambda_rec: weight of the reconstruction of the source from its translation.
        lambda_gp: weight of the gradient penalty.
        gp_every: the penalty on steps divisible by it, at ``gp_every`` times the weight; 1 = published, more is
            cheaper and other mathematics.
        n_critic: updates of D for each of G.
        rate_g, rate_d: learning rates of Adam over time.
        beta1, beta2: Adam.
        init: how weights start: ``torch`` as in the authors' program, which shrinks what passes D by √6 a layer, or
            ``he``: with it a short run's D begins to tell domains apart within its first hundred steps instead of after
            three hundred.
        average: whether a moving average of G is kept and used; published without.
    """

    name: ClassVar[str] = "stargan-v1"
    plan: ClassVar[str] = "domains"
    clip_value: ClassVar[float] = 0.0
    latent_dim: ClassVar[int] = 0

    first: int = 64
    blocks: int = 6
    first_critic: int = 64
    largest: int = 2048
    layers: int = 6
    compose: Compose = "image"
    lambda_cls: float = 1.0
    lambda_rec: float = 10.0
    lambda_gp: float = 10.0
    gp_every: int = 1
    n_critic: int = 5
    rate_g: HeldDecay = HeldDecay(1e-4, 100_000, 200_000)
    rate_d: HeldDecay = HeldDecay(1e-4, 100_000, 200_000)
    beta1: float = 0.5
    beta2: float = 0.999
    init: Literal["torch", "he"] = "torch"
    average: bool = False

    def __post_init__(self) -> None:
        """Refuse weights, counts and momenta that no run can mean."""
        require_finite(self, "lambda_cls", "lambda_rec", "lambda_gp")
        require_least(self, 1, "first", "first_critic", "largest", "layers", "gp_every", "n_critic")
        require_least(self, 0, "blocks")
        for field in ("beta1", "beta2"):
            if not 0 <= getattr(self, field) < 1:
                raise InputError(f"method.{field} = {getattr(self, field)}: allowed is 0 <= {field} < 1")

    @property
    def averaged(self) -> tuple[str, ...]:
        """G, when an average is kept."""
        return ("generator",) if self.average else ()

    @property
    def helpers(self) -> tuple[str, ...]:
        """None."""
        return ()

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:
        """G and D for images of ``size`` pixels (a power of two, at least 2^layers)."""
        self.require_size(size, 2**self.layers, f"method.layers = {self.layers}")
        critic = Discriminator(size, domains, first=self.first_critic, largest=self.largest, layers=self.layers)
        networks = {"generator": self.generator(domains), "discriminator": critic}
        if self.init == "he":
            for network in networks.values():
                he_init(network)
        return networks

    def generator(self, domains: int) -> nn.Module:
        """A fresh G."""
        return Generator(domains, first=self.first, blocks=self.blocks, compose=self.compose)

    def require_size(self, size: int, least: int, why: str) -> None:
        """Refuse sizes that cannot be halved as often as a network does."""
        if size & (size - 1) or size < least:
            raise InputError(f"data.size = {size}: allowed are powers of two >= {least} ({why})")

    def phases(self) -> tuple[Phase, ...]:
        """D on every step, G on every n_critic-th."""
        return (
            Phase("d", ("discriminator",), self.d),
            Phase("g", ("generator",), self.g, every=self.n_critic, offset=self.n_critic - 1),
        )

    def optimizer(self, name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam without weight decay, as published for both networks."""
        return torch.optim.Adam(parameters, lr=self.rate(name, 0), betas=(self.beta1, self.beta2), fused=True)

    def rate(self, name: str, step: int) -> float:
        """Learning rate of a network at a step."""
        return (self.rate_g if name == "generator" else self.rate_d)(step)

    # -- the two losses -------------------------------------------------------------------------------------

    def d(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """D: eq. 8 with its gradient penalty, and eq. 2, the domain of real images."""
        real, label = batch["source"], batch["source_label"]
        with torch.no_grad():
            fake = networks["generator"](real, batch["target_label"]).type_as(real)
        critic = networks["discriminator"]
        # One call for both, since D has no norm over the batch: its cost is in the launches at small sizes.
        patches, classes = critic(torch.cat([real, fake]))
        on_real, on_fake = patches.chunk(2)
        terms = {
            "real": Term(losses.wasserstein(on_real, real=True)),
            "fake": Term(losses.wasserstein(on_fake, real=False)),
            "cls": Term(losses.classification(classes[: len(real)], label), self.lambda_cls),
        }
        if self.lambda_gp and step.index % self.gp_every == 0:
            share = step.uniform("mix", 1).type_as(real)[:, :, None, None]
            mixed = torch.lerp(fake, real, share).requires_grad_()
            # The penalty's second derivatives lose their meaning in bf16.
            with torch.autocast(real.device.type, enabled=False):
                patches, _ = critic(mixed)
            terms["gp"] = Term(losses.gradient_penalty(patches, mixed), self.lambda_gp * self.gp_every)
        return terms

    def g(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """G: eq. 8, eq. 3, the wanted domain of fakes, and eq. 4, the way back."""
        source, target = batch["source"], batch["target_label"]
        generator = networks["generator"]
        fake = generator(source, target)
        patches, classes = networks["discriminator"](fake)
        terms = {
            "adv": Term(losses.wasserstein(patches, real=True)),
            "cls": Term(losses.classification(classes, target), self.lambda_cls),
        }
        if self.lambda_rec:
            back = generator(fake, batch["source_label"])
            terms["rec"] = Term(self.reconstruction(back, source), self.lambda_rec)
        return {**terms, **self.extra_terms(networks, batch, step, fake)}

    def reconstruction(self, back: Tensor, source: Tensor) -> Tensor:
        """How far the way back ends from where it began: L1."""
        return losses.l1(back, source)

    def extra_terms(self, networks: Networks, batch: Batch, step: Step, fake: Tensor) -> Terms:  # noqa: ARG002
        """What a method built on this one adds to G's losses."""
        return {}

    # -- use ------------------------------------------------------------------------------------------------

    def domains(self, networks: Networks) -> int:
        """K."""
        return int(networks["generator"].domains)

    def code(self, networks: Networks, target: Target) -> Tensor:
        """The target's one-hot label (b, K); of a reference its label alone is taken."""
        return self._one_hot(networks, target.label)

    def own_code(self, networks: Networks, image: Tensor, source_label: Tensor) -> Tensor:  # noqa: ARG002
        """The source's one-hot label (b, K)."""
        return self._one_hot(networks, source_label)

    def render(self, networks: Networks, image: Tensor, code: Tensor) -> Tensor:
        """G(x, c)."""
        translated: Tensor = networks["generator"](image, code)
        return translated

    def _one_hot(self, networks: Networks, label: Tensor) -> Tensor:
        return F.one_hot(label, self.domains(networks)).to(torch.get_default_dtype())
