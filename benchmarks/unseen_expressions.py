"""Whether an identity embedder knows people again by expressions that it never saw in training.

    python benchmarks/unseen_expressions.py                          # five minutes on a core
    python benchmarks/unseen_expressions.py --left-out fear contempt

A set of generated faces is written whose train and val people never show the expressions that are left out; its test
people, who are others, show all. ``identity-64`` is trained on it, its threshold is that of val. It is judged on the
test people: by all their pairs, by those with an unseen expression in one image or in both, and by those of unseen
expressions alone. The same command again goes on from what is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import print as show
from rich.table import Table

from measure import RESULTS, commit, hardware  # isort: skip
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.drawn import DrawnUnit
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import EXPRESSIONS, Row, Skipped, Truth
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import SHARD_ROWS, Source
from stargan_ray.errors import InputError, unknown
from stargan_ray.evaluation.calibration import Calibration, calibration_of
from stargan_ray.evaluation.identity import pair_distances
from stargan_ray.evaluation.known import known_faces
from stargan_ray.evaluation.pairs import IntArray, Pairs, sample_pairs
from stargan_ray.evaluation.report import split_estimates
from stargan_ray.evaluation.roc import auc_estimate
from stargan_ray.evaluation.verification import PROTOCOL, Album, judge_pairs
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import cli, ingest, launch
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.run import Run

RECIPE = "identity-64"
_DRAWN = 4 * PROTOCOL  # pairs of each kind, of which a group is a part


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The conditions.

    Attributes:
        out: folder of the data set and the run.
        left_out: expressions that no image of train and val shows.
        people: 16 faces of each; a quarter of them are the test people.
        seed: of the faces.
    """

    out: Path = Path("runs/unseen-expressions")
    left_out: tuple[str, ...] = ("happiness", "surprise")
    people: int = 800
    seed: int = 903

    def __post_init__(self) -> None:
        for name in self.left_out:
            if name not in EXPRESSIONS:
                raise unknown("expression", name, EXPRESSIONS)
        if not 2 <= len(self.left_out) <= len(EXPRESSIONS) - 2:
            raise InputError(f"--left-out {' '.join(self.left_out)}: allowed are 2 to {len(EXPRESSIONS) - 2} of them")

    @property
    def unseen(self) -> tuple[int, ...]:
        """The labels of ``left_out``."""
        return tuple(map(EXPRESSIONS.index, self.left_out))


@dataclass(frozen=True)
class Without:
    """A unit of generated faces without those of train and val that show certain expressions."""

    whole: DrawnUnit
    unseen: tuple[int, ...]

    @property
    def number(self) -> int:
        """See ``Unit``."""
        return self.whole.number

    @property
    def fingerprint(self) -> str:
        """See ``Unit``."""
        return hashlib.sha256(json.dumps([self.whole.fingerprint, self.unseen]).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Truth | Skipped]:
        """The rows that stay, each followed by its truth."""
        stays = True
        for item in self.whole.produce():
            if isinstance(item, Row):
                stays = item.split == "test" or item.expression not in self.unseen
            if stays:
                yield item


def source(proof: Proof) -> Source:
    """The faces, without the unseen expressions in train and val."""
    whole = read_faces(FacesConfig(people=proof.people, size=64, seed=proof.seed, splits=(0.7, 0.05, 0.25)), SHARD_ROWS)
    units = tuple(Without(unit, proof.unseen) for unit in whole.units if isinstance(unit, DrawnUnit))
    return replace(whole, description={**whole.description, "train_without": list(proof.left_out)}, units=units)


def embedded(run: Run, data: str) -> tuple[Album, Calibration | None]:
    """The test people in the eyes of the trained embedder, and the threshold that val gave it."""
    model = load_model(run.uri)
    faces = known_faces(open_dataset(data), model.size, "test")
    with torch.inference_mode():
        vectors = torch.cat([model.networks["embedder"](part) for part in faces.images.split(64)])
    return Album(vectors.numpy(), faces.persons, faces.labels.numpy()), calibration_of(model.meta)


def judge(album: Album, calibration: Calibration | None, unseen: tuple[int, ...]) -> dict[str, Any]:
    """The figures of each group of pairs; how many of a pair's images show an unseen expression makes the group."""
    strange = np.isin(album.expressions, unseen)
    usual = sample_pairs(album.persons, _DRAWN)
    hard = sample_pairs(album.persons, _DRAWN, expressions=album.expressions, folds=2)
    groups = {"all pairs": (0, 1, 2), "an unseen expression in one or both": (1, 2), "unseen expressions alone": (2,)}
    return {
        name: judge_pairs(album, _of(usual, strange, wanted), calibration)
        | {"across_expressions": _invariance(album, _of(hard, strange, wanted))}
        for name, wanted in groups.items()
    }


def _of(pairs: Pairs, strange: np.ndarray[Any, Any], wanted: tuple[int, ...]) -> Pairs:
    """The pairs with one of the wanted numbers of strange images."""
    chosen = np.isin(strange[pairs.first].astype(int) + strange[pairs.second], wanted)
    return Pairs(pairs.first[chosen], pairs.second[chosen], pairs.same[chosen], pairs.fold[chosen])


def _invariance(album: Album, pairs: Pairs) -> dict[str, Any]:
    """One person with different expressions against different people with the same one, as in ``verification.py``."""
    gaps = pair_distances(album.embeddings, pairs)
    return {"auc": auc_estimate(gaps, pairs, album.persons), "same": _count(pairs.same), "pairs": len(pairs.same)}


def _count(same: np.ndarray[Any, Any] | IntArray) -> int:
    return int(same.sum())


def main() -> None:
    """Write, train, judge; a table and the raw data."""
    proof = cli.parse(Proof, __doc__)
    data = str(proof.out / "faces")
    ingest.ingest(source(proof), data, parallel=1, overwrite=False, title="draw")
    name = "-".join(("without", *proof.left_out))
    run = Run(recipe_named(RECIPE), data, str(proof.out / "runs"), name).absolute()
    launch.fit_here(run)
    judged = judge(*embedded(run, data), proof.unseen)
    table = Table("pairs", "verification %", "at val's threshold %", "AUC", "AUC across expressions")
    for group, found in judged.items():
        shares = (found["accuracy"], found["at_own_threshold"])
        areas = (found["roc"]["auc"], found["across_expressions"]["auc"])
        told = [f"{100 * each.value:.2f} [{100 * each.low:.2f}, {100 * each.high:.2f}]" for each in shares]
        table.add_row(group, *told, *(f"{each.value:.4f} [{each.low:.4f}, {each.high:.4f}]" for each in areas))
    show(table)
    plain, intervals = split_estimates(judged)
    facts = {
        "name": "unseen-expressions",
        "command": "python benchmarks/unseen_expressions.py",
        "commit": commit(),
        "hardware": hardware(),
        "recipe": RECIPE,
        "conditions": {name: value for name, value in asdict(proof).items() if name != "out"},
        "manifest": open_dataset(data).manifest.content_hash,
    }
    path = RESULTS / "unseen-expressions.json"
    path.write_text(json.dumps(facts | {"groups": plain, "intervals": intervals}, indent=1, allow_nan=False) + "\n")
    print(f"raw data: {path}")


if __name__ == "__main__":
    cli.job(main)
