"""What a training on the bed has said and left, read beside it: how it stands, its weights, its records in MLflow."""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from bed import S3, Bed
from bed_services import BUCKET, JOBS, S3_KEYS

_STANDING = """
import json, sys, time
import boto3, botocore
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
last = None
while True:
    try:
        found = json.load(s3.get_object(Bucket=sys.argv[2], Key=sys.argv[3] + "/watch/now.json")["Body"])
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        found = None
    if found and (found["attempt"], found["beat"]) != last:
        last = found["attempt"], found["beat"]
        print(json.dumps(found), flush=True)
    time.sleep(0.3)
"""
_WEIGHTS = """
import json, sys
import boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1")
meta = json.load(s3.get_object(Bucket=sys.argv[2], Key=sys.argv[3] + "/meta.json")["Body"])
print(json.dumps({name: told["sha256"] for name, told in meta["files"].items() if name.endswith(".safetensors")}))
"""
_RECORDS = """
import json, sys
from collections import defaultdict
from mlflow import MlflowClient
client, name = MlflowClient(), sys.argv[1]
(run,) = client.search_runs(["1"], f"tags.`stargan_ray.name` = '{name}'")
found = {}
for key in run.data.metrics:
    if not key.startswith(("speed/", "system/", "memory/")):
        found[key] = defaultdict(set)
        for each in client.get_metric_history(run.info.run_id, key):
            found[key][each.step].add(each.value)
told = {key: {step: sorted(values) for step, values in steps.items()} for key, steps in found.items()}
print(json.dumps({"status": run.info.status, "records": told}))
"""


@dataclass(frozen=True)
class Seen:
    """A report of the loop: the writer's clock, and the step that was reached."""

    time: float
    step: int


class Watch:
    """Follows how a run stands, from S3 itself, whatever door the run has to it."""

    def __init__(self, bed: Bed, path: str) -> None:
        self._bed, self._name = bed, f"watch-{path.replace('/', '-')}"
        command = [sys.executable, "-c", _STANDING, _endpoint(bed), BUCKET, path]
        bed.start(self._name, bed.outside, command, S3_KEYS)

    def said(self) -> list[dict[str, Any]]:
        """All that was written, oldest first."""
        return [json.loads(line) for line in self._bed.log(self._name).splitlines() if line.endswith("}")]

    def step(self) -> int:
        """The step of the last report; 0 before the first."""
        reports = self.reports()
        return reports[-1].step if reports else 0

    def reports(self) -> list[Seen]:
        """Every report once, by time."""
        found = {(each["time"], each["step"]) for said in self.said() for each in said["reports"]}
        return [Seen(*each) for each in sorted(found)]

    def close(self) -> None:
        """Stop watching."""
        self._bed.stop(self._name)


def weights(bed: Bed, path: str) -> dict[str, str]:
    """File name -> SHA-256, of the weights of a checkpoint in the bed's bucket."""
    found: dict[str, str] = _asked(bed, _WEIGHTS, _endpoint(bed), BUCKET, path)
    return found


def records(bed: Bed, name: str) -> tuple[str, dict[str, dict[str, list[float]]]]:
    """Status of a run in MLflow, and metric -> step -> the different values that were recorded."""
    user, password = JOBS
    access = {"MLFLOW_TRACKING_URI": bed.mlflow, "MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    found = _asked(bed, _RECORDS, name, **access)
    return found["status"], found["records"]


def longest_pause(reports: list[Seen], begin: float, end: float) -> float:
    """Seconds between two reports, one after another, of which the second is in [begin, end): the longest."""
    pairs = itertools.pairwise(reports)
    return max((after.time - before.time for before, after in pairs if begin <= after.time < end), default=0.0)


def pauses(reports: list[Seen], longer: float) -> list[int]:
    """Every pause that is longer than so many seconds, in seconds."""
    apart = [after.time - before.time for before, after in itertools.pairwise(reports)]
    return [round(each) for each in apart if each > longer]


def done_again(reports: list[Seen], begin: float, end: float) -> int:
    """Steps that were reported and then lost, by reports in [begin, end)."""
    pairs = itertools.pairwise(reports)
    return sum(max(0, a.step - b.step) for a, b in pairs if begin <= b.time < end)


def now() -> float:
    """The clock of the reports: all machines of a bed have one."""
    return time.time()


def _endpoint(bed: Bed) -> str:
    return f"http://{bed.outside.address}:{S3}"


def _asked(bed: Bed, program: str, *words: str, **more: str) -> Any:
    done = bed.on(bed.outside, sys.executable, "-c", program, *words, **{**S3_KEYS, **more})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
