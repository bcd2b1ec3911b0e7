"""One bed for all tests of this folder: three nodes with a CPU for a worker and one for what reads for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from bed import Bed, cluster


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Three nodes of two CPUs, S3, MLflow; they are gone before the tests of the next file, whom they would slow."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv of util-linux ties the cluster's processes to the tests'")
    with cluster(tmp_path_factory.mktemp("bed")) as made:
        yield made


@pytest.fixture(scope="module")
def faces(bed: Bed) -> str:
    """URI of a small set, drawn by the cluster."""
    from bed import bucket

    uri = bucket("faces")
    done = bed.submit("jobs/ingest.py", "faces", "--out", uri, *SMALL)
    assert done.status == 0, done.said
    assert "10/10" in done.said, "each shard is a unit, so that there is something to share"
    return uri


SMALL = ("--faces.people", "40", "--faces.size", "32", "--shard-rows", "64")
