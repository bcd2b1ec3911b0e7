"""StarGAN v2's evaluation: for every ordered pair of domains, many translations of each source by either guide.

Choi et al. (2020), section 4: ten translations of each test image; the distance of all of a pair's translations to the
real images of its target domain; diversity as the perceptual distance between the translations of one source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.diversity import diversity
from stargan_ray.evaluation.feature_networks import FeatureNetworks
from stargan_ray.evaluation.frechet import frechet_distance
from stargan_ray.evaluation.intervals import Estimate, bootstrap_mean
from stargan_ray.evaluation.kernel import kernel_distance
from stargan_ray.evaluation.known import known_faces
from stargan_ray.evaluation.translations import Faces
from stargan_ray.methods.base import Translator
from stargan_ray.runtime.block_pool import each_block
from stargan_ray.runtime.models import LoadedModel
from stargan_ray.runtime.protocol_blocks import GUIDES, ProtocolBlocks, Seen, Unit, one_answer

OUTPUTS = 10  # as published
SOURCES = 1_000  # of each expression, at most


def run_protocol(
    model: LoadedModel,
    dataset: Dataset,
    folder: str,
    networks: FeatureNetworks,
    *,
    split: str = "test",
    people: int = 100,
    sources: int = SOURCES,
    outputs: int = OUTPUTS,
    parallel: int = 1,
    on_done: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Evaluate a translator; what a killed run has stored is not done again.

    Args:
        model: a translator of the data set's domains.
        dataset: whose faces are sources, references and the real images.
        folder: URI for blocks and real features; workers on other machines need s3://….
        networks: what the distances see by.
        split: of the faces.
        people: the first so many of it.
        sources: most images of a source domain, at least 2.
        outputs: translations of each by each guide, at least 2.
        parallel: processes; more than 1 are Ray actors.
        on_done: told how many blocks are stored, of how many.

    Returns:
        By guide: ``frechet``, ``kernel`` (mean over pairs, resampled by pair), ``diversity`` (resampled by person),
        ``one_answer``, and ``pairs`` with the same figures of each; and ``names`` of the figures. A pair's own
        ``frechet`` has no interval (NaN).

    Raises:
        InputError: the model does not fit the data, or there are too few faces, or a number is not allowed.
    """
    for name, value, least in (("sources", sources, 2), ("outputs", outputs, 2), ("parallel", parallel, 1)):
        if value < least:
            raise InputError(f"{name} = {value}: allowed are values >= {least}")
    _require_fit(model, dataset)
    faces = known_faces(dataset, model.size, split, people)
    units = _units(faces, len(model.domains))
    only = one_answer(model, faces)
    work = ProtocolBlocks(model, dataset, networks, folder, units, split, people, sources, outputs, only)
    seen = _all_blocks(work, parallel, on_done)
    real = work.real_features(faces)
    found: dict[str, Any] = {"names": dict(networks.names)}
    for guide in GUIDES:
        pairs = {unit: seen[k] for k, unit in enumerate(units) if unit.guide == guide}
        found[guide] = {"one_answer": guide in only, **_section(pairs, faces, real, model.domains)}
    return found


def _require_fit(model: LoadedModel, dataset: Dataset) -> None:
    if not isinstance(model.method, Translator):
        raise InputError(f"{model.where} is a model of kind {model.kind}: allowed here is a translator")
    if model.domains != tuple(dataset.manifest.domains):
        raise InputError(
            f"{model.where} knows the expressions {', '.join(model.domains)}, {dataset.uri} has "
            f"{', '.join(dataset.manifest.domains)}: they must be the same in the same order"
        )


def _units(faces: Faces, domains: int) -> tuple[Unit, ...]:
    """Every guide and ordered pair of the domains that at least two faces show."""
    counts = np.bincount(faces.labels.cpu().numpy(), minlength=domains)
    known = [int(domain) for domain in np.flatnonzero(counts >= 2)]
    if len(known) < 2:
        raise InputError(f"{len(known)} expressions have two faces or more: the protocol needs at least 2")
    return tuple(Unit(guide, a, b) for guide in GUIDES for a in known for b in known if a != b)


def _all_blocks(work: ProtocolBlocks, parallel: int, on_done: Callable[[int, int], None]) -> list[Seen]:
    found = [work.read(start) for start in range(len(work.units))]
    missing = [start for start, block in enumerate(found) if block is None]
    on_done(len(found) - len(missing), len(found))
    for count, start in enumerate(each_block(work, missing, parallel), len(found) - len(missing) + 1):
        found[start] = work.read(start)
        on_done(count, len(found))
    whole = [block for block in found if block is not None]
    if len(whole) < len(found):
        raise InputError(f"blocks in {work.uri} cannot be read here: workers on other machines need s3://…")
    return whole


def _section(pairs: dict[Unit, Seen], faces: Faces, real: Any, domains: tuple[str, ...]) -> dict[str, Any]:
    labels = faces.labels.cpu().numpy()
    rows = {}
    for unit, seen in pairs.items():
        there = real[labels == unit.target]
        distance = frechet_distance(seen.features, there)
        rows[f"{domains[unit.source]} -> {domains[unit.target]}"] = {
            "frechet": Estimate(distance, math.nan, math.nan, len(seen.features)),
            "kernel": kernel_distance(seen.features, there),
            "diversity": _diversity(seen.distances, faces.persons[seen.sources]),
        }
    distances = np.concatenate([seen.distances for seen in pairs.values()])
    persons = np.concatenate([faces.persons[seen.sources] for seen in pairs.values()])
    means = {name: bootstrap_mean([row[name].value for row in rows.values()]) for name in ("frechet", "kernel")}
    return {**means, "diversity": _diversity(distances, persons), "pairs": rows}


def _diversity(distances: Any, persons: Any) -> Estimate:
    """Without an interval where all sources show one person."""
    if len(np.unique(persons)) < 2:
        return Estimate(float(np.mean(distances)), math.nan, math.nan, len(distances))
    return diversity(distances, persons)
