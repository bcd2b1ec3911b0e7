"""Training of the independent judge of identities: another family of networks, another loss, other people.

The embedder that trains a translator cannot judge it: a generator learns to please it. This one is no Xception and
learns no triplets but classes, one for each person, with ArcFace's margin; embedders of that type entangle identity
less with pose and expression. Nothing here stops it from being used as a loss; ``runtime/judges.py`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Networks, Phase, Step, Term, Terms
from stargan_ray.methods.solver import Solver
from stargan_ray.metric_losses import ArcFaceHead
from stargan_ray.models.identity import timm_identity

_SOLVER = Solver(kind="sgd", peak=0.05, momentum=0.9, weight_decay=5e-4, total=20_000, warmup=1_000)


@dataclass(frozen=True)
class IdentityJudgeMethod:
    """Hyperparameters; the network is :class:`~stargan_ray.models.identity.IdentityNetwork` over a timm trunk.

    Batches are P people × K images, as for triplets: people count equally, however many images they have. Its recipes
    leave out people with one image (``data.singles = 0``): a class of one image says nothing of what changes between
    two photos of a person.

    Attributes:
        backbone: a timm name, of another family than Xception.
        hidden, embedding: widths of the two fully connected layers.
        input_size: pixels the network works at; 0 = those of the data.
        standardize: whether each image is brought to mean 0 and variance 1.
        centre: share of the image's side around its centre that the network looks at; faces of LFW fill 0.6 of theirs.
        people: how many the classes of the training are; 0 = as many as the data has, which a run fills in.
        margin_degrees: m, added to the angle between a face and its person's centre; 28.6 (half a radian) as published.
        scale: s, what cosines are multiplied by before the softmax; 64 as published, for tens of thousands of people.
        solver: optimiser and learning rate, of the embedder and of the centres.
        average: whether a moving average of the weights is kept; short runs are over before it has warmed up.
    """

    name: ClassVar[str] = "identity-judge"
    plan: ClassVar[str] = "identities"
    helpers: ClassVar[tuple[str, ...]] = ()
    clip_value: ClassVar[float] = 0.0

    backbone: str = "resnet18"
    hidden: int = 512
    embedding: int = 256
    input_size: int = 0
    standardize: bool = False
    centre: float = 1.0
    people: int = 0
    margin_degrees: float = 28.6
    scale: float = 64.0
    solver: Solver = _SOLVER
    average: bool = False

    def __post_init__(self) -> None:
        """Refuse the family of what it judges, and angles and scales that no sphere has."""
        if "xception" in self.backbone.lower():
            raise InputError(f"method.backbone = {self.backbone!r}: allowed are timm's names of other families")
        if self.people < 0 or self.people == 1:
            raise InputError(f"method.people = {self.people}: allowed are 0 (those of the data) and values >= 2")
        if not 0 <= self.margin_degrees < 90:
            raise InputError(f"method.margin_degrees = {self.margin_degrees}: allowed is 0 to below 90")
        if not 1 <= self.scale <= 1000:
            raise InputError(f"method.scale = {self.scale}: allowed are 1 to 1000")

    @property
    def averaged(self) -> tuple[str, ...]:
        """The embedder, when an average is kept."""
        return ("embedder",) if self.average else ()

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:  # noqa: ARG002 - expressions play no part
        """The embedder for images of ``size`` pixels, and the centres of the training's people."""
        if not self.people:
            raise InputError("method.people = 0: how many people there are is not known before the data is")
        embedder = timm_identity(
            self.backbone,
            hidden=self.hidden,
            embedding=self.embedding,
            input_size=self.input_size or size,
            standardize=self.standardize,
            centre=self.centre,
        )
        return {
            "embedder": embedder,
            "centres": ArcFaceHead(self.people, self.embedding, self.margin_degrees, self.scale),
        }

    def phases(self) -> tuple[Phase, ...]:
        """One update a step."""
        return (Phase("arcface", ("embedder", "centres"), self.arcface),)

    def arcface(self, networks: Networks, batch: Batch, step: Step) -> Terms:  # noqa: ARG002 - the contract
        """The softmax with a margin, and how often the nearest centre is the right person's."""
        loss, accuracy = networks["centres"](networks["embedder"](batch["source"]), batch["person"])
        return {"arcface": Term(loss), "accuracy": Term(accuracy, 0.0)}

    def optimizer(self, name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: ARG002
        """The solver's, for both."""
        return self.solver.build(parameters)

    def rate(self, name: str, step: int) -> float:  # noqa: ARG002 - one rate for both
        """Learning rate at a step."""
        return self.solver.rate(step)
