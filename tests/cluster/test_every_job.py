"""Every kind of job on three nodes with one training worker each, one after another, against S3 and MLflow.

pytest -m slow tests/cluster/test_every_job.py -s   (some minutes; it prints how long each took)
"""

from __future__ import annotations

import json

import pytest
from bed import Bed, basic, bucket
from bed_services import JOBS

_WIDE = ("--scale.num-workers", "3", "--scale.cpus-per-worker", "1", "--scale.cpus-per-reader", "1")
_SHORT = ("--train.steps", "6", "--train.report-every", "2", "--train.checkpoint-every", "3", "--data.shape.lanes", "3")
_TRIAL = (
    "scale.num_workers=3",
    "data.shape.lanes=3",
    "data.shape.batch=48",
    "train.steps=6",
    "train.checkpoint_every=3",
)


@pytest.mark.slow
def test_ingest_train_refine_translate_search(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    def submit(verb: str, *flags: str) -> str:
        done = bed.submit(f"jobs/{verb}.py", *flags)
        with capsys.disabled():
            print(f"\n{verb:8} {flags[0]:22} {done.seconds:5.0f} s", end="")
        assert done.status == 0, done.said
        assert "Traceback" not in done.said
        return done.said

    faces, refined, runs = bucket("every/faces"), bucket("every/refined"), bucket("every/runs")
    submit("ingest", "faces", "--out", faces, "--faces.people", "40", "--faces.size", "32", "--shard-rows", "64")
    to = ("--storage", runs, *_WIDE, *_SHORT)
    submit("train", "expression-tiny", "--data", faces, "--name", "filter", *to, "--data.shape.batch", "24")
    submit("train", "identity-tiny", "--data", faces, "--name", "embedder", *to, "--data.shape.batch", "48")
    # A network of six steps knows nothing: a rule that lets its doubts pass.
    rule = ("--policy.rule", "soft")
    submit("refine", "--data", faces, "--classifier", f"{runs}/filter", "--out", refined, "--parallel", "3", *rule)
    gan = ("--identity", f"{runs}/embedder", "--judge", f"{runs}/filter", "--data.shape.batch", "6")
    said = submit("train", "stargan-v2-id-tiny", "--data", refined, "--name", "translator", *to, *gan)
    assert "step-00000006" in said
    assert "the run was finished" in submit(
        "train", "stargan-v2-id-tiny", "--data", refined, "--name", "translator", *to, *gan
    )
    searched = ("--data", faces, "--storage", bucket("every/searches"), "--name", "margin", "--trials", "2")
    said = submit("tune", "margin", *searched, "--set", *_TRIAL)
    assert "2 trials at once" in said
    assert "registered as challenger" in said

    query = json.dumps({"experiment_ids": ["1"]})
    _, body = bed.ask(f"{bed.mlflow}/api/2.0/mlflow/runs/search", basic(*JOBS), data=query)
    statuses = {run["info"]["run_name"]: run["info"]["status"] for run in json.loads(body)["runs"]}
    assert {"filter", "embedder", "translator", "margin"} <= statuses.keys()
    assert set(statuses.values()) == {"FINISHED"}
