"""One translator before its judges: the same people, requests and judges for every row of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.comparison import Judged
from stargan_ray.evaluation.frechet import by_domain
from stargan_ray.evaluation.generated import known_faces
from stargan_ray.evaluation.intensity import intensity_curve
from stargan_ray.evaluation.judging import Judges, judge, judge_real
from stargan_ray.evaluation.pairs import split_gallery
from stargan_ray.evaluation.translations import (
    BATCH,
    Faces,
    LatentGuide,
    Requests,
    balanced_targets,
    copies,
    translate,
)
from stargan_ray.methods.base import Translator
from stargan_ray.runtime.models import LoadedModel

GALLERY = 4  # other photos of each person, averaged to a template
SEED = 7  # of the requests, latents and galleries: the same for every row
_SWEPT = 200  # requests that are translated at every intensity


@dataclass(frozen=True)
class Court:
    """What every row is judged on.

    Attributes:
        probes: faces that are translated.
        gallery: other photos of the same people.
        requests: which probe to which expression.
        domains: names of the expressions.
    """

    probes: Faces
    gallery: Faces
    requests: Requests
    domains: tuple[str, ...]

    @staticmethod
    def of(dataset: Dataset, size: int, *, split: str = "test", people: int = 100, translations: int = 1_600) -> Court:
        """The first people of a split with their expressions: the true ones of a generated set, else the labels.

        Raises:
            InputError: the split has no people with enough photos.
        """
        faces = known_faces(dataset, size, split, people)
        probes, gallery = (faces.take(rows) for rows in split_gallery(faces.persons, GALLERY, seed=SEED))
        domains = dataset.manifest.domains
        return Court(
            probes, gallery, balanced_targets(probes.labels.numpy(), len(domains), translations, seed=SEED), domains
        )

    def copy_input(self, judges: Judges) -> Judged:
        """The row of doing nothing."""
        return self._judged(judges, copies(self.probes, self.requests))

    def real(self, judges: Judges) -> Judged:
        """The judges on real images: what a perfect translator could be expected to reach.

        Its Fréchet distance is that between two halves of the people, so a distance that only sampling makes.
        """
        verdict = judge_real(self.probes, self.gallery, judges)
        if judges.features is None:
            return Judged(verdict)
        _, person = np.unique(self.probes.persons, return_inverse=True)
        labels = self.probes.labels.numpy()
        seen = self._real_features(judges)
        one, other = person % 2 == 0, person % 2 == 1
        return Judged(verdict, by_domain(seen[one], labels[one], self.probes.persons[one], seen[other], labels[other]))

    def translator(self, model: LoadedModel, judges: Judges, facts: Mapping[str, Any]) -> Judged:
        """The row of a translator, guided by latent codes (or by labels alone where it has none).

        Raises:
            InputError: the model is no translator, or of other expressions.
        """
        method = model.method
        if not isinstance(method, Translator):
            raise InputError(f"{model.where} is a model of kind {model.kind}: allowed here is a translator")
        if model.domains != self.domains:
            raise InputError(
                f"{model.where} knows {len(model.domains)} expressions ({', '.join(model.domains)}), the faces show "
                f"{len(self.domains)} ({', '.join(self.domains)}): they must be the same in the same order"
            )
        guide = LatentGuide(method.latent_dim)
        images = translate(method, model.networks, self.probes, self.requests, guide, seed=SEED)
        row = self._judged(judges, images)
        few = np.linspace(0, len(self.requests) - 1, min(_SWEPT, len(self.requests))).astype(np.int64)
        swept = Requests(self.requests.source[few], self.requests.target[few])
        curve = intensity_curve(method, model.networks, self.probes, swept, guide, judges.expression, seed=SEED)
        means = {f"{x:g}": e.value for x, e in zip(curve.intensities, curve.means(), strict=True)}
        return Judged(row.verdict, row.frechet, curve.monotone(), means, facts)

    def _judged(self, judges: Judges, images: Iterator[Tensor]) -> Judged:
        """The verdict and the Fréchet distance, of translations that are made once."""
        look, seen = judges.features, []

        def watched() -> Iterator[Tensor]:
            for batch in images:
                if look is not None:
                    with torch.no_grad():
                        seen.append(look(batch).double().cpu().numpy())
                yield batch

        verdict = judge(watched(), self.probes, self.requests, self.gallery, judges)
        if look is None:
            return Judged(verdict)
        persons = self.probes.persons[self.requests.source]
        real, labels = self._real_features(judges), self.probes.labels.numpy()
        return Judged(verdict, by_domain(np.concatenate(seen), self.requests.target, persons, real, labels))

    @torch.no_grad()
    def _real_features(self, judges: Judges) -> Any:
        """Of the probes, (n, f)."""
        assert judges.features is not None
        parts = torch.split(self.probes.images, BATCH)
        return np.concatenate([judges.features(images).double().cpu().numpy() for images in parts])
