"""Regions of an aligned face, and a graph convolution over them.

Nothing public says which regions FA-GAN takes, how they are found or how they are joined. Ours are soft: every place of
a feature map is shared out among the parts of a face, by distance at first and by what training finds better later,
so that no landmark detector is needed and a face that is a little off is no error. Neighbours are parts that lie close
together and parts that mirror each other; training weighs the edges and adds none, so that a part hears from its
neighbours alone.

Legend of shapes: b batch, C channels, h = w side of the map, R regions, S deformation code.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where the parts of an aligned face lie (x to the right, y down, as shares of the image's side), those that move most
# with the expression first. Before them stands region 0, the surround: hair, neck and background, which has no place.
FACE_PARTS: dict[str, tuple[float, float]] = {
    "mouth": (0.50, 0.68),
    "left eye": (0.37, 0.46),
    "right eye": (0.63, 0.46),
    "left brow": (0.36, 0.37),
    "right brow": (0.64, 0.37),
    "nose": (0.50, 0.56),
    "left mouth corner": (0.38, 0.69),
    "right mouth corner": (0.62, 0.69),
    "left cheek": (0.30, 0.60),
    "right cheek": (0.70, 0.60),
    "chin": (0.50, 0.82),
    "forehead": (0.50, 0.26),
}
_SPREAD = 0.08  # standard deviation of a part: half of the distance between two that touch
_EDGE = 3.0  # standard deviations from a part at which a place is as much the surround's
_REACH = 0.22  # parts closer than this are neighbours


def _centres(parts: int) -> Tensor:
    return torch.tensor(list(FACE_PARTS.values())[:parts], dtype=torch.float64).view(-1, 2)


def region_prior(parts: int, side: int) -> Tensor:
    """Logits (R, side, side) of the regions at each place before training, R = parts + 1; region 0 is the surround."""
    middle = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    squares = (torch.stack([x, y], -1) - _centres(parts)[:, None, None]).square().sum(-1)
    surround = torch.full((1, side, side), -(_EDGE**2) / 2, dtype=torch.float64)
    return torch.cat([surround, -squares / (2 * _SPREAD**2)]).to(torch.get_default_dtype())


def region_edges(parts: int) -> Tensor:
    """Which regions are neighbours, (R, R) bool, symmetric; each is its own, and the surround is everyone's."""
    centres = _centres(parts)
    mirrored = torch.stack([1 - centres[:, 0], centres[:, 1]], 1)
    close = (torch.cdist(centres, centres) < _REACH) | (torch.cdist(centres, mirrored) < 1e-6)
    return F.pad(close, (1, 0, 1, 0), value=True)


class RegionPool(nn.Module):
    """The mean of a map over each region where the face should have it: (b, C, h, w) -> (b, R · C)."""

    share: Tensor

    def __init__(self, parts: int, side: int) -> None:
        super().__init__()
        share = region_prior(parts, side).flatten(1).softmax(0)
        self.register_buffer("share", share / share.sum(1, keepdim=True), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """What each region shows."""
        return torch.einsum("rp,bcp->brc", self.share.type_as(x), x.flatten(2)).flatten(1)


class RegionGraph(nn.Module):
    """Two graph convolutions over the regions of a map, added to it: (b, C, h, w), code (b, S) -> (b, C, h, w).

    A node is the mean of the map over a region, with the code beside it. A convolution replaces each node by a weighted
    mean of its neighbours, passed through a linear layer (Kipf and Welling, 2017, with weights that are learned). What
    comes out is spread over the map by the same shares, so that the parts of a face can move in accord.

    Args:
        channels: C.
        code_dim: S.
        parts: how many of ``FACE_PARTS``, from the first; R = parts + 1.
        side: h.
    """

    prior: Tensor
    edges: Tensor

    def __init__(self, channels: int, code_dim: int, *, parts: int, side: int) -> None:
        super().__init__()
        self.register_buffer("prior", region_prior(parts, side), persistent=False)
        self.register_buffer("edges", region_edges(parts), persistent=False)
        self.attend = nn.Conv2d(channels, parts + 1, 1)
        self.affinity = nn.Parameter(torch.zeros(parts + 1, parts + 1))
        self.inner = nn.Linear(channels + code_dim, channels)
        self.outer = nn.Linear(channels, channels)

    def start_from_prior(self) -> None:
        """Regions where an aligned face has them, whatever the image: where training begins."""
        nn.init.zeros_(self.attend.weight)
        nn.init.zeros_(self.attend.bias)  # type: ignore[arg-type]

    def shares(self, x: Tensor) -> Tensor:
        """How much of each place belongs to each region, (b, R, h · w); the regions of a place sum to 1."""
        return (self.prior + self.attend(x)).flatten(2).softmax(1)

    def adjacency(self) -> Tensor:
        """How much a region (row) hears from each (column), (R, R): rows sum to 1, and 0 where there is no edge."""
        return self.affinity.masked_fill(~self.edges, -math.inf).softmax(1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Pool, convolve twice, spread, add; scaled back to unit variance."""
        share, weight = self.shares(x), self.adjacency()
        nodes = share @ x.flatten(2).mT / share.sum(2, keepdim=True)
        nodes = torch.cat([nodes, code[:, None].expand(-1, nodes.shape[1], -1)], 2)
        nodes = F.leaky_relu(self.inner(weight @ nodes), 0.2)
        nodes = self.outer(weight @ nodes)
        return (x + (nodes.mT @ share).view_as(x)) * math.sqrt(0.5)
