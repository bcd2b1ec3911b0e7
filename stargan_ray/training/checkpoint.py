"""Checkpoints: safetensors and a readable meta.json, enough to rebuild a model with nothing else.

    <storage>/<name>/checkpoints/step-00001000/
        <network>.safetensors             weights and buffers
        <network>.average.safetensors     exponential moving average, where the method keeps one
        <network>.optimizer.safetensors   optimiser state
        meta.json                         recipe, step, data, commit, metrics; written last

A folder without meta.json is half written and never loaded. No pickle is read or written.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stargan_ray import config
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.training.domains import Entries, domain_axes
from stargan_ray.training.step import State

FORMAT = 1


def save_folder(state: State, folder: Path, meta: dict[str, Any]) -> None:
    """Write a checkpoint into a local folder; ``meta`` is what a reader of meta.json should know."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in state.networks.items():
        _save(network.state_dict(), folder / f"{name}.safetensors")
        _save(dict(_flat_state(state.optimizers[name])), folder / f"{name}.optimizer.safetensors")
    for name, network in state.averaged.items():
        _save(network.state_dict(), folder / f"{name}.average.safetensors")
    text = json.dumps({"format": FORMAT, "step": state.step, **meta}, indent=1, ensure_ascii=False)
    (folder / "meta.json").write_text(text, encoding="utf-8")


def load_folder(state: State, folder: Path) -> None:
    """Restore a state bit for bit from a local folder."""
    meta = read_meta(folder)
    for name, network in state.networks.items():
        load_weights(network, folder / f"{name}.safetensors")
        _restore_optimizer(state.optimizers[name], _load(folder / f"{name}.optimizer.safetensors"))
    for name, network in state.averaged.items():
        load_weights(network, folder / f"{name}.average.safetensors")
    state.step = int(meta["step"])


def read_meta(folder: Path) -> dict[str, Any]:
    """meta.json of a local model or checkpoint folder."""
    path = folder / "meta.json"
    if not path.is_file():
        raise InputError(f"{folder}: no meta.json, so this is not a complete checkpoint or model")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    if meta.get("format") != FORMAT:
        raise InputError(f"{path}: format = {meta.get('format')!r}; allowed is {FORMAT}")
    assert isinstance(meta, dict)
    return meta


def load_weights(network: nn.Module, path: Path) -> None:
    """Load all weights of a network; a missing, extra or misshapen tensor is one clear error."""
    tensors = _load(path)
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
    tensors = _load(path)
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


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _load(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; the checkpoint is of another method or incomplete")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged ({error})") from error
    return tensors


def _flat_state(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """``<parameter number>.<key>`` -> tensor; rates are functions of the step and need no saving."""
    for number, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            if value is not None:
                yield f"{number}.{key}", torch.as_tensor(value)


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        values.setdefault(int(number), {})[key] = tensor
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for place, found in values.items():
        # in the layout of the weights: fused optimisers walk through both side by side
        values[place] = {key: _laid_out(tensor, parameters[place]) for key, tensor in found.items()}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": values, "param_groups": groups})


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    if tensor.shape != like.shape or tensor.stride() == like.stride():
        return tensor
    return torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run at its storage prefix; the latest and the best are kept.

    Args:
        uri: ``<storage>/<name>/checkpoints``.
        best: the metric that chooses the best one; empty = the latest.
        higher_is_better: its sense.
    """

    uri: str
    best: str = ""
    higher_is_better: bool = True

    def names(self) -> list[str]:
        """Complete checkpoints, oldest first."""
        found = sorted(n for n in storage.list_names(self.uri) if n.startswith("step-"))
        return [n for n in found if storage.exists(storage.join(self.uri, n, "meta.json"))]

    def save(self, state: State, meta: dict[str, Any]) -> str:
        """Write a checkpoint, then drop those that are neither latest nor best; returns its URI."""
        name = f"step-{state.step:08d}"
        uri = storage.join(self.uri, name)
        with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
            try:
                save_folder(state, Path(folder), meta)
            except OSError as error:
                raise InputError(self._lost(state.step, error)) from error
            except SafetensorError as error:
                raise InputError(self._lost(state.step, error)) from error
            try:
                storage.put_folder(Path(folder), uri, last="meta.json")
            except storage.StorageError:
                with contextlib.suppress(storage.StorageError):
                    storage.delete(uri)  # half a checkpoint only takes room, and room is what may be missing
                raise
        keep = {name, self.best_name()}
        for other in self.names():
            if other not in keep:
                storage.delete(storage.join(self.uri, other))
        return uri

    def load_latest(self, state: State) -> bool:
        """Restore the latest complete checkpoint; False when there is none."""
        names = self.names()
        if not names:
            return False
        with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
            storage.get_folder(storage.join(self.uri, names[-1]), Path(folder))
            load_folder(state, Path(folder))
        return True

    def best_name(self) -> str:
        """The complete checkpoint with the best metric, or the latest where none has it."""
        names = self.names()
        if not names:
            raise InputError(f"{self.uri}: no complete checkpoint")
        scores = {n: s for n in names if (s := self._score(n)) is not None}
        if not scores:
            return names[-1]
        return (max if self.higher_is_better else min)(scores, key=lambda n: scores[n])

    def _score(self, name: str) -> float | None:
        if not self.best:
            return None
        meta = json.loads(storage.read_bytes(storage.join(self.uri, name, "meta.json")))
        value = meta.get("metrics", {}).get(self.best)
        return None if value is None or math.isnan(value) else float(value)  # no NaN is the best

    def _lost(self, step: int, error: Exception) -> str:
        return (
            f"cannot write the checkpoint of step {step}: {error}; the one before it is intact. "
            "Make room and repeat the command: it continues from there"
        )


def recipe_of(folder: Path) -> config.Recipe:
    """The recipe that a model or checkpoint folder was made with."""
    return config.from_json(read_meta(folder)["recipe"])
