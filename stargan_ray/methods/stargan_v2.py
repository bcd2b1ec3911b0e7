"""StarGAN v2 (Choi et al., CVPR 2020): one generator, styles from a latent code or a reference image.

One iteration is four updates in the published order: D with latent styles, D with reference styles,
G + F + E with latent styles, G alone with reference styles (the authors found that training E there degrades
results strongly). The mathematics is the published one at less cost: work whose gradient is thrown away is
done without a graph, and the latent fake of D's update is reused, graph and all, in G's (G and F have not
moved in between).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stargan_ray import losses
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Networks, Phase, Step, Target, Term, Terms
from stargan_ray.methods.checks import require_finite, require_least
from stargan_ray.methods.translation import CodeTranslator
from stargan_ray.models.stargan_v2 import Compose, Discriminator, Generator, MappingNetwork, StyleEncoder
from stargan_ray.schedules import LinearDecay

_OF_REFERENCE = ("reference_fake", "reference_style", "reference_other", "reference_own")


@dataclass(frozen=True)
class StarGANv2(CodeTranslator):
    """Hyperparameters; the defaults are the published ones.

    Attributes:
        first: channels at full resolution; 0 = the published 2^14 / size.
        first_critic: the same for E and D; 0 = as ``first``.
        largest: channels at most.
        bottleneck: resolution of G's deepest features in pixels.
        depth: residual blocks of each kind at the bottleneck.
        style_dim, latent_dim, mapping_hidden: widths of the style code, the latent code and F.
        compose: ``image`` (published) or ``mask`` (an edit of the source, see ``Generator``).
        patch: p × p pixels folded into channels before the first layers; 1 = published.
        lambda_sty, lambda_cyc, lambda_r1: constant weights.
        lambda_cls: weight over time of StarGAN v1's domain classification on D's K logits, in D on real images
            and in G on fakes; 0 = published. It tells D what the domains are before the adversarial game does, which
            short runs need: without it G learns to copy within the first hundreds of iterations.
        lambda_ds: weight of the diversity term over time.
        r1_every: R1 on steps divisible by it, at ``r1_every`` times the weight; 1 = published, more is cheaper
            and other mathematics.
        reference_every: the two reference updates on steps divisible by it; 1 = published, as above.
        merged: one update of D and one of G, F and E from the sums of the latent and the reference losses; False =
            published, the four one after the other. An eighth cheaper than these, and other mathematics: D sees real
            images once an iteration, and the second losses those networks that the first ones have not moved yet.
        rate_g, rate_d, rate_e, rate_f: learning rates of Adam for G, D, E and F.
        beta1, beta2, weight_decay: Adam.
    """

    name: ClassVar[str] = "stargan-v2"
    plan: ClassVar[str] = "domains"
    averaged: ClassVar[tuple[str, ...]] = ("generator", "mapping", "style_encoder")
    helpers: ClassVar[tuple[str, ...]] = ()
    clip_value: ClassVar[float] = 0.0

    first: int = 0
    first_critic: int = 0
    largest: int = 512
    bottleneck: int = 16
    depth: int = 2
    style_dim: int = 64
    latent_dim: int = 16
    mapping_hidden: int = 512
    compose: Compose = "image"
    patch: int = 1
    lambda_sty: float = 1.0
    lambda_cyc: float = 1.0
    lambda_r1: float = 1.0
    lambda_cls: LinearDecay = LinearDecay(0.0, 0)
    lambda_ds: LinearDecay = LinearDecay(1.0, 100_000)
    r1_every: int = 1
    reference_every: int = 1
    merged: bool = False
    rate_g: float = 1e-4
    rate_d: float = 1e-4
    rate_e: float = 1e-4
    rate_f: float = 1e-6
    beta1: float = 0.0
    beta2: float = 0.99
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse weights and rates that no run can mean."""
        require_finite(self, "lambda_sty", "lambda_cyc", "lambda_r1", "rate_g", "rate_d", "rate_e", "rate_f")
        if not self.lambda_sty and not self.lambda_cyc:
            raise InputError("method.lambda_sty = method.lambda_cyc = 0: E would learn nothing; one must be > 0")
        require_least(self, 1, "r1_every", "reference_every")
        for field, least in (("bottleneck", 4), ("patch", 1)):
            value = getattr(self, field)
            if value < least or value & (value - 1):
                raise InputError(f"method.{field} = {value}: allowed are powers of two >= {least}")

    def identity_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What G and D are built with besides where a method built on this one gives them the identity."""
        return {}, {}

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:
        """G, F, E, D for images of ``size`` pixels (a power of two, at least twice the bottleneck)."""
        least = 2 * self.bottleneck * self.patch
        if size & (size - 1) or size < least:
            raise InputError(
                f"data.size = {size}: allowed are powers of two >= {least} (twice method.bottleneck = "
                f"{self.bottleneck} times method.patch = {self.patch})"
            )
        first = self.first or 2**14 // size
        of_generator, of_critic = self.identity_inputs()
        critic: dict[str, Any] = {"first": self.first_critic or first, "largest": self.largest, "patch": self.patch}
        return {
            "generator": Generator(
                size,
                first=first,
                largest=self.largest,
                bottleneck=self.bottleneck,
                depth=self.depth,
                style_dim=self.style_dim,
                compose=self.compose,
                patch=self.patch,
                **of_generator,
            ),
            "mapping": MappingNetwork(
                domains, latent_dim=self.latent_dim, style_dim=self.style_dim, hidden=self.mapping_hidden
            ),
            "style_encoder": StyleEncoder(size, domains, style_dim=self.style_dim, **critic),
            "discriminator": Discriminator(size, domains, **critic, **of_critic),
        }

    def phases(self) -> tuple[Phase, ...]:
        """The four updates of one iteration in the published order, or two merged ones."""
        if self.merged:
            seldom = self.reference_every
            return (
                Phase("d_reference", ("discriminator",), self.d_reference, seldom, keeps=("generator",), defers=True),
                Phase("d_latent", ("discriminator",), self.d_latent, keeps=("generator", "mapping")),
                Phase("g_reference", ("generator",), self.g_reference, seldom, defers=True),
                Phase("g_latent", ("generator", "mapping", "style_encoder"), self.g_latent),
            )
        return (
            Phase("d_latent", ("discriminator",), self.d_latent, keeps=("generator", "mapping")),
            Phase("d_reference", ("discriminator",), self.d_reference, every=self.reference_every),
            Phase("g_latent", ("generator", "mapping", "style_encoder"), self.g_latent),
            Phase("g_reference", ("generator",), self.g_reference, every=self.reference_every),
        )

    def optimizer(self, name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam, as published for all four networks."""
        return torch.optim.Adam(
            parameters,
            lr=self.rate(name, 0),
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            fused=True,
        )

    def rate(self, name: str, step: int) -> float:  # noqa: ARG002 - the published rates are constant
        """Learning rate of a network."""
        rates = {
            "generator": self.rate_g,
            "discriminator": self.rate_d,
            "style_encoder": self.rate_e,
            "mapping": self.rate_f,
        }
        return rates[name]

    # -- the four losses ------------------------------------------------------------------------------------

    def d_latent(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """D on real images and latent-guided fakes (eq. 1) with R1; leaves the fake for ``g_latent``.

        Merged, the real images count for both updates.
        """
        fake, _ = self._latent_fake(networks, batch, step)
        both = self.merged and step.index % self.reference_every == 0
        real = self._on_real(networks, batch, step, 2 if both else 1)
        return {**real, **self._on_fake(networks, batch, step, fake.detach())}

    def d_reference(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """D on real images and reference-guided fakes (eq. 1) with R1.

        Merged, on the fakes alone; leaves them for ``g_reference``.
        """
        if self.merged:
            fake, *_ = self._reference_fake(networks, batch, step)
            return self._on_fake(networks, batch, step, fake.detach())
        with torch.no_grad():
            style = networks["style_encoder"](batch["reference"], batch["target_label"])
            fake = networks["generator"](batch["source"], style, self.embedding(networks, batch, step))
        return {**self._on_real(networks, batch, step), **self._on_fake(networks, batch, step, fake)}

    def g_latent(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """G, F and E with latent styles: eq. 1 to 4."""
        source, label, target = batch["source"], batch["source_label"], batch["target_label"]
        fake, style = self._latent_fake(networks, batch, step)
        # One call for both uses of E: its cost is in the launches at small sizes.
        styles = networks["style_encoder"](torch.cat([fake, source]), torch.cat([target, label]))
        recovered, own = styles.chunk(2)
        with torch.no_grad():
            other = networks["mapping"](step.normal("latent2", self.latent_dim).type_as(source), target)
        terms = self._generate(networks, batch, step, fake, own, other)
        return {**terms, "sty": Term(losses.l1(recovered, style), self.lambda_sty)}

    def g_reference(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """G alone with reference styles: eq. 1 to 4; E only measures."""
        fake, style, other, own = self._reference_fake(networks, batch, step)
        recovered = networks["style_encoder"](fake, batch["target_label"])
        terms = self._generate(networks, batch, step, fake, own, other)
        return {**terms, "sty": Term(losses.l1(recovered, style), self.lambda_sty)}

    def embedding(self, networks: Networks, batch: Batch, step: Step) -> Tensor | None:  # noqa: ARG002
        """The source's identity embedding (b, I) where the method has one."""
        return None

    def extra_terms(self, networks: Networks, batch: Batch, step: Step, fake: Tensor) -> Terms:  # noqa: ARG002
        """What a method built on this one adds to G's losses."""
        return {}

    def _latent_fake(self, networks: Networks, batch: Batch, step: Step) -> tuple[Tensor, Tensor]:
        """G(x, F(z)) and F(z) with their graph, computed once a step."""
        if "latent_fake" not in step.scratch:
            latent = step.normal("latent", self.latent_dim).type_as(batch["source"])
            style = networks["mapping"](latent, batch["target_label"])
            embedding = self.embedding(networks, batch, step)
            step.scratch["latent_fake"] = networks["generator"](batch["source"], style, embedding)
            step.scratch["latent_style"] = style
        return step.scratch["latent_fake"], step.scratch["latent_style"]

    def _reference_fake(self, networks: Networks, batch: Batch, step: Step) -> list[Tensor]:
        """G(x, E(x_ref)) with its graph, then the styles E(x_ref), E(x_ref2) and E(x) without one.

        Merged, computed once a step: neither G nor E moves between D's loss and G's.
        """
        if "reference_fake" not in step.scratch:
            source, label, target = batch["source"], batch["source_label"], batch["target_label"]
            with torch.no_grad():
                images = torch.cat([batch["reference"], batch["reference2"], source])
                styles = networks["style_encoder"](images, torch.cat([target, target, label])).chunk(3)
            fake = networks["generator"](source, styles[0], self.embedding(networks, batch, step))
            if not self.merged:
                return [fake, *styles]
            step.scratch |= dict(zip(_OF_REFERENCE, [fake, *styles], strict=True))
        return [step.scratch[name] for name in _OF_REFERENCE]

    def _on_real(self, networks: Networks, batch: Batch, step: Step, times: int = 1) -> Terms:
        """D's terms on real images, for so many updates at once."""
        embedding = self.embedding(networks, batch, step)
        penalised = bool(self.lambda_r1) and step.index % self.r1_every == 0
        real = batch["source"].detach().requires_grad_(penalised)
        # R1's second derivatives lose their meaning in bf16: D sees real images in full precision.
        with torch.autocast(real.device.type, enabled=False):
            logits = networks["discriminator"](real, embedding)
        on_real = _of_domain(logits, batch["source_label"])
        terms = {"real": Term(losses.adversarial(on_real, real=True), times)}
        if penalised:
            weight = self.lambda_r1 * self.r1_every * times
            terms["r1"] = Term(losses.r1_penalty(on_real, real), weight)
        if guidance := step.weight(self.lambda_cls):
            terms["cls"] = Term(losses.classification(logits, batch["source_label"]), guidance * times)
        return terms

    def _on_fake(self, networks: Networks, batch: Batch, step: Step, fake: Tensor) -> Terms:
        """D's term on fakes."""
        logits = networks["discriminator"](fake, self.embedding(networks, batch, step))
        on_fake = _of_domain(logits, batch["target_label"])
        return {"fake": Term(losses.adversarial(on_fake, real=False))}

    def _generate(
        self, networks: Networks, batch: Batch, step: Step, fake: Tensor, own: Tensor, other: Tensor
    ) -> Terms:
        """Adversarial, diversity and cycle terms of a fake; own = E_y(x), other = a second target style."""
        embedding = self.embedding(networks, batch, step)
        generator = networks["generator"]
        terms = {}
        logits = networks["discriminator"](fake, embedding)
        terms["adv"] = Term(losses.adversarial(_of_domain(logits, batch["target_label"]), real=True))
        if guidance := step.weight(self.lambda_cls):
            terms["cls"] = Term(losses.classification(logits, batch["target_label"]), guidance)
        if diversity := step.weight(self.lambda_ds):
            with torch.no_grad():
                second = generator(batch["source"], other, embedding)
            terms["ds"] = Term(losses.l1(fake, second), -diversity)
        if self.lambda_cyc:
            cycle = generator(fake, own, embedding)
            terms["cyc"] = Term(losses.l1(cycle, batch["source"]), self.lambda_cyc)
        return {**terms, **self.extra_terms(networks, batch, step, fake)}

    # -- use ------------------------------------------------------------------------------------------------

    def domains(self, networks: Networks) -> int:
        """K."""
        return len(networks["style_encoder"].head.weight)

    def code(self, networks: Networks, target: Target) -> Tensor:
        """The style (b, S) of a latent code, or that of a reference image."""
        if target.reference is not None:
            style: Tensor = networks["style_encoder"](target.reference, target.label)
        else:
            style = networks["mapping"](target.latent, target.label)
        return style

    def own_code(self, networks: Networks, image: Tensor, source_label: Tensor) -> Tensor:
        """E_y(x) (b, S)."""
        style: Tensor = networks["style_encoder"](image, source_label)
        return style

    def render(self, networks: Networks, image: Tensor, code: Tensor) -> Tensor:
        """G(x, s)."""
        translated: Tensor = networks["generator"](image, code, self.source_embedding(networks, image))
        return translated

    def source_embedding(self, networks: Networks, image: Tensor) -> Tensor | None:  # noqa: ARG002
        """The identity embedding of images (b, I) where the method has one."""
        return None


def _of_domain(logits: Tensor, label: Tensor) -> Tensor:
    """(b, K), (b,) -> (b,): each row's logit of its own domain."""
    return logits.gather(1, label[:, None]).squeeze(1)
