"""Networks as functions of pixels: what scores images for the filter and for evaluation, block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stargan_ray.config import from_json
from stargan_ray.data.decode import UndecodableError, decode
from stargan_ray.data.pools import Pixels
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError
from stargan_ray.runtime.defaults import Crops
from stargan_ray.runtime.models import LoadedModel, load_model

Scores = npt.NDArray[np.float32]
Score = Callable[[Pixels], Scores]  # (n, 3, size, size) -> (n, K) probabilities


@dataclass(frozen=True)
class Scorer:
    """A network as the filter and evaluation need it: a classifier, or an embedder whose columns are dimensions.

    Attributes:
        classes: what its columns mean.
        size: pixels of the images it takes.
        name: what the refined data set says of it: its place and a hash of its weights.
        make: makes the scoring function; picklable, called once in every process that scores.
        folds, fold: which part of its data it was trained without (``data/folds.py``); 0 folds = it saw everything.
        data_hash: content hash of the data set that it was trained on; empty = not known.
    """

    classes: tuple[str, ...]
    size: int
    name: str
    make: Callable[[], Score]
    folds: int = 0
    fold: int = 0
    data_hash: str = ""


def model_scorer(where: str, crops: Crops = "flip") -> Scorer:
    """The scorer of a trained expression classifier.

    Args:
        where: a model folder, checkpoint, run or ``models:/…``, see ``load_model``.
        crops: the views of an image whose probabilities are averaged, see ``network_score``.

    Raises:
        InputError: it is not there, or no expression classifier.
    """
    return classifier_scorer(load_model(where), crops)


def classifier_scorer(model: LoadedModel, crops: Crops = "flip") -> Scorer:
    """The same of a model that is loaded already."""
    if model.kind != "expression":
        raise InputError(f"{model.where} is a model of kind {model.kind}: an expression classifier is needed")
    name = f"{model.where} {model.content_hash[:12]}" + ("" if crops == "flip" else f" {crops}")
    # the resolved place: the workers must not follow an alias that has moved meanwhile
    make = partial(_load_score, model.where, crops)
    data = from_json(model.meta["recipe"]).data
    return Scorer(model.domains, model.size, name, make, data.folds, data.fold, str(model.meta.get("data_hash", "")))


def embedder_scorer(model: LoadedModel) -> Scorer:
    """What embeds images with an identity network: (n, 3, size, size) -> (n, d) of unit length.

    The image is taken as it is, without a mirrored view: so do the identity loss and the threshold of validation.

    Raises:
        InputError: the model is of another kind.
    """
    if "embedder" not in model.networks:
        raise InputError(f"{model.where} is a model of kind {model.kind}: an identity embedder is needed")
    with torch.inference_mode():
        width = model.networks["embedder"](torch.zeros(1, 3, model.size, model.size)).shape[1]
    name = f"{model.where} {model.content_hash[:12]}"
    return Scorer(tuple(map(str, range(width))), model.size, name, partial(_load_embed, model.where))


def _load_embed(where: str) -> Score:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = load_model(where, device).networks["embedder"]

    def embed(images: Pixels) -> Scores:
        with torch.inference_mode():
            vectors = network(to_float(torch.from_numpy(images).to(device)))
        return np.asarray(vectors.float().cpu().numpy(), np.float32)

    return embed


def _load_score(where: str, crops: Crops) -> Score:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network_score(load_model(where, device).networks["classifier"], device, crops)


def network_score(network: nn.Module, device: torch.device, crops: Crops = "flip") -> Score:
    """Probabilities of a network in eval mode, the mean over the views of an image.

    Args:
        network: (b, 3, H, W) in [-1, 1] -> logits (b, K), for any H and W.
        device: where it is.
        crops: ``one`` is the image, ``flip`` the image and its mirror image, ``ten`` the four corners and the centre
            at 11/12 of the side, and their mirror images (44 of FER2013's 48 pixels: its usual ten-crop test).
    """

    def score(images: Pixels) -> Scores:
        with torch.inference_mode():
            batch = to_float(torch.from_numpy(images).to(device))
            # one view after the other: ten at once would need ten times the memory
            views = _views(batch, crops)
            mean = sum(network(view).float().softmax(1) for view in views) / len(views)
        return np.asarray(mean.cpu().numpy(), np.float32)

    return score


def _views(batch: Tensor, crops: Crops) -> tuple[Tensor, ...]:
    if crops == "ten":
        from torchvision.transforms.functional import ten_crop  # a second of import: only who wants ten pays

        views: tuple[Tensor, ...] = ten_crop(batch, [round(batch.shape[-1] * 11 / 12)])
        return views
    return (batch,) if crops == "one" else (batch, batch.flip(3))


@dataclass(frozen=True)
class Decoded:
    """The images of some rows that can be decoded.

    Attributes:
        rows: how many were asked for.
        places: (n,) which of them are here.
        images: (n, 3, size, size), or None where n is 0.
    """

    rows: int
    places: list[int]
    images: Pixels | None


def decode_rows(dataset: Dataset, size: int, rows: npt.NDArray[np.int64]) -> Decoded:
    """Read and decode the images at positions of the index; one that cannot be decoded is left out."""
    images, places = [], []
    for place, data in enumerate(dataset.images(rows)):
        try:
            images.append(decode(data, size))
            places.append(place)
        except UndecodableError:
            continue  # counted by its reason in the decisions
    return Decoded(len(rows), places, np.stack(images) if images else None)


def score_decoded(decoded: Decoded, classes: int, score: Score) -> Scores:
    """(rows, classes) probabilities; NaN where an image could not be decoded."""
    found = np.full((decoded.rows, classes), np.nan, np.float32)
    if decoded.images is not None:
        found[decoded.places] = score(decoded.images)
    return found
