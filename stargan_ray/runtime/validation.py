"""Validation and sample grids while a network trains: what chooses the best checkpoint.

These figures come from the validation split and, for a translator, from the networks that training already
knows. They choose; they do not judge: the report's figures come from other networks and other people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from stargan_ray.config import Recipe
from stargan_ray.data.folds import seen_rows
from stargan_ray.data.pools import load_pool
from stargan_ray.data.shards import Dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError
from stargan_ray.evaluation import figures, identity
from stargan_ray.evaluation.calibration import fit_calibration
from stargan_ray.evaluation.pairs import sample_pairs
from stargan_ray.evaluation.translations import Faces, LatentGuide, balanced_targets, every_target, translate
from stargan_ray.methods.base import Translator
from stargan_ray.runtime.models import load_model
from stargan_ray.training.recording import Hooks

_MOST = 1024  # validation images looked at
_ALBUM = 8  # of each person, where people count and the split has more images
_GRID = 6  # people in a sample grid
_TRANSLATIONS = 256
_SEED = 20  # of the requests and latents: the same at every validation

Networks = dict[str, nn.Module]


def make_hooks(recipe: Recipe, dataset: Dataset, judge: str, device: torch.device) -> Hooks:
    """The hooks of a run; none where the data set has no validation rows."""
    method = recipe.method
    data = recipe.data
    seen = seen_rows(dataset.index, data.folds, data.fold)
    faces = validation_faces(dataset, data.size, device, needs_person=method.plan == "identities", among=seen)
    if faces is None:
        return Hooks()
    if isinstance(method, Translator):
        return Hooks(
            validate=_translator(method, faces, judge, device, dataset.manifest.domains) if judge else None,
            sample=lambda networks: sample_grid(method, networks, faces, dataset.manifest.domains),
        )
    if method.plan == "identities":
        return Hooks(validate=lambda networks: _identity(networks, faces))
    return Hooks(validate=lambda networks: _expression(networks, faces))


def validation_faces(
    dataset: Dataset,
    size: int,
    device: torch.device,
    *,
    needs_person: bool,
    split: str = "val",
    among: pa.BooleanArray | None = None,
) -> Faces | None:
    """Up to 1,024 evenly spread rows of a split, decoded; None when it has none that can be used.

    Args:
        dataset: where the rows are.
        size: pixels.
        device: where the images go.
        needs_person: whether it is people that count: rows without an identity are left out, those without an
            expression are not (label −1), and the rows are of as many people as give pairs with themselves.
        split: their split.
        among: (N,) which rows of the index may be taken; None = all.
    """
    index = dataset.index
    wanted = index["identity" if needs_person else "expression"]
    usable = pc.and_(pc.equal(index["split"], split), pc.is_valid(wanted))
    if among is not None:
        usable = pc.and_(usable, among)
    rows = np.flatnonzero(usable.to_numpy(zero_copy_only=False))
    if not len(rows):
        return None
    if needs_person:
        rows = rows[_albums(np.asarray(index["identity"].take(rows).to_pylist(), dtype=object))]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(_MOST, len(rows))).astype(int))]
    images = to_float(torch.from_numpy(load_pool(dataset, rows, size))).to(device)
    given = pc.fill_null(index["expression"], -1).to_numpy()[rows]
    labels = torch.from_numpy(given.astype(np.int64)).to(device)
    people = np.asarray(index["identity"].take(rows).to_pylist(), dtype=object)
    return Faces(images, labels, np.array([str(person) for person in people]))


def _albums(people: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Sorted places of the rows by which people are told apart: all of a small set.

    Of a large one, up to ``_ALBUM`` images each of people with two or more, spread over the people: rows spread
    evenly over a million images would be of a thousand people with one image each, and give no pair.
    """
    if len(people) <= _MOST:
        return np.arange(len(people))
    _, person, counts = np.unique(people, return_inverse=True, return_counts=True)
    order = np.argsort(person, kind="stable")
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    several = np.flatnonzero(counts > 1)
    if not len(several):
        return np.arange(len(people))
    chosen = several[np.unique(np.linspace(0, len(several) - 1, min(_MOST // _ALBUM, len(several))).astype(int))]
    return np.sort(order[(rank < _ALBUM) & np.isin(person[order], chosen)])


@torch.no_grad()
def _evaluated(network: nn.Module, images: Tensor) -> Tensor:
    """Outputs of a network in eval mode, which is then put back as it was."""
    training = network.training
    network.eval()
    out = torch.cat([network(part) for part in torch.split(images, 64)])
    network.train(training)
    return out


def _expression(networks: Networks, faces: Faces) -> dict[str, float]:
    logits = _evaluated(networks["classifier"], faces.images)
    right = (logits.argmax(1) == faces.labels).float().mean()
    loss = nn.functional.cross_entropy(logits, faces.labels)
    return {"val/accuracy": float(right), "val/ce": float(loss)}


def _identity(networks: Networks, faces: Faces) -> dict[str, float]:
    """Verification of the validation people, and how a distance is to be read; nothing where there are no pairs."""
    try:
        pairs = sample_pairs(faces.persons, 2_000, seed=_SEED)
    except InputError:
        return {}
    vectors = _evaluated(networks["embedder"], faces.images).cpu().numpy()
    found = identity.verify(vectors, faces.persons, pairs)
    read = fit_calibration(found.distances, pairs.same)
    return {"val/verification_accuracy": found.accuracy.value, "val/auc": found.auc, **read.metrics()}


def _translator(
    method: Translator, faces: Faces, judge: str, device: torch.device, domains: tuple[str, ...]
) -> Callable[[Networks], dict[str, float]]:
    """Accuracy of the wanted expression under the filter, closeness to the source, and their harmonic mean."""
    classifier = load_model(judge, device).networks["classifier"]
    requests = balanced_targets(faces.labels.cpu().numpy(), len(domains), _TRANSLATIONS, seed=_SEED)
    wanted = torch.from_numpy(requests.target).to(device)

    def validate(networks: Networks) -> dict[str, float]:
        guide = LatentGuide(int(getattr(method, "latent_dim", 0)))
        images = torch.cat(list(translate(method, networks, faces, requests, guide, seed=_SEED)))
        accuracy = float((_evaluated(classifier, images).argmax(1) == wanted).float().mean())
        values = {"val/target_accuracy": accuracy}
        if "identity" in networks:
            source = faces.take(requests.source).images
            before, after = (_evaluated(networks["identity"], x) for x in (source, images))
            kept = float((1 - (before - after).square().sum(1) / 4).mean())
            values |= {"val/kept": kept, "val/balance": 2 * accuracy * kept / max(accuracy + kept, 1e-6)}
        return values

    return validate


def sample_grid(method: Translator, networks: Any, faces: Faces, domains: tuple[str, ...]) -> bytes:
    """A PNG: a few validation people down, every expression across."""
    _, first = np.unique(faces.persons, return_index=True)
    few = faces.take(np.sort(first)[:_GRID])
    requests = every_target(few.labels.cpu().numpy(), len(domains), own=True)
    guide = LatentGuide(int(getattr(method, "latent_dim", 0)))
    images = torch.cat(list(translate(method, networks, few, requests, guide, seed=_SEED)))
    rows = images.reshape(len(few), len(domains), *images.shape[1:])
    return figures.sample_grid(few.images.cpu(), rows.cpu(), domains, own=few.labels.tolist())
