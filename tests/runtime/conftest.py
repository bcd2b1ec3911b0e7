"""Models to load, register and translate with."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TinyModels, build

from stargan_ray.runtime.mlflow_store import connect


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    torch.set_num_threads(1)
    return build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite store of MLflow; making its tables takes seconds, so tests share one and differ in names."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    connect(uri)
    return uri
