"""Showing a translator's work to the judges, block by block: sharded over processes, and continued after a kill.

A block is a fixed range of requests under one guide and intensity, translated in batches of a fixed size, so the
numbers do not depend on how many processes do the blocks, nor on which were done before.

<folder>/<hash>/<block>.safetensors     evaluation/evidence.py
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from stargan_ray.data import storage
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.evaluation.evidence import Evidence, Judges, joined, look_at_translations
from stargan_ray.evaluation.intensity import INTENSITIES
from stargan_ray.evaluation.known import NAMELESS, PEOPLE, names_people
from stargan_ray.evaluation.translations import BATCH, Faces, Guide, LatentGuide, ReferenceGuide, translate
from stargan_ray.methods.base import Translator
from stargan_ray.runtime.block_pool import each_block
from stargan_ray.runtime.judgement import SEED, Court, Findings
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.models import LoadedModel, load_model

BLOCK = 4 * BATCH  # translations that are stored together: what a kill can cost each process
LATENT, REFERENCE = "latent", "reference"


class Part(NamedTuple):
    """A block: requests [start, stop) of the court, or of its swept ones below full intensity."""

    guide: str
    intensity: float
    start: int
    stop: int


@dataclass(frozen=True)
class Docket:
    """Who is judged on what: the arguments of a court.

    Attributes:
        data: URI of the data set whose people are translated.
        content_hash: of that data set.
        size: pixels.
        split: whose people are translated.
        people: the first so many of them; of images where the split names nobody.
        translations: how many.
    """

    data: str
    content_hash: str
    size: int
    split: str = "test"
    people: int = PEOPLE
    translations: int = 1_600

    @staticmethod
    def of(
        dataset: Dataset, size: int, split: str, people: int | None = None, translations: int | None = None
    ) -> Docket:
        """Of an open data set; None = as many as are judged unless told."""
        people = people or (PEOPLE if names_people(dataset, split) else NAMELESS)
        content_hash = dataset.manifest.content_hash
        return Docket(dataset.uri, content_hash, size, split, people, translations or Docket.translations)

    def court(self) -> Court:
        """Its faces and requests; those asked for last in this process are still there."""
        return _court(self)


@lru_cache(maxsize=1)  # the bench and the blocks of this process, and every row of a comparison, want the same
def _court(docket: Docket) -> Court:
    dataset = open_dataset(docket.data)
    people, translations = docket.people, docket.translations
    return Court.of(dataset, docket.size, split=docket.split, people=people, translations=translations)


@dataclass(frozen=True)
class _Tool:
    """What a process needs for its blocks."""

    court: Court
    model: LoadedModel
    judges: Judges


@dataclass(frozen=True)
class Examination:
    """One translator before its judges.

    Attributes:
        model: where its weights are, resolved.
        content_hash: of its weights.
        docket: whom it translates.
        judges: who look.
        folder: URI for the blocks; those of another examination lie beside them.
        requests: how many the court has.
        swept: how many of them are translated at every intensity.
        references: whether images of other people guide as well.
        block: translations that are stored together.
    """

    model: str
    content_hash: str
    docket: Docket
    judges: JudgeModels
    folder: str
    requests: int
    swept: int
    references: bool = True
    block: int = BLOCK

    @property
    def uri(self) -> str:
        """Where its blocks are: everything that the numbers depend on is in the name."""
        docket = {**asdict(self.docket), "data": ""}  # a data set that was moved is the same one
        told = [self.content_hash, docket, self.judges.hashes(), self.requests, self.swept, self.block, BATCH, SEED]
        return storage.join(self.folder, hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16])

    @property
    def parts(self) -> list[Part]:
        """All blocks, the same in every process."""
        kinds = [(LATENT, 1.0, self.requests)]
        kinds += [(REFERENCE, 1.0, self.requests)] if self.references else []
        kinds += [(LATENT, intensity, self.swept) for intensity in INTENSITIES if intensity < 1]
        return [
            Part(guide, intensity, start, min(start + self.block, count))
            for guide, intensity, count in kinds
            for start in range(0, count, self.block)
        ]

    def make(self, loaded: LoadedModel | None = None) -> _Tool:
        """Load the faces, the translator, unless it is there already and stays where it is, and the judges."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        court = self.docket.court()
        probes = Faces(court.probes.images.to(device), court.probes.labels, court.probes.persons)
        court = Court(probes, court.gallery, court.requests, court.domains)
        model = loaded if loaded is not None and device.type == "cpu" else load_model(self.model, device)
        return _Tool(court, model, self.judges.open(device))

    def stored(self, start: int) -> bool:
        """Whether a block is stored whole."""
        return self.read(start) is not None

    def read(self, start: int) -> Evidence | None:
        """A stored block, or None where it is missing or damaged."""
        part = self.parts[start]
        try:
            found = Evidence.from_bytes(storage.read_bytes(self._where(start)))
        except (storage.StorageError, ValueError):
            return None
        return found if len(found) == part.stop - part.start else None

    def write(self, start: int, tool: _Tool) -> None:
        """Translate a block, show it to the judges and store what they see."""
        part, court = self.parts[start], tool.court
        positions = np.arange(part.start, part.stop)
        requests = court.chosen(positions if part.intensity == 1 else court.swept[positions])
        method = tool.model.method
        assert isinstance(method, Translator)
        guide: Guide = ReferenceGuide(court.probes) if part.guide == REFERENCE else LatentGuide(method.latent_dim)
        images = translate(
            method, tool.model.networks, court.probes, requests, guide, seed=SEED, intensity=part.intensity
        )
        seen = joined(list(look_at_translations(images, court.probes, requests, tool.judges)))
        storage.write_bytes(self._where(start), seen.to_bytes())

    def _where(self, start: int) -> str:
        return storage.join(self.uri, f"{start:05d}.safetensors")


@dataclass(frozen=True)
class _Here:
    """An examination in the process that has its translator; see ``block_pool.Work``."""

    examination: Examination
    model: LoadedModel

    def make(self) -> _Tool:
        """With the translator that is there."""
        return self.examination.make(self.model)

    def stored(self, start: int) -> bool:
        """Whether a block is stored whole."""
        return self.examination.stored(start)

    def write(self, start: int, tool: _Tool) -> None:
        """Do a block."""
        self.examination.write(start, tool)


def examination_of(
    model: LoadedModel, court: Court, docket: Docket, judges: JudgeModels, folder: str, block: int = BLOCK
) -> Examination:
    """The examination of a loaded translator; references guide too where every request has one.

    Raises:
        InputError: it is no translator, of other expressions, or learnt from one of the judges.
    """
    court.require(model)
    judges.refuse_trainers_of(model)
    counts = len(court.requests), len(court.swept)
    return Examination(model.where, model.content_hash, docket, judges, folder, *counts, court.references, block)


def examine(
    examination: Examination,
    parallel: int = 1,
    on_done: Callable[[int, int], None] = lambda _new, _of: None,
    model: LoadedModel | None = None,
) -> Findings:
    """Do the blocks that are not there yet and put all together.

    Args:
        examination: of one translator.
        parallel: processes; 1 is this one, more are an actor pool of Ray Data.
        on_done: told of (new translations, all), for progress.
        model: the same translator, where this process has loaded it already.

    Raises:
        InputError: the cluster has fewer CPUs, or the blocks cannot be written or read by this process.
    """
    parts = examination.parts
    total = sum(part.stop - part.start for part in parts)
    missing = [number for number in range(len(parts)) if not examination.stored(number)]
    on_done(total - sum(parts[n].stop - parts[n].start for n in missing), total)
    work = _Here(examination, model) if parallel == 1 and model is not None else examination
    for number in each_block(work, missing, parallel):
        on_done(parts[number].stop - parts[number].start, total)
    found: dict[tuple[str, float], list[Evidence]] = {}
    for number, part in enumerate(parts):
        block = examination.read(number)
        if block is None:
            raise storage.StorageError(
                f"what the judges saw in {examination.uri} cannot be read here: workers on other machines need s3://…"
            )
        found.setdefault((part.guide, part.intensity), []).append(block)
    whole = {kind: joined(blocks) for kind, blocks in found.items()}
    swept = {x: seen for (guide, x), seen in whole.items() if guide == LATENT and x < 1}
    return Findings(whole[LATENT, 1.0], whole.get((REFERENCE, 1.0)), swept)
