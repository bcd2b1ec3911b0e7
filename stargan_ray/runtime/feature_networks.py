"""Feature networks by where their weights are; what is not given is replaced by an expression judge under its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.evaluation.feature_networks import (
    FeatureDistance,
    FeatureNetworks,
    Inception,
    Lpips,
    names_of,
    weights_hash,
)
from stargan_ray.evaluation.judging import Judge
from stargan_ray.runtime.feature_use import read_state_dict
from stargan_ray.runtime.models import LoadedModel

Network = TypeVar("Network", bound=nn.Module)
_FILES = {
    "inception": ("weights-inception-2015-12-05-6726825d.pth of torch-fidelity", "FID and KID are"),
    "alexnet": ("alexnet-owt-7be5be79.pth of torchvision", "LPIPS is"),
}


def open_feature_networks(
    *, inception: str = "", alexnet: str = "", judge: LoadedModel | None = None
) -> FeatureNetworks:
    """The networks of FID, KID and LPIPS where their weights are given, else the features of a judge.

    Args:
        inception: file or URI of the weights of FID's Inception; empty = the judge's features.
        alexnet: file or URI of AlexNet's weights, for LPIPS; empty = the judge's features.
        judge: an expression classifier that trained no translator.

    Raises:
        InputError: weights are missing or wrong; it says which rows are left out without them.
    """
    eyes = _opened("inception", inception, Inception) if inception else _judge(judge, "inception")
    touch = _opened("alexnet", alexnet, Lpips) if alexnet else _judge(judge, "alexnet")
    return FeatureNetworks(
        features=eyes if inception else cast(Judge, eyes.features),
        distance=touch if alexnet else FeatureDistance(cast(Judge, touch.features)),
        names=names_of(inception=bool(inception), lpips=bool(alexnet), judge=judge.where if judge else ""),
        content_hash=weights_hash(eyes, touch),
    )


def _opened(option: str, where: str, build: Callable[[Mapping[str, Tensor]], Network]) -> Network:
    try:
        return build(read_state_dict(where))
    except InputError as error:
        file, rows = _FILES[option]
        raise InputError(f"--{option} {where}: {error}; give {file}, or leave it out and {rows} left out") from error


def _judge(judge: LoadedModel | None, option: str) -> nn.Module:
    file, rows = _FILES[option]
    if judge is None:
        raise InputError(f"{rows} left out without --{option}: give {file}, or an expression judge in its place")
    (network,) = judge.networks.values()
    if judge.kind != "expression" or not hasattr(network, "features"):
        raise InputError(f"{judge.where} is a model of kind {judge.kind}: allowed in place of --{option} is expression")
    return network
