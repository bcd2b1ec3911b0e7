"""Patience with an object store: what it fails at for a while is tried again, for a bounded time.

The bound is far below the time-out of collectives, in which other workers may wait for this one.

The S3 client itself tries three times within some seconds, but not when nobody listens at the endpoint; a store
that is throttled, restarted or cut off for a minute is ridden out here.
"""

from __future__ import annotations

import io
import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from stargan_ray.data.locations import PATIENCE_S, StorageError, failure, patience

_log = logging.getLogger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
# What the client says of faults that pass.
_PASSING = (
    "NETWORK_CONNECTION",
    "SLOW_DOWN",
    "THROTTLING",
    "SERVICE_UNAVAILABLE",
    "INTERNAL_FAILURE",
    "REQUEST_TIMEOUT",
    "REQUEST_EXPIRED",
    "HTTP status 429",
    "HTTP status 5",
)
T = TypeVar("T")


def patiently(verb: str, uri: str, work: Callable[[], T]) -> T:
    """Do something with an object of a store, again and again while it fails for a reason that may pass.

    Args:
        verb: for the error: what is done, such as ``read``.
        uri: with what; no local path.
        work: safe to repeat.

    Raises:
        StorageError: it fails for another reason, or still after ``PATIENCE_S`` (or STARGAN_S3_PATIENCE_S).
    """
    began, wait, tries, longest = None, _FIRST_WAIT_S, 1, patience(PATIENCE_S)
    while True:
        try:
            done = work()
        except OSError as error:
            now = time.monotonic()
            began = began or now
            if not any(sign in str(error) for sign in _PASSING):
                raise failure(verb, uri, error) from error
            if now - began + wait > longest:
                said = failure(verb, uri, error)
                raise StorageError(f"{said} ({tries} attempts in {now - began:.0f} s)") from error
            if tries == 1:
                _log.warning("%s; trying again for %.0f s", failure(verb, uri, error), longest)
            time.sleep(wait * random.uniform(0.5, 1.0))  # many workers do not come back at the same moment
            wait, tries = min(2 * wait, _LONGEST_WAIT_S), tries + 1
        else:
            if tries > 1:
                _log.warning("%s %s succeeded at attempt %d", verb, uri, tries)
            return done


class PatientInput(io.RawIOBase):
    """A random-access reader of an object whose every read is patient.

    Args:
        uri: of the object, for errors.
        file: opened.
    """

    def __init__(self, uri: str, file: pa.NativeFile) -> None:
        self._uri, self._file, self._at, self._size = uri, file, 0, int(file.size())

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See ``io.RawIOBase``."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """See ``io.RawIOBase``."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """See ``io.RawIOBase``."""
        wanted = max(0, self._size - self._at if size < 0 else min(size, self._size - self._at))
        data: bytes = patiently("read", self._uri, lambda: self._file.read_at(wanted, self._at)) if wanted else b""
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        """See ``io.RawIOBase``."""
        return self.read()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See ``io.RawIOBase``."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the object too."""
        if not self.closed:
            self._file.close()
        super().close()
