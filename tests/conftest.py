"""Fixtures of every test: a clean environment, and an S3 server on loopback for those that ask for it."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator

import pytest
from forked_workers import CONFIG, Nursery, config_of

_SCRUBBED = ("AWS_", "RAY_", "MLFLOW_", "STARGAN_")


def pytest_sessionfinish() -> None:
    """Ray ends while the interpreter is whole: threads of it that outlived a suite have crashed its process."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


@pytest.fixture(scope="session")
def ray_workers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What Ray reads to start its workers as forks; nothing where there are no such sockets, as on macOS."""
    address = str(tmp_path_factory.mktemp("n") / "s")
    try:
        Nursery(address)
    except OSError:
        return ""
    return config_of(address)


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, ray_workers: str
) -> None:
    """No test sees the credentials, servers or settings of the machine that it runs on."""
    for name in list(os.environ):
        if name.startswith(_SCRUBBED):
            monkeypatch.delenv(name)
    nowhere = tmp_path_factory.getbasetemp() / "no-such-file"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    if ray_workers:
        monkeypatch.setenv(CONFIG, ray_workers)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without a seed of its own is the same whichever tests run before it."""
    random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """URL of an S3 server in this process, on a free port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URI of an empty bucket; the usual variables point at its server."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3", endpoint_url=s3_endpoint, region_name="us-east-1").Bucket("test-bucket")
    bucket.create()
    yield "s3://test-bucket"
    bucket.objects.all().delete()
    bucket.delete()
