"""``ray job submit`` to a cluster that was started elsewhere: three nodes, S3, MLflow with accounts, tokens.

pytest tests/cluster/test_submitted.py   (some two minutes)
"""

from __future__ import annotations

import json

from bed import Bed, basic, bucket
from bed_services import JOBS, SECRETS

# Three workers, each with a CPU beside a CPU for what reads for it.
THREE = ("--scale.num-workers", "3", "--scale.cpus-per-worker", "1", "--scale.cpus-per-reader", "1")
SHORT = (
    "--data.shape.lanes",
    "3",
    "--data.shape.batch",
    "24",
    "--train.report-every",
    "1",
    "--train.sample-every",
    "0",
)
# What the dashboard tells of jobs, actors, tasks and their environments.
_SHOWN = ("api/jobs/", "api/v0/actors?detail=true", "api/v0/tasks?detail=true", "api/v0/runtime_envs", "logical/actors")


def test_a_training_on_three_nodes_and_what_must_not_be_seen_of_it(bed: Bed, faces: str) -> None:
    flags = ("--data", faces, "--storage", bucket("runs"), "--train.steps", "6")
    done = bed.submit("jobs/train.py", "expression-tiny", *flags, "--name", "filter", *THREE, *SHORT)
    assert done.status == 0, done.said
    assert f"checkpoint: {bucket('runs/filter/checkpoints/step-00000006')}" in done.said
    assert "Traceback" not in done.said
    assert _run_of(bed, "filter")["info"]["status"] == "FINISHED"
    assert _nodes_of_workers(bed) >= {node.address for node in bed.nodes}, "no node was left out"

    refused = bed.submit("jobs/train.py", "expression-tiny", *flags, "--name", "wide", "--scale.num-workers", "7")
    assert refused.status == 1
    assert "failed with exit code 2" in refused.said
    assert "error: scale.num_workers = 7: allowed are divisors" in refused.said
    assert "Traceback" not in refused.said

    shown = [bed.ask(f"{bed.dashboard}/{path}", f"Authorization: Bearer {bed.token}") for path in _SHOWN]
    assert [status for status, _ in shown] == [200] * len(_SHOWN)
    assert "AWS_ENDPOINT_URL" in shown[0][1], "the dashboard shows what a job is told"
    texts = {"the job's log": done.said, **dict(zip(_SHOWN, (body for _, body in shown), strict=True))}
    for node in bed.nodes:
        logs = (
            path
            for path in (node.home / "ray").rglob("*")
            if path.is_file() and path.suffix in (".log", ".out", ".err")
        )
        texts |= {str(path): path.read_text(errors="replace") for path in logs}
    assert len(texts) > 30
    found = [(where, secret) for where, text in texts.items() for secret in (*SECRETS, bed.token) if secret in text]
    assert not found


def test_who_has_no_token_or_account_is_refused(bed: Bed) -> None:
    for path in ("", "api/jobs/", "api/version", "nodes?view=summary", "api/v0/nodes", "logical/actors"):
        for header in ((), ("Authorization: Bearer 0123456789abcdef",)):
            status, said = bed.ask(f"{bed.dashboard}/{path}", *header)
            # The page itself is static and asks for the token; it tells nothing of the cluster.
            assert status in (401, 403) or (path == "" and '<div id="root">' in said), (
                path,
                header,
                status,
                said[:200],
            )
    job = json.dumps({"entrypoint": "echo here"})
    assert bed.ask(f"{bed.dashboard}/api/jobs/", data=job)[0] in (401, 403)
    for path in (
        "experiments/search?max_results=1",
        "registered-models/search?max_results=1",
        "users/get?username=jobs",
    ):
        for header in ((), (basic("jobs", "wrong"),)):
            assert bed.ask(f"{bed.mlflow}/api/2.0/mlflow/{path}", *header)[0] == 401, path
    assert bed.ask(f"{bed.mlflow}/api/2.0/mlflow/experiments/search?max_results=1", basic(*JOBS))[0] == 200
    driver = "from stargan_ray.runtime.cluster import start_ray; start_ray(); print('connected')"
    cluster = f"{bed.nodes[0].address}:6379"
    for token, status in ((bed.token, 0), ("0" * 64, 1)):
        done = bed.on(bed.nodes[0], "python", "-c", driver, RAY_ADDRESS=cluster, RAY_AUTH_TOKEN=token)
        assert done.returncode == status, done.stderr
        assert ("connected" in done.stdout) == (status == 0)


def _run_of(bed: Bed, name: str) -> dict[str, dict[str, str]]:
    """The MLflow run of a name."""
    query = {"experiment_ids": ["1"], "filter": f"tags.`stargan_ray.name` = '{name}'"}
    _, body = bed.ask(f"{bed.mlflow}/api/2.0/mlflow/runs/search", basic(*JOBS), data=json.dumps(query))
    runs: list[dict[str, dict[str, str]]] = json.loads(body)["runs"]
    assert len(runs) == 1
    return runs[0]


def _nodes_of_workers(bed: Bed) -> set[str]:
    """Addresses of the nodes that have run a training worker or a reader."""
    _, body = bed.ask(f"{bed.dashboard}/api/v0/tasks?detail=true&limit=1000", f"Authorization: Bearer {bed.token}")
    tasks = json.loads(body)["data"]["result"]["result"]
    used = {task["node_id"] for task in tasks if task["name"].startswith(("ReadRange", "RayTrainWorker"))}
    _, body = bed.ask(f"{bed.dashboard}/api/v0/nodes", f"Authorization: Bearer {bed.token}")
    return {each["node_ip"] for each in json.loads(body)["data"]["result"]["result"] if each["node_id"] in used}
