"""Scoring overlaps the two halves of its work: images are decoded while the network is busy with those before.

pytest tests/runtime/test_score_store.py
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.pools import Pixels
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime import score_store
from stargan_ray.runtime.score_store import Blocks, score_dataset
from stargan_ray.runtime.scoring import Decoded, Score, Scorer, Scores, decode_rows

ROWS = 64


@pytest.fixture
def faces(tmp_path: Path) -> str:
    write_dataset(str(tmp_path / "faces"), read_faces(FacesConfig(people=ROWS // 16, size=32)))
    return str(tmp_path / "faces")


def brightness(images: Pixels) -> Scores:
    light = images.mean((1, 2, 3)) / 255
    return np.stack([light, 1 - light], 1).astype(np.float32)


def blocks_of(faces: str, score: Score, size: int = ROWS) -> Blocks:
    scorer = Scorer(("bright", "dark"), 32, "brightness", lambda: score)
    return Blocks(open_dataset(faces), scorer, f"{faces}-scores", size)


def test_the_next_images_are_decoded_while_the_network_is_at_work(faces: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_store, "BATCH", 16)
    begun = [threading.Event() for _ in range(ROWS // 16)]
    scored = []

    def noting(dataset: Any, size: int, rows: Any) -> Decoded:
        begun[int(rows[0]) // 16].set()
        return decode_rows(dataset, size, rows)

    def score(images: Pixels) -> Scores:
        batch = len(scored)
        scored.append(begun[batch + 1].wait(10) if batch + 1 < len(begun) else True)
        assert not any(event.is_set() for event in begun[batch + 2 :])  # no further than one ahead
        return brightness(images)

    monkeypatch.setattr(score_store, "decode_rows", noting)
    found = score_dataset(blocks_of(faces, score))
    assert scored == [True] * len(begun)
    dataset = open_dataset(faces)
    whole = decode_rows(dataset, 32, np.arange(ROWS)).images
    assert whole is not None
    np.testing.assert_array_equal(found, brightness(whole))


def test_a_shard_that_is_gone_is_said_although_a_thread_reads_it(faces: str) -> None:
    blocks = blocks_of(faces, brightness)
    next(Path(faces, "rows").iterdir()).unlink()
    with pytest.raises(InputError, match=r"cannot read .*it does not exist"):
        score_dataset(blocks)


def test_what_goes_to_a_worker_has_the_images_and_not_the_labels(faces: str) -> None:
    blocks = blocks_of(faces, brightness, size=24)
    score_dataset(blocks)  # what it holds by then stays where it is
    sent = copy.copy(blocks)  # by the same way as by pickle
    assert sent.dataset.index.column_names == ["shard", "row"]
    assert "_thread" not in vars(sent)
    assert (sent.uri, len(sent), sent.size) == (blocks.uri, ROWS, 24)
    rows = np.array([ROWS - 1, 0, 17])
    assert sent.dataset.images(rows) == blocks.dataset.images(rows)
    assert blocks.dataset.index.num_columns > 2
