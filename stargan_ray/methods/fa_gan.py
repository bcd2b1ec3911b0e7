"""An FA-GAN-style translator: identity and deformation apart, a graph over facial regions (Wang et al., 2020).

FA-GAN itself (IEEE TIP 29, "FA-GAN: Face Augmentation GAN for Deformation-Invariant Face Recognition") has neither
public code nor weights, so this is a model in its style and no reproduction. Its ideas: decouple the deformation
attributes from the identity with a hierarchical disentanglement module, and recover geometry by graph convolutions
over local regions of the face. Whatever else a model needs is a field here, with our choice and the reason beside it.

One iteration is two updates: D, then everything else on the same fake, graph and all (nothing that made it has moved in
between). The target of a face is its domain's prototype or the deformation code of a reference, by a coin for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stargan_ray import losses
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Networks, Phase, Step, Target, Term, Terms
from stargan_ray.methods.checks import require_finite, require_least
from stargan_ray.methods.translation import CodeTranslator
from stargan_ray.models.fa_gan import AttributeEncoder, Generator, IdentityEncoder, Prototypes
from stargan_ray.models.regions import FACE_PARTS
from stargan_ray.models.stargan_v2 import Compose, Discriminator
from stargan_ray.schedules import HeldDecay, LinearDecay

_TOGETHER = ("identity_encoder", "attribute_encoder", "prototypes", "generator")


@dataclass(frozen=True)
class FAGANStyle(CodeTranslator):
    """Hyperparameters; all of them are our choice.

    Attributes:
        first: channels at full resolution; 0 = 2^14 / size, as StarGAN v2.
        first_critic: the same for the attribute encoder and D; 0 = as ``first``.
        largest: channels at most; as StarGAN v2.
        bottleneck: side of the identity map in pixels. 16, as StarGAN v2: a mouth is then four places wide, and the
            regions still differ.
        depth: residual blocks at the bottleneck, in the identity encoder and in the generator; as StarGAN v2.
        parts: facial parts of the graph, of the twelve that ``models/regions.py`` names; all of them, since the graph
            costs next to nothing. 0 = no graph, and codes of the whole face: the ablation.
        identity_dim: I, width of the identity code; as the embedder's of ``stargan-v2-id``.
        coarse_dim, fine_dim: widths of the two parts of the deformation code; together StarGAN v2's style.
        latent_dim: L, width of a latent code that moves a prototype. 0: FA-GAN augments faces by the deformations of
            others, and variety comes from references.
        compose: ``image``, or ``mask`` for an edit of the source (see ``Generator``).
        reference_share: of the faces whose target is a reference's deformation, not a prototype. Half, so that both
            ways of use are trained alike.
        lambda_cls: weight over time of domain classification on D's K logits, in D on real images and in G on fakes.
            Constant 1, as StarGAN v1's: without it short runs copy their input. On the logits that also say what is
            real, so that a fake which only fools the classifier is found out: a head of its own learned the domains
            sooner, and G to fool it.
        lambda_rec: weight of the reconstruction of a face from its own identity and deformation. 1, as StarGAN v2's
            cycle, whose L1 it is.
        lambda_cyc: weight of the reconstruction of a face from its *translation's* identity and its own deformation:
            the cycle, and what makes the two codes whole. 1, as above.
        lambda_id: weight of the identity term: each fake must be told from all sources of the batch as its own
            source's. 0.5: with eight people its loss is log 8 at most, twice what an L1 term can be.
        temperature: τ of the identity term. 0.1, the usual one of contrastive learning.
        lambda_def: weight of the deformation term: the fake's deformation code is the one that was asked for. 1, as
            StarGAN v2's style reconstruction.
        lambda_dis: weight of the disentanglement term: identity and deformation codes of the sources must not be
            correlated. A penalty and no adversary, which would be a sixth network to balance; small, since a batch of
            eight shows correlations by chance.
        lambda_proto: weight of the pull of a prototype to the deformation codes of its domain's images; only the
            prototype moves, so that it cannot be met by codes that are all the same.
        lambda_r1: weight of R1. Non-saturating loss with R1 and not WGAN-GP, as StarGAN v2 and for a comparison with
            it; one D update an iteration is enough for it.
        r1_every: R1 on steps divisible by it, at ``r1_every`` times the weight.
        rate_g: learning rate of all networks but D over time; constant for half of the run, then linear to 0, the habit
            of StarGAN v1: the prototypes are few numbers and settle late. Its end goes with the length of the run:
            after it nothing moves.
        rate_d: the same of D.
        beta1, beta2, weight_decay: Adam; as StarGAN v2.
    """

    name: ClassVar[str] = "fa-gan"
    plan: ClassVar[str] = "domains"
    averaged: ClassVar[tuple[str, ...]] = _TOGETHER
    helpers: ClassVar[tuple[str, ...]] = ()
    clip_value: ClassVar[float] = 0.0

    first: int = 0
    first_critic: int = 0
    largest: int = 512
    bottleneck: int = 16
    depth: int = 2
    parts: int = len(FACE_PARTS)
    identity_dim: int = 256
    coarse_dim: int = 32
    fine_dim: int = 32
    latent_dim: int = 0
    compose: Compose = "image"
    reference_share: float = 0.5
    lambda_cls: LinearDecay = LinearDecay(1.0, 0)
    lambda_rec: float = 1.0
    lambda_cyc: float = 1.0
    lambda_id: float = 0.5
    temperature: float = 0.1
    lambda_def: float = 1.0
    lambda_dis: float = 0.1
    lambda_proto: float = 1.0
    lambda_r1: float = 1.0
    r1_every: int = 1
    rate_g: HeldDecay = HeldDecay(1e-4, 50_000, 100_000)
    rate_d: HeldDecay = HeldDecay(1e-4, 50_000, 100_000)
    beta1: float = 0.0
    beta2: float = 0.99
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse what no run can mean."""
        weights = ("rec", "cyc", "id", "def", "dis", "proto", "r1")
        require_finite(self, *(f"lambda_{name}" for name in weights), "weight_decay")
        if not self.lambda_rec and not self.lambda_cyc and not self.lambda_def:
            raise InputError(
                "method.lambda_rec = method.lambda_cyc = method.lambda_def = 0: the attribute encoder would learn "
                "nothing; one must be > 0"
            )
        if not self.lambda_id and not self.lambda_dis:
            raise InputError(
                "method.lambda_id = method.lambda_dis = 0: the identity code would learn nothing; one must be > 0"
            )
        if not 0 < self.temperature < math.inf:
            raise InputError(f"method.temperature = {self.temperature}: allowed are finite values > 0")
        if not 0 <= self.reference_share <= 1:
            raise InputError(f"method.reference_share = {self.reference_share}: allowed are 0 to 1")
        if not 0 <= self.parts <= len(FACE_PARTS):
            raise InputError(f"method.parts = {self.parts}: allowed are 0 to {len(FACE_PARTS)}")
        require_least(self, 1, "r1_every", "identity_dim", "coarse_dim", "fine_dim")
        require_least(self, 0, "latent_dim")
        if self.bottleneck < 4 or self.bottleneck & (self.bottleneck - 1):
            raise InputError(f"method.bottleneck = {self.bottleneck}: allowed are powers of two >= 4")

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:
        """The two encoders, the prototypes, G and D for images of ``size`` pixels, a power of two."""
        if size & (size - 1) or size < 2 * self.bottleneck:
            raise InputError(
                f"data.size = {size}: allowed are powers of two >= {2 * self.bottleneck} "
                f"(twice method.bottleneck = {self.bottleneck})"
            )
        first = self.first or 2**14 // size
        critic = {"first": self.first_critic or first, "largest": self.largest}
        ours = {"first": first, "largest": self.largest, "depth": self.depth}
        faces = {"bottleneck": self.bottleneck, "parts": self.parts}
        codes = {"coarse_dim": self.coarse_dim, "fine_dim": self.fine_dim}
        code_dim = self.coarse_dim + self.fine_dim
        return {
            "identity_encoder": IdentityEncoder(size, identity_dim=self.identity_dim, **ours, **faces),
            "attribute_encoder": AttributeEncoder(size, domains, **critic, **faces, **codes),
            "prototypes": Prototypes(domains, code_dim=code_dim, latent_dim=self.latent_dim),
            "generator": Generator(size, compose=self.compose, **ours, **faces, **codes),
            "discriminator": Discriminator(size, domains, **critic),
        }

    def phases(self) -> tuple[Phase, ...]:
        """D, then the encoders, the prototypes and G together."""
        kept = ("identity_encoder", "prototypes", "generator")
        return (Phase("d", ("discriminator",), self.d, keeps=kept), Phase("g", _TOGETHER, self.g))

    def optimizer(self, name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(
            parameters,
            lr=self.rate(name, 0),
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            fused=True,
        )

    def rate(self, name: str, step: int) -> float:
        """Learning rate of a network."""
        return (self.rate_d if name == "discriminator" else self.rate_g)(step)

    # -- the two losses -------------------------------------------------------------------------------------

    def d(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """D on fakes and both real images of each sample, with R1; leaves the fake for ``g``."""
        fake = self._fake(networks, batch, step)["fake"].detach()
        penalised = bool(self.lambda_r1) and step.index % self.r1_every == 0
        # A plan's reference is a real image too, and decoded anyway: D learns the domains from twice as many.
        label = torch.cat([batch["source_label"], batch["target_label"]])
        real = torch.cat([batch["source"], batch["reference"]]).detach().requires_grad_(penalised)
        # R1's second derivatives lose their meaning in bf16: D sees real images in full precision.
        with torch.autocast(real.device.type, enabled=False):
            logits = networks["discriminator"](real)
        on_real = _of_domain(logits, label)
        on_fake = _of_domain(networks["discriminator"](fake), batch["target_label"])
        terms = {
            "real": Term(losses.adversarial(on_real, real=True)),
            "fake": Term(losses.adversarial(on_fake, real=False)),
        }
        if penalised:
            terms["r1"] = Term(losses.r1_penalty(on_real, real), self.lambda_r1 * self.r1_every)
        if guidance := step.weight(self.lambda_cls):
            terms["cls"] = Term(losses.classification(logits, label), guidance)
        return terms

    def g(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """The encoders, the prototypes and G: a face that is real, of the wanted domain, and of the same person."""
        source, label, target = batch["source"], batch["source_label"], batch["target_label"]
        made = self._fake(networks, batch, step)
        fake = made["fake"]
        again, person = networks["identity_encoder"](fake)
        # One call for both uses: its cost is in the launches at small sizes.
        deformed, own = networks["attribute_encoder"](torch.cat([fake, source]), torch.cat([target, label])).chunk(2)
        logits = networks["discriminator"](fake)
        terms = {"adv": Term(losses.adversarial(_of_domain(logits, target), real=True))}
        if guidance := step.weight(self.lambda_cls):
            terms["cls"] = Term(losses.classification(logits, target), guidance)
        if self.lambda_rec:
            rebuilt = networks["generator"](made["map"], own, source)
            terms["rec"] = Term(losses.l1(rebuilt, source), self.lambda_rec)
        if self.lambda_cyc:
            back = networks["generator"](again, own, fake)
            terms["cyc"] = Term(losses.l1(back, source), self.lambda_cyc)
        if self.lambda_def:
            terms["def"] = Term(losses.l1(deformed, made["code"].detach()), self.lambda_def)
        if self.lambda_proto:
            prototype = networks["prototypes"](torch.zeros_like(made["latent"]), label)
            terms["proto"] = Term(losses.l1(prototype, own.detach()), self.lambda_proto)
        return {**terms, **self._apart(step, person, made["person"], own)}

    def _apart(self, step: Step, generated: Tensor, person: Tensor, deformation: Tensor) -> Terms:
        """Identity and disentanglement, over the whole batch whatever the number of workers."""
        terms = {}
        person = step.gather(person)
        if self.lambda_id:  # the source's code is the aim: no gradient through it, or the two would just meet
            contrast = losses.identity_contrast(step.gather(generated), person.detach(), self.temperature)
            terms["id"] = Term(contrast, self.lambda_id)
        if self.lambda_dis:
            terms["dis"] = Term(losses.decorrelation(person, step.gather(deformation)), self.lambda_dis)
        return terms

    def _fake(self, networks: Networks, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The fake with its graph, and what it was made of, computed once a step.

        ``map`` and ``person`` are the source's identity, ``code`` (b, S) the deformation that was asked for. No
        gradient reaches the attribute encoder through a reference's code: StarGAN v2's authors found that it suffers.
        """
        if "fake" not in step.scratch:
            source, target = batch["source"], batch["target_label"]
            latent = step.normal("latent", self.latent_dim).type_as(source)
            code = networks["prototypes"](latent, target)
            if self.reference_share:
                with torch.no_grad():
                    shown = networks["attribute_encoder"](batch["reference"], target).type_as(code)
                code = torch.where(step.uniform("guide", 1) < self.reference_share, shown, code)
            identity, person = networks["identity_encoder"](source)
            fake = networks["generator"](identity, code, source)
            step.scratch |= {"fake": fake, "map": identity, "person": person, "code": code, "latent": latent}
        return step.scratch

    # -- use ------------------------------------------------------------------------------------------------

    def domains(self, networks: Networks) -> int:
        """K."""
        return int(networks["attribute_encoder"].domains)

    def code(self, networks: Networks, target: Target) -> Tensor:
        """The deformation code (b, S) of a domain, or that of a reference image."""
        if target.reference is None:
            prototype: Tensor = networks["prototypes"](target.latent, target.label)
            return prototype
        return self.own_code(networks, target.reference, target.label)

    def own_code(self, networks: Networks, image: Tensor, source_label: Tensor) -> Tensor:
        """The deformation (b, S) that images show themselves."""
        code: Tensor = networks["attribute_encoder"](image, source_label)
        return code

    def render(self, networks: Networks, image: Tensor, code: Tensor) -> Tensor:
        """The image's identity with the deformation of the code."""
        identity, _ = networks["identity_encoder"](image)
        face: Tensor = networks["generator"](identity, code, image)
        return face


def _of_domain(logits: Tensor, label: Tensor) -> Tensor:
    """(b, K), (b,) -> (b,): each row's logit of its own domain."""
    return logits.gather(1, label[:, None]).squeeze(1)
