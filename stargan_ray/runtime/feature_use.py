"""The frozen features of a contextual loss: from a filter of labels, or ImageNet's VGG19. Training alone needs them."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from stargan_ray.config import to_json
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.models.expression import ExpressionClassifier
from stargan_ray.models.features import maps_of_classifier, maps_of_imagenet
from stargan_ray.runtime.models import LoadedModel, load_model

IMAGENET = "imagenet"
_FILES = (".safetensors", ".pth", ".pt")


def open_helper(name: str, where: str) -> LoadedModel:
    """The model that a helper of a method is given by.

    Raises:
        InputError: it cannot be loaded, or cannot be used as what the name says.
    """
    if name != "features":
        return load_model(where)
    if where == IMAGENET or where.partition("?")[0].endswith(_FILES):
        return _imagenet(where)
    model = load_model(where)
    if not isinstance(model.method, ExpressionMethod):
        raise InputError(f"--features {where} is a model of kind {model.kind}: an expression classifier is needed")
    if model.method.backbone != "vgg19_bn":
        raise InputError(f"--features {where} has the backbone {model.method.backbone}: VGG19 is needed (vgg19_bn)")
    return model


def helper_network(name: str, model: LoadedModel) -> nn.Module:
    """What a method calls under a helper's name; features of a classifier are those of its convolutions."""
    (network,) = model.networks.values()
    if name == "features" and isinstance(network, ExpressionClassifier):
        return maps_of_classifier(network)
    return network


def _imagenet(where: str) -> LoadedModel:
    """ImageNet's VGG19 as a model like any other; it is of no run and is not exported."""
    try:
        maps = maps_of_imagenet(_downloaded() if where == IMAGENET else read_state_dict(where))
    except InputError as error:
        raise InputError(f"--features {where}: {error}") from error
    raw = {"domains": [], "recipe": {"name": IMAGENET, "method": to_json(ExpressionMethod())}}
    return LoadedModel(
        method=ExpressionMethod(),
        networks={"features": maps.eval().requires_grad_(False)},
        meta={**raw, "kind": "features", "pretrained": where, "size": 224},
        folder=Path(),
        where=where,
        helpers={},
    )


def _downloaded() -> dict[str, Tensor]:
    import timm  # takes seconds to import: only who asks for it pays

    try:
        weights: dict[str, Tensor] = timm.create_model("vgg19", pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"ImageNet's weights are out of reach ({why}): give their file or URI") from error
    return weights


def read_state_dict(where: str) -> dict[str, Tensor]:
    """The tensors of a file or URI, without pickled code.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    data = storage.read_bytes(storage.absolute(where))
    try:
        if where.partition("?")[0].endswith(".safetensors"):
            return load_safetensors(data)
        weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # of a file of another kind the two libraries raise whatever they stumble over
        raise InputError(f"it cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError("it is no state dict: allowed is a file of named tensors")
    return weights
