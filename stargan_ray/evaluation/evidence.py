"""What the judges see of images, before anything is made of it: kept block by block, so that a verdict needs no pixels.

Images are float (n, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.evaluation.translations import BATCH, Faces, Requests

FloatArray = npt.NDArray[np.float64]
Judge = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Judges:
    """Networks that never trained a translator, as plain functions of images (b, 3, H, W) in [-1, 1].

    Attributes:
        expression: images -> logits (b, K).
        identity: images -> unit embeddings (b, d).
        features: images -> (b, f), what the expression judge's last layer reads; None where it has no such thing.
        head: features (b, f) -> the logits, so that the expression judge looks at an image once; None = ``expression``
            is called beside ``features``.
        training: the embedder whose loss trained a translator, images -> unit embeddings; no judge, and shown beside
            them: what it calls near and they call far was learnt to please it. None = not asked.
    """

    expression: Judge
    identity: Judge
    features: Judge | None = None
    head: Judge | None = None
    training: Judge | None = None


@dataclass(frozen=True)
class Evidence:
    """What the judges see of n images.

    Attributes:
        logits: (n, K).
        identity: (n, d) of unit length.
        training: (n, e) of unit length; e = 0 without a training embedder.
        features: (n, f); f = 0 without features.
        background: (n,) in [0, 2], against the source; 0 of real images, which are their own source.
    """

    logits: FloatArray
    identity: FloatArray
    training: FloatArray
    features: FloatArray
    background: FloatArray

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, rows: npt.NDArray[np.int64]) -> Evidence:
        """Of the images at these positions."""
        return Evidence(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def to_bytes(self) -> bytes:
        """For a file."""
        return save({field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)})

    @staticmethod
    def from_bytes(data: bytes) -> Evidence:
        """Of a file.

        Raises:
            ValueError: it is damaged.
        """
        try:
            return Evidence(**load(data))
        except (SafetensorError, TypeError) as error:
            raise ValueError(f"no evidence: {error}") from error


def joined(parts: Sequence[Evidence]) -> Evidence:
    """One after the other."""
    return Evidence(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Evidence)})


def look(images: Tensor, judges: Judges, source: Tensor | None = None) -> Evidence:
    """A batch before the judges.

    Args:
        images: (b, 3, H, W).
        judges: called once each.
        source: what they are translations of, for the background; None = nothing else.
    """
    none = np.zeros((len(images), 0))
    with torch.no_grad():
        features = None if judges.features is None else judges.features(images)
        logits = judges.expression(images) if features is None or judges.head is None else judges.head(features)
        return Evidence(
            logits=_array(logits),
            identity=_array(judges.identity(images)),
            training=none if judges.training is None else _array(judges.training(images)),
            features=none if features is None else _array(features),
            background=np.zeros(len(images)) if source is None else background_l1(source, images),
        )


def look_at_faces(faces: Faces, judges: Judges, on_seen: Callable[[int], None] = lambda _: None) -> Evidence:
    """Real images before the judges; ``on_seen`` is told how many are new, for progress."""
    parts = []
    for images in torch.split(faces.images, BATCH):
        parts.append(look(images, judges))
        on_seen(len(images))
    return joined(parts)


def look_at_translations(
    translations: Iterable[Tensor], sources: Faces, requests: Requests, judges: Judges
) -> Iterator[Evidence]:
    """Translations before the judges, batch by batch; no image is kept.

    Args:
        translations: batches (b, 3, H, W) in the order of the requests.
        sources: the faces that the requests index.
        requests: what was asked for.
        judges: never used in training.

    Raises:
        InputError: the batches do not add up to the requests.
    """
    done = 0
    for images in translations:
        real = sources.take(requests.source[done : done + len(images)]).images
        if real.shape != images.shape:
            shapes = f"{tuple(images.shape)} for {tuple(real.shape)}"
            raise InputError(f"translations do not match the requests: got {shapes}")
        done += len(images)
        yield look(images, judges, real)
    if done != len(requests) or not done:
        raise InputError(f"{done} translations for {len(requests)} requests: one each is needed, at least one")


def background_l1(source: Tensor, translation: Tensor) -> FloatArray:
    """Mean absolute difference (n,) in [0, 2] at the rim: the outermost eighth at the top and at both sides.

    No mask is needed, and none is used: a portrait's rim is mostly background there, the bottom is shoulders.

    Args:
        source: (n, 3, H, W) in [-1, 1].
        translation: the same shape and range.
    """
    height, width = source.shape[-2:]
    rim = torch.zeros(height, width, dtype=torch.bool, device=source.device)
    rim[: max(1, height // 8)] = True
    rim[:, : max(1, width // 8)] = True
    rim[:, -max(1, width // 8) :] = True
    gap = (source - translation).abs()[:, :, rim].flatten(1).double().mean(1)
    values: FloatArray = gap.cpu().numpy()
    return values


def _array(seen: Tensor) -> FloatArray:
    values: FloatArray = seen.double().cpu().numpy()
    return values
