"""The storage door: the same verbs on a folder and on S3, atomic writes, and one-line errors.

pytest tests/data/test_storage.py
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from stargan_ray.data import storage
from stargan_ray.data.storage import StorageError, join

ODD_NAME = "a b%20c?d#é.bin"


def check_verbs(uri: str) -> None:
    assert not storage.exists(uri)
    assert storage.list_names(uri) == []
    storage.check_writable(uri)
    one, two = join(uri, "sub", ODD_NAME), join(uri, "two")
    storage.write_bytes(one, b"first")
    storage.write_bytes(one, b"second")
    storage.write_bytes(two, b"")
    assert storage.read_bytes(one) == b"second"
    assert storage.read_bytes(two) == b""
    assert storage.size(one) == 6
    assert storage.list_names(uri) == ["sub", "two"]
    assert [(x.name, x.folder, x.size) for x in storage.list_folder(join(uri, "sub"))] == [(ODD_NAME, False, 6)]
    storage.delete(one)
    storage.delete(one)
    assert not storage.exists(one)
    storage.delete(uri)
    assert not storage.exists(two)


def test_verbs_on_a_folder(tmp_path: Path) -> None:
    check_verbs(str(tmp_path / "new" / "folder"))


def test_verbs_on_a_file_uri(tmp_path: Path) -> None:
    check_verbs((tmp_path / "with space").as_uri())


def test_verbs_on_s3(s3: str) -> None:
    check_verbs(join(s3, "deep", "prefix"))


def test_verbs_on_s3_named_by_the_uri(s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    host = s3_endpoint.removeprefix("http://")
    check_verbs(f"{s3}/prefix?endpoint_override={host}&scheme=http&region=us-east-1")


def test_the_objects_of_a_store_share_one_connection(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = storage.resolve(join(s3, "a"))[0]
    assert storage.resolve(join(s3, "b", "c"))[0] is first
    assert storage.resolve("s3://another-bucket/d")[0] is first
    assert storage.resolve(join(s3, "a") + "?region=eu-west-1")[0] is not first
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert storage.resolve(join(s3, "a"))[0] is not first


@pytest.mark.parametrize("remote", [False, True])
def test_folder_round_trip(tmp_path: Path, request: pytest.FixtureRequest, remote: bool) -> None:
    uri = join(request.getfixturevalue("s3"), "checkpoint") if remote else str(tmp_path / "remote")
    content = {
        "meta.json": b"{}",
        "net/weights.bin": os.urandom(11 << 20),
        "net/as-it-is.gz": b"no gzip",
        "net/empty": b"",
    }
    for name, data in content.items():
        storage.write_bytes(str(tmp_path / "local" / name), data)
    storage.put_folder(tmp_path / "local", uri, last="meta.json")
    storage.get_folder(uri, tmp_path / "back")
    found = {p.relative_to(tmp_path / "back").as_posix(): p.read_bytes() for p in (tmp_path / "back").rglob("*.*")}
    assert found == {name: data for name, data in content.items() if "." in name}
    assert (tmp_path / "back" / "net" / "empty").read_bytes() == b""


def test_the_marker_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "meta.json", "z"):
        storage.write_bytes(str(tmp_path / "local" / name), b"x")
    order: list[str] = []
    monkeypatch.setattr(storage, "write_bytes", lambda uri, data: order.append(uri.rpartition("/")[2]))
    storage.put_folder(tmp_path / "local", str(tmp_path / "remote"), last="meta.json")
    assert order == ["a", "z", "meta.json"]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    storage.write_bytes(str(target), b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        storage.write_bytes(str(target), b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_local_errors_name_the_uri_and_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for bad, verb, remedy in (
        (str(file / "below"), "write", "another URI"),
        ("/proc/nowhere/x", "write", "another URI"),
        (str(tmp_path / "absent"), "read", "does not exist"),
    ):
        with pytest.raises(StorageError) as caught:
            storage.write_bytes(bad, b"x") if verb == "write" else storage.read_bytes(bad)
        assert bad in one_line(caught.value)
        assert remedy in str(caught.value)
    with pytest.raises(StorageError, match=r"unknown scheme 's4': did you mean 's3'\?"):
        storage.exists("s4://bucket/x")
    with pytest.raises(StorageError, match="URI is empty"):
        storage.exists("")
    with pytest.raises(StorageError, match="does not exist"):
        storage.get_folder(str(tmp_path / "absent"), tmp_path / "x")


def test_s3_errors_name_the_uri_and_the_remedy(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="cannot write s3://no-such-bucket/x: the bucket does not exist"):
        storage.write_bytes("s3://no-such-bucket/x", b"x")
    with pytest.raises(StorageError, match="does not exist"):
        storage.read_bytes(join(s3, "absent"))
    with pytest.raises(StorageError, match="unknown parameter 'regoin': did you mean 'region'"):
        storage.exists(f"{s3}/x?regoin=eu")
    with pytest.raises(StorageError, match="names no bucket"):
        storage.exists("s3:///x")
    with pytest.raises(StorageError, match="holds a key") as caught:
        storage.exists("s3://key:secret@bucket/x")
    assert "secret" not in str(caught.value).replace("AWS_SECRET_ACCESS_KEY", "")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StorageError, match="no S3 credentials were found"):
        storage.exists(join(s3, "x"))


def test_a_dead_endpoint_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StorageError, match=r"cannot be reached .*refused.*: check AWS_ENDPOINT_URL") as caught:
            storage.exists("s3://bucket/x")
    one_line(caught.value)


@pytest.mark.parametrize("size", [0, 1, 5, 100_000])
def test_a_local_file_is_read_whole_whatever_size_was_expected(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    for expected in (0, 1, size - 1, size, size + 1, 10 * size):
        assert storage.read_bytes(str(tmp_path / "a"), max(expected, 0)) == data
    with pytest.raises(StorageError, match=r"cannot read .*/b: it does not exist"):
        storage.read_bytes(str(tmp_path / "b"), size)
    with pytest.raises(StorageError, match="cannot read"):
        storage.read_bytes(str(tmp_path), size)
