"""The triplet loss of the identity embedder and the choice of its triplets."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from stargan_ray.errors import unknown

Mining = Literal["random", "semi-hard", "batch-hard"]
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
