"""Training of the identity embedder by triplets (section III.C of the paper), and of its independent judge.

The paper's figure of 84.375 % comes from a widely copied recipe: random negatives, margin 1.0, ReLU before
the norm, Adam at 1e-3 with ε = 0.1. The defaults here are FaceNet's instead: negatives that are semi-hard,
margin 0.2, no ReLU. ``COPIED_RECIPE`` keeps the other one, for the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Networks, Phase, Step, Term, Terms
from stargan_ray.methods.solver import Solver
from stargan_ray.metric_losses import IdentityLoss, Mining, contrastive_loss, mine, triplet_gaps, triplet_loss
from stargan_ray.models.identity import SiameseXception, timm_identity

_SOLVER = Solver(kind="adam", peak=1e-3, weight_decay=0.0, total=20_000, warmup=500)


@dataclass(frozen=True)
class IdentityMethod:
    """Hyperparameters; the network's are those of :class:`SiameseXception`.

    Attributes:
        backbone: ``xception``, or a timm name for a judge of another family.
        width, middle_blocks, stem_stride: of Xception; 1, 8 and 2 are the published trunk.
        pretrained: ``none``, ``timm``, or the file or URI of ``legacy_xception`` weights; Xception of width 1 only.
        trained_from: the first part of Xception that is trained (``block11``: the last 27 layers as Keras counts
            them), the others keep their pretrained weights; empty = all are trained.
        hidden, embedding: widths of the two fully connected layers.
        relu_before_norm: as in the copied recipe.
        input_size: pixels the network works at; 0 = those of the data.
        standardize: whether each image is brought to mean 0 and variance 1.
        centre: share of the image's side around its centre that the network looks at; faces of LFW fill 0.6 of theirs.
        mirror: whether the vector of an image is, once trained, that of the image and its mirror image together, for
            twice the work.
        loss: ``triplet``, the paper's, or ``contrastive``: each face against all others of the batch, which tells
            strangers apart better where people are few (``docs/LOG.md``).
        temperature: τ of the contrastive loss.
        margin: α of the triplet loss, in squared distance of unit vectors.
        mining: how triplets are chosen inside a batch of P people × K images.
        gather: whether triplets are chosen in the global batch: every worker sees the embeddings of all, so that there
            are as many negatives for many workers as for one. Otherwise each chooses among its own images.
        solver: optimiser and learning rate.
        average: whether a moving average of the weights is kept; short runs are over before it has warmed up.
    """

    name: ClassVar[str] = "identity"
    plan: ClassVar[str] = "identities"
    helpers: ClassVar[tuple[str, ...]] = ()
    clip_value: ClassVar[float] = 0.0
    dynamic: ClassVar[bool] = True  # how many triplets there are depends on the embeddings

    backbone: str = "xception"
    width: float = 1.0
    middle_blocks: int = 8
    stem_stride: int = 2
    pretrained: str = "none"
    trained_from: str = ""
    hidden: int = 512
    embedding: int = 256
    relu_before_norm: bool = False
    input_size: int = 0
    standardize: bool = False
    centre: float = 1.0
    mirror: bool = False
    loss: IdentityLoss = "triplet"
    temperature: float = 0.1
    margin: float = 0.2
    mining: Mining = "semi-hard"
    gather: bool = True
    solver: Solver = _SOLVER
    average: bool = False

    def __post_init__(self) -> None:
        """Refuse margins outside the sphere, and Xception's weights for another network."""
        if not 0 < self.margin <= 4:
            raise InputError(f"method.margin = {self.margin}: allowed is 0 < margin <= 4")
        if not 0.01 <= self.temperature <= 10:
            raise InputError(f"method.temperature = {self.temperature}: allowed is 0.01 to 10")
        if self.pretrained != "none" and (self.backbone != "xception" or self.width != 1):
            raise InputError(
                f"method.pretrained = {self.pretrained!r}: allowed with backbone xception and width 1 only"
            )
        if self.trained_from and self.backbone != "xception":
            raise InputError(f"method.trained_from = {self.trained_from!r}: allowed with backbone xception only")

    @property
    def averaged(self) -> tuple[str, ...]:
        """The embedder, when an average is kept."""
        return ("embedder",) if self.average else ()

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:  # noqa: ARG002 - expressions play no part
        """The embedder for images of ``size`` pixels."""
        input_size = self.input_size or size
        if self.backbone != "xception":
            embedder: nn.Module = timm_identity(
                self.backbone,
                hidden=self.hidden,
                embedding=self.embedding,
                relu_before_norm=self.relu_before_norm,
                input_size=input_size,
                standardize=self.standardize,
                centre=self.centre,
                mirror=self.mirror,
            )
        else:
            embedder = SiameseXception(
                width=self.width,
                middle_blocks=self.middle_blocks,
                stem_stride=self.stem_stride,
                pretrained=self.pretrained,
                trained_from=self.trained_from,
                hidden=self.hidden,
                embedding=self.embedding,
                relu_before_norm=self.relu_before_norm,
                input_size=input_size,
                standardize=self.standardize,
                centre=self.centre,
                mirror=self.mirror,
            )
        return {"embedder": embedder}

    def phases(self) -> tuple[Phase, ...]:
        """One update a step."""
        work = self.triplet if self.loss == "triplet" else self.contrastive
        return (Phase(self.loss, ("embedder",), work),)

    def triplet(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """The triplet loss over mined triplets, and what shows whether the embedding collapses.

        ``active`` is the share of triplets inside the margin; ``gap`` the mean of positive minus negative
        squared distance: 0 for a collapsed embedding, towards −2 for a good one.
        """
        embedding = networks["embedder"](batch["source"])
        person = batch["person"]
        if self.gather:
            embedding, person = step.gather(embedding), step.gather(person)
        noise = step.normal("negatives", len(person))
        if self.gather:
            noise = step.gather(noise)
        anchor, positive, negative = mine(embedding, person, self.mining, self.margin, noise)
        chosen = embedding[anchor], embedding[positive], embedding[negative]
        with torch.no_grad():
            gaps = triplet_gaps(*chosen)
            count = max(1, len(gaps))
            active = (gaps > -self.margin).sum() / count
        return {
            "triplet": Term(triplet_loss(*chosen, self.margin)),
            "active": Term(active, 0.0),
            "gap": Term(gaps.sum() / count, 0.0),
        }

    def contrastive(self, networks: Networks, batch: Batch, step: Step) -> Terms:
        """The contrastive loss over the batch; ``gap`` as in the triplet's terms, of all pairs."""
        embedding, person = networks["embedder"](batch["source"]), batch["person"]
        if self.gather:
            embedding, person = step.gather(embedding), step.gather(person)
        with torch.no_grad():
            squared = 2 - 2 * embedding.float() @ embedding.float().T
            same = person[:, None] == person[None]
            pairs = same & ~torch.eye(len(person), dtype=torch.bool, device=person.device)
            gap = _mean(squared, pairs) - _mean(squared, ~same)
        return {
            "contrastive": Term(contrastive_loss(embedding, person, self.temperature)),
            "gap": Term(gap, 0.0),
        }

    def optimizer(self, name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: ARG002
        """The solver's; there is one network."""
        return self.solver.build(parameters)

    def rate(self, name: str, step: int) -> float:  # noqa: ARG002 - there is one network
        """Learning rate at a step."""
        return self.solver.rate(step)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Over some entries, 0 if there are none; no count is waited for."""
    return (values * where).sum() / where.sum().clamp(min=1)


COPIED_RECIPE = IdentityMethod(
    pretrained="timm",
    trained_from="block11",
    margin=1.0,
    mining="random",
    relu_before_norm=True,
    solver=Solver(kind="adam", peak=1e-3, eps=0.1, weight_decay=0.0, shape="constant", total=20_000),
)
