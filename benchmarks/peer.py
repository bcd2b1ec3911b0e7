"""The iteration of somebody else's checkout of StarGAN v2, called as its own training loop calls it.

Nothing of it is part of this project, and its licence is its own (CC BY-NC 4.0 at the time of writing): a person who
has a checkout, and what it needs installed, points to it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.methods.stargan_v2 import StarGANv2

_UPDATED = {"generator": 1e-4, "mapping_network": 1e-6, "style_encoder": 1e-4, "discriminator": 1e-4}  # and their rates


class Peer:
    """One iteration: its losses, its networks, Adam as it is published, gradients of all networks cleared each time."""

    def __init__(self, path: str, method: StarGANv2, batch: dict[str, Tensor], domains: int) -> None:
        self.solver = imported(path)
        size, device = batch["source"].shape[-1], batch["source"].device
        self.args = SimpleNamespace(
            img_size=size,
            num_domains=domains,
            latent_dim=method.latent_dim,
            style_dim=method.style_dim,
            w_hpf=0,
            lambda_reg=1.0,
            lambda_sty=1.0,
            lambda_ds=1.0,
            lambda_cyc=1.0,
        )
        self.nets, self.averages = self.solver.build_model(self.args)
        for network in [*self.nets.values(), *self.averages.values()]:
            network.to(device)
        self.adams = {
            name: torch.optim.Adam(self.nets[name].parameters(), rate, (0.0, 0.99), weight_decay=1e-4)
            for name, rate in _UPDATED.items()
        }
        self.batch = batch

    def update(self, loss: Any, *names: str) -> None:
        """Clear, back-propagate, step."""
        for adam in self.adams.values():
            adam.zero_grad()
        loss[0].backward()
        for name in names:
            self.adams[name].step()

    def __call__(self) -> None:
        """The four updates in its order, and the averages."""
        b = self.batch
        labels = (b["source"], b["source_label"], b["target_label"])
        codes = [torch.randn(len(b["source"]), self.args.latent_dim, device=b["source"].device) for _ in range(2)]
        images = [b["reference"], b["reference2"]]
        judged, made = self.solver.compute_d_loss, self.solver.compute_g_loss
        self.update(judged(self.nets, self.args, *labels, z_trg=codes[0]), "discriminator")
        self.update(judged(self.nets, self.args, *labels, x_ref=images[0]), "discriminator")
        trained = ("generator", "mapping_network", "style_encoder")
        self.update(made(self.nets, self.args, *labels, z_trgs=codes), *trained)
        self.update(made(self.nets, self.args, *labels, x_refs=images), "generator")
        for name in trained:
            self.solver.moving_average(self.nets[name], self.averages[name], beta=0.999)


def imported(path: str) -> Any:
    """The module of a checkout that has its losses, from its folder alone.

    Raises:
        InputError: the folder has none, or needs what is not installed.
    """
    if not (Path(path) / "core" / "solver.py").is_file():
        raise InputError(f"--peer {path}: no core/solver.py there; allowed is the folder of a checkout of StarGAN v2")
    sys.path.insert(0, path)
    try:
        return importlib.import_module("core.solver")
    except ModuleNotFoundError as error:
        raise InputError(f"--peer {path}: it needs {error.name}, which is not installed here") from error
    finally:
        sys.path.remove(path)
