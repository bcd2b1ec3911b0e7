"""The way to a Ray cluster: the one of RAY_ADDRESS, or one of this machine; quiet, and never a silent wait."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from stargan_ray.data import storage
from stargan_ray.data.locations import PATIENCE
from stargan_ray.errors import InputError

# What workers of a running cluster need to reach storage and records. Keys are not among it, since the dashboard
# shows a job's environment: nodes have their own credentials. Nor is a network interface: each node names its own.
_STORES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")
_PASSED_ON = (*_STORES, PATIENCE, "MLFLOW_TRACKING_URI")
_QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM": "0",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # see cli.job
    # Half a CPU for a worker is meant: that there are more processes than cores is no news.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "PYTHON worker processes have been started",
    # Threads that wait by spinning cost a training step several times its length where decoding wants the core.
    "OMP_WAIT_POLICY": "PASSIVE",
    # What a submitted job is told may be told to its workers once more; Ray refuses that otherwise.
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
    # Ray's own default puts its workers behind every other program of a laptop.
    "RAY_worker_niceness": "0",
}
# Nobody takes machines away from a Ray that is this process's: its watcher would be one more process.
_OF_OUR_OWN = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
_PROBE_S = 3.0
_starting = threading.Lock()
_ours = threading.Event()


def start_ray(*, dashboard: bool = False) -> None:
    """Connect to the cluster of RAY_ADDRESS or of the job, or start Ray on this machine; once a process.

    Args:
        dashboard: of a Ray that is started here. Ray's own watchers ask it who is alive: without it nobody takes back
            what a killed driver of a training within the cluster has reserved.

    Raises:
        InputError: no cluster answers at RAY_ADDRESS.
    """
    with _starting:  # of two threads that need it the second finds it there
        _start(dashboard)


def ends_with_us() -> bool:
    """Whether the cluster is one that this process has started, and not that of a driver, a job or a person."""
    return _ours.is_set()


def _start(dashboard: bool) -> None:
    for name, value in _QUIET.items():  # Ray reads some of them when it is imported
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    _ours.clear()
    address = os.environ.get("RAY_ADDRESS", "")
    _probe(address)
    only_ours = {} if address else _OF_OUR_OWN
    for name, value in only_ours.items():
        os.environ.setdefault(name, value)
    names = (*_PASSED_ON, *_QUIET, *only_ours)
    passed = {name: os.environ[name] for name in names if _fit_for_others(name)} | {storage.KNOWN: "1"}
    # Without "local" Ray would look for the last cluster that was started here, and wait for it if it is dead.
    own = {} if address else {"address": "local", "include_dashboard": dashboard}
    import ray.data  # sets up its own logging when imported, so the level comes after

    logging.getLogger("ray.data").setLevel(logging.ERROR)

    def connect() -> None:
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": passed}, **own)

    # In the main thread Ray would end the process at a SIGTERM that ours answers with a checkpoint.
    handler = signal.getsignal(signal.SIGTERM)
    passing = threading.current_thread() is not threading.main_thread()  # the thread of a part of the work
    handled = callable(handler) and not passing
    try:
        _in_a_lasting_thread(connect) if handled or passing else connect()
    except ConnectionError as error:
        raise _unanswered(address, error) from error
    else:
        if own:
            _ours.set()
    finally:
        if handled:  # its core has put one before ours that prints a stack
            signal.signal(signal.SIGTERM, handler)


def _in_a_lasting_thread(work: Callable[[], None]) -> None:
    """Do it in a thread that lives as long as this process: Ray's processes end with the thread that started them."""
    over, errors = threading.Event(), list[BaseException]()

    def last() -> None:
        try:
            work()
        except BaseException as error:  # it is raised where the caller waits
            errors.append(error)
        over.set()
        while not errors:
            threading.Event().wait()

    threading.Thread(target=last, name="ray", daemon=True).start()
    over.wait()
    if errors:
        raise errors[0]


def _fit_for_others(name: str) -> bool:
    """Whether a variable is set to what holds on other machines too, and may be seen in the dashboard."""
    value = os.environ.get(name)
    if value is None or name != "MLFLOW_TRACKING_URI":
        return value is not None
    parts = urlsplit(value)  # a file is this machine's; an address may hold an account
    return parts.scheme in ("http", "https") and "@" not in parts.netloc


def _probe(address: str) -> None:
    """Ask a head node for its port: Ray itself tries for minutes, and says so in many lines."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdigit()):  # auto, local, or nothing
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S).close()
    except (OSError, OverflowError) as error:
        raise _unanswered(address, error) from error


def _unanswered(address: str, error: Exception) -> InputError:
    return InputError(
        f"no Ray cluster answers at RAY_ADDRESS = {address} ({error}): start it, correct the address, "
        "or unset RAY_ADDRESS to use this machine alone"
    )
