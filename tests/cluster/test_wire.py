"""What training sends: no more than averaging its gradients takes, and half of it in bf16.

pytest -m slow tests/cluster/test_wire.py   (as root; a minute)
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from bed import ROOT


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Any]:
    """What the benchmark counts for the tiny recipe, on two and on three machines."""
    out = tmp_path_factory.mktemp("wire") / "network.json"
    command = [sys.executable, str(ROOT / "benchmarks/network.py"), "--cases", "tiny", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    if "skipped: " in done.stderr:
        pytest.skip(done.stderr.split("skipped: ")[-1].strip())
    assert done.returncode == 0, done.stderr
    (call,) = json.loads(out.read_text())["calls"]
    return {(row["workers"], row["gradients"]): row for row in call["rows"]}


@pytest.mark.slow
@pytest.mark.parametrize("gradients", ["fp32", "bf16"])
@pytest.mark.parametrize("workers", [2, 3])
def test_no_more_than_the_gradients_travels(rows: dict[tuple[int, str], Any], workers: int, gradients: str) -> None:
    """The bound by hand: an update of D, G, F and E a step, and every second step one of D and of G by references."""
    row = rows[workers, gradients]
    g, f, e, d = (sum(p.numel() for p in network.parameters()) for network in tiny())
    numbers = d + g + f + e + (d + g) / 2
    least = 2 * (workers - 1) / workers * numbers * {"fp32": 4, "bf16": 2}[gradients]
    assert row["bound"] == pytest.approx(least, abs=1)
    for way in ("sent", "received"):
        assert len(row[way]) == workers
        for counted in row[way]:
            assert least <= counted <= 1.1 * least, f"{way}: {counted} of {least}"
    assert max(row["signs_of_life_a_second"]) < 5_000


def tiny() -> list[Any]:
    """G, F, E, D of the tiny recipe."""
    from stargan_ray.recipes import recipe_named

    recipe = recipe_named("stargan-v2-id-tiny")
    networks = recipe.method.networks(32, 8)
    return [networks[name] for name in ("generator", "mapping", "style_encoder", "discriminator")]
