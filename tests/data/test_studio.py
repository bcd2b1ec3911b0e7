"""The studio set: KDEF's counts, everyone shows everything, the same picture from any range, few nuisances.

pytest tests/data/test_studio.py
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stargan_ray.data.face_nuisance import Nuisance
from stargan_ray.data.readers.studio import read_studio
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.studio import DOMAINS, StudioConfig, count, generate
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

SMALL = StudioConfig(people=5, size=32)


def pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)), np.float64)


def test_default_set_has_the_size_of_the_frontal_images_of_kdef() -> None:
    assert count(StudioConfig()) == 70 * 7 * 2 == 980


def test_every_person_shows_every_expression_once_a_session_and_is_in_one_split() -> None:
    rows = [row for row, _ in generate(SMALL)]
    assert set(Counter((row.identity, row.expression) for row in rows).values()) == {2}
    assert len({row.key for row in rows}) == len(rows) == 70
    assert len({row.image for row in rows}) == 70  # two sessions are two pictures
    assert len({(row.identity, row.split) for row in rows}) == 5


def test_labels_are_true_and_keys_name_them() -> None:
    for row, truth in generate(SMALL, 0, 14):
        assert row.expression == truth.expression
        assert row.key.endswith(DOMAINS[truth.expression])
        assert not truth.corrupted


def test_a_row_does_not_depend_on_the_range() -> None:
    assert list(generate(SMALL, 20, 23)) == list(generate(SMALL))[20:23]


def test_pictures_of_a_person_differ_less_than_with_the_nuisances_of_a_wild_set() -> None:
    def spread(config: StudioConfig) -> float:
        first, second = (pixels(next(generate(config, at, at + 1))[0].image) for at in (0, 7))
        return float(np.abs(first - second).mean())

    assert 2 * spread(SMALL) < spread(replace(SMALL, nuisance=Nuisance()))


def test_data_set_has_the_seven_domains_without_contempt(tmp_path: Path) -> None:
    write_dataset(str(tmp_path), read_studio(SMALL, 32))
    data = open_dataset(str(tmp_path))
    assert tuple(data.manifest.domains) == EXPRESSIONS[:7]
    assert len(data) == 70
    assert data.index["source"][0].as_py() == "studio"


@pytest.mark.parametrize(("field", "value"), [("people", 0), ("sessions", 27), ("size", 31), ("seed", -1)])
def test_sets_that_cannot_be_drawn_are_refused(field: str, value: int) -> None:
    with pytest.raises(InputError, match=rf"studio\.{field} is {value}: allowed are"):
        replace(SMALL, **{field: value})
