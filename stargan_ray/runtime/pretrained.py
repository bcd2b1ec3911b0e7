"""Pretrained weights of a new run: fetched once from wherever they are, and recorded as what really came."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.models.identity import RANDOM


def absolute_weights(recipe: Recipe) -> Recipe:
    """The recipe with a path of weights that holds in any working directory."""
    method = recipe.method
    if not isinstance(method, IdentityMethod) or method.pretrained in ("none", "timm"):
        return recipe
    return replace(recipe, method=replace(method, pretrained=storage.absolute(method.pretrained)))


@contextlib.contextmanager
def local_weights(recipe: Recipe, *, wanted: bool) -> Iterator[Recipe]:
    """The recipe to build networks by: weights at a URI are a local file in it.

    Args:
        recipe: of the run.
        wanted: whether weights are wanted at all: those of a run that goes on come from its checkpoint.

    Raises:
        InputError: the URI cannot be read.
    """
    method = recipe.method
    if not isinstance(method, IdentityMethod) or not wanted:
        plain = replace(method, pretrained="none") if isinstance(method, IdentityMethod) else method
        yield replace(recipe, method=plain)
        return
    where = method.pretrained
    if where in ("none", "timm") or storage.local_path(where) is not None:
        yield recipe
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(where.partition("?")[0]).name  # its suffix says what it is
        file.write_bytes(storage.read_bytes(where))
        yield replace(recipe, method=replace(method, pretrained=str(file)))


def origins(recipe: Recipe, networks: Mapping[str, nn.Module], *, continued: bool) -> dict[str, str]:
    """Where the weights of a new run's networks came from, by name: ``none`` for random ones.

    Args:
        recipe: of the run.
        networks: as they were built.
        continued: whether the weights of another run take their place.

    Raises:
        InputError: only the last layers are to be trained, and the first ones are random.
    """
    method = recipe.method
    if not isinstance(method, IdentityMethod):
        return {}
    came = getattr(networks["embedder"], "weights_from", RANDOM)
    if method.trained_from and not continued and came.startswith(RANDOM):
        raise InputError(
            f"method.trained_from = {method.trained_from!r} trains the last layers of a pretrained network, and it has "
            f"{came}: give method.pretrained a file or URI, or an empty method.trained_from"
        )
    return {"embedder": "none" if came.startswith(RANDOM) else method.pretrained}
