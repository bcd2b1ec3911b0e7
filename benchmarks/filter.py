"""The filter where the truth is known: labels of generated faces are made wrong, and it has nothing else to learn from.

    python benchmarks/filter.py                    # all conditions: forty minutes on a core
    python benchmarks/filter.py --noise 0.3 --kinds symmetric

For each share and kind of wrong labels a classifier is trained for each of two folds on the noisy labels themselves,
and every row is judged by the one that has not seen it. What each policy then drops and leaves is compared with the
truth, over its threshold. The same command again goes on from what is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich import print as show
from rich.table import Table

from measure import RESULTS, commit, hardware  # isort: skip
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.policies import RULES
from stargan_ray.data.policy import Policy
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import SHARD_ROWS
from stargan_ray.errors import InputError
from stargan_ray.evaluation.filter_curves import Curve, curves_figure
from stargan_ray.evaluation.generated import curves_against_truth
from stargan_ray.evaluation.report import split_estimates
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import cli, ingest, launch
from stargan_ray.runtime.panel import open_panel
from stargan_ray.runtime.refine import refine
from stargan_ray.runtime.run import Run, each_fold

FOLDS = 2
RECIPE = "expression-64"
Kind = Literal["symmetric", "asymmetric"]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The conditions.

    Attributes:
        out: folder of data sets and runs.
        noise: shares of wrong labels.
        kinds: to any other expression, or to the one that it is confused with (half of the expressions have one).
        people: 16 faces of each.
        seed: of the faces.
    """

    out: Path = Path("runs/filter-proof")
    noise: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4)
    kinds: tuple[Kind, ...] = ("symmetric", "asymmetric")
    people: int = 1000
    seed: int = 902

    def __post_init__(self) -> None:
        if not self.noise or not all(0 <= noise < 1 for noise in self.noise):
            raise InputError(f"--noise {self.noise}: allowed are shares from 0 to below 1")

    def conditions(self) -> Iterator[tuple[Kind, float]]:
        """Each kind with each share; no noise has no kind."""
        for kind in self.kinds:
            yield from ((kind, noise) for noise in self.noise if noise or kind == self.kinds[0])


def judge(proof: Proof, kind: Kind, noise: float) -> tuple[Curve, ...]:
    """Draw, train on both folds, score, and compare with the truth."""
    name = f"{kind}-{round(100 * noise):02d}"
    data = str(proof.out / f"faces-{name}")
    faces = FacesConfig(
        people=proof.people, size=64, seed=proof.seed, label_noise=noise, noise_kind=kind, splits=(0.95, 0.05, 0.0)
    )
    ingest.ingest(read_faces(faces, SHARD_ROWS), data, parallel=1, overwrite=False, title=f"draw {name}")
    whole = Run(recipe_named(RECIPE), data, str(proof.out / "runs"), name).absolute()
    runs = each_fold(whole, FOLDS)
    for run in runs:
        launch.fit_here(run)
    panel = open_panel([run.uri for run in runs])
    done = refine(data, str(proof.out / f"refined-{name}"), panel, Policy())
    return curves_against_truth(open_dataset(data), done.decisions)


def main() -> None:
    """Every condition, a table and the raw data."""
    proof = cli.parse(Proof, __doc__)
    table = Table("noise", "policy", "threshold", "precision %", "recall %", "right rows kept %", "wrong rows left %")
    record: dict[str, Any] = {}
    for kind, noise in proof.conditions():
        curves = judge(proof, kind, noise)
        table.add_section()
        for curve in curves:
            table.add_row(f"{noise:.0%} {kind if noise else ''}", curve.rule, f"{curve.least:.2f}", *_shares(curve))
        sections = {curve.rule: curve.section() for curve in curves}
        plain, intervals = split_estimates(sections)
        record[f"{kind} {noise:.0%}"] = {**plain, "intervals": intervals}
        (proof.out / f"curves-{kind}-{round(100 * noise):02d}.svg").write_bytes(curves_figure(curves))
    show(table)
    facts = {
        "name": "filter",
        "command": "python benchmarks/filter.py",
        "commit": commit(),
        "hardware": hardware(),
        "recipe": RECIPE,
        "folds": FOLDS,
        "faces": {"people": proof.people, "images": 16 * proof.people, "size": 64, "seed": proof.seed},
        "policies": list(RULES),
    }
    path = RESULTS / "filter.json"
    path.write_text(json.dumps(facts | {"conditions": record}, indent=1, allow_nan=False))
    print(f"raw data: {path}")


def _shares(curve: Curve) -> list[str]:
    found = (curve.default.precision, curve.default.recall, curve.default.kept_correct, curve.default.remaining_noise)
    return [
        f"{100 * each.value:.2f} [{100 * each.low:.2f}, {100 * each.high:.2f}]" if each.n else "–" for each in found
    ]


if __name__ == "__main__":
    cli.job(main)
