"""The losses of identity embedders: triplets and their choice, and for the judge classes with a margin."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.errors import InputError, unknown

Mining = Literal["random", "semi-hard", "batch-hard"]
IdentityLoss = Literal["triplet", "contrastive"]
Triplets = tuple[Tensor, Tensor, Tensor]  # rows of anchors, positives and negatives, each (t,) int64


def triplet_gaps(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """‖f(xᵃ) − f(xᵖ)‖² − ‖f(xᵃ) − f(xⁿ)‖² of unit embeddings (t, d): (t,) in [-4, 4], negative when right."""
    return (anchor - positive).square().sum(1) - (anchor - negative).square().sum(1)


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """[‖f(xᵃ) − f(xᵖ)‖² − ‖f(xᵃ) − f(xⁿ)‖² + α]₊, the paper's section III.C and eq. 3 of FaceNet.

    The paper sums over the triplets; the mean keeps the learning rate independent of how many were mined.

    Args:
        anchor: embeddings (t, d); t may be 0, which gives 0 with a graph.
        positive: (t, d), of the same people.
        negative: (t, d), of other people.
        margin: α.
    """
    hinge = F.relu(triplet_gaps(anchor, positive, negative) + margin)
    return hinge.sum() / max(1, hinge.shape[0])


def contrastive_loss(embedding: Tensor, person: Tensor, temperature: float) -> Tensor:
    """The supervised contrastive loss (Khosla et al., 2020, their L_out): each face against all others.

    For each face the mean over the others of its person of −log softmax(cos θ / τ), the softmax over all other faces;
    the mean over the faces that have another. 0, with a graph, where nobody has one or all are of one person.

    Args:
        embedding: (b, d), unit length.
        person: (b,) int64.
        temperature: τ.
    """
    # takes seconds to import: only who trains an embedder pays
    from pytorch_metric_learning.losses import SupConLoss

    # in bf16 cosines are 0.004 apart near 1, which a temperature of 0.1 makes ten times as much
    wide = torch.promote_types(embedding.dtype, torch.float32)
    with torch.autocast(embedding.device.type, enabled=False):
        loss: Tensor = SupConLoss(temperature)(embedding.to(wide), person)
    return loss


def mine(embedding: Tensor, person: Tensor, mining: Mining, margin: float, noise: Tensor) -> Triplets:
    """Choose triplets inside a batch of P people × K images; no gradient passes through the choice.

    Args:
        embedding: (b, d), unit length.
        person: (b,) int64.
        mining: ``random``: every pair of a person with one random other face (the copied recipe);
            ``semi-hard``: every triplet whose negative is further away than the positive, but by less than
            the margin (FaceNet, section 3.2); ``batch-hard``: for each anchor its furthest positive and its
            nearest negative (Hermans et al., 2017).
        margin: α, in squared distance.
        noise: (b, b) random numbers, from which ``random`` draws.
    """
    # takes seconds to import: only who trains an embedder pays
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner

    embedding = embedding.detach().float()  # distances in bf16 are too coarse to rank by
    # power=2: squared distances, as in the loss, so that the margin means the same here
    distance = LpDistance(normalize_embeddings=False, p=2, power=2)
    match mining:
        case "random":
            return _random_negatives(person, noise)
        case "semi-hard":
            miner = TripletMarginMiner(margin, type_of_triplets="semihard", distance=distance)
        case "batch-hard":
            miner = BatchHardMiner(distance=distance)
        case _:
            raise unknown("mining", mining, get_args(Mining))
    anchor, positive, negative = miner(embedding, person)
    return anchor, positive, negative


def _random_negatives(person: Tensor, noise: Tensor) -> Triplets:
    """All ordered pairs of one person; the negative is the other face with the largest noise of its pair."""
    same = person[:, None] == person[None, :]
    anchor, positive = torch.where(same & ~torch.eye(len(person), dtype=torch.bool, device=person.device))
    draw = (noise[anchor] + noise[positive]).masked_fill(same[anchor], -torch.inf)
    return anchor, positive, draw.argmax(1)


class ArcFaceHead(nn.Module):
    """Additive angular margin (Deng et al., 2019): unit embeddings (b, d) and who they show -> loss and accuracy.

    Softmax over s·cos θ to the centres, where the angle to the own person's centre counts as if it were m larger.
    Training needs it, a model does not: it knows nobody but the people of the training data.

    Args:
        people: number of centres, at least 2.
        embedding: d.
        margin_degrees: m.
        scale: s, the inverse temperature of the softmax.
    """

    def __init__(self, people: int, embedding: int, margin_degrees: float, scale: float) -> None:
        super().__init__()
        # takes seconds to import: only who trains an embedder pays
        from pytorch_metric_learning.losses import ArcFaceLoss
        from pytorch_metric_learning.utils.common_functions import TorchInitWrapper

        if people < 2:
            raise InputError(f"people = {people}: allowed are values >= 2")
        # Only directions count, so the length of a centre says how far one update turns it: with entries of 1, the
        # library's default, centres would hardly leave their places. 0.01 is the authors'.
        start = TorchInitWrapper(nn.init.normal_, std=0.01)
        self.loss = ArcFaceLoss(people, embedding, margin=margin_degrees, scale=scale, weight_init_func=start)

    def forward(self, vector: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss over the batch, and the share whose nearest centre is their person's, without a gradient.

        Args:
            vector: (b, d), unit length.
            person: (b,) int64 below ``people``.
        """
        # In bf16 cosines are 0.004 apart near 1, and the scale makes that a quarter of a logit.
        with torch.autocast(vector.device.type, enabled=False):
            vector = vector.to(self.loss.W.dtype)
            loss: Tensor = self.loss(vector, person)
            with torch.no_grad():
                accuracy = (self.loss.get_logits(vector).argmax(1) == person).float().mean()
        return loss, accuracy
