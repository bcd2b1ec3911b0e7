"""The public judge as a model like any other, so that every job that asks for a judge's model takes ``dlib`` too."""

from __future__ import annotations

from pathlib import Path

import torch

from stargan_ray.config import DataConfig, Recipe, to_json
from stargan_ray.data.dlib_files import RECOGNITION
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.runtime import dlib_identity
from stargan_ray.runtime.card import describe
from stargan_ray.runtime.models import LoadedModel

_FACE = 0.6  # of an image's side
_SIZE = round(dlib_identity.CHIP / _FACE)  # pixels at which the face has as many as dlib looks at


def public_judge_model(device: torch.device) -> LoadedModel:
    """Dlib's network as a judge of identities; it is of no run, has no recipe to train it by, and is not exported.

    Raises:
        InputError: the extra ``judge`` is not installed.
    """
    network = dlib_identity.DlibIdentity(_FACE)
    method = IdentityJudgeMethod(backbone="dlib", embedding=128, input_size=dlib_identity.CHIP)
    recipe = Recipe(dlib_identity.DLIB, "dlib's public face recognition network", method, DataConfig(size=_SIZE))
    raw = {
        "domains": [],
        "recipe": to_json(recipe),
        "licence": dlib_identity.LICENCE,
        "pretrained": RECOGNITION,
    }
    return LoadedModel(
        method=method,
        networks={"embedder": network.to(device).eval()},
        meta=describe(raw, recipe, {}),
        folder=Path(),
        where=dlib_identity.DLIB,
        helpers={},
    )
