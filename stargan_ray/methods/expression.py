"""Training of an expression classifier: the filter of noisy labels, and the judges of translations.

The filter's published recipe (the public code behind the FER2013 figures of VGG19): crops of 44 pixels, SGD
at 0.01 with momentum 0.9 and weight decay 5e-4, batch 128, the rate times 0.9 every 5 epochs after the 80th.
``PUBLISHED_SOLVER`` is that schedule in steps of FER2013's 28,709 training images; every gradient value is clipped
at 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Batch, Networks, Phase, Step, Term, Terms
from stargan_ray.methods.solver import Solver
from stargan_ray.models.expression import ExpressionClassifier

_EPOCH = 28_709 // 128
PUBLISHED_SOLVER = Solver(
    shape="steps", total=250 * _EPOCH, decay_from=80 * _EPOCH, decay_every=5 * _EPOCH, decay_factor=0.9
)


@dataclass(frozen=True)
class ExpressionMethod:
    """Hyperparameters; the network's are those of :class:`ExpressionClassifier`.

    Attributes:
        backbone: ``vgg19_bn``, ``vgg16_bn``, or a timm name for a judge of another family.
        width: channels of the first VGG layer (64 = published).
        dropout: before the linear layer.
        input_size: pixels the network works at; 0 = those of the data.
        centre: share of the image's side around its centre that the network looks at.
        grey: whether it leaves colour out; for a classifier of grey data (FER2013) that will meet colour.
        standardize: whether each image is brought to mean 0 and variance 1.
        cut: whether whole images are cut at their centre to ``input_size`` of the data's pixels instead of being
            resized; with ``data.augment.crop_pixels`` of that size.
        label_smoothing: share of each target spread over all classes; noisy labels want some.
        clip_value: largest absolute value that an entry of a gradient keeps; 0 = no limit.
        solver: optimiser and learning rate.
        average: whether a moving average of the weights is kept; short runs are over before it has warmed up.
    """

    name: ClassVar[str] = "expression"
    plan: ClassVar[str] = "domains"
    helpers: ClassVar[tuple[str, ...]] = ()

    backbone: str = "vgg19_bn"
    width: int = 64
    dropout: float = 0.5
    input_size: int = 0
    centre: float = 1.0
    grey: bool = False
    standardize: bool = False
    cut: bool = False
    label_smoothing: float = 0.0
    clip_value: float = 0.0
    solver: Solver = PUBLISHED_SOLVER
    average: bool = False

    def __post_init__(self) -> None:
        """Refuse a smoothing that leaves nothing of the label, and a limit below nothing."""
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"method.label_smoothing = {self.label_smoothing}: allowed is 0 to below 1")
        if not self.clip_value >= 0:  # NaN too
            raise InputError(f"method.clip_value = {self.clip_value}: allowed are values >= 0 (0 = no limit)")

    @property
    def averaged(self) -> tuple[str, ...]:
        """The classifier, when an average is kept."""
        return ("classifier",) if self.average else ()

    def networks(self, size: int, domains: int) -> dict[str, nn.Module]:
        """The classifier of ``domains`` expressions."""
        classifier = ExpressionClassifier(
            domains,
            backbone=self.backbone,
            width=self.width,
            dropout=self.dropout,
            input_size=self.input_size or size,
            centre=self.centre,
            grey=self.grey,
            standardize=self.standardize,
            cut=min(1.0, self.input_size / size) if self.cut and self.input_size else 1.0,
        )
        return {"classifier": classifier}

    def phases(self) -> tuple[Phase, ...]:
        """One update a step."""
        return (Phase("classify", ("classifier",), self.classify),)

    def classify(self, networks: Networks, batch: Batch, step: Step) -> Terms:  # noqa: ARG002 - the contract
        """Cross-entropy against the labels as given, and their accuracy, which no gradient follows."""
        label = batch["source_label"]
        logits = networks["classifier"](batch["source"]).float()
        with torch.no_grad():
            accuracy = (logits.argmax(1) == label).float().mean()
        cross_entropy = F.cross_entropy(logits, label, label_smoothing=self.label_smoothing)
        return {"cross_entropy": Term(cross_entropy), "accuracy": Term(accuracy, 0.0)}

    def optimizer(self, name: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: ARG002
        """The solver's; there is one network."""
        return self.solver.build(parameters)

    def rate(self, name: str, step: int) -> float:  # noqa: ARG002 - there is one network
        """Learning rate at a step."""
        return self.solver.rate(step)
