"""VGG19's feature maps, frozen: what the contextual loss compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.models.expression import ExpressionClassifier, vgg19_layers

# The convolutions of VGG19 by block and place; maps of block k are 2^(k−1) times smaller than the image.
Layer = Literal[
    "conv1_1", "conv1_2", "conv2_1", "conv2_2",
    "conv3_1", "conv3_2", "conv3_3", "conv3_4",
    "conv4_1", "conv4_2", "conv4_3", "conv4_4",
    "conv5_1", "conv5_2", "conv5_3", "conv5_4",
]  # fmt: skip
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of images in [0, 1]


class FeatureMaps(nn.Module):
    """Images (b, 3, H, W) in [-1, 1] and a layer's name -> its maps (b, C, h, w), after batch norm and ReLU.

    Args:
        layers: VGG19's, as torchvision builds them, with batch norm or without.
        prepare: brings images to what the layers were trained on.
    """

    def __init__(self, layers: nn.Sequential, prepare: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = layers
        self.prepare = prepare
        relus = [place for place, layer in enumerate(layers) if isinstance(layer, nn.ReLU)]
        self.ends = dict(zip(get_args(Layer), relus, strict=True))

    def forward(self, image: Tensor, layer: Layer) -> Tensor:
        """The maps of one layer; those after it are not computed."""
        x = self.prepare(image)
        for part in self.layers[: self.ends[layer] + 1]:
            x = part(x)
        return x


def maps_of_classifier(classifier: ExpressionClassifier) -> FeatureMaps:
    """Those of a filter of labels with the VGG19 backbone, which looks at images in its own way."""
    layers = next(iter(classifier.trunk.children()))
    assert isinstance(layers, nn.Sequential)
    return FeatureMaps(layers, classifier.view)


def maps_of_imagenet(weights: dict[str, Tensor]) -> FeatureMaps:
    """Those of a state dict of ImageNet's VGG19, in torchvision's or timm's names.

    Raises:
        InputError: tensors are missing or of another shape.
    """
    batch_norm = "features.1.running_mean" in weights
    layers = vgg19_layers(64, batch_norm)
    own = layers.state_dict()
    given = {name.removeprefix("features."): value for name, value in weights.items() if name.startswith("features.")}
    wrong = [name for name, value in own.items() if name not in given or given[name].shape != value.shape]
    if wrong:
        raise InputError(
            f"features.{wrong[0]} is missing or of another shape: allowed are the weights of torchvision's or timm's "
            "vgg19 or vgg19_bn"
        )
    layers.load_state_dict({name: given[name] for name in own})
    return FeatureMaps(layers, normalized)


def normalized(image: Tensor) -> Tensor:
    """Images in [-1, 1] as ImageNet's networks take them."""
    mean, deviation = (image.new_tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
    return ((image + 1) / 2 - mean) / deviation
