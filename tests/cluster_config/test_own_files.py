"""What the project ships for clusters keeps every rule, and the rules do look at something.

pytest tests/cluster_config/test_own_files.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import check
import pytest
from checking.commands import command_faults, commands
from checking.kustomize import render
from checking.references import created_secrets

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", check.own_paths(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_of_ours_has_no_fault(path: Path) -> None:
    assert [str(fault) for fault in check.path_faults(path)] == []


def test_texts_hold_no_secret_and_no_command_that_would_be_refused() -> None:
    assert [str(fault) for fault in check.written_faults()] == []
    found = [c for file in ("cluster/README.md", "k8s/README.md") for c in commands((ROOT / file).read_text())]
    jobs = {"jobs/train.py", "jobs/refine.py", "jobs/ingest.py", "jobs/status.py"}
    assert {command.split()[0] for command in found} == jobs


def test_all_kinds_are_there_and_the_jobs_come_from_one_template() -> None:
    base = {resource.name for resource in render(ROOT / "k8s/base")}
    assert {"RayCluster/stargan-ray", "Deployment/mlflow", "StatefulSet/postgres", "NetworkPolicy/default-deny"} <= base
    cluster = {resource.name for resource in render(ROOT / "k8s/overlays/example/cluster")}
    assert cluster - base == {"StatefulSet/s3", "Service/s3", "NetworkPolicy/s3", "NetworkPolicy/to-s3"}
    assert base < cluster
    (template,) = render(ROOT / "k8s/jobs/template")
    for name in ("train", "tune", "refine", "compare"):
        (job,) = render(ROOT / "k8s/jobs" / name)
        assert job.name == f"RayJob/{name}"
        assert job.value["spec"]["entrypoint"].startswith(f"python jobs/{name}.py ")
        # nothing but the name and the command is its own
        job.value["metadata"]["name"] = "template"
        job.value["spec"]["entrypoint"] = template.value["spec"]["entrypoint"]
        assert job.value == template.value


def test_the_images_of_the_example_are_those_of_its_site() -> None:
    text = str([resource.value for resource in render(ROOT / "k8s/overlays/example/cluster")])
    assert text.count("'registry.example.org/stargan-ray:0.1.0'") == 2
    assert text.count("'registry.example.org/stargan-ray-mlflow:0.1.0'") == 1
    assert "'stargan-ray:0.1.0'" not in text


def test_the_readme_creates_five_secrets_with_their_keys() -> None:
    secrets = created_secrets((ROOT / "k8s/README.md").read_text())
    assert secrets == {
        "ray-token": {"auth_token"},
        "s3-credentials": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
        "postgres": {"password"},
        "mlflow-user": {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"},
        "mlflow-server": {"flask-secret-key", "backend-store-uri", "basic_auth.ini"},
    }


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("jobs/train.py stargan-v2-id-128 --data d --name n --scale.num-workers 2 --scale.use-gpu", ""),
        ("jobs/train.py stargan-v2-id-129 --data d --name n", "did you mean 'stargan-v2-id-128'"),
        ("jobs/train.py stargan-v2-id-128 --data d --name n --scale.num-worker 2", "did you mean --scale.num-workers"),
        ("jobs/train.py stargan-v2-id-128 --data d", "--name"),
        ("jobs/tune.py lambda-id-tiny --data d --name n", "did you mean 'lambda-id'"),
        (
            "jobs/compare.py --data d --name n --out o --recipes laun --expression-judge e --identity-judge i",
            "'laun-64'",
        ),
        ("jobs/refine.py --data d --classifier c --out o --parallel 0", "allowed are values >= 1"),
        ("jobs/trian.py", "there is no jobs/trian.py"),
    ],
)
def test_a_command_is_read_by_the_job_itself(command: str, said: str) -> None:
    faults = [str(fault) for fault in command_faults(ROOT, "README.md", "command", command)]
    assert len(faults) == bool(said)
    assert said in "".join(faults)


def test_the_job_says_each_fault_with_its_file_and_ends_with_two(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text((ROOT / "cluster/local.yaml").read_text().replace("192.168.0.11", "127.0.0.1"))
    command = [sys.executable, str(ROOT / "cluster/check.py"), str(mine)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    said = f"{mine}: provider: 127.0.0.1: allowed are addresses by which the machines see each other\n"
    assert done.stdout == said
    assert done.stderr == "error: 1 faults in 1 files and folders\n"
