"""Checkpoints: safetensors and a readable meta.json, enough to rebuild a model with nothing else.

    <storage>/<name>/checkpoints/step-00001000/
        <network>.safetensors             weights and buffers
        <network>.average.safetensors     exponential moving average, where the method keeps one
        <network>.optimizer.safetensors   optimiser state
        meta.json                         recipe, step, data, commit, metrics, SHA-256 of the files; written last
        damaged.txt                       why this one is not used, where it was found to be damaged

A folder without meta.json is half written and never loaded; one whose files are not those that were written is passed
over for the one before it. No pickle is read or written.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from stargan_ray import config
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.training.integrity import DamagedError, fingerprints, require_whole
from stargan_ray.training.step import State
from stargan_ray.training.weights import load_tensors, load_weights, save_tensors

FORMAT = 1
_DAMAGED = "damaged.txt"
_log = logging.getLogger(__name__)


def save_folder(state: State, folder: Path, meta: dict[str, Any]) -> None:
    """Write a checkpoint into a local folder; ``meta`` is what a reader of meta.json should know."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in state.networks.items():
        save_tensors(network.state_dict(), folder / f"{name}.safetensors")
        save_tensors(dict(_flat_state(state.optimizers[name])), folder / f"{name}.optimizer.safetensors")
    for name, network in state.averaged.items():
        save_tensors(network.state_dict(), folder / f"{name}.average.safetensors")
    told = {"format": FORMAT, "step": state.step, **meta, "files": fingerprints(folder)}
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (folder / "meta.json").write_text(text, encoding="utf-8")


def load_folder(state: State, folder: Path) -> None:
    """Restore a state bit for bit from a local folder."""
    meta = read_meta(folder)
    for name, network in state.networks.items():
        load_weights(network, folder / f"{name}.safetensors")
        _restore_optimizer(state.optimizers[name], load_tensors(folder / f"{name}.optimizer.safetensors"))
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
    """The checkpoints of one run at its storage prefix; the latest two and the best are kept.

    Args:
        uri: ``<storage>/<name>/checkpoints``.
        best: the metric that chooses the best one; empty = the latest.
        higher_is_better: its sense.
    """

    uri: str
    best: str = ""
    higher_is_better: bool = True

    def names(self) -> list[str]:
        """Complete checkpoints that are not known to be damaged, oldest first."""
        return [name for name, files in self._found().items() if "meta.json" in files and _DAMAGED not in files]

    def save(self, state: State, meta: dict[str, Any]) -> str:
        """Write a checkpoint, then drop what is older but for the one before it and the best; returns its URI."""
        name = f"step-{state.step:08d}"
        uri = storage.join(self.uri, name)
        with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
            try:
                save_folder(state, Path(folder), meta)
            except OSError as error:
                raise InputError(self._lost(state.step, error)) from error
            except SafetensorError as error:
                raise InputError(self._lost(state.step, error)) from error
            self._drop(name)  # an older one of this step, so that no file of it is taken for one of this
            try:
                storage.put_folder(Path(folder), uri, last="meta.json")
            except storage.StorageError:
                if storage.local_path(uri):  # a store that is away would only be waited for once more
                    with contextlib.suppress(storage.StorageError):
                        storage.delete(uri)  # half a checkpoint only takes room, and room is what may be missing
                raise
        whole = [n for n in self.names() if n <= name]
        keep = {*whole[-2:], self.best_name()}
        for other in self._found():
            if other < name and other not in keep:
                self._drop(other)
        return uri

    def load_latest(self, state: State) -> bool:
        """Restore the latest whole checkpoint; False when there is none."""
        with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
            if not self.fetch_latest(Path(folder)):
                return False
            load_folder(state, Path(folder))
        return True

    def fetch_latest(self, folder: Path) -> str:
        """Copy the latest whole checkpoint; those found damaged are named in the log, and passed over from now on.

        Args:
            folder: to copy into; empty.

        Returns:
            Its name, empty where no checkpoint was ever completed.

        Raises:
            InputError: there are some, and all of them are damaged.
            StorageError: storage cannot be read.
        """
        for name in reversed(self.names()):
            try:
                self.fetch(name, folder)
            except DamagedError as error:
                _log.warning("%s is damaged and passed over: %s", storage.join(self.uri, name), error)
                storage.write_bytes(storage.join(self.uri, name, _DAMAGED), f"{error}\n".encode())
                shutil.rmtree(folder)
                folder.mkdir()
            else:
                return name
        if damaged := [name for name, files in self._found().items() if _DAMAGED in files]:
            raise InputError(
                f"{self.uri}: no checkpoint is whole, {', '.join(damaged)} are damaged (see {_DAMAGED} in each): "
                "delete the folder to start anew, or give another --name"
            )
        return ""

    def fetch(self, name: str, folder: Path) -> None:
        """Copy a complete checkpoint into an empty local folder.

        Raises:
            DamagedError: it is not what was written.
            StorageError: storage cannot be read.
        """
        storage.get_folder(storage.join(self.uri, name), folder)
        try:
            require_whole(folder, read_meta(folder))
        except DamagedError:
            raise
        except InputError as error:  # meta.json itself
            raise DamagedError(str(error).replace(f"{folder}/", "")) from error

    def _found(self) -> dict[str, set[str]]:
        """Folders of checkpoints with the names of their files, oldest first."""
        names = [name for name in storage.list_names(self.uri) if name.startswith("step-")]
        return {name: set(storage.list_names(storage.join(self.uri, name))) for name in names}

    def _drop(self, name: str) -> None:
        """Delete a checkpoint, first what makes it a complete one: the end may come in between."""
        storage.delete(storage.join(self.uri, name, "meta.json"))
        storage.delete(storage.join(self.uri, name))

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
