"""Memory of large arrays, used again when the last array on it is gone.

A window of decoded images is tens of megabytes. The C library gives such a block back to the system as soon as it is
free, and every page of the next one is found, cleared and mapped anew: at 256 pixels a fifth of the time in which its
images are decoded, and twice as much where memory is fragmented.
"""

from __future__ import annotations

import math
import weakref

import numpy as np
import numpy.typing as npt

_SPARE = 1.0625  # windows of a run differ by some images: a block takes a slightly larger one too


class Arena:
    """Blocks of memory for arrays of about one size; it keeps as many as were in use at once."""

    def __init__(self) -> None:
        self._free: list[npt.NDArray[np.uint8]] = []

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """An array of a shape with whatever was in its memory before.

        Its memory is used again when neither it nor anything made of it without a copy is left: a slice, a tensor, a
        buffer of Arrow.
        """
        count = math.prod(shape)
        block = self._take(count)
        # NumPy lets a view hold on to the array at the bottom of it, so the bottom has to be one that is told of.
        bottom: npt.NDArray[np.uint8] = np.frombuffer(block.data, np.uint8, count)
        weakref.finalize(bottom, self._free.append, block).atexit = False
        return bottom.reshape(shape)

    def _take(self, count: int) -> npt.NDArray[np.uint8]:
        while self._free:
            block = self._free.pop()
            if len(block) >= count:
                return block  # one that is too small is let go
        return np.empty(int(count * _SPARE), np.uint8)
