"""Models to load, register and translate with."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TinyModels, build


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    torch.set_num_threads(1)
    return build(tmp_path_factory.mktemp("tiny"))
