"""What a search asks of a checkpoint: two figures that are both to be high, on people whom nobody trained on.

They come from the validation split, because they choose; what is chosen is judged on other people afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch

from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.evidence import look_at_faces
from stargan_ray.evaluation.identity import verify
from stargan_ray.evaluation.judging import Judges
from stargan_ray.evaluation.known import known_faces
from stargan_ray.evaluation.pairs import sample_pairs
from stargan_ray.evaluation.verification import Album, invariance
from stargan_ray.recipes.searches import OF_EMBEDDER
from stargan_ray.runtime.examination import Docket, examination_of, examine
from stargan_ray.runtime.judgement import Bench
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.models import load_model

_PAIRS = 3_000  # of each kind, for an embedder


class Examiner(Protocol):
    """Judges one checkpoint after another."""

    def __call__(self, where: str) -> dict[str, float]:
        """Figures of the model at a place, both objectives among them."""
        ...


@dataclass(frozen=True)
class TranslatorExaminer:
    """Translates held-out people by latent codes and shows them to the judges."""

    docket: Docket
    judges: JudgeModels
    folder: str
    bench: Bench

    @staticmethod
    def of(docket: Docket, judges: JudgeModels, folder: str) -> TranslatorExaminer:
        """With the real faces shown to the judges once.

        Raises:
            InputError: the split has too few people, or a judge cannot be loaded.
        """
        return TranslatorExaminer(docket, judges, folder, Bench.of(docket.court(), judges.open()))

    def __call__(self, where: str) -> dict[str, float]:
        """The mean of every figure of the verdict."""
        model = load_model(where)
        whole = examination_of(model, self.bench.court, self.docket, self.judges, self.folder)
        examination = replace(whole, references=False, swept=0)
        judged = self.bench.judged(examine(examination, model=model), {})
        storage.delete(examination.uri)
        return {name: found.value for name, found in judged.verdict.estimates().items() if found.value == found.value}


@dataclass(frozen=True)
class EmbedderExaminer:
    """Tells people apart by a network's embeddings, and across expressions."""

    docket: Docket

    def __call__(self, where: str) -> dict[str, float]:
        """Accuracy of the LFW protocol, and the curve's area on one person with two expressions against two with one.

        Raises:
            InputError: there are too few people, or no expressions are known.
        """
        model = load_model(where)
        faces = known_faces(open_dataset(self.docket.data), self.docket.size, self.docket.split, self.docket.people)
        (network,) = model.networks.values()
        vectors = look_at_faces(faces, Judges(lambda images: torch.zeros(len(images), 1), network)).identity
        pairs = sample_pairs(faces.persons, _PAIRS)
        across = invariance(Album(vectors.astype("float32"), faces.persons, faces.labels.numpy()))
        if across["auc"] is None:
            raise InputError(f"{self.docket.data}: {across['why']}")
        found = verify(vectors, faces.persons, pairs)
        return dict(zip(OF_EMBEDDER, (found.accuracy.value, across["auc"].value), strict=True))
