"""The registered model: MLflow runs this file to load it ("models from code"), so nothing of it is a pickle.

Images come as encoded bytes of any size and mode, in a DataFrame with the columns of the signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import torch

from stargan_ray.data.decode import UndecodableError
from stargan_ray.errors import InputError
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.runtime.translate import (
    closest_label,
    draw_latent,
    read_image,
    require_domain,
    to_png,
    translate_image,
)

if TYPE_CHECKING:
    _PythonModel = object
else:
    _PythonModel = mlflow.pyfunc.PythonModel


class RegisteredModel(_PythonModel):
    """A model folder as a pyfunc: one answer a row."""

    def load_context(self, context: Any) -> None:
        """Load the model folder that was registered."""
        self.model = load_model(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Answer every row.

        Args:
            context: unused.
            model_input: the columns of the signature; see the model's card.
            params: none are known.

        Returns:
            translator: ``image`` (PNG bytes). identity and identity-judge: ``embedding`` (floats of unit
            length).
            expression: a probability for each domain.

        Raises:
            InputError: a row is not usable; it is named.
        """
        answer = _ANSWERS[self.model.kind]
        rows = []
        for number, row in enumerate(model_input.to_dict("records")):
            try:
                rows.append(answer(self.model, row))
            except UndecodableError as error:
                raise InputError(f"row {number}: not a usable image ({error})") from error
            except InputError as error:
                raise InputError(f"row {number}: {error}") from error
        return pd.DataFrame(rows, index=model_input.index)


def _given(row: dict[str, Any], name: str, default: Any) -> Any:
    """An optional value: absent columns and the gaps of a column both mean the default."""
    value = row.get(name)
    return default if value is None or (isinstance(value, float) and value != value) or value is pd.NA else value


def _image(row: dict[str, Any], name: str, size: int) -> torch.Tensor:
    data = row[name]
    if not isinstance(data, bytes | bytearray):
        raise InputError(
            f"column {name!r} has a value of type {type(data).__name__}: allowed are an image file's bytes"
        )
    return read_image(bytes(data), size)


def _translation(model: LoadedModel, row: dict[str, Any]) -> dict[str, bytes]:
    image = _image(row, "image", model.size)
    target = require_domain(model, "target", str(row["target"]))
    intensity = float(_given(row, "intensity", 1.0))
    if not 0 <= intensity <= 1:
        raise InputError(f"intensity = {intensity}: allowed is 0 to 1")
    guided = _given(row, "reference", None) is not None
    result = translate_image(
        model,
        image,
        target,
        latent=None if guided else draw_latent(model, int(_given(row, "seed", 0))),
        reference=_image(row, "reference", model.size) if guided else None,
        intensity=intensity,
        source_label=None if intensity == 1 else closest_label(model, image),
    )
    return {"image": to_png(result[0])}


@torch.inference_mode()
def _embedding(model: LoadedModel, row: dict[str, Any]) -> dict[str, list[float]]:
    vector = model.networks["embedder"](_image(row, "image", model.size))[0]
    return {"embedding": vector.double().tolist()}


@torch.inference_mode()
def _probabilities(model: LoadedModel, row: dict[str, Any]) -> dict[str, float]:
    logits = model.networks["classifier"](_image(row, "image", model.size))[0]
    return dict(zip(model.domains, logits.double().softmax(0).tolist(), strict=True))


_ANSWERS: dict[str, Callable[[LoadedModel, dict[str, Any]], Mapping[str, Any]]] = {
    "translator": _translation,
    "identity": _embedding,
    "identity-judge": _embedding,
    "expression": _probabilities,
}
mlflow.models.set_model(RegisteredModel())
