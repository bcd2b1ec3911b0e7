"""Batches of real and translated images: a fixed share, every row in its turn, pixels that belong to their labels.

pytest tests/data/test_plan_mixed.py
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from stargan_ray.data.plan import Shape, epoch_plan
from stargan_ray.data.plan_mixed import MemorySource, MixedPlan, mixed_plan
from stargan_ray.data.stream import Batches
from stargan_ray.errors import InputError

REAL, EXTRA = 50, 90  # images; every third real one is held out, and the translated ones of these
SHAPE = Shape(batch=16, lanes=4, window=8)


def labels(rows: np.ndarray) -> np.ndarray:
    return rows % 7


def plan(share: float = 0.5, *, extra: bool = True, seed: int = 0) -> MixedPlan:
    real = np.array([row for row in range(REAL) if row % 3])
    added = np.array([row for row in range(EXTRA) if row % 3])
    translated = (added, labels(added + REAL)) if extra else None
    return mixed_plan(SHAPE, seed, share, (real, labels(real)), translated, REAL)


@pytest.mark.parametrize(("share", "translated"), [(0.5, 8), (0.25, 4), (0.9, 14)])
def test_every_batch_has_the_share_of_translated_images(share: float, translated: int) -> None:
    rows = epoch_plan(plan(share), 0)["source"]
    assert (rows >= REAL).sum(axis=1).tolist() == [translated] * len(rows)
    assert rows.shape[1] == SHAPE.batch


def test_all_rows_are_drawn_and_none_that_is_left_out() -> None:
    drawn = Counter(int(r) for epoch in range(4) for r in epoch_plan(plan(), epoch)["source"].ravel())
    assert set(drawn) == {r for r in range(REAL) if r % 3} | {REAL + r for r in range(EXTRA) if r % 3}
    real = [count for row, count in drawn.items() if row < REAL]
    assert max(real) - min(real) <= 1  # each passes before one repeats


def test_without_translations_the_whole_batch_is_real() -> None:
    alone = plan(extra=False)
    assert alone.shape.batch == SHAPE.batch
    assert (epoch_plan(alone, 0)["source"] < REAL).all()


def test_batches_carry_the_pixels_of_their_labels() -> None:
    # the pictures say their row
    pixels = np.arange(REAL + EXTRA, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8)
    mixed = plan()
    source = MemorySource((pixels[:REAL], pixels[REAL:]), mixed)
    seen = 0
    for batch in Batches(source, mixed, range(1), torch.device("cpu")).steps(5, 21):
        rows = batch["source"][:, 0, 0, 0].numpy().astype(int)
        assert batch["source_label"].tolist() == labels(rows).tolist()
        assert (rows >= REAL).sum() == 8
        seen += 1
    assert seen == 16


def test_a_seed_gives_its_own_batches() -> None:
    first, again, other = (epoch_plan(plan(seed=seed), 0)["source"].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_share_that_leaves_a_kind_no_place_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=f"share = {share}: .* of the 16 images of a batch; both kinds need a place"):
        plan(share)
