"""StarGAN v2 with an identity loss: the paper's method.

Three changes to StarGAN v2 (section III.C of the paper): the identity embedding of the source enters G, the
identity loss λ_id · ‖f(x) − f(G(x, s))‖² acts on G, F and E, and the identity acts on D. The paper feeds
L_id "to both the discriminator and generator"; L_id does not depend on D's parameters, so added to D's loss
it would do nothing. Here D gets the identity as an input instead (``conditional_critic``): the embedding of the person
that the image must show, its own for a real image, the source's for a fake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from stargan_ray import losses
from stargan_ray.methods.base import Batch, Networks, Step, Term, Terms
from stargan_ray.methods.checks import require_least
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.models.stargan_v2 import Inject
from stargan_ray.schedules import Pieces, UniformSteps


@dataclass(frozen=True)
class StarGANv2Identity(StarGANv2):
    """Hyperparameters; those of StarGAN v2 and the identity's.

    Attributes:
        lambda_id: weight of the identity loss over time (0.1 until 25k, then to 4 in uniform steps; equal ends are a
            constant weight, ``step_size`` 1 is a plain ramp, 0 to 0 is no identity loss), or one value after another.
        identity_loss: ``squared`` = ‖f(x) − f(x̃)‖² as the paper has it, or ``cosine`` = 1 − ⟨f(x), f(x̃)⟩, which is
            half of it for unit vectors: it names the scale that a λ_id from elsewhere was meant for.
        identity_dim: I, width of the embedder's output.
        inject: where f(x) enters G, see ``Generator``; ``none`` = nowhere.
        conditional_critic: whether D sees the embedding.
    """

    name: ClassVar[str] = "stargan-v2-id"
    helpers: ClassVar[tuple[str, ...]] = ("identity",)

    lambda_id: UniformSteps | Pieces = UniformSteps()
    identity_loss: Literal["squared", "cosine"] = "squared"
    identity_dim: int = 256
    inject: Literal[Inject, "none"] = "stem"
    conditional_critic: bool = True

    def __post_init__(self) -> None:
        """Refuse what no embedder gives."""
        super().__post_init__()
        require_least(self, 1, "identity_dim")

    def identity_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The embedding's width and place where G and D take it."""
        of_generator = {} if self.inject == "none" else {"embedding_dim": self.identity_dim, "inject": self.inject}
        return of_generator, {"embedding_dim": self.identity_dim} if self.conditional_critic else {}

    def embedding(self, networks: Networks, batch: Batch, step: Step) -> Tensor:
        """f(x) (b, I) of the sources, stored or computed once a step; no gradient reaches f or x."""
        if "source_embedding" in batch:
            return batch["source_embedding"].type_as(batch["source"])
        if "embedding" not in step.scratch:
            step.scratch["embedding"] = self.source_embedding(networks, batch["source"])
        return step.scratch["embedding"]

    def extra_terms(self, networks: Networks, batch: Batch, step: Step, fake: Tensor) -> Terms:
        """λ_id · L_id; the gradient passes through the frozen f to the fake."""
        weight = step.weight(self.lambda_id)
        if not weight:
            return {}
        distance = losses.identity_distance(self.embedding(networks, batch, step), networks["identity"](fake))
        if self.identity_loss == "cosine":
            distance = distance / 2
        return {"id": Term(distance, weight)}

    def source_embedding(self, networks: Networks, image: Tensor) -> Tensor:
        """f(x) (b, I), unit length, of the image's own precision: D takes it outside of autocast."""
        with torch.no_grad():
            embedding: Tensor = networks["identity"](image)
        return embedding.type_as(image)
