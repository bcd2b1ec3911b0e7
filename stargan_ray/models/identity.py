"""The identity embedder: Xception with fully connected layers, one branch of a Siamese network.

Section III.C: "we use the Xception Network as the backbone … We add some fully connected layers on top of the
Xception Network to obtain a fixed-length feature vector". The layers are those of the recipe that the paper's
figure comes from: 512, ReLU, batch norm, 256, L2 norm.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.errors import InputError, unknown
from stargan_ray.models.backbones import View, timm_trunk
from stargan_ray.models.blocks import he_init

RANDOM = "random weights"
_log = logging.getLogger(__name__)


class Xception(nn.Module):
    """Chollet's Xception without its head: (b, 3, H, W) -> (b, features), features = 2048 at width 1.

    Built from the blocks of timm's ``legacy_xception`` under the same names, so that the full network loads
    its weights. Two cores and 32 pixels need less of it: fewer channels, fewer of the eight repeated blocks
    of the middle flow, and a stem that does not halve the image.

    Args:
        width: factor on every number of channels; 1 = published.
        middle_blocks: how many of the 8 middle-flow blocks there are.
        stem_stride: 2 = published; 1 leaves twice the resolution to every later layer.
    """

    def __init__(self, width: float = 1.0, middle_blocks: int = 8, stem_stride: int = 2) -> None:
        super().__init__()
        # timm takes seconds to import: only who builds a network pays
        from timm.models.xception import Block, SeparableConv2d

        if not 0 < width <= 4:
            raise InputError(f"width = {width}: allowed is 0 < width <= 4 (1 = published)")
        if not 0 <= middle_blocks <= 8:
            raise InputError(f"middle_blocks = {middle_blocks}: allowed are 0 to 8 (8 = published)")
        if stem_stride not in (1, 2):
            raise InputError(f"stem_stride = {stem_stride}: allowed are 1 and 2 (2 = published)")
        c32, c64, c128, c256, c728, c1024, c1536, c2048 = (
            max(8, 8 * round(width * channels / 8)) for channels in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.conv1, self.bn1 = nn.Conv2d(3, c32, 3, stem_stride, 0, bias=False), nn.BatchNorm2d(c32)
        self.conv2, self.bn2 = nn.Conv2d(c32, c64, 3, bias=False), nn.BatchNorm2d(c64)
        self.block1 = Block(c64, c128, 2, 2, start_with_relu=False)
        self.block2 = Block(c128, c256, 2, 2)
        self.block3 = Block(c256, c728, 2, 2)
        self.middle = [f"block{number}" for number in range(4, 4 + middle_blocks)]
        for name in self.middle:
            self.add_module(name, Block(c728, c728, 3, 1))
        self.block12 = Block(c728, c1024, 2, 2, grow_first=False)
        self.conv3, self.bn3 = SeparableConv2d(c1024, c1536, 3, 1, 1), nn.BatchNorm2d(c1536)
        self.conv4, self.bn4 = SeparableConv2d(c1536, c2048, 3, 1, 1), nn.BatchNorm2d(c2048)
        self.num_features = c2048
        he_init(self)

    def forward(self, image: Tensor) -> Tensor:
        """Entry, middle and exit flow, then the mean over positions."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.block3(self.block2(self.block1(x)))
        for name in self.middle:
            x = self.get_submodule(name)(x)
        x = F.relu(self.bn3(self.conv3(self.block12(x))))
        return F.relu(self.bn4(self.conv4(x))).mean((2, 3))


class IdentityNetwork(nn.Module):
    """A trunk and the fully connected layers: images (b, 3, H, W) in [-1, 1] -> unit vectors (b, embedding).

    Args:
        trunk: maps (b, 3, input_size, input_size) to (b, features).
        features: width of what the trunk returns.
        hidden: width of the first fully connected layer.
        embedding: length of the vector.
        relu_before_norm: as the copied recipe has it; it confines every face to one orthant of the sphere, so
            that no two faces are further apart than a squared distance of 2. Off by default.
        input_size: pixels that images are resized to, at least 32.
        standardize: whether each image is brought to mean 0 and variance 1 first.
        centre: share of the image's side around its centre that is looked at.
        mirror: whether the vector of an image is, in evaluation mode, that of it and its mirror image together.
        trained_from: the first part of the trunk that is trained; those before it keep their weights and their
            running statistics, as the copied recipe has it. Empty = all are trained.
        weights_from: where the trunk's weights came from, for the record.
    """

    def __init__(
        self,
        trunk: nn.Module,
        features: int,
        *,
        hidden: int = 512,
        embedding: int = 256,
        relu_before_norm: bool = False,
        input_size: int = 128,
        standardize: bool = False,
        centre: float = 1.0,
        mirror: bool = False,
        trained_from: str = "",
        weights_from: str = RANDOM,
    ) -> None:
        super().__init__()
        parts = [name for name, _ in trunk.named_children()]
        if trained_from and trained_from not in parts:
            raise unknown("method.trained_from", trained_from, parts)
        for field, value, least in (("hidden", hidden, 1), ("embedding", embedding, 2)):
            if value < least:
                raise InputError(f"{field} = {value}: allowed are values >= {least}")
        self.view = View(input_size, centre, standardize=standardize)
        self.relu_before_norm = relu_before_norm
        self.mirror = mirror
        self.trunk = trunk
        self.head = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.BatchNorm1d(hidden), nn.Linear(hidden, embedding)
        )
        he_init(self.head)
        self.frozen = parts[: parts.index(trained_from)] if trained_from else []
        self.weights_from = weights_from
        self.requires_grad_(True)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As of any module, but frozen parts stay frozen: the loop switches whole networks on and off."""
        super().requires_grad_(requires_grad)
        for name in self.frozen:
            self.trunk.get_submodule(name).requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> Self:
        """As of any module, but the running statistics of frozen parts stay as they are."""
        super().train(mode)
        for name in self.frozen:
            self.trunk.get_submodule(name).eval()
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings on the unit sphere: f(x) of the triplet loss and of L_id."""
        vector = self._vector(image)
        if self.mirror and not self.training:
            vector = F.normalize(vector + self._vector(image.flip(3)), dim=1)
        return vector

    def _vector(self, image: Tensor) -> Tensor:
        vector: Tensor = self.head(self.trunk(self.view(image)))
        return F.normalize(F.relu(vector) if self.relu_before_norm else vector, dim=1)


class SiameseXception(IdentityNetwork):
    """The paper's embedder; both branches of the Siamese network are calls of this one module.

    Args:
        width, middle_blocks, stem_stride: see :class:`Xception`; the defaults are the published trunk.
        pretrained: ``none``, ``timm`` (ImageNet weights by download) or the path or ``file://`` URI of a
            state dict of timm's ``legacy_xception`` (safetensors or PyTorch, loaded without pickled code).
        hidden, embedding, relu_before_norm, input_size, standardize, centre, mirror, trained_from: see
            :class:`IdentityNetwork`.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        middle_blocks: int = 8,
        stem_stride: int = 2,
        pretrained: str = "none",
        hidden: int = 512,
        embedding: int = 256,
        relu_before_norm: bool = False,
        input_size: int = 128,
        standardize: bool = False,
        centre: float = 1.0,
        mirror: bool = False,
        trained_from: str = "",
    ) -> None:
        trunk = Xception(width, middle_blocks, stem_stride)
        weights_from = RANDOM if pretrained == "none" else load_trunk(trunk, pretrained)
        super().__init__(
            trunk,
            trunk.num_features,
            hidden=hidden,
            embedding=embedding,
            relu_before_norm=relu_before_norm,
            input_size=input_size,
            standardize=standardize,
            centre=centre,
            mirror=mirror,
            trained_from=trained_from,
            weights_from=weights_from,
        )


def timm_identity(
    backbone: str,
    *,
    hidden: int = 512,
    embedding: int = 256,
    relu_before_norm: bool = False,
    input_size: int = 128,
    standardize: bool = False,
    centre: float = 1.0,
    mirror: bool = False,
) -> IdentityNetwork:
    """The same interface over a trunk of another family, for a judge independent of the embedder."""
    trunk, features = timm_trunk(backbone)
    return IdentityNetwork(
        trunk,
        features,
        hidden=hidden,
        embedding=embedding,
        relu_before_norm=relu_before_norm,
        input_size=input_size,
        standardize=standardize,
        centre=centre,
        mirror=mirror,
    )


def load_trunk(trunk: Xception, pretrained: str) -> str:
    """Put ImageNet weights into a trunk of published width; logs and returns where they came from.

    A file must be there and fit. A download that fails leaves the random weights with a warning: the machine
    may have no way out, and the log says what was trained. A trunk with fewer middle blocks takes the weights
    of those it has.
    """
    from timm import create_model

    if pretrained == "timm":
        try:
            weights = create_model("legacy_xception", pretrained=True).state_dict()
        except (OSError, RuntimeError) as error:
            _log.warning("Xception starts from random weights: timm's are out of reach (%s)", error)
            return f"{RANDOM} (timm's were out of reach)"
    else:
        weights = _state_dict(pretrained)
    own = trunk.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    if len(fitting) != len(own):
        raise InputError(
            f"pretrained = {pretrained!r}: {len(own) - len(fitting)} of {len(own)} weights are missing or of "
            "another shape; allowed are the weights of timm's legacy_xception, with width 1"
        )
    trunk.load_state_dict(fitting)
    _log.info("Xception starts from the weights of %s", pretrained)
    return pretrained


def _state_dict(where: str) -> dict[str, Tensor]:
    """The tensors of a state dict in a file."""
    from timm.models import load_state_dict

    path = Path(unquote(urlsplit(where).path)) if where.startswith("file:") else Path(where)
    if not path.is_file():
        raise InputError(f"pretrained = {where!r}: allowed are none, timm, or the file or URI of a state dict")
    weights: dict[str, Tensor] = load_state_dict(str(path), device="cpu", weights_only=True)
    return weights
