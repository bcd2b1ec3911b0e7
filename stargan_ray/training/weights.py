"""The safetensors files of weights: written, read, and loaded into a network whole or as far as they fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stargan_ray.errors import InputError
from stargan_ray.training.domains import Entries, domain_axes


def load_weights(network: nn.Module, path: Path) -> None:
    """Load all weights of a network; a missing, extra or misshapen tensor is one clear error."""
    tensors = load_tensors(path)
    own = network.state_dict()
    if wrong := sorted({*own} ^ {*tensors}):
        raise InputError(f"{path}: tensor {wrong[0]!r} is on one side only; another method or config wrote it")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise InputError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the config needs {tuple(own[name].shape)}"
            )
    network.load_state_dict(tensors)


def load_matching(
    network: nn.Module, path: Path, before: Sequence[str] = (), now: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Load the tensors that fit by name and shape: a start from another run.

    Of a tensor with an entry for each domain the entries of the domains that both sides know are taken, by their names.

    Args:
        network: changed in place.
        path: a file of weights.
        before: domains of the network in the file, in order.
        now: those of this network; the same unless given.

    Returns:
        Names of the tensors taken, and of what stays fresh: ``tensor``, or ``tensor[domain]`` for one entry of it.
    """
    tensors = load_tensors(path)
    own = network.state_dict()
    axes = domain_axes(network) if list(before) != list(now) else {}
    taken, fresh = {}, []
    for name, mine in own.items():
        theirs = tensors.get(name)
        if theirs is not None and name in axes:
            entries = Entries(*axes[name], tuple(before), tuple(now))
            if entries.fit(theirs, mine):
                taken[name] = entries.merged(theirs.to(mine.dtype), mine)
                fresh += [f"{name}[{domain}]" for domain in entries.unknown]
                continue
        if theirs is not None and theirs.shape == mine.shape and name not in axes:
            taken[name] = theirs.to(mine.dtype)
        else:
            fresh.append(name)
    network.load_state_dict({**own, **taken})
    return sorted(taken), sorted(fresh)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write named tensors of any device."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors.

    Raises:
        InputError: the file is absent or damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; the checkpoint is of another method or incomplete")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged ({error})") from error
    return tensors
