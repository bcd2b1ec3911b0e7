"""What label noise costs: the same pictures with more and more wrong labels, with and without the filter."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rich.progress import Progress

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.data.policy import Policy
from stargan_ray.errors import InputError
from stargan_ray.evaluation.comparison import Row
from stargan_ray.evaluation.comparison_figures import NoisePoint
from stargan_ray.runtime.comparison_runs import Comparison, Seat, each_run
from stargan_ray.runtime.panel import open_panel
from stargan_ray.runtime.progress import pulse
from stargan_ray.runtime.refine import refine


@dataclass(frozen=True)
class NoiseStudy:
    """What is trained besides.

    Attributes:
        sets: share of wrong labels -> URI of a data set with so many; the same pictures each.
        classifier: the filter's.
        recipes: trained on each, for example with and without the identity term.
        policy: the filter's.
    """

    sets: Mapping[float, str]
    classifier: str
    recipes: tuple[Recipe, ...]
    policy: Policy = Policy()

    def __post_init__(self) -> None:
        """Refuse what gives no curve."""
        if wrong := [rate for rate in self.sets if not 0 <= rate <= 1]:
            raise InputError(f"--noisy {wrong[0]:g}=…: allowed are rates in [0, 1]")
        if not self.recipes:
            raise InputError("--noisy: no recipe is to be trained on the noisy sets")
        if not self.classifier:
            raise InputError("--noisy needs --filter, the classifier that takes rows away")


def noise_points(
    study: NoiseStudy,
    comparison: Comparison,
    seat: Seat,
    out: str,
    *,
    parallel: int,
    progress: Progress,
    stop: threading.Event,
) -> tuple[list[NoisePoint], dict[str, str]]:
    """Train and judge every method on every set, with its labels as they are and filtered; one seed, the first.

    Returns:
        The points, and run -> why it has none.
    """
    points: list[NoisePoint] = []
    failed: dict[str, str] = {}
    for rate, uri in sorted(study.sets.items()):
        for filtered in (False, True):
            data, name = storage.absolute(uri), f"noise-{100 * rate:g}"
            if filtered:
                name += "-filtered"
                data = _filtered(study, data, storage.join(out, name), progress)
            name = f"{comparison.name}-{name}"
            asked = replace(comparison, recipes=study.recipes, data=data, name=name, seeds=comparison.seeds[:1])
            runs = asked.runs()
            judged, missing = each_run(runs, seat, parallel, progress, stop)
            failed |= missing
            points += [NoisePoint(rate, filtered, Row(key[0], (judged[key],))) for key in runs if key in judged]
            if stop.is_set():
                raise KeyboardInterrupt
    return points, failed


def _filtered(study: NoiseStudy, data: str, out: str, progress: Progress) -> str:
    with pulse(progress, f"filter {data}"):
        refine(data, out, open_panel([study.classifier]), study.policy)
    return out
