"""dlib and the weights that ship with it and with face-recognition-models (extra ``judge``); nothing is downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from stargan_ray.errors import InputError

LANDMARKS = "shape_predictor_5_face_landmarks.dat"
RECOGNITION = "dlib_face_recognition_resnet_model_v1.dat"


def require_dlib(asked: str) -> None:
    """Check that dlib is there; ``asked`` is what needs it, for the error.

    Raises:
        InputError: dlib is not installed.
    """
    if importlib.util.find_spec("dlib") is None:
        raise _missing(asked)


def weights(name: str, asked: str) -> Path:
    """A file of the package of weights, which is not imported: it asks for pkg_resources, which new setuptools lack.

    Raises:
        InputError: the package is not installed, or has no such file.
    """
    found = importlib.util.find_spec("face_recognition_models")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (path := Path(folder) / "models" / name).is_file():
            return path
    raise _missing(asked)


def _missing(asked: str) -> InputError:
    return InputError(f"{asked} needs dlib and its weights, the extra judge: pip install 'stargan-ray[judge]'")
