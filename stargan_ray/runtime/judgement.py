"""The bench of a comparison: the same people, requests and judges for every translator and for copies of the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.comparison import Judged
from stargan_ray.evaluation.evidence import Evidence, FloatArray
from stargan_ray.evaluation.expression import probabilities
from stargan_ray.evaluation.frechet import by_domain
from stargan_ray.evaluation.intensity import INTENSITIES, IntensityCurve
from stargan_ray.evaluation.judging import Judges, Known, real_verdict, verdict
from stargan_ray.evaluation.known import known_faces, names_people
from stargan_ray.evaluation.pairs import split_gallery
from stargan_ray.evaluation.translations import Faces, LatentGuide, Requests, balanced_targets, translate
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
        gallery: other photos of the same people; None where nobody is named.
        requests: which probe to which expression.
        domains: names of the expressions.
    """

    probes: Faces
    gallery: Faces | None
    requests: Requests
    domains: tuple[str, ...]

    @staticmethod
    def of(dataset: Dataset, size: int, *, split: str, people: int, translations: int) -> Court:
        """The first people of a split with their expressions: the true ones of a generated set, else the labels.

        Where the split names nobody, each image is a person of its own, and the gallery None.

        Raises:
            InputError: the split has no people with enough photos, or too few images.
        """
        probes, gallery = _seen_apart(known_faces(dataset, size, split, people), names_people(dataset, split))
        domains = dataset.manifest.domains
        return Court(
            probes, gallery, balanced_targets(probes.labels.numpy(), len(domains), translations, seed=SEED), domains
        )

    @property
    def swept(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Positions of the requests that are translated at every intensity."""
        count = min(_SWEPT, len(self.requests))
        return np.linspace(0, len(self.requests) - 1, count).astype(np.int64)

    def chosen(self, positions: Sequence[int] | np.ndarray[Any, Any]) -> Requests:
        """Some of the requests."""
        return Requests(self.requests.source[positions], self.requests.target[positions])

    @property
    def references(self) -> bool:
        """Whether every request finds a face of its target that shows another person."""
        labels, persons = self.probes.labels.cpu().numpy(), self.probes.persons
        shown = {int(target): np.unique(persons[labels == target]) for target in np.unique(self.requests.target)}
        asked = zip(self.requests.target.tolist(), persons[self.requests.source], strict=True)
        return all((shown[target] != person).any() for target, person in asked)

    def require(self, model: LoadedModel) -> Translator:
        """The method of a model that can stand here.

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
        return method


def _seen_apart(faces: Faces, named: bool) -> tuple[Faces, Faces | None]:
    """Faces to translate, and other photos of the same people, where there are any."""
    if not named:
        if len(set(faces.persons)) < 2:
            raise InputError("a translation is told from other images: 2 or more with an expression are needed")
        return faces, None
    probes, gallery = split_gallery(faces.persons, GALLERY, seed=SEED)
    return faces.take(probes), faces.take(gallery)


@dataclass(frozen=True)
class Findings:
    """What the judges saw of one translator's work.

    Attributes:
        latent: of each request, guided by latent codes (or by labels alone where a method has none).
        reference: the same guided by images of other people; None = not asked.
        swept: intensity below 1 -> of the court's swept requests.
    """

    latent: Evidence
    reference: Evidence | None = None
    swept: Mapping[float, Evidence] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """A court with what its judges see of the real faces."""

    court: Court
    known: Known

    @staticmethod
    def of(court: Court, judges: Judges, on_seen: Callable[[int, int], None] = lambda _new, _of: None) -> Bench:
        """Show the real faces to the judges, once for all rows; ``on_seen`` is told of (new faces, all)."""
        total = len(court.probes) + (0 if court.gallery is None else len(court.gallery))
        return Bench(court, Known.of(court.probes, court.gallery, judges, lambda new: on_seen(new, total)))

    def copy_input(self) -> Judged:
        """The row of doing nothing: the judges see in a copy what they have seen in the source."""
        return self.judged(Findings(self.known.of_sources.take(self.court.requests.source)), {})

    def real(self) -> Judged:
        """The judges on real images: what a perfect translator could be expected to reach.

        Its Fréchet distance is that between two halves of the people, so a distance that only sampling makes.
        """
        found, seen = real_verdict(self.known), self.known.of_sources.features
        if not seen.shape[1]:
            return Judged(found)
        persons, labels = self.court.probes.persons, self.court.probes.labels.numpy()
        _, person = np.unique(persons, return_inverse=True)
        one, other = person % 2 == 0, person % 2 == 1
        return Judged(found, by_domain(seen[one], labels[one], persons[one], seen[other], labels[other]))

    def judged(self, findings: Findings, facts: Mapping[str, Any]) -> Judged:
        """The row of a translator."""
        requests = self.court.requests
        reference = findings.reference
        curve = self._curve(findings)
        return Judged(
            verdict(findings.latent, requests, self.known),
            self._frechet(findings.latent),
            None if curve is None else curve.monotone(),
            {} if curve is None else {f"{x:g}": e.value for x, e in zip(INTENSITIES, curve.means(), strict=True)},
            facts,
            None if reference is None else verdict(reference, requests, self.known),
            None if reference is None else self._frechet(reference),
        )

    @property
    def showcase(self) -> Requests:
        """Each expression on another person, for pictures side by side."""
        persons, labels = self.court.probes.persons, self.court.probes.labels.numpy()
        names, sources = np.unique(persons), []
        for target in range(len(self.court.domains)):
            turn = np.roll(names, -target)  # the next in turn who shows something else: of one photo each, not all do
            sources.append(
                next(int(row) for name in turn for row in np.flatnonzero((persons == name) & (labels != target)))
            )
        return Requests(np.array(sources), np.arange(len(self.court.domains)))

    def pictures(self, model: LoadedModel) -> Tensor:
        """What a translator makes of the showcase, (K, 3, H, W)."""
        method = self.court.require(model)
        guide = LatentGuide(method.latent_dim)
        return torch.cat(list(translate(method, model.networks, self.court.probes, self.showcase, guide, seed=SEED)))

    def _frechet(self, seen: Evidence) -> Any:
        if not seen.features.shape[1]:
            return None
        persons = self.court.probes.persons[self.court.requests.source]
        real, labels = self.known.of_sources.features, self.court.probes.labels.numpy()
        return by_domain(seen.features, self.court.requests.target, persons, real, labels)

    def _curve(self, findings: Findings) -> IntensityCurve | None:
        if not findings.swept:
            return None
        places = self.court.swept
        asked = self.court.chosen(places)
        columns: list[FloatArray] = []
        for intensity in INTENSITIES:
            logits = findings.latent.logits[places] if intensity == 1 else findings.swept[intensity].logits
            columns.append(probabilities(logits)[np.arange(len(asked)), asked.target])
        return IntensityCurve(INTENSITIES, np.stack(columns, axis=1), self.court.probes.persons[asked.source])
