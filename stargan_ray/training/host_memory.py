"""Memory that a training on processors has freed and will need again in its next step.

glibc gives large blocks back to the system as soon as they are freed. A step frees its activations and asks for as
many a moment later: thousands of pages that the system has to clear and map anew, in each step.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # parameters of glibc's mallopt
# What glibc comes to by itself in a process that frees large blocks; once told anything it adapts no more.
_ORDINARY = {_TRIM_THRESHOLD: 64 << 20, _TOP_PAD: 128 << 10, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65_536}
_KEEPING = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20, _MMAP_MAX: 0}


@contextlib.contextmanager
def freed_is_kept(device: torch.device) -> Iterator[bool]:
    """Within it this process keeps what it frees; behind it the system has it back.

    In a thread that is not the main one blocks of more than 64 MiB, the most that glibc's part for it takes, are still
    given back at once.

    Args:
        device: where is computed; on a GPU nothing is done, since PyTorch keeps that memory itself.

    Yields:
        Whether memory is kept: not on a GPU, nor by a C library other than glibc.
    """
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield False
        return
    _set(libc, _KEEPING)
    try:
        yield True
    finally:
        _set(libc, _ORDINARY)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library of the whole process
        return None
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def _set(libc: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        libc.mallopt(parameter, value)
