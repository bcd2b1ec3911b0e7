"""URIs and the file systems behind them; :mod:`stargan_ray.data.storage` is the door to use."""

from __future__ import annotations

import functools
import math
import os
import socket
import time
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pyarrow.fs as pafs

from stargan_ray.errors import InputError, unknown

_S3_PARAMETERS = ("endpoint_override", "region", "scheme")
# Any of these says where credentials are; without them only a machine's own role can help.
_CREDENTIAL_HINTS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
# What a file system depends on besides the URI: another value needs another connection.
_S3_VARIABLES = (
    *_CREDENTIAL_HINTS,
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)
_METADATA_SERVICE = ("169.254.169.254", 80)  # answers on a cloud machine that may have a role, nowhere else
_PROBE_S = 3.0
PATIENCE_S = 120.0  # how long a store may be away or fail before a command gives up, unless PATIENCE says otherwise
PATIENCE = "STARGAN_S3_PATIENCE_S"
# Set in the processes that a command starts elsewhere once it has reached its stores itself: one that does not answer
# them was not misspelt, it is away for the moment.
KNOWN = "STARGAN_S3_KNOWN"
# What the client says -> what a person can do about it.
_ADVICE = {
    "NO_SUCH_BUCKET": "the bucket does not exist: create it first or correct its name",
    "NETWORK_CONNECTION": "the endpoint cannot be reached: check AWS_ENDPOINT_URL and the network, then repeat the "
    "command",
    "SLOW_DOWN": "the store asks for fewer requests (503): use fewer workers or readers, or wait and repeat the "
    "command",
    "INTERNAL_FAILURE": "the store has a fault (500): look after it, then repeat the command",
    "HTTP status 429": "the store asks for fewer requests (429): use fewer workers or readers, or wait and repeat the "
    "command",
    "HTTP status 5": "the store has a fault or too much to do (5xx): look after it, then repeat the command",
    "ACCESS_DENIED": "access was refused: check the credentials and their rights on the bucket",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there: check AWS_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY",
    "HTTP status 403": "access was refused: check the credentials and their rights on the bucket",
    "HTTP status 301": "the bucket is in another region: set AWS_REGION",
    "No space left": "the disk is full: free some space or choose another URI",
    "Read-only file system": "the disk is read-only: choose another URI",
    "Permission denied": "permission was denied: choose a folder that you may use",
    "Not a directory": "a part of the path is a file, not a folder: choose another URI",
    "No such file": "it does not exist",
}


class StorageError(InputError):
    """A URI cannot be read or written, with the reason and the remedy in one line."""


def failure(verb: str, uri: str, error: OSError) -> StorageError:
    """The one-line error for what went wrong below: ``cannot <verb> <uri>: <remedy>``."""
    if isinstance(error, StorageError):
        return error
    said = " ".join(str(error).split())
    if verb == "write" and isinstance(error, FileNotFoundError | FileExistsError | NotADirectoryError):
        said = "its folder cannot be made: choose another URI"
    advice = next((advice for sign, advice in _ADVICE.items() if sign.lower() in said.lower()), said)
    return StorageError(f"cannot {verb} {uri}: {advice}")


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI and the path within it.

    Args:
        uri: A path, ``file://…`` or ``s3://bucket/prefix[?endpoint_override=…&scheme=…&region=…]``.

    Returns:
        The file system and the path, as `pyarrow.fs`, `ray.data` and `ray.train` take them.

    Raises:
        StorageError: If the scheme is unknown, no credentials are set or the endpoint does not answer.
    """
    local = local_path(uri)
    if local is not None:
        return pafs.LocalFileSystem(), str(local)
    parts = urlsplit(uri)
    if "@" in parts.netloc:
        raise StorageError(
            f"the URI of bucket {parts.hostname} holds a key: use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not parts.netloc:
        raise StorageError(f"{uri} names no bucket: write s3://bucket/prefix")
    for name, _ in parse_qsl(parts.query):
        if name not in _S3_PARAMETERS:
            raise StorageError(f"s3://{parts.netloc}{parts.path}: {unknown('parameter', name, _S3_PARAMETERS)}")
    settings = tuple((name, os.environ.get(name, "")) for name in _S3_VARIABLES)
    return _s3(parts.query, settings), f"{parts.netloc}{unquote(parts.path)}".rstrip("/")


def local_path(uri: str) -> Path | None:
    """The absolute local path that a URI names, or None when it names an object store.

    Raises:
        StorageError: If the URI is empty or its scheme is neither ``file`` nor ``s3``.
    """
    if not uri:
        raise StorageError("the URI is empty: give a path or s3://bucket/prefix")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri).expanduser().absolute()
    if scheme == "file":
        return Path(unquote(rest)).absolute()
    if scheme != "s3":
        raise StorageError(f"{uri}: {unknown('scheme', scheme, ('file', 's3'))}")
    return None


def absolute(uri: str) -> str:
    """The URI with a local path made absolute, so that it means the same in every worker."""
    local = local_path(uri)
    return uri if local is None else str(local)


def join(uri: str, *parts: str) -> str:
    """The URI of something below ``uri``.

    Args:
        uri: A folder; the query parameters of an s3 URI stay at the end.
        parts: Names as they are in the store; where a URI needs it they are percent-encoded.
    """
    if "://" not in uri:
        return "/".join((uri.rstrip("/"), *parts))
    base, question, query = uri.partition("?")
    return "/".join((base.rstrip("/"), *map(quote, parts))) + question + query


def parent(uri: str) -> str:
    """The URI of the folder that ``uri`` lies in."""
    base, question, query = uri.partition("?") if "://" in uri else (uri, "", "")
    return (base.rstrip("/").rpartition("/")[0] or "/") + question + query


def shown(name: str) -> str:
    """The name as text that can be stored; another text than the name where that is no UTF-8."""
    if name.isascii():
        return name
    return os.fsencode(name).decode("utf-8", "replace")


def patience(usual: float = PATIENCE_S) -> float:
    """Seconds that a store may be away.

    Raises:
        StorageError: STARGAN_S3_PATIENCE_S is no number of seconds.
    """
    given = os.environ.get(PATIENCE, "")
    try:
        seconds = float(given) if given else usual
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise StorageError(f"{PATIENCE} = {given}: allowed are seconds >= 0")
    return seconds


@functools.lru_cache(maxsize=16)
def _s3(query: str, settings: tuple[tuple[str, str], ...]) -> pafs.FileSystem:
    """The S3 file system that a URI's parameters and the environment describe; one connection pool for each pair.

    The object is not among them: to look for the endpoint and connect anew costs more than to read a face.
    """
    given = dict(parse_qsl(query))
    values = dict(settings)
    endpoint = given.get("endpoint_override") or values["AWS_ENDPOINT_URL_S3"] or values["AWS_ENDPOINT_URL"]
    scheme, _, host = endpoint.rpartition("://")
    scheme = given.get("scheme") or scheme or "https"
    region = given.get("region") or values["AWS_REGION"] or values["AWS_DEFAULT_REGION"]
    if endpoint:
        _require_answer(host.rstrip("/"), scheme, endpoint)
        region = region or "us-east-1"  # every self-hosted store takes it; asking the network would be slow
    _require_credentials(values)
    options: dict[str, object] = {}
    if endpoint:
        options["endpoint_override"] = host.rstrip("/")
    if region:
        options["region"] = region
    return pafs.S3FileSystem(
        scheme=scheme,
        connect_timeout=_PROBE_S,
        request_timeout=30,
        # Rides out some seconds of trouble; retrying.py does more than that, and says so.
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=3),
        allow_delayed_open=True,  # small objects go out as one put
        **options,
    )


def _require_answer(host: str, scheme: str, endpoint: str) -> None:
    split = urlsplit(f"{scheme}://{host}")
    until = time.monotonic() + (patience() if os.environ.get(KNOWN) else 0)
    while True:
        try:
            port = split.port or (80 if scheme == "http" else 443)
            socket.create_connection((split.hostname or "", port), timeout=_PROBE_S).close()
        except (OSError, ValueError) as error:
            if time.monotonic() < until and isinstance(error, OSError):
                time.sleep(1)
                continue
            raise StorageError(
                f"the S3 endpoint {endpoint} cannot be reached ({error}): check AWS_ENDPOINT_URL and that it runs"
            ) from error
        return


def _require_credentials(values: dict[str, str]) -> None:
    files = (
        values["AWS_SHARED_CREDENTIALS_FILE"] or "~/.aws/credentials",
        values["AWS_CONFIG_FILE"] or "~/.aws/config",
    )
    if any(values[name] for name in _CREDENTIAL_HINTS) or any(Path(file).expanduser().exists() for file in files):
        return
    reason = "AWS_EC2_METADATA_DISABLED is set"
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
        try:  # the client would ask for the machine's role too, but waits long where there is none
            with socket.create_connection(_METADATA_SERVICE, timeout=1.0):
                return
        except OSError:
            reason = "this machine has no role"
    raise StorageError(
        f"no S3 credentials were found and {reason}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )
