"""What a run starts from: frozen helpers, and weights of another run or model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stargan_ray.errors import InputError
from stargan_ray.runtime.embedder_use import require_fit
from stargan_ray.runtime.feature_use import open_helper
from stargan_ray.runtime.judges import refuse_name, refuse_start, require_helper
from stargan_ray.runtime.models import LoadedModel, local_files
from stargan_ray.runtime.run import Run
from stargan_ray.training.checkpoint import read_meta
from stargan_ray.training.step import State
from stargan_ray.training.weights import load_matching


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
    loaded = {name: require_helper(name, open_helper(name, run.helpers[name])) for name in names}
    require_fit(run.recipe.method, loaded)
    return loaded


def start_from(state: State, where: str, domains: Sequence[str]) -> dict[str, Any]:
    """Take over the weights that fit from another run or model; returns what was taken and what stays fresh.

    Of weights with an entry for each domain those of the domains that both know are taken, by their names. The averages
    start from the other's averages where it has them, as its networks do where it has no others.

    Args:
        state: fresh; changed in place.
        where: as ``load_model`` takes it: a model folder, a checkpoint, a run (its best checkpoint) or ``models:/…``.
        domains: names of the expressions of the data, in order.

    Returns:
        ``from``, ``method`` and ``domains`` of what it started from, and ``fresh``: networks, tensors and
        ``tensor[domain]`` entries that nothing was found for.

    Raises:
        InputError: it is not there or damaged, one of the two is a judge of identities, or nothing of it fits.
    """
    with local_files(where) as (folder, resolved):
        meta = read_meta(folder)
        refuse_start(state.method, meta, where)
        before = tuple(meta.get("domains") or domains)
        method = meta.get("recipe", {}).get("method", {}).get("name", "")
        report: dict[str, Any] = {"from": resolved, "method": method, "domains": list(before), "fresh": []}
        taken = 0
        for name, network in state.networks.items():
            plain, average = folder / f"{name}.safetensors", folder / f"{name}.average.safetensors"
            if not plain.is_file():
                report["fresh"].append(name)
                continue
            found, fresh = load_matching(network, plain, before, domains)
            taken += len(found)
            report["fresh"] += [f"{name}.{tensor}" for tensor in fresh]
            if name in state.averaged:
                load_matching(state.averaged[name], average if average.is_file() else plain, before, domains)
    if not taken:
        raise InputError(
            f"--init {where} is of the method {method}: nothing of it fits {state.method.name}; give a run of "
            f"{state.method.name}, or of one that shares networks with it, at the same widths"
        )
    return report
