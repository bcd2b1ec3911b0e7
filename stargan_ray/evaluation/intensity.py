"""Is the intensity of a translation an intensity: does more of it show more of the expression?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from stargan_ray.errors import InputError
from stargan_ray.evaluation.expression import probabilities
from stargan_ray.evaluation.intervals import Estimate, bootstrap_mean, proportion
from stargan_ray.evaluation.judging import Judge
from stargan_ray.evaluation.translations import Faces, Guide, Requests, translate
from stargan_ray.methods.base import Networks, Translator

FloatArray = npt.NDArray[np.float64]
INTENSITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
SLACK = 0.01  # a fall of p(target) below this is a judge's jitter


@dataclass(frozen=True)
class IntensityCurve:
    """p(target) by a judge at growing intensities.

    Attributes:
        intensities: (s,) growing, in [0, 1].
        p_target: (m, s) of each request.
        persons: (m,) whom the sources show.
    """

    intensities: tuple[float, ...]
    p_target: FloatArray
    persons: npt.NDArray[np.generic]

    def means(self) -> tuple[Estimate, ...]:
        """Mean p(target) at each intensity."""
        return tuple(bootstrap_mean(column, self.persons) for column in self.p_target.T)

    def monotone(self) -> Estimate:
        """Share of the requests in which no step to a higher intensity lowers p(target) by more than ``SLACK``."""
        return proportion((np.diff(self.p_target, axis=1) >= -SLACK).all(axis=1), self.persons)


def intensity_curve(
    translator: Translator,
    networks: Networks,
    sources: Faces,
    requests: Requests,
    guide: Guide,
    judge: Judge,
    *,
    intensities: Sequence[float] = INTENSITIES,
    seed: int = 0,
) -> IntensityCurve:
    """Translate every request at every intensity and ask the judge.

    Args:
        translator: the method.
        networks: its networks and helpers in eval mode.
        sources: faces that the requests index.
        requests: m translations.
        guide: where the styles come from.
        judge: images (b, 3, H, W) -> logits (b, K), never used in training.
        intensities: growing, in [0, 1].
        seed: as in ``translations.translate``.

    Raises:
        InputError: the intensities do not grow.
    """
    if len(intensities) < 2 or any(b <= a for a, b in itertools.pairwise(intensities)):
        raise InputError(f"intensities {tuple(intensities)}: allowed are two or more growing values in [0, 1]")
    columns = []
    for intensity in intensities:
        logits = []
        for images in translate(translator, networks, sources, requests, guide, seed=seed, intensity=intensity):
            with torch.no_grad():
                logits.append(judge(images).double().cpu().numpy())
        seen = probabilities(np.concatenate(logits))
        columns.append(seen[np.arange(len(requests)), requests.target])
    return IntensityCurve(tuple(intensities), np.stack(columns, axis=1), sources.persons[requests.source])
