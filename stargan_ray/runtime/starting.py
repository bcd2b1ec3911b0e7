"""What a run starts from: frozen helpers, and weights of another run or model."""

from __future__ import annotations

from typing import Any

from torch import nn

from stargan_ray.errors import InputError
from stargan_ray.runtime.embedder_use import require_fit
from stargan_ray.runtime.judges import refuse_name, refuse_start, require_helper
from stargan_ray.runtime.models import LoadedModel, load_model, local_files
from stargan_ray.runtime.run import Run
from stargan_ray.training.checkpoint import load_matching, read_meta
from stargan_ray.training.step import State


def require_helpers(run: Run) -> None:
    """Every frozen network that the method names must be given."""
    if missing := sorted(set(run.recipe.method.helpers) - set(run.helpers)):
        raise InputError(
            f"{run.recipe.method.name} needs a model for {missing[0]!r}: give --{missing[0]} with a run, "
            "a folder, a URI or models:/NAME@ALIAS"
        )
    for name in run.recipe.method.helpers:
        refuse_name(name, run.helpers[name])


def load_helpers(run: Run) -> dict[str, LoadedModel]:
    """The frozen networks that the method names."""
    require_helpers(run)
    names = sorted(run.recipe.method.helpers)
    loaded = {name: require_helper(name, load_model(run.helpers[name])) for name in names}
    require_fit(run.recipe.method, loaded)
    return loaded


def only_network(model: LoadedModel) -> nn.Module:
    """That of a helper, which has no other."""
    (network,) = model.networks.values()
    return network


def start_from(state: State, where: str) -> dict[str, Any]:
    """Take over the weights that fit from another run or model; returns what was taken and what stays fresh.

    The averages start from the other's averages where it has them, as its networks do where it has no others.

    Args:
        state: fresh; changed in place.
        where: as ``load_model`` takes it: a model folder, a checkpoint, a run (its best checkpoint) or ``models:/…``.

    Raises:
        InputError: it is not there or damaged, or one of the two is a judge of identities.
    """
    with local_files(where) as (folder, resolved):
        refuse_start(state.method, read_meta(folder), where)
        report: dict[str, Any] = {"from": resolved, "fresh": []}
        for name, network in state.networks.items():
            plain, average = folder / f"{name}.safetensors", folder / f"{name}.average.safetensors"
            if not plain.is_file():
                report["fresh"].append(name)
                continue
            _, fresh = load_matching(network, plain)
            report["fresh"] += [f"{name}.{tensor}" for tensor in fresh]
            if name in state.averaged:
                load_matching(state.averaged[name], average if average.is_file() else plain)
    return report
