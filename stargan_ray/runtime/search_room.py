"""How many trials train at once, said before the first one starts; none = an error, where Ray would wait in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stargan_ray.config import Recipe
from stargan_ray.runtime.room import Need, nodes_now, require_room

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
    needs = [_needs(recipe) for recipe in recipes]
    cpus, gpus = max(need[0] for need in needs), max(need[1] for need in needs)
    each = f"{cpus:g} CPUs" + (f" and {gpus} GPUs" if gpus else "")
    who = (
        f"--parallel {parallel} (a trial of {recipes[-1].name} needs {each}; lower --parallel, or "
        "--set scale.num_workers=… and the like)"
    )
    for recipe in recipes:
        require_room(_need(recipe, max(parallel, 1), who))
    nodes, at_once = nodes_now(), max(parallel, 1)
    while not parallel and not any(_need(recipe, at_once + 1, who).lacks(nodes) for recipe in recipes):
        at_once += 1
    has = f"{sum(node.cpus for node in nodes):g} and {sum(node.gpus for node in nodes):g}"
    return Room(at_once, cpus, gpus, f"{at_once} trials at once, each with {each} of {has}")


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
    """CPUs and GPUs of a trial."""
    scale = recipe.scale
    most = scale.workers[-1]
    cpus = most * (scale.cpus_per_worker + recipe.data.readers * scale.cpus_per_reader)
    return cpus, most if scale.use_gpu else 0


def _need(recipe: Recipe, trials: int, who: str) -> Need:
    """What trials side by side need: room for all their readers, or each would wait for the others' turns."""
    scale, workers = recipe.scale, trials * recipe.scale.workers[-1]
    readers = workers * recipe.data.readers
    return Need(who, workers, scale.cpus_per_worker, int(scale.use_gpu), scale.cpus_per_reader, readers)
