"""What scores images for the filter: an expression classifier as a function from pixels to probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from stargan_ray.data.decode import UndecodableError, decode
from stargan_ray.data.pools import Pixels
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError
from stargan_ray.runtime.models import load_model

Scores = npt.NDArray[np.float32]
Score = Callable[[Pixels], Scores]  # (n, 3, size, size) -> (n, K) probabilities


@dataclass(frozen=True)
class Scorer:
    """A classifier as the filter needs it.

    Attributes:
        classes: what its columns mean.
        size: pixels of the images it takes.
        name: what the refined data set says of it: its place and a hash of its weights.
        make: makes the scoring function; picklable, called once in every process that scores.
    """

    classes: tuple[str, ...]
    size: int
    name: str
    make: Callable[[], Score]


def model_scorer(where: str) -> Scorer:
    """The scorer of a trained expression classifier.

    Args:
        where: a model folder, checkpoint, run or ``models:/…``, see ``load_model``.

    Raises:
        InputError: it is not there, or no expression classifier.
    """
    model = load_model(where)
    if model.kind != "expression":
        raise InputError(f"{where} is a model of kind {model.kind}: the filter needs an expression classifier")
    name = f"{model.where} {model.content_hash[:12]}"
    # the resolved place: the workers must not follow an alias that has moved meanwhile
    return Scorer(model.domains, model.size, name, partial(_load_score, model.where))


def _load_score(where: str) -> Score:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return network_score(load_model(where, device).networks["classifier"], device)


def network_score(network: nn.Module, device: torch.device) -> Score:
    """Probabilities of a network in eval mode, the mean over an image and its mirror image."""

    def score(images: Pixels) -> Scores:
        with torch.inference_mode():
            batch = to_float(torch.from_numpy(images).to(device))
            both = network(torch.cat([batch, batch.flip(3)])).float().softmax(1)
            mean = both.unflatten(0, (2, -1)).mean(0).cpu().numpy()
        return np.asarray(mean, np.float32)

    return score


def score_rows(dataset: Dataset, rows: npt.NDArray[np.int64], scorer: Scorer, score: Score) -> Scores:
    """(n, K) probabilities of the images at positions of the index; NaN where one cannot be decoded."""
    found = np.full((len(rows), len(scorer.classes)), np.nan, np.float32)
    images, places = [], []
    for place, data in enumerate(dataset.images(rows)):
        try:
            images.append(decode(data, scorer.size))
            places.append(place)
        except UndecodableError:
            continue  # counted by its reason in the decisions
    if images:
        found[places] = score(np.stack(images))
    return found
