"""The data set of the training tests, ingested once."""

from __future__ import annotations

import pytest
import torch
from small import faces

from stargan_ray.data.shards import Dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    torch.set_num_threads(1)
    return faces(tmp_path_factory.mktemp("faces"))
