"""The identity embedder in a translator's training: whether it fits, and what is stored of it beside the data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from stargan_ray.config import AnyMethod, Recipe
from stargan_ray.data.embeddings import Embeddings, Store
from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.runtime.models import LoadedModel

_FAR = 2.0  # a size this many times another is worth a word


def require_fit(method: AnyMethod, helpers: Mapping[str, LoadedModel]) -> None:
    """Refuse as the identity embedder what is none, or is of another width than the method's networks.

    Any input size fits: an embedder resizes what it is shown to its own.
    """
    if not isinstance(method, StarGANv2Identity):
        return
    model = helpers["identity"]
    if not isinstance(model.method, IdentityMethod):
        raise InputError(f"--identity {model.where} is a model of kind {model.kind}: an identity embedder is needed")
    if model.method.embedding != method.identity_dim:
        raise InputError(
            f"method.identity_dim = {method.identity_dim}: the embedder {model.where} has {model.method.embedding} "
            f"dimensions; allowed with it is --method.identity-dim {model.method.embedding}"
        )


def notes(recipe: Recipe, helpers: Mapping[str, LoadedModel]) -> list[str]:
    """What a person should know of helpers that can be used."""
    model, size = helpers.get("identity"), recipe.data.size
    if model is None or max(size / model.size, model.size / size) < _FAR:
        return []
    return [
        f"the embedder {model.where} was trained on images of {model.size} px and is shown {size} px here, resized: "
        "its distances may mean less"
    ]


def stored_embeddings(
    recipe: Recipe, dataset: Dataset, rows: npt.NDArray[np.int64], helpers: Mapping[str, LoadedModel]
) -> Embeddings:
    """f(source) of the rows that a training draws from, as ``jobs/embed.py`` has stored it.

    Args:
        recipe: of the run.
        dataset: its data.
        rows: positions in the index.
        helpers: as ``load_helpers`` gives them.

    Raises:
        InputError: the method has no embedder, the augmentation does more than mirror an image, or a row has none.
    """
    store, how = _store(recipe, dataset, helpers)
    return store.load(dataset, rows, mirrored=recipe.data.augment.flip > 0, how=how)


def require_stored(
    recipe: Recipe, dataset: Dataset, rows: npt.NDArray[np.int64], helpers: Mapping[str, LoadedModel]
) -> None:
    """Refuse what ``stored_embeddings`` would, without reading a vector."""
    store, how = _store(recipe, dataset, helpers)
    store.require(dataset, rows, how)


def _store(recipe: Recipe, dataset: Dataset, helpers: Mapping[str, LoadedModel]) -> tuple[Store, str]:
    """Where a run's embeddings are, and the command that makes them."""
    if "identity" not in helpers:
        raise InputError(f"--embeddings: {recipe.method.name} uses no identity embedder")
    model, augment, size = helpers["identity"], recipe.data.augment, recipe.data.size
    if beyond := augment.beyond_mirror:
        raise InputError(
            f"--embeddings with data.augment.{beyond[0]} = {getattr(augment, beyond[0])}: f(source) must be of the "
            "image that G sees, and what is stored is of images that are at most mirrored (data.augment.flip alone)"
        )
    assert isinstance(model.method, IdentityMethod)
    how = f"jobs/embed.py --data {dataset.uri} --model {model.where} --size {size}"
    return Store(dataset.uri, model.content_hash, size, model.method.embedding), how
