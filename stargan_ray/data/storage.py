"""The one door to storage: a local folder or an S3 bucket behind the same few verbs.

A URI is a path, ``file:///path`` or ``s3://bucket/prefix``. The S3 endpoint and region come from the usual
variables (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION, AWS_PROFILE, …) or from
the URI: ``s3://bucket/prefix?endpoint_override=host:port&scheme=http&region=eu-west-1``.

Every write is atomic: a reader sees the whole object or none. A store that is throttled or away for a while is tried
again (``retrying.py``). Every failure is a :class:`StorageError` of one line that names the URI and says what to do.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from stargan_ray.data import local_files
from stargan_ray.data.local_files import Listed
from stargan_ray.data.locations import KNOWN, StorageError, absolute, failure, join, local_path, parent, resolve
from stargan_ray.data.retrying import PatientInput, patiently

__all__ = [
    "KNOWN",
    "Listed",
    "StorageError",
    "absolute",
    "check_writable",
    "delete",
    "exists",
    "failure",
    "get_folder",
    "join",
    "list_folder",
    "list_names",
    "local_path",
    "open_input",
    "parent",
    "put_folder",
    "read_bytes",
    "resolve",
    "size",
    "write_by",
    "write_bytes",
]

T = TypeVar("T")


def read_bytes(uri: str, expected: int = 0) -> bytes:
    """The whole object.

    Args:
        uri: Where it is.
        expected: Its bytes, if they are known: a local file of this size is read by one call.

    Raises:
        StorageError: If it is absent or cannot be read.
    """
    if uri.startswith("/"):
        try:
            return local_files.read(uri, expected)
        except OSError as error:
            raise failure("read", uri, error) from error
    with open_input(uri) as stream:
        try:
            data: bytes = stream.readall()
        except OSError as error:
            raise failure("read", uri, error) from error
    return data


def open_input(uri: str) -> pa.NativeFile:
    """A random-access reader of the object, for formats that need only parts of it.

    Raises:
        StorageError: If it is absent or cannot be opened.
    """
    filesystem, path = resolve(uri)
    return _tried("read", uri, lambda: _reader(filesystem, path, uri))


def write_bytes(uri: str, data: bytes | pa.Buffer) -> None:
    """Write the whole object atomically, making local folders as needed.

    Raises:
        StorageError: If it cannot be written.
    """
    local = local_path(uri)
    try:
        if local is not None:
            local_files.write(local, data)
            return
    except OSError as error:
        raise failure("write", uri, error) from error
    filesystem, path = resolve(uri)

    def put() -> None:
        # One write call: an interrupt between two would let close() complete a truncated upload.
        with filesystem.open_output_stream(path, compression=None) as stream:
            stream.write(data)

    patiently("write", uri, put)


def write_by(uri: str, fill: Callable[[Any], object]) -> int:
    """Write an object atomically by a function, which need not be held in memory where it is a local file.

    Args:
        uri: Where.
        fill: Writes all of it to a path or to a stream of pyarrow, as :func:`pyarrow.parquet.write_table` does.

    Returns:
        Its bytes.

    Raises:
        StorageError: If it cannot be written.
    """
    local = local_path(uri)
    if local is None:
        sink = pa.BufferOutputStream()
        fill(sink)
        data = sink.getvalue()
        write_bytes(uri, data)
        return int(data.size)
    try:
        return local_files.write_by(local, fill)
    except OSError as error:
        raise failure("write", uri, error) from error


def check_writable(uri: str) -> None:
    """Prove that something can be written below ``uri``, before hours of work depend on it.

    Raises:
        StorageError: If it cannot.
    """
    probe = join(uri, f".probe-{uuid.uuid4().hex}.tmp")
    write_bytes(probe, b"")
    delete(probe)


def exists(uri: str) -> bool:
    """Whether ``uri`` is an object or a folder."""
    return bool(_info(uri).type != pafs.FileType.NotFound)


def size(uri: str) -> int:
    """Bytes of the object.

    Raises:
        StorageError: If it is not an object.
    """
    info = _info(uri)
    if info.type != pafs.FileType.File:
        raise StorageError(f"cannot read {uri}: there is no such file")
    return int(info.size)


def list_folder(uri: str) -> list[Listed]:
    """What lies directly in a folder, sorted by name; empty when the folder is absent.

    Raises:
        StorageError: If the folder cannot be listed.
    """
    local = local_path(uri)
    if local is not None:  # pyarrow gives up a whole folder for one name that is no UTF-8
        found = _tried("list", uri, lambda: local_files.scan(local))
    else:
        filesystem, path = resolve(uri)
        selector = pafs.FileSelector(path, allow_not_found=True)
        found = [
            Listed(info.base_name, info.type == pafs.FileType.Directory, info.size, info.mtime_ns or 0)
            for info in _tried("list", uri, lambda: filesystem.get_file_info(selector))
        ]
    return sorted(found, key=lambda listed: listed.name)


def list_names(uri: str) -> list[str]:
    """Names of the files and folders directly in a folder, sorted; empty when the folder is absent."""
    return [listed.name for listed in list_folder(uri)]


def delete(uri: str) -> None:
    """Delete an object or a folder with all that is in it; nothing happens when it is absent.

    Raises:
        StorageError: If it cannot be deleted.
    """
    filesystem, path = resolve(uri)

    def work() -> None:
        kind = filesystem.get_file_info(path).type
        if kind == pafs.FileType.Directory:
            filesystem.delete_dir(path)
        elif kind != pafs.FileType.NotFound:
            filesystem.delete_file(path)

    _tried("delete", uri, work)


def put_folder(local: Path, uri: str, last: str | None = None) -> None:
    """Copy a local folder to a URI, each file atomically.

    Args:
        local: The folder; its sub-folders come along.
        uri: Where its content goes.
        last: Name of the file to write after all others, which marks the copy as whole.

    Raises:
        StorageError: If something cannot be written.
    """
    names = [path.relative_to(local).as_posix() for path in sorted(local.rglob("*")) if path.is_file()]
    for name in sorted(names, key=lambda name: (name == last, name)):
        source = local / name
        # Mapped, not read: a checkpoint of gigabytes goes out in one call without being held in memory.
        data = pa.memory_map(str(source)).read_buffer() if source.stat().st_size else b""
        write_bytes(join(uri, *PurePosixPath(name).parts), data)


def get_folder(uri: str, local: Path) -> None:
    """Copy the folder at a URI to a local one, each file atomically.

    Raises:
        StorageError: If the folder is absent or something cannot be read or written.
    """
    filesystem, path = resolve(uri)

    def copy(info: pafs.FileInfo) -> None:
        target = local / PurePosixPath(info.path).relative_to(PurePosixPath(path))
        with filesystem.open_input_stream(info.path, compression=None) as stream:
            local_files.write(target, stream)

    for info in _tried("read", uri, lambda: filesystem.get_file_info(pafs.FileSelector(path, recursive=True))):
        if info.type == pafs.FileType.File:
            _tried("read", uri, functools.partial(copy, info))


def _info(uri: str) -> pafs.FileInfo:
    filesystem, path = resolve(uri)
    return _tried("read", uri, lambda: filesystem.get_file_info(path))


def _reader(filesystem: pafs.FileSystem, path: str, uri: str) -> pa.NativeFile:
    file = filesystem.open_input_file(path)
    return file if local_path(uri) is not None else pa.PythonFile(PatientInput(uri, file), mode="r")


def _tried(verb: str, uri: str, work: Callable[[], T]) -> T:
    """Once with a local file, patiently with an object of a store; what fails is a ``StorageError``."""
    if local_path(uri) is None:
        return patiently(verb, uri, work)
    try:
        return work()
    except OSError as error:
        raise failure(verb, uri, error) from error
