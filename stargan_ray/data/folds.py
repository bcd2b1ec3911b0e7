"""Folds of a data set for cross-fitting: which rows a training leaves out, so that it can judge their labels.

A network that has learnt a wrong label confirms it. With k folds, k networks are trained, each without one fold,
and a row is judged by the network that has seen neither its label nor another copy of its image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stargan_ray.data.plan import Ints


def fold_of(content_hashes: Sequence[str], folds: int) -> Ints:
    """The fold of every row, (n,) in [0, folds).

    It depends on the image alone: copies of an image are in one fold, and a row keeps its fold whatever is
    added to the data set, in whatever order.

    Args:
        content_hashes: SHA-256 of each row's image, hexadecimal.
        folds: how many there are, 1 or more.
    """
    # 15 hexadecimal digits fit an int64, and 2^60 rows are far more than a bias of the remainder needs
    return np.array([int(digest[:15], 16) % folds for digest in content_hashes], dtype=np.int64)


def seen_rows(index: pa.Table, folds: int, fold: int) -> pa.BooleanArray:
    """(N,) whether a training that leaves a fold out may see each row of an index; all may be seen without folds."""
    if not folds:
        return pa.array(np.ones(len(index), dtype=np.bool_))
    return pa.array(fold_of(index["content_hash"].to_pylist(), folds) != fold)
