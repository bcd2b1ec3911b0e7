"""A store that is throttled, fails, drops connections or is away for a while is tried again, and not for ever.

pytest tests/data/test_retrying.py
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flaky_s3 import FAULTS, FlakyS3

from stargan_ray.data import locations, retrying, storage
from stargan_ray.data.storage import StorageError, join

OWN_TRIES = 3  # of the S3 client for one call


@pytest.fixture
def flaky(s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyS3]:
    """Between the test and its S3 server; the usual variables point at it."""
    proxy = FlakyS3(s3_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.fail("SlowDown", 0)
    proxy.down()


@pytest.fixture
def stored(flaky: FlakyS3, s3: str) -> str:
    uri = join(s3, "folder", "object")
    storage.write_bytes(uri, b"content")
    return uri


VERBS: dict[str, Callable[[str], object]] = {
    "read": storage.read_bytes,
    "write": lambda uri: storage.write_bytes(uri, b"other") or storage.read_bytes(uri),
    "list": lambda uri: storage.list_names(storage.parent(uri)),
    "delete": lambda uri: storage.delete(uri) or storage.exists(uri),
}
RESULTS = {"read": b"content", "write": b"other", "list": ["object"], "delete": False}


@pytest.mark.parametrize(("fault", "verb"), list(zip(FAULTS, VERBS, strict=True)))
def test_more_faults_than_the_client_bears_are_ridden_out(
    fault: str, verb: str, flaky: FlakyS3, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    flaky.fail(fault, OWN_TRIES + 1)
    assert VERBS[verb](stored) == RESULTS[verb]
    assert flaky.left < 0
    said = [record.getMessage() for record in caplog.records if record.name.startswith("stargan_ray")]
    assert len(said) == 2  # that it begins and that it is over
    assert "trying again for 120 s" in said[0]
    assert stored in said[0] or storage.parent(stored) in said[0]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("SlowDown", r"the store asks for fewer requests \(503\): use fewer workers or readers, or wait and repeat"),
        ("InternalError", r"the store has a fault \(500\): look after it, then repeat the command"),
        ("dropped", r"the endpoint cannot be reached: check AWS_ENDPOINT_URL and the network, then repeat"),
    ],
)
def test_it_gives_up_in_one_line(
    fault: str, reason: str, flaky: FlakyS3, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE_S", 1.0)
    flaky.fail(fault, 1000)
    with pytest.raises(StorageError, match=rf"cannot write {stored}: {reason}.* \(\d attempts in \d+ s\)$") as caught:
        storage.write_bytes(stored, b"other")
    assert "\n" not in str(caught.value)


def test_patience_can_be_set(flaky: FlakyS3, stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARGAN_S3_PATIENCE_S", "1")
    flaky.fail("SlowDown", 1000)
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"attempts in \d s\)$"):
        storage.write_bytes(stored, b"other")
    assert time.monotonic() - began < 30, "the client's own tries come on top"
    monkeypatch.setenv("STARGAN_S3_PATIENCE_S", "soon")
    with pytest.raises(StorageError, match="STARGAN_S3_PATIENCE_S = soon: allowed are seconds >= 0"):
        storage.write_bytes(stored, b"other")


def test_a_lasting_error_is_not_tried_again(flaky: FlakyS3, stored: str) -> None:
    flaky.fail("SlowDown", 0)
    with pytest.raises(StorageError, match="does not exist"):
        storage.read_bytes(stored + "-other")
    with pytest.raises(StorageError, match="the bucket does not exist"):
        storage.write_bytes("s3://no-such-bucket/x", b"x")
    assert flaky.seen <= 4


def test_a_store_that_is_away_is_waited_for(flaky: FlakyS3, stored: str) -> None:
    """Nobody listens: the client itself gives up at once."""
    flaky.down()
    threading.Timer(2.5, flaky.up).start()
    began = time.monotonic()
    assert storage.read_bytes(stored) == b"content"
    assert time.monotonic() - began > 2


def test_a_process_that_a_command_started_waits_for_its_store(
    flaky: FlakyS3, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that a person started does not: the endpoint may be misspelt."""
    flaky.down()
    locations._s3.cache_clear()
    with pytest.raises(StorageError, match="cannot be reached"):
        storage.exists(stored)
    monkeypatch.setenv(storage.KNOWN, "1")
    threading.Timer(2.5, flaky.up).start()
    assert storage.exists(stored)


def test_every_read_of_an_open_object_is_patient(flaky: FlakyS3, s3: str, caplog: pytest.LogCaptureFixture) -> None:
    uri = join(s3, "table.parquet")
    table = pa.table({"x": list(range(100_000))})
    storage.write_by(uri, lambda to: pq.write_table(table, to, row_group_size=20_000))
    with pq.ParquetFile(storage.open_input(uri)) as file:
        assert file.read_row_group(1).equals(table.slice(20_000, 20_000))
        flaky.down()
        threading.Timer(6, flaky.up).start()
        assert file.read_row_group(3).equals(table.slice(60_000, 20_000))
    assert any("trying again" in record.getMessage() for record in caplog.records)


def test_giving_up_within_a_library_is_the_same_error(
    flaky: FlakyS3, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with io.BufferedReader(storage.open_input(stored)) as stream:
        assert stream.read(3) == b"con"
    monkeypatch.setattr(retrying, "PATIENCE_S", 0.5)
    file = storage.open_input(stored)
    flaky.down()
    with pytest.raises(StorageError, match=rf"cannot read {stored}: the endpoint cannot be reached"):
        file.read()
    flaky.up()


def test_a_reader_reads_as_a_file_does(flaky: FlakyS3, s3: str) -> None:
    uri, data = join(s3, "bytes"), bytes(range(256)) * 40
    storage.write_bytes(uri, data)
    filesystem, path = storage.resolve(uri)
    reader = retrying.PatientInput(uri, filesystem.open_input_file(path))
    same = io.BytesIO(data)
    for step in ("seek 100", "read 10", "seek -5 1", "read 10", "seek -20 2", "read 50", "read 5", "seek 9", "read -1"):
        verb, *numbers = step.split()
        assert getattr(reader, verb)(*map(int, numbers)) == getattr(same, verb)(*map(int, numbers)), step
        assert reader.tell() == same.tell(), step
