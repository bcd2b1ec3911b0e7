"""Translation by interpolated codes, the same for every method: intensities and the faces between two targets."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from stargan_ray.errors import InputError
from stargan_ray.methods.base import Networks, Target


class CodeTranslator(ABC):
    """What a method needs besides its losses to be a ``Translator``: three functions, see there."""

    @abstractmethod
    def domains(self, networks: Networks) -> int:
        """K, how many expressions the networks know."""

    @abstractmethod
    def code(self, networks: Networks, target: Target) -> Tensor:
        """The code (b, C) of a target."""

    @abstractmethod
    def own_code(self, networks: Networks, image: Tensor, source_label: Tensor) -> Tensor:
        """The code (b, C) of what the images show themselves."""

    @abstractmethod
    def render(self, networks: Networks, image: Tensor, code: Tensor) -> Tensor:
        """Images (b, 3, H, W) with what the codes say."""

    def translate(self, networks: Networks, image: Tensor, source_label: Tensor, target: Target) -> Tensor:
        """Translate images (b, 3, H, W) in [-1, 1] to the target; the same shape comes back.

        Raises:
            InputError: an intensity or a share outside [0, 1], a label of another number of domains, or a reference of
                another size than the image.
        """
        code = self._checked_code(networks, image, target)
        if target.other is not None:
            other = self._checked_code(networks, image, target.other)
            code = torch.lerp(code, other, _share("share", target.share))
        if _share("intensity", target.intensity) != 1.0:
            code = torch.lerp(self.own_code(networks, image, source_label), code, target.intensity)
        return self.render(networks, image, code)

    def _checked_code(self, networks: Networks, image: Tensor, target: Target) -> Tensor:
        known = self.domains(networks)
        for label in (int(target.label.min()), int(target.label.max())):
            if not 0 <= label < known:
                raise InputError(f"target label = {label}: allowed are 0 to {known - 1}, the model's domains")
        if target.reference is not None and target.reference.shape[-2:] != image.shape[-2:]:
            height, width = target.reference.shape[-2:]
            allowed = f"{image.shape[-2]} × {image.shape[-1]}, the image's"
            raise InputError(f"target reference = {height} × {width} pixels: allowed are {allowed}")
        return self.code(networks, target)


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError(f"{name} = {value}: allowed are 0 to 1")
    return value
