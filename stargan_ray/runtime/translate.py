"""Changing the expression in one image: what the job, the registered model and a program share.

Images of any size and mode are cropped to their central square and resized to the model's size; results are
of that size. The latent code of an image is a function of (seed, key of the image) alone.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stargan_ray.data.decode import UndecodableError, check, decode
from stargan_ray.data.transforms import to_float
from stargan_ray.errors import InputError, unknown
from stargan_ray.methods.base import Target, Translator
from stargan_ray.runtime.models import LoadedModel

_MAX_BYTES, _MAX_PIXELS = 20_000_000, 64_000_000


def read_image(data: bytes, size: int) -> Tensor:
    """Encoded bytes as (1, 3, size, size) in [-1, 1].

    Raises:
        UndecodableError: they are no usable image.
    """
    if len(data) > _MAX_BYTES:
        raise UndecodableError("oversized")
    check(data, _MAX_PIXELS)
    return to_float(torch.from_numpy(decode(data, size))[None])


def to_png(image: Tensor) -> bytes:
    """(3, H, W) in [-1, 1] as a PNG."""
    pixels = ((image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def draw_latent(model: LoadedModel, seed: int, key: str = "") -> Tensor:
    """The latent code (1, L) of an image: N(0, 1), a function of the seed and the key."""
    width = getattr(model.method, "latent_dim", 1)
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    numbers = np.random.default_rng(np.frombuffer(digest, np.uint32)).standard_normal((1, width), np.float32)
    return torch.from_numpy(numbers)


def require_translator(model: LoadedModel) -> Translator:
    """The method of a model that can translate."""
    if not isinstance(model.method, Translator):
        raise InputError(f"{model.where} is a model of kind {model.kind}: translating needs a translator")
    return model.method


def require_domain(model: LoadedModel, kind: str, name: str, *also: str) -> int:
    """The label of a domain by its name; ``also`` are names that the caller takes besides."""
    if name not in model.domains:
        raise unknown(kind, name, (*model.domains, *also))
    return model.domains.index(name)


@torch.inference_mode()
def closest_label(model: LoadedModel, image: Tensor) -> int:
    """The domain whose own style reconstructs an image (1, 3, H, W) best: argmin_y |G(x, E_y(x)) − x| (L1).

    An intensity below 1 starts from the style of the image's own domain, and this needs no classifier.
    """
    method = require_translator(model)
    errors = []
    for number in range(len(model.domains)):
        label = torch.tensor([number], device=image.device)
        itself = method.translate(model.networks, image, label, Target(label, reference=image))
        errors.append(float((itself - image).abs().mean()))
    return int(np.argmin(errors))


@torch.inference_mode()
def translate_image(
    model: LoadedModel,
    image: Tensor,
    target: int,
    *,
    latent: Tensor | None = None,
    reference: Tensor | None = None,
    intensity: float = 1.0,
    source_label: int | None = None,
    other: Target | None = None,
    share: float = 0.0,
) -> Tensor:
    """One image (1, 3, H, W) in [-1, 1] to a domain; the same shape comes back, in [-1, 1].

    One at a time on purpose: the sums of a convolution depend on the size of its batch in the last bits, so a
    picture would change with its neighbours.

    Args:
        model: a translator.
        image: at the model's size, on its device.
        target: label.
        latent: (1, L); this or a reference is given.
        reference: (1, 3, H, W), an image whose style is taken.
        intensity: 0 = the image's own expression, 1 = the full target.
        source_label: the image's own domain, needed below intensity 1 only.
        other: a second target of one image, to interpolate towards.
        share: of the other in [0, 1].
    """
    method = require_translator(model)
    labels = torch.tensor([target, target if source_label is None else source_label], device=image.device)
    if latent is not None:
        latent = latent.to(image.device)
    guide = Target(labels[:1], latent=latent, reference=reference, intensity=intensity, other=other, share=share)
    return method.translate(model.networks, image, labels[1:], guide).clamp(-1, 1)
