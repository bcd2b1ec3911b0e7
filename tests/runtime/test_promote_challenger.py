"""The champion's alias moves only to a challenger that is better on the same requests; else nothing changes.

pytest tests/runtime/test_promote_challenger.py   (a SQLite store of MLflow; twenty seconds)
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import run_job
from tiny_models import TinyModels

from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.runtime.challenge import challenge
from stargan_ray.runtime.evaluated import read_evaluation
from stargan_ray.runtime.mlflow_store import connect
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.registry import promote
from stargan_ray.runtime.terms import Terms

PEOPLE, EACH = 20, 6
JUDGES = {"expression": "expression 0123456789ab", "identity": "dlib fedcba987654"}
Write = Callable[..., str]


@pytest.fixture
def models(tiny: TinyModels) -> dict[str, str]:
    """Two translators of different weights."""
    return {name: str(tiny.run / "checkpoints" / f"step-0000000{step}") for name, step in (("old", 1), ("new", 2))}


@pytest.fixture
def write(models: dict[str, str], tmp_path: Path) -> Write:
    """Writes an evaluation as jobs/evaluate.py does; ``shift`` is added to the shares of hits."""

    def make(folder: str, model: str, shift: float = 0.0, distance: float = 0.5, **more: Any) -> str:
        told = {
            "model": {"content_hash": load_model(models[model]).content_hash},
            "data": {"content_hash": more.get("data", "d" * 64)},
            "judges": JUDGES | more.get("judges", {}),
            "real": {"rank1": 0.96, "confusion": [[1]], "similarity_cosine": None},
        }
        random = np.random.default_rng(0)
        hits = random.random((2, PEOPLE * EACH)) < 0.5 + shift
        table = {
            "person": pa.array(np.repeat([f"p{number}" for number in range(PEOPLE)], EACH), pa.string()),
            "target": pa.array(np.tile(np.arange(EACH) % 3 + more.get("target", 0), PEOPLE), pa.int32()),
            "target_expression_accuracy": pa.array(hits[0].astype(float)),
            "rank1": pa.array(hits[1].astype(float)),
            "similarity_distance": pa.array(distance + random.normal(0, 0.1, PEOPLE * EACH)),
        }
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "evaluation.json").write_text(json.dumps(told))
        pq.write_table(pa.table(table), tmp_path / folder / "values.parquet")
        return str(tmp_path / folder)

    return make


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A registered model of each test's own."""
    return re.sub(r"\W|_", "-", str(request.node.name))


def holder(store: str, name: str) -> Any:
    return connect(store).get_model_version_by_alias(name, "champion")


def test_the_first_one_is_registered_with_its_figures(
    models: dict[str, str], write: Write, store: str, name: str, s3: str
) -> None:
    folder = write("old", "old")
    storage.put_folder(Path(folder), f"{s3}/old")
    version, compared = challenge(models["old"], Terms(f"{s3}/old"), name=name, uri=store)
    assert (version, compared) == (f"models:/{name}/1", ())
    made = holder(store, name)
    figures = read_evaluation(folder).figures()
    assert set(figures) == {"target_expression_accuracy", "rank1", "similarity_distance"}
    rank1 = figures["rank1"]
    line = f"| rank1 | {rank1.value:.4g} | {rank1.low:.4g} to {rank1.high:.4g} | 120 | 0.96 |"
    for told in ("## Evaluation", "d" * 64, JUDGES["identity"], line, "| similarity_distance |"):
        assert told in made.description
    assert made.tags["evaluation.rank1"] == f"{rank1.value:.6g}"
    assert made.tags["evaluation.rank1.interval"] == f"{rank1.low:.6g} to {rank1.high:.6g}"
    assert made.tags["evaluation.judge.expression"] == JUDGES["expression"]
    assert made.tags["metric.val/score"] == "0.9"  # what training measured stays beside it
    readme = Path(made.source.removeprefix("file://")) / "README.md"
    assert readme.read_text() == made.description


def test_a_better_challenger_takes_the_alias(models: dict[str, str], write: Write, store: str, name: str) -> None:
    old, new = write("old", "old"), write("new", "new", shift=0.3, distance=0.3)
    promote(models["old"], name=name, uri=store)
    promote(models["new"], name=name, alias="challenger", uri=store)
    terms = Terms(new, old, ("rank1", "target_expression_accuracy", "similarity_distance"))
    version, compared = challenge(f"models:/{name}@challenger", terms, uri=store)
    assert version == f"models:/{name}/2"
    assert [duel.metric for duel in compared] == ["rank1", "target_expression_accuracy", "similarity_distance"]
    made = holder(store, name)
    assert str(made.version) == "2"
    assert made.description.startswith("# stargan-v2-id")
    assert made.description.count("## Evaluation") == 1
    assert made.tags["evaluation.rank1.n"] == "120"

    newer = write("again", "new", shift=0.35)  # told again, the section is replaced
    challenge(models["new"], Terms(newer), name=name, alias="other", uri=store)
    promote(f"models:/{name}/2", evaluation=read_evaluation(newer), uri=store)
    assert holder(store, name).description.count("## Evaluation") == 1
    assert holder(store, name).description != made.description


@pytest.mark.parametrize(
    ("shift", "distance", "said"),
    [
        (0.0, 0.3, ["not better: rank1 +0 (95 % interval +0 to +0", "not better: target_expression_accuracy"]),
        (-0.3, 0.3, ["not better: rank1 -0.", "higher is better"]),
        (0.3, 0.7, ["worse: similarity_distance +0.2", "lower is better"]),
    ],
)
def test_the_champion_stays(
    models: dict[str, str], write: Write, store: str, name: str, shift: float, distance: float, said: list[str]
) -> None:
    old, new = write("old", "old"), write("new", "new", shift=shift, distance=distance)
    promote(models["old"], name=name, uri=store)
    terms = Terms(new, old, ("rank1", "target_expression_accuracy"), ("similarity_distance",))
    with pytest.raises(InputError, match="version 1 stays") as caught:
        challenge(models["new"], terms, name=name, uri=store)
    for part in said:
        assert part in str(caught.value)
    assert str(holder(store, name).version) == "1"
    assert len(connect(store).search_model_versions(f"name = '{name}'")) == 1  # not even registered


def test_what_is_no_fair_fight(models: dict[str, str], write: Write, store: str, name: str, tmp_path: Path) -> None:
    old, new = write("old", "old"), write("new", "new", shift=0.3)

    def refusal(ours: str, theirs: str = "", model: str = "new") -> str:
        terms = Terms(ours, theirs, ("rank1",) if theirs else ())
        with pytest.raises(InputError) as caught:
            challenge(models[model], terms, name=name, uri=store)
        return str(caught.value)

    assert "no model holds" in refusal(new, old)  # nothing to be better than
    promote(models["old"], name=name, uri=store)
    assert "give its evaluation (--against)" in refusal(new)
    assert f"--evaluation {new} is of the model" in refusal(new, old, model="old")
    assert f"--against {new} is of the model" in refusal(new, new)
    other = write("data", "new", shift=0.3, data="e" * 64)
    assert "on other data (eeeeeeeeeeee and dddddddddddd)" in refusal(other, old)
    for kind in JUDGES:
        other = write(f"judge-{kind}", "new", shift=0.3, judges={kind: "another"})
        assert f"other judges of {kind} (another and {JUDGES[kind]})" in refusal(other, old)
    assert "other requests" in refusal(write("requests", "new", shift=0.3, target=1), old)
    assert "holds no evaluation.json" in refusal(str(tmp_path / "nowhere"), old)
    table = pq.read_table(Path(new) / "values.parquet")
    pq.write_table(table.drop_columns(["person"]), Path(new) / "values.parquet")
    assert "column 'person' is missing" in refusal(new, old)
    (Path(new) / "evaluation.json").write_text('{"model": {"content_hash": "0"}}')
    assert "lacks 'data.content_hash'" in refusal(new, old)
    assert str(holder(store, name).version) == "1"


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"metrics": ("rank1",)}, "need the challenger's own --evaluation"),
        ({"evaluation": "a", "against": "b"}, "--against and --metrics go together"),
        ({"evaluation": "a", "no_worse": ("rank1",)}, "--no-worse needs --against"),
    ],
)
def test_terms_that_decide_nothing(terms: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Terms(**terms)


def test_the_job(
    models: dict[str, str],
    write: Write,
    store: str,
    name: str,
) -> None:
    old, new = write("old", "old"), write("new", "new", shift=0.3)

    def job(model: str, *flags: str) -> subprocess.CompletedProcess[str]:
        return run_job("promote", "--model", models[model], "--name", name, *flags, MLFLOW_TRACKING_URI=store)

    first = job("old", "--evaluation", old)
    assert first.returncode == 0, first.stderr
    against = ("--evaluation", new, "--against", old, "--metrics", "target_expression_accuracy", "rank1")
    lost = job("new", *against, "similarity_distance", "--no-worse", "similarity_distance")
    assert (lost.returncode, lost.stderr.count("\n")) == (2, 1)
    assert f"version 1 stays models:/{name}@champion: the challenger is not better: similarity_distance" in lost.stderr
    won = job("new", *against, "--no-worse", "similarity_distance")
    assert won.returncode == 0, won.stderr
    assert "rank1 +0." in won.stdout
    assert f"registered: models:/{name}/2   look-up: models:/{name}@champion" in won.stdout
