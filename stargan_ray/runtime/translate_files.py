"""Changing the expression in many images: a file, a folder, a prefix in a bucket, or a data set.

The key of an image, from which its style is drawn, is its path below the input or its key in the data set:
what else is translated with it changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from stargan_ray.data import storage
from stargan_ray.data.decode import UndecodableError
from stargan_ray.data.face_detection import face_chip, require_chips
from stargan_ray.errors import InputError
from stargan_ray.evaluation.figures import sample_grid
from stargan_ray.methods.base import Target
from stargan_ray.runtime.defaults import ALL
from stargan_ray.runtime.image_sources import SUFFIXES, SourceImage, list_images
from stargan_ray.runtime.models import LoadedModel
from stargan_ray.runtime.request import Request
from stargan_ray.runtime.translate import (
    closest_label,
    draw_latent,
    read_image,
    require_domain,
    require_translator,
    to_png,
    translate_image,
)

_GRID_ROWS = 16


@dataclass
class Outcome:
    """What came of it: lines of translations.json."""

    written: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)


def translate_files(model: LoadedModel, source: str, request: Request, out: Path) -> Outcome:
    """Translate every image of a source into a folder.

    Args:
        model: a translator.
        source: an image, a folder, ``s3://bucket/prefix``, or the URI of a data set.
        request: what is wanted.
        out: gets ``<name>-<target>.png`` at the model's size, ``translations.json`` with the lineage of every
            picture and, for ``all``, ``grid.png`` of the first 16 images.

    Raises:
        InputError: a name is unknown, no image of the source is usable, or ``out`` cannot be written.
    """
    work = _Work(model, request, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        console = Console(stderr=True)
        images = list_images(storage.absolute(source))
        for image in track(images, "translating", console=console, disable=not console.is_terminal):
            work.translate(image)
        if not work.outcome.written:
            reasons = Counter(line["reason"] for line in work.outcome.skipped)
            told = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "it holds none"
            raise InputError(f"{source} has no usable image: {told}; allowed are {', '.join(SUFFIXES)}")
        work.finish()
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error}") from error
    return work.outcome


class _Work:
    """One call of ``translate_files``: what is asked, checked, and what is done so far."""

    def __init__(self, model: LoadedModel, request: Request, out: Path) -> None:
        require_translator(model)
        if not 0 <= request.intensity <= 1:
            raise InputError(f"intensity = {request.intensity}: allowed is 0 to 1")
        wanted = model.domains if request.target == ALL else (request.target,)
        self.targets = {name: require_domain(model, "target", name, ALL) for name in wanted}
        if request.chip:
            require_chips("--chip")
        if request.source_label:
            require_domain(model, "source label", request.source_label)
        self.model, self.request, self.out = model, request, out
        self.device = next(next(iter(model.networks.values())).parameters()).device
        if not 0 <= request.share <= 1:
            raise InputError(f"share = {request.share}: allowed is 0 to 1")
        if request.toward:
            require_domain(model, "second target", request.toward)
        self.reference = self._read(request.reference)
        self.toward_reference = self._read(request.toward_reference)
        self.outcome = Outcome()
        self.rows: list[list[Tensor]] = []  # of the grid

    def _read(self, where: str) -> Tensor | None:
        if not where:
            return None
        try:
            return self._pixels(storage.read_bytes(where))
        except UndecodableError as error:
            raise InputError(f"reference {where}: {error}") from error

    def _pixels(self, data: bytes) -> Tensor:
        """An image (1, 3, H, W) in [-1, 1], or the face that is found in it."""
        found = face_chip(data, self.model.size) if self.request.chip else data
        if found is None:
            raise UndecodableError("no face found")
        return read_image(found, self.model.size).to(self.device)

    def translate(self, image: SourceImage) -> None:
        """One image to every target, or a line that says why not."""
        try:
            pixels = self._pixels(image.read())
        except UndecodableError as error:
            self.outcome.skipped.append({"input": image.key, "reason": error.reason})
            return
        except storage.StorageError:
            self.outcome.skipped.append({"input": image.key, "reason": "unreadable"})
            return
        own = self._own(image, pixels)
        label = self.model.domains.index(own["source_label"]) if own else None
        drawn = draw_latent(self.model, self.request.seed, image.key).to(self.device)
        results = []
        for name, target in self.targets.items():
            result = translate_image(
                self.model,
                pixels,
                target,
                latent=None if self.reference is not None else drawn,
                reference=self.reference,
                intensity=self.request.intensity,
                source_label=label,
                other=self._other(target, drawn),
                share=self.request.share,
            )[0]
            results.append(result.cpu())
            self._write(image, name, result, own)
        if self.request.target == ALL and len(self.rows) < _GRID_ROWS:
            self.rows.append([pixels[0].cpu(), *results])

    def _other(self, target: int, drawn: Tensor) -> Target | None:
        """The second target of an image; a style that is drawn is drawn from the same numbers as the first one."""
        if not self.request.interpolates:
            return None
        label = self.model.domains.index(self.request.toward) if self.request.toward else target
        latent = None if self.toward_reference is not None else drawn
        return Target(torch.tensor([label], device=self.device), latent=latent, reference=self.toward_reference)

    def finish(self) -> None:
        """The lineage, and the grid where every expression was asked for."""
        meta = self.model.meta
        lineage = {
            "model": self.model.where,
            "model_hash": self.model.content_hash,
            "method": meta["method"],
            "data_hash": meta["data_hash"],
            "commit": meta["commit"],
            "version": meta["version"],
            "size": self.model.size,
            "request": {f.name: getattr(self.request, f.name) for f in dataclasses.fields(Request)},
            "translations": self.outcome.written,
            "skipped": self.outcome.skipped,
        }
        text = json.dumps(lineage, indent=1, ensure_ascii=False)
        storage.write_bytes(str(self.out / "translations.json"), text.encode())
        if self.rows:
            sources = torch.stack([row[0] for row in self.rows])
            grid = sample_grid(sources, torch.stack([torch.stack(row[1:]) for row in self.rows]), [*self.targets])
            storage.write_bytes(str(self.out / "grid.png"), grid)

    def _own(self, image: SourceImage, pixels: Tensor) -> dict[str, Any]:
        """The image's own expression and who says so; not asked for where it plays no part."""
        domains = self.model.domains
        if self.request.intensity == 1:
            return {}
        if self.request.source_label:
            return {"source_label": self.request.source_label, "source_label_by": "request"}
        if image.domain in domains:
            return {"source_label": image.domain, "source_label_by": "data set"}
        return {"source_label": domains[closest_label(self.model, pixels)], "source_label_by": "reconstruction"}

    def _write(self, image: SourceImage, target: str, result: Tensor, own: dict[str, Any]) -> None:
        toward = f"-{self.request.toward or 'reference'}-{self.request.share:g}" if self.request.interpolates else ""
        name = f"{image.name}-{target}{toward}.png"
        storage.write_bytes(str(self.out / name), to_png(result))
        line = {"input": image.key, "output": name, "target": target}
        style: dict[str, Any] = (
            {"reference": self.request.reference} if self.request.reference else {"seed": self.request.seed}
        )
        if self.request.interpolates:
            second = {name: getattr(self.request, name) for name in ("toward", "toward_reference", "share")}
            style |= {name: value for name, value in second.items() if value != ""}
        lineage = {"intensity": self.request.intensity, **own, "model": self.model.where}
        self.outcome.written.append({**line, **style, **lineage})
