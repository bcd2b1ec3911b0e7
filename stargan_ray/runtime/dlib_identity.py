"""A judge of identities that nobody here has trained: dlib's face recognition network, from the extra ``judge``.

The weights ship inside the package face-recognition-models; nothing is downloaded. Davis King gave them to the public
domain (CC0 1.0); he trained them on about three million photos of 7,485 people, among them FaceScrub and VGG Face.
dlib itself has the Boost Software License 1.0.
"""

from __future__ import annotations

import hashlib
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stargan_ray.data.dlib_files import LANDMARKS, RECOGNITION, require_dlib, weights
from stargan_ray.errors import InputError
from stargan_ray.models.backbones import fit

DLIB = "dlib"  # what is given where a model is asked for
LICENCE = "CC0-1.0"
CHIP = 150  # pixels of dlib's aligned faces
_PADDING = 0.25  # of a chip around the face, as in the network's training
_ASKED = "the judge dlib"


class DlibIdentity(nn.Module):
    """Images (b, 3, H, W) in [-1, 1] -> unit vectors (b, 128); for evaluation only, since dlib has no gradients.

    No face is looked for. Each image is taken to show one face around its centre; dlib finds the corners of the eyes
    and the nose inside the box that the face is assumed to fill, and turns, shifts and scales the face to a chip of
    150 × 150 pixels by them, which the network was trained on.

    dlib's own vectors are 1.2 to 1.6 long, and it calls faces nearer than 0.6 the same person. Here they are
    brought to unit length, as every measure of this package has it; 0.6 becomes a squared distance of about 0.18.

    Args:
        face: share of the image's side of that box, around the centre. 0.6 does for LFW's frames, whose faces fill
            0.45 from brow to chin, and for their central 150 pixels alike: 98 % of pairs are told right. A box far
            too large misleads the landmarks (0.8 on the frames: 73 %).
    """

    def __init__(self, face: float = 0.6) -> None:
        super().__init__()
        if not 0.2 <= face <= 1:
            raise InputError(f"face = {face}: allowed is 0.2 to 1 (1 = the whole image)")
        self.face = face
        self.dlib = _dlib()
        self.landmarks = self.dlib.shape_predictor(str(weights(LANDMARKS, _ASKED)))
        recognition = weights(RECOGNITION, _ASKED)
        self.network = self.dlib.face_recognition_model_v1(str(recognition))
        # dlib keeps its weights to itself: their hash stands for them wherever weights are compared
        digest = hashlib.sha256(recognition.read_bytes()).digest()
        self.register_buffer("weights_sha256", torch.tensor(list(digest), dtype=torch.uint8))

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings on the unit sphere, on the device of the images.

        Raises:
            InputError: a gradient is wanted.
        """
        if image.requires_grad and torch.is_grad_enabled():
            raise InputError("dlib has no gradients: it judges images and trains nothing")
        side = round(CHIP / self.face)
        pixels = ((fit(image.detach().float(), side).clamp(-1, 1) + 1) * 127.5).round().byte()
        chips = [self._chip(picture) for picture in pixels.permute(0, 2, 3, 1).cpu().contiguous().numpy()]
        found = np.asarray(self.network.compute_face_descriptor(chips), dtype=np.float32)
        return F.normalize(torch.from_numpy(found), dim=1).to(image.device)

    def _chip(self, picture: np.ndarray) -> np.ndarray:
        """The aligned face (150, 150, 3) of a picture (side, side, 3), uint8."""
        rim = round(len(picture) * (1 - self.face) / 2)
        box = self.dlib.rectangle(rim, rim, len(picture) - rim - 1, len(picture) - rim - 1)
        chip: np.ndarray = self.dlib.get_face_chip(picture, self.landmarks(picture, box), CHIP, _PADDING)
        return chip


def _dlib() -> ModuleType:
    require_dlib(_ASKED)
    import dlib

    return dlib
