"""Translations to be judged: who is translated to what, and by which guide.

Every latent code and every choice of a reference is a function of (seed, source, target, output) alone, so the batch
size and the other requests change nothing. Images are float (n, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Networks, Target, Translator

BATCH = 64  # images translated or judged together; any other number gives the same figures


@dataclass(frozen=True)
class Faces:
    """Real images with what they show.

    Attributes:
        images: (n, 3, H, W) in [-1, 1].
        labels: (n,) int64, the expressions.
        persons: (n,) names or numbers, who they show.
    """

    images: Tensor
    labels: Tensor
    persons: npt.NDArray[Any]

    def __post_init__(self) -> None:
        """Refuse images without a label or a person."""
        if self.images.ndim != 4 or self.images.shape[1] != 3:
            raise InputError(f"faces must be (n, 3, H, W), got {tuple(self.images.shape)}")
        if not len(self.images) == len(self.labels) == len(self.persons):
            counts = f"{len(self.images)} images, {len(self.labels)} labels and {len(self.persons)} people"
            raise InputError(f"every face needs a label and a person: got {counts}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: npt.ArrayLike) -> Faces:
        """The faces at these positions (m,)."""
        chosen = np.asarray(indices, dtype=np.int64)
        where = torch.from_numpy(chosen).to(self.images.device)
        return Faces(self.images[where], self.labels[where.to(self.labels.device)], self.persons[chosen])


@dataclass(frozen=True)
class Requests:
    """What is translated to what, (m,) int64 each: positions among the sources, and domains."""

    source: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class LatentGuide:
    """Styles from latent codes (L,) drawn from N(0, 1)."""

    width: int


@dataclass(frozen=True)
class ReferenceGuide:
    """Styles from images of the target expression that show another person than the source."""

    faces: Faces


Guide = LatentGuide | ReferenceGuide


def every_target(labels: npt.ArrayLike, domains: int, *, own: bool = False) -> Requests:
    """Every source to every expression, source by source: n · (domains − 1) requests.

    Args:
        labels: (n,) the sources' own expressions.
        domains: K.
        own: also to its own expression (for a grid; a translation that need change nothing is not judged).
    """
    given = np.asarray(labels, dtype=np.int64)
    if len(given) and not 0 <= given.min() <= given.max() < domains:
        raise InputError(f"labels {given.min()}..{given.max()}: allowed are 0..{domains - 1}")
    source, target = np.divmod(np.arange(len(given) * domains), domains)
    wanted = (given[source] != target) | own
    return Requests(source[wanted], target[wanted])


def balanced_targets(labels: npt.ArrayLike, domains: int, count: int, *, seed: int = 0) -> Requests:
    """A sample of :func:`every_target` in which the targets are as even as they can be.

    Args:
        labels: (n,) the sources' own expressions.
        domains: K.
        count: requests wanted; all of them when there are not more.
        seed: of the sample.
    """
    requests = every_target(labels, domains)
    order = np.random.default_rng(seed).permutation(len(requests))
    target = requests.target[order]
    # The n-th request of each target comes before the (n+1)-th of any: a cut leaves the targets even.
    turn = np.empty(len(order), dtype=np.int64)
    for domain in range(domains):
        mine = target == domain
        turn[mine] = np.arange(mine.sum())
    chosen = np.sort(order[np.argsort(turn, kind="stable")[:count]])
    return Requests(requests.source[chosen], requests.target[chosen])


def translate(
    translator: Translator,
    networks: Networks,
    sources: Faces,
    requests: Requests,
    guide: Guide,
    *,
    seed: int = 0,
    batch: int = BATCH,
    intensity: float = 1.0,
    output: int = 0,
) -> Iterator[Tensor]:
    """Translations (b, 3, H, W) in [-1, 1] in the order of the requests, batch by batch.

    Args:
        translator: The method.
        networks: Its networks and helpers in eval mode, on the device of the sources.
        sources: Faces that the requests index.
        requests: m translations.
        guide: Where the styles come from.
        seed: With (source, target) it fixes the latent code or the reference.
        batch: Images at once.
        intensity: In [0, 1], see :class:`Target`.
        output: Which of several translations of one source to one target: each has another code or reference.

    Raises:
        InputError: If a reference is wanted of an expression that no other person shows.
    """
    modules = {name: net for name, net in networks.items() if isinstance(net, nn.Module)}
    training = sorted(name for name, net in modules.items() if net.training)
    assert not training, f"judge networks in eval mode: {training} are training"
    device = sources.images.device
    for start in range(0, len(requests), batch):
        source, target = requests.source[start : start + batch], requests.target[start : start + batch]
        here = sources.take(source)
        label = torch.from_numpy(target).to(device)
        if isinstance(guide, LatentGuide):
            wanted = Target(label, latent=latents(source, target, guide.width, seed, output).to(device))
        else:
            shown = _references(guide.faces, here, source, target, seed, output)
            wanted = Target(label, reference=shown.to(device))
        with torch.no_grad():
            images = translator.translate(
                networks, here.images, here.labels.to(device), wanted._replace(intensity=intensity)
            )
        # Judged as a user gets it: an image file holds nothing outside [-1, 1].
        yield images.clamp(-1, 1)


def copies(sources: Faces, requests: Requests, *, batch: int = BATCH) -> Iterator[Tensor]:
    """The row ``copy-input``: every translation is its source."""
    for start in range(0, len(requests), batch):
        yield sources.take(requests.source[start : start + batch]).images


def latents(
    source: npt.NDArray[np.int64], target: npt.NDArray[np.int64], width: int, seed: int = 0, output: int = 0
) -> Tensor:
    """Latent codes (m, width) ~ N(0, 1), each a function of (seed, source, target, output)."""
    drawn = [
        torch.randn(width, generator=_generator(seed, one, other, output))
        for one, other in zip(source.tolist(), target.tolist(), strict=True)
    ]
    return torch.stack(drawn)


def _references(
    faces: Faces,
    here: Faces,
    source: npt.NDArray[np.int64],
    target: npt.NDArray[np.int64],
    seed: int,
    output: int,
) -> Tensor:
    """An image of the target's expression and of another person for each source, (b, 3, H, W).

    The outputs of one source have different references until there are no more.
    """
    labels = faces.labels.cpu().numpy()
    chosen = []
    for one, other, person in zip(source.tolist(), target.tolist(), here.persons, strict=True):
        candidates = np.flatnonzero((labels == other) & (faces.persons != person))
        if not len(candidates):
            raise InputError(f"no reference of expression {other} shows another person than {str(person)!r}")
        generator = _generator(seed, one, other)
        position = int(torch.randint(len(candidates), (1,), generator=generator))
        if step := output % len(candidates):
            position += 1 + int(torch.randperm(len(candidates) - 1, generator=generator)[step - 1])
        chosen.append(int(candidates[position % len(candidates)]))
    return faces.take(chosen).images


def _generator(seed: int, source: int, target: int, output: int = 0) -> torch.Generator:
    (mixed,) = np.random.SeedSequence((seed, source, target, *([output] if output else []))).generate_state(
        1, np.uint64
    )
    return torch.Generator().manual_seed(int(mixed) >> 1)  # manual_seed takes 63 bits
