"""How many trials train at once, said before the first one starts; none = an error, where Ray would wait in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stargan_ray.config import Recipe
from stargan_ray.errors import InputError

_PROCESS_MIB = 512  # of the process that starts a trial's training and judges its checkpoints


@dataclass(frozen=True)
class Room:
    """What a search gets.

    Attributes:
        at_once: trials.
        cpus, gpus: of each.
        said: the same in a sentence.
    """

    at_once: int
    cpus: float
    gpus: int
    said: str


def room_for(recipes: Sequence[Recipe], parallel: int) -> Room:
    """What the cluster gives to trials that train some recipes one after another.

    Args:
        recipes: of a trial.
        parallel: trials at once, at most; 0 = as many as fit.

    Raises:
        InputError: not a single one fits, or fewer than asked for.
    """
    import ray

    each = [_needs(recipe) for recipe in recipes]
    cpus, gpus = max(need[0] for need in each), max(need[1] for need in each)
    has = ray.cluster_resources()
    there = float(has.get("CPU", 0)), int(has.get("GPU", 0))
    fit = int((there[0] + 1e-6) // cpus)
    if gpus:
        fit = min(fit, there[1] // gpus)
    needs = f"{cpus:g} CPUs" + (f" and {gpus} GPUs" if gpus else "")
    if fit < max(parallel, 1):
        raise InputError(
            f"--parallel {parallel}: a trial of {recipes[-1].name} needs {needs}, the Ray cluster has {there[0]:g} "
            f"CPUs and {there[1]} GPUs: room for {fit}; lower --parallel, or --set scale.num_workers=… and the like"
        )
    at_once = parallel or fit
    return Room(at_once, cpus, gpus, f"{at_once} trials at once, each with {needs} of {there[0]:g} and {there[1]}")


def process_bundle(store: str) -> dict[str, float]:
    """What Ray reserves for the process of a trial: no CPU, which its training asks for by itself.

    Where MLflow is a file, the process has to be on this machine.
    """
    import ray

    bundle: dict[str, float] = {"memory": _PROCESS_MIB << 20}
    if store.startswith("sqlite:"):
        bundle[f"node:{ray.util.get_node_ip_address()}"] = 0.001
    return bundle


def _needs(recipe: Recipe) -> tuple[float, int]:
    scale = recipe.scale
    most = scale.workers[-1]
    cpus = most * (scale.cpus_per_worker + recipe.data.readers * scale.cpus_per_reader)
    return cpus, most if scale.use_gpu else 0
