"""Folds of a data set for cross-fitting: which rows a training leaves out, so that it can judge their labels.

A network that has learnt a wrong label confirms it. With k folds, k networks are trained, each without one fold,
and a row is judged by the network that has seen neither its label nor another copy of its image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stargan_ray.data.plan import Ints
from stargan_ray.errors import InputError

_STREAM_DEAL = 205


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


def dealt(names: Sequence[str], folds: int, seed: int) -> Ints:
    """The fold of every row, (n,) in [0, folds): names are dealt at random, and what shares a name shares a fold.

    Folds have as equal numbers of names as they can; the deal does not depend on the order of the rows.

    Args:
        names: of each row: its person for folds without common people, its image's hash for folds of images.
        folds: how many there are, 1 or more.
        seed: of the deal.

    Raises:
        InputError: there are fewer names than folds.
    """
    found, which = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    if len(found) < folds:
        raise InputError(f"folds = {folds}: there are {len(found)} people or images to deal; allowed are fewer folds")
    place = np.empty(len(found), dtype=np.int64)
    place[np.random.default_rng([seed, _STREAM_DEAL]).permutation(len(found))] = np.arange(len(found)) % folds
    fold: Ints = place[which.reshape(-1)]
    return fold
