"""The work of the protocol in blocks: the translations of one ordered pair of domains by one guide, as features.

<folder>/<start>.parquet    a row a source: its position, its diversity, and the features of its translations
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from stargan_ray.data import storage
from stargan_ray.data.shards import Dataset
from stargan_ray.data.units import write_table
from stargan_ray.evaluation.diversity import pairwise_distances
from stargan_ray.evaluation.feature_networks import FeatureNetworks
from stargan_ray.evaluation.known import known_faces
from stargan_ray.evaluation.translations import BATCH, Faces, LatentGuide, ReferenceGuide, Requests, translate
from stargan_ray.methods.base import Target, Translator
from stargan_ray.runtime.models import LoadedModel

GUIDES = ("latent", "reference")
SEED = 7  # of the latent codes and the choice of references


@dataclass(frozen=True)
class Unit:
    """One block: source domain -> target domain by a guide."""

    guide: str
    source: int
    target: int


@dataclass(frozen=True)
class Seen:
    """A stored block.

    Attributes:
        sources: (n,) positions among the faces.
        distances: (n,) mean distance between the translations of each, 0 where there is one.
        features: (n · outputs, f) of the translations.
    """

    sources: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    features: npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProtocolBlocks:
    """The blocks of one translator on one data set under one set of feature networks.

    Attributes:
        model: a translator.
        dataset: of the same domains.
        networks: what the distances see by.
        folder: URI below which blocks are stored; those of anything else lie beside them.
        units: what is done; a block's start is a position among them.
        split, people: whose faces.
        sources: most images of a source domain.
        outputs: translations of each.
        one_answer: guides whose outputs are all equal by construction: one is made.
    """

    model: LoadedModel
    dataset: Dataset
    networks: FeatureNetworks
    folder: str
    units: tuple[Unit, ...]
    split: str
    people: int
    sources: int
    outputs: int
    one_answer: frozenset[str]

    @functools.cached_property
    def uri(self) -> str:
        """Where the blocks are: everything that their numbers depend on is in the name."""
        told = [
            self.model.content_hash,
            sorted((name, helper.content_hash) for name, helper in self.model.helpers.items()),
            *(self.dataset.manifest.content_hash, self.networks.content_hash, self.split, self.people),
            *(self.model.size, self.sources, self.outputs, SEED, sorted(self.one_answer)),
            [(unit.guide, unit.source, unit.target) for unit in self.units],
        ]
        return storage.join(self.folder, hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16])

    def make(self) -> Faces:
        """The faces of the split, decoded once in each process."""
        return known_faces(self.dataset, self.model.size, self.split, self.people)

    def stored(self, start: int) -> bool:
        """Whether a block is stored whole."""
        return self.read(start) is not None

    def read(self, start: int) -> Seen | None:
        """A stored block, or None where it is missing or damaged."""
        try:
            table = pq.read_table(storage.open_input(self._where(start)))
            features = np.stack(table["features"].to_numpy()).astype(np.float64)
            sources, distances = table["source"].to_numpy(), table["distance"].to_numpy()
        except (storage.StorageError, pa.ArrowInvalid, KeyError, ValueError):
            return None
        return Seen(sources, distances, features.reshape(len(features) * self._made(start), -1))

    @torch.no_grad()
    def write(self, start: int, tool: Faces) -> None:
        """Translate the sources of a pair, look at them and store what was seen."""
        unit, method = self.units[start], self.model.method
        assert isinstance(method, Translator)
        rows = chosen_sources(tool, unit.source, self.sources)
        guide = LatentGuide(method.latent_dim) if unit.guide == "latent" else ReferenceGuide(tool)
        distances, features = [], []
        for part in np.array_split(rows, range(BATCH, len(rows), BATCH)):
            requests = Requests(part, np.full(len(part), unit.target, dtype=np.int64))
            outputs = [
                next(translate(method, self.model.networks, tool, requests, guide, seed=SEED, output=k))
                for k in range(self._made(start))
            ]
            several = len(outputs) > 1
            distances.append(pairwise_distances(outputs, self.networks.distance) if several else np.zeros(len(part)))
            features.append(
                torch.stack([self.networks.features(images).flatten(1) for images in outputs], 1).flatten(1)
            )
        wide = torch.cat(features).float().cpu().numpy()
        columns = {
            "source": pa.array(rows),
            "distance": pa.array(np.concatenate(distances)),
            "features": pa.FixedSizeListArray.from_arrays(pa.array(wide.ravel()), wide.shape[1]),
        }
        write_table(self._where(start), pa.table(columns))

    def real_features(self, faces: Faces) -> npt.NDArray[np.float64]:
        """Features (n, f) of the real faces, computed once for a data set and feature networks."""
        told = [
            self.dataset.manifest.content_hash,
            self.networks.content_hash,
            self.split,
            self.people,
            self.model.size,
        ]
        name = f"real-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}.parquet"
        where = storage.join(self.folder, name)
        try:
            found = np.stack(pq.read_table(storage.open_input(where))["features"].to_numpy())
        except (storage.StorageError, pa.ArrowInvalid, KeyError, ValueError):
            with torch.no_grad():
                parts = [self.networks.features(images).flatten(1) for images in torch.split(faces.images, BATCH)]
            found = torch.cat(parts).float().cpu().numpy()
            lists = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), found.shape[1])
            write_table(where, pa.table({"features": lists}))
        return found.astype(np.float64)

    def _made(self, start: int) -> int:
        return 1 if self.units[start].guide in self.one_answer else self.outputs

    def _where(self, start: int) -> str:
        return storage.join(self.uri, f"{start:06d}.parquet")


def chosen_sources(faces: Faces, domain: int, most: int) -> npt.NDArray[np.int64]:
    """Positions of at most so many faces of a domain, spread evenly over its people."""
    rows = np.flatnonzero(faces.labels.cpu().numpy() == domain)
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]


def one_answer(model: LoadedModel, faces: Faces) -> frozenset[str]:
    """Guides by which a translator has one answer: it has no latent codes, or takes a reference's label alone."""
    method = model.method
    assert isinstance(method, Translator)
    found = {"latent"} if method.latent_dim == 0 else set()
    with torch.no_grad():
        codes: list[Tensor] = []
        for look in (faces.images[:1], -faces.images[:1]):
            target = Target(faces.labels[:1], reference=look)
            codes.append(method.code(model.networks, target))
    return frozenset(found | ({"reference"} if torch.equal(*codes) else set()))
