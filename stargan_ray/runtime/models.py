"""Model folders: what leaves a run. Exported from a checkpoint, loaded from a folder, a run or the registry.

    <folder>/
        <network>.safetensors    weights for use: the moving average where the method keeps one
        helpers/<name>/          the model folder of a frozen helper, e.g. the identity embedder
        meta.json                recipe, domains, size, lineage, licence; enough to rebuild the model

A model folder has no discriminator, no class centres and no optimiser. No pickle is read or written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from stargan_ray.config import AnyMethod, Recipe, from_json
from stargan_ray.data import storage
from stargan_ray.errors import InputError, unknown
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.runtime.card import describe
from stargan_ray.runtime.dlib_identity import DLIB
from stargan_ray.runtime.lookup import fetch
from stargan_ray.training.checkpoint import Checkpoints, read_meta
from stargan_ray.training.weights import load_weights

# Networks and helpers that a model folder does without
_TRAINING_ONLY = ("discriminator", "centres", "features")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready for use.

    Attributes:
        method: what it was trained with.
        networks: name -> module, frozen and in eval mode; helpers under their own name.
        meta: as in the meta.json of a model folder, whatever it was loaded from.
        folder: local files; those of a remote model last as long as this object.
        where: what was loaded, resolved: a folder's URI or ``models:/name/version``.
        helpers: name -> the model that a helper network is of.
    """

    method: AnyMethod
    networks: dict[str, nn.Module]
    meta: dict[str, Any]
    folder: Path
    where: str
    helpers: dict[str, LoadedModel]

    @property
    def kind(self) -> str:
        """``expression``, ``identity``, ``identity-judge`` or ``translator``."""
        return str(self.meta["kind"])

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the expressions, in the order of the labels."""
        return tuple(self.meta["domains"])

    @property
    def size(self) -> int:
        """Width and height of its images in pixels."""
        return int(self.meta["size"])

    @property
    def content_hash(self) -> str:
        """SHA-256 of the weights without helpers: equal for a checkpoint and the model exported from it."""
        digest = hashlib.sha256()
        for name, network in sorted(own_networks(self).items()):
            for key, tensor in sorted(network.state_dict().items()):
                digest.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def own_networks(model: LoadedModel) -> dict[str, nn.Module]:
    """The networks of a model without its helpers."""
    return {name: network for name, network in model.networks.items() if name not in model.helpers}


def load_model(where: str | Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Load a model for use.

    Args:
        where: a model folder, a checkpoint, a run's prefix ``<storage>/<name>`` (its best checkpoint), each
            as a path or URI, or ``models:/<name>@<alias>`` or ``models:/<name>/<version>`` of the registry; or
            ``dlib``, the public judge of identities.
        device: where its networks go.

    Raises:
        InputError: it is not there, incomplete, damaged, or not what its helper's hash says.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device = {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    if where == DLIB:
        from stargan_ray.runtime.public_judge import public_judge_model

        return public_judge_model(torch.device(device))
    return _open(str(where), torch.device(device), {})


def export_model(where: str | Path, out: Path, helpers: Mapping[str, str | Path] | None = None) -> Path:
    """Make a model folder of what ``load_model`` takes.

    Args:
        where: the checkpoint, run or model.
        out: the folder to write; an older model there is replaced.
        helpers: name -> model, for helpers that have moved since training. Those not named are taken from
            where the checkpoint says; all are embedded.

    Returns:
        ``out``.

    Raises:
        InputError: as ``load_model``, or ``out`` is something else or cannot be written.
    """
    if where == DLIB:
        raise InputError(
            f"{DLIB} is of another package, which has its weights: it is used by its name and not exported"
        )
    model = _open(str(where), torch.device("cpu"), helpers or {})
    if out.exists() and (out.is_file() or any(out.iterdir())) and not _is_model(out):
        raise InputError(f"{out} exists and is no model folder: choose another one")
    beside = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _write(model, beside)
        shutil.rmtree(out, ignore_errors=True)
        beside.rename(out)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise InputError(f"cannot write the model folder {out}: {error}") from error
    return out


def resolve(where: str) -> str:
    """The URI of the model or checkpoint folder that a path or URI means; a run means its best checkpoint."""
    where = storage.absolute(where)
    if storage.exists(storage.join(where, "meta.json")):
        return where
    for uri in (storage.join(where, "checkpoints"), where):
        if names := Checkpoints(uri).names():
            meta = json.loads(storage.read_bytes(storage.join(uri, names[-1], "meta.json")))
            train = from_json(meta["recipe"]).train
            return storage.join(uri, Checkpoints(uri, train.best, train.higher_is_better).best_name())
    if storage.exists(where):
        raise InputError(f"{where} is no model folder, checkpoint or run: nothing in it has a meta.json")
    parent = Path("/nowhere" if where.startswith("s3://") else where).parent
    beside = [str(path) for path in (parent.iterdir() if parent.is_dir() else ()) if _holds_model(path)]
    raise unknown("model", where, beside[:20]) if beside else InputError(f"{where}: there is no model here")


def _holds_model(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("meta.json", "checkpoints"))


@contextlib.contextmanager
def local_files(where: str) -> Iterator[tuple[Path, str]]:
    """The files of a model or checkpoint on this machine, those of a remote one until the context ends.

    Args:
        where: as for ``load_model``.

    Returns:
        Their folder, and what ``where`` means, resolved: a folder's URI or ``models:/name/version``.

    Raises:
        InputError: it is not there.
    """
    registered = where.startswith("models:/")
    resolved = where if registered else resolve(where)
    local = None if registered else storage.local_path(resolved)
    if local is not None:
        yield local, resolved
        return
    with tempfile.TemporaryDirectory(prefix="model-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        if registered:
            folder, resolved = fetch(where, folder)
        else:
            storage.get_folder(resolved, folder)
        yield folder, resolved


def _open(where: str, device: torch.device, moved: Mapping[str, str | Path]) -> LoadedModel:
    """Load from local files, or from a temporary copy that lasts as long as the model."""
    with contextlib.ExitStack() as stack:
        folder, resolved = stack.enter_context(local_files(where))
        model = _rebuild(folder, resolved, device, moved)
        weakref.finalize(model, stack.pop_all().close)
        return model


def _rebuild(folder: Path, resolved: str, device: torch.device, moved: Mapping[str, str | Path]) -> LoadedModel:
    raw = read_meta(folder)
    if missing := [name for name in ("recipe", "domains") if name not in raw]:
        raise InputError(f"{folder / 'meta.json'} lacks {missing[0]!r}: it is of another program")
    recipe = from_json(raw["recipe"])
    networks = fresh_networks(recipe, len(raw["domains"]))
    for name, network in networks.items():
        average = folder / f"{name}.average.safetensors"
        load_weights(network, average if average.is_file() else folder / f"{name}.safetensors")
    known = raw.get("helpers", {})
    helpers, lineage = {}, {}
    for name in recipe.method.helpers:
        if name in _TRAINING_ONLY:
            lineage[name] = dict(known.get(name, {}))
            continue
        helper = _helper(name, folder, known.get(name, {}), moved.get(name))
        helpers[name], networks[name] = helper, next(iter(helper.networks.values()))
        lineage[name] = {
            "uri": known.get(name, {}).get("uri", helper.where),
            "content_hash": helper.content_hash,
            "pretrained": helper.meta["pretrained"],
        }
    for network in networks.values():
        network.to(device).eval().requires_grad_(False)
    return LoadedModel(recipe.method, networks, describe(raw, recipe, lineage), folder, resolved, helpers)


def fresh_networks(recipe: Recipe, domains: int) -> dict[str, nn.Module]:
    """The networks that a model folder of this recipe has weights for."""
    method = recipe.method
    if isinstance(method, IdentityMethod):  # its own weights follow: none are to be downloaded
        method = dataclasses.replace(method, pretrained="none")
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and then thrown away
        networks = method.networks(recipe.data.size, domains)
    return {name: network for name, network in networks.items() if name not in _TRAINING_ONLY}


def _helper(name: str, folder: Path, known: Mapping[str, str], moved: str | Path | None) -> LoadedModel:
    embedded = folder / "helpers" / name
    source = moved or (embedded if embedded.is_dir() else known.get("uri"))
    if not source:
        raise InputError(f"{folder / 'meta.json'} does not say where the helper {name!r} is: give its model")
    try:
        helper = load_model(source)
    except InputError as error:
        raise InputError(f"the helper {name!r} of {folder} cannot be loaded: {error}") from error
    wanted = known.get("content_hash")
    if wanted and wanted != helper.content_hash:
        raise InputError(f"the helper {name!r} at {source} is not what {folder} was trained with: hashes differ")
    return helper


def _is_model(folder: Path) -> bool:
    """Whether it is a model folder, not a checkpoint: that one is never overwritten."""
    return (folder / "meta.json").is_file() and "kind" in read_meta(folder)


def _write(model: LoadedModel, out: Path) -> None:
    out.mkdir(parents=True)
    for name, network in own_networks(model).items():
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
        save_file(tensors, out / f"{name}.safetensors")
    for name, helper in model.helpers.items():
        _write(helper, out / "helpers" / name)
    (out / "meta.json").write_text(json.dumps(model.meta, indent=1, ensure_ascii=False), encoding="utf-8")
