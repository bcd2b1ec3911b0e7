"""The expression classifier: the filter of noisy labels, and by another backbone a judge of expressions.

The paper's filter is "based on the VGG19 architecture, trained on the FER2013 dataset" (section III.A). The
layout here is the one behind the public FER2013 figures: the convolutions of VGG19 with batch normalisation,
dropout and one linear layer, on crops of 44 pixels, where five poolings leave one position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.models.backbones import View, timm_trunk
from stargan_ray.models.blocks import DomainAxes, he_init

# Configurations D and E of Simonyan & Zisserman (2015), widths in units of the first layer's 64 channels.
_VGG16 = (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M")
_VGG19 = (1, 1, "M", 2, 2, "M", 4, 4, 4, 4, "M", 8, 8, 8, 8, "M", 8, 8, 8, 8, "M")
_VGG = {"vgg16_bn": _VGG16, "vgg19_bn": _VGG19}


def vgg19_layers(width: int, batch_norm: bool) -> nn.Sequential:
    """VGG19's convolutions and poolings with torchvision's random weights; ``width`` channels in the first."""
    return _layers(_VGG19, width, batch_norm)


def _layers(widths: Sequence[int | str], width: int, batch_norm: bool) -> nn.Sequential:
    # torchvision takes seconds to import: only who builds a network pays
    from torchvision.models.vgg import make_layers

    return make_layers([w if isinstance(w, str) else w * width for w in widths], batch_norm=batch_norm)


def _vgg_trunk(name: str, width: int) -> tuple[nn.Module, int]:
    """A VGG's convolutions with batch norm, globally pooled: (b, 3, H, W) -> (b, 8·width), and that width."""
    trunk = nn.Sequential(_layers(_VGG[name], width, batch_norm=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    he_init(trunk)
    return trunk, 8 * width


class ExpressionClassifier(nn.Module):
    """Images of any size to expression logits: (b, 3, H, W) in [-1, 1] -> (b, classes).

    ``width=64`` with 7 classes is the published network of 20,038,983 parameters.

    Args:
        classes: number of expressions.
        backbone: ``vgg19_bn`` for the published stack, ``vgg16_bn`` for the one of the paper's Table II, or the timm
            name of a network of another family.
        width: channels of the first VGG layer; the others follow in proportion. Other backbones ignore it.
        dropout: probability before the linear layer.
        input_size: pixels that images are resized to; at least 32, so that one position is left.
        centre, grey, standardize, cut: what is seen of the image, see :class:`View`.
    """

    domain_axes: ClassVar[DomainAxes] = {"head.weight": (0, 0), "head.bias": (0, 0)}

    def __init__(
        self,
        classes: int,
        *,
        backbone: str = "vgg19_bn",
        width: int = 64,
        dropout: float = 0.5,
        input_size: int = 44,
        centre: float = 1.0,
        grey: bool = False,
        standardize: bool = False,
        cut: float = 1.0,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"classes = {classes}: a classifier needs at least 2")
        if width < 1:
            raise InputError(f"width = {width}: allowed are values >= 1 (64 = published)")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout = {dropout}: allowed is 0 <= dropout < 1")
        self.view = View(input_size, centre, grey, standardize, cut)
        self.trunk, features = _vgg_trunk(backbone, width) if backbone in _VGG else timm_trunk(backbone)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)
        he_init(self.head)

    def features(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) -> (b, features): what the linear layer reads."""
        features: Tensor = self.trunk(self.view(image))
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Logits; their softmax is the confidence that the filter thresholds."""
        logits: Tensor = self.head(self.dropout(self.features(image)))
        return logits
