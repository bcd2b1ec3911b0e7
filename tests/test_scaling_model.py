"""The arithmetic of the scaling model: two GPUs by hand, and what must hold however large the cluster is.

pytest tests/test_scaling_model.py
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from scaling_model import (
    BETWEEN,
    GPUS,
    NVLINK,
    REACHED,
    Link,
    Step,
    efficiency,
    least_sent,
    measured,
    ring_s,
    step_s,
    table,
)

STEP = Step(0.4, (100e6, 20e6), hides=0.2, overhead=1.01)
WAYS = [{"bf16": bf16, "overlap": overlap} for bf16 in (False, True) for overlap in (False, True)]


def test_two_workers_each_send_half_to_be_summed_and_half_that_is() -> None:
    assert least_sent(1, 80) == 0
    assert least_sent(2, 80) == 80  # 40 of the values that the other sums, and the 40 that it has summed
    assert least_sent(4, 80) == 120  # three quarters of its own in three parts of 20, then three sums of 20
    assert least_sent(1000, 80) == pytest.approx(2 * 80, rel=2e-3)


def test_two_gpus_by_hand() -> None:
    link = Link("slow", 1e9, 1e-3)
    assert ring_s(2, 8e8, link, collectives=3) == pytest.approx(0.8 / REACHED + 2 * 3 * 1e-3)
    assert ring_s(4, 0, link, collectives=2) == pytest.approx(2 * 6 * 1e-3)  # three hops to sum, three to tell
    # 100 MB are four buckets of 25 MiB, 20 MB are one; all of it over NVLink within a node
    whole = 1.01 * 120e6 / (REACHED * NVLINK.rate) + 2 * NVLINK.hop_s * (4 + 1)
    assert step_s(STEP, 2, BETWEEN[0]) == pytest.approx(0.4 + whole)
    half = 1.01 * 60e6 / (REACHED * NVLINK.rate) + 2 * NVLINK.hop_s * (4 + 1)
    assert step_s(STEP, 2, BETWEEN[0], bf16=True) == pytest.approx(0.4 + half)
    # What can hide does, but for the last bucket of each update.
    last = 1.01 * (25 * 2**20 + 20e6) / (REACHED * NVLINK.rate) + 2 * NVLINK.hop_s * 2
    assert step_s(STEP, 2, BETWEEN[0], overlap=True) == pytest.approx(0.4 + last)
    # Where there is more to send than to hide behind, the rest is waited for.
    slow = ring_s(16, 1.01 * 100e6, BETWEEN[0], 4) + ring_s(16, 1.01 * 20e6, BETWEEN[0], 1)
    assert step_s(replace(STEP, hides=0.01), 16, BETWEEN[0], overlap=True) == pytest.approx(0.4 + slow - 0.004)


def test_bounds_at_every_size() -> None:
    for way in WAYS:
        assert all(efficiency(STEP, 1, link, **way) == 1 for link in BETWEEN)
        for link in BETWEEN:
            found = [efficiency(STEP, gpus, link, **way) for gpus in GPUS]
            assert all(0 < later <= earlier for earlier, later in itertools.pairwise(found))
    for gpus, link in itertools.product(GPUS[1:], BETWEEN):
        plain, hidden, half, best = (step_s(STEP, gpus, link, **way) for way in WAYS)
        assert best <= hidden <= plain
        assert best <= half < plain
        assert plain - STEP.seconds <= 2 * (half - STEP.seconds)  # latency does not shrink with the bytes
    for gpus in GPUS[4:]:
        assert (
            efficiency(STEP, gpus, BETWEEN[0]) < efficiency(STEP, gpus, BETWEEN[1]) < efficiency(STEP, gpus, BETWEEN[2])
        )


def test_the_table_is_of_what_was_measured() -> None:
    """The gradients of a step by hand: D and G twice, F and E once; a line for each link from two nodes on."""
    step = measured()
    assert sum(step.updates) == pytest.approx(550e6, rel=0.03)
    assert len(step.updates) == 6
    assert 1 <= step.overhead < 1.05
    assert step.seconds == 4 * measured(faster=4).seconds
    lines = table(step).splitlines()
    assert len(lines) == 2 + 4 + 3 * len(BETWEEN)
    assert lines[2].count("(1.00)") == 4
