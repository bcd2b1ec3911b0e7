"""What a cluster needs beside Ray: an S3 server, and MLflow with accounts as k8s/base/mlflow.yaml runs it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

BUCKET = "bed"
ADMIN, JOBS = ("admin", "admin-secret-5291"), ("jobs", "jobs-secret-8137")  # accounts of MLflow
S3_KEYS = {"AWS_ACCESS_KEY_ID": "key-secret-4402", "AWS_SECRET_ACCESS_KEY": "access-secret-6675"}
SECRETS = (ADMIN[1], JOBS[1], *S3_KEYS.values())

_S3 = """
import sys, threading
import boto3
from moto.server import ThreadedMotoServer

host, port, bucket = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ThreadedMotoServer(ip_address=host, port=port, verbose=False).start()
boto3.resource("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket=bucket)
threading.Event().wait()
"""


def s3_command(host: str, port: int) -> list[str]:
    """An S3 server with an empty bucket; it forgets all when it ends."""
    return [sys.executable, "-c", _S3, host, str(port), BUCKET]


def mlflow_command(host: str, port: int, folder: Path) -> list[str]:
    """MLflow with accounts; ``folder`` holds tables, artifacts and ``basic_auth.ini``, which is written here."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "basic_auth.ini").write_text(
        textwrap.dedent(f"""\
        [mlflow]
        default_permission = READ
        database_uri = sqlite:///{folder}/accounts.db
        admin_username = {ADMIN[0]}
        admin_password = {ADMIN[1]}
        authorization_function = mlflow.server.auth:authenticate_request_basic_auth
        """)
    )
    server = ["server", "--app-name=basic-auth", f"--host={host}", f"--port={port}", "--workers=1"]
    stores = [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", "--serve-artifacts"]
    stores += [f"--artifacts-destination={folder}/artifacts", f"--allowed-hosts={host}:{port}"]
    return [sys.executable, "-m", "mlflow", *server, *stores]


def mlflow_environment(folder: Path) -> dict[str, str]:
    """What the server itself is told."""
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "flask-secret-9034",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
