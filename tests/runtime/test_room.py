"""Room is counted node by node, so that nothing begins to wait for ever; machines that may come are waited for.

pytest tests/runtime/test_room.py
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargan_ray.errors import InputError
from stargan_ray.runtime import room
from stargan_ray.runtime.room import WAIT, Need, Node, require_room

THREE = [Node(2), Node(2), Node(2)]


@pytest.mark.parametrize(
    ("need", "nodes", "message"),
    [
        (Need("x", 3, 1, reader_cpus=1), THREE, ""),
        (Need("x", 5, 1, reader_cpus=1), THREE, ""),
        (Need("x", 6, 1, reader_cpus=1), THREE, "7 CPUs are needed, the Ray cluster has 6"),
        (Need("x", 2, 1, reader_cpus=1), [Node(1)] * 3, ""),
        # Enough in all, on no node alone.
        (Need("x", 1, 2), [Node(1)] * 3, "1 times 2 CPUs are needed, each on one node; the Ray cluster has room for 0"),
        (Need("x", 2, 1.5, reader_cpus=1), [Node(2), Node(2)], "no node keeps 1 for a reader"),
        (Need("x", 1, 0.5, reader_cpus=2), [Node(1)] * 3, "no node keeps 2 for a reader"),
        # A reader has room if Ray puts the workers on the small nodes, and has none if on the large one.
        (Need("x", 3, 1, reader_cpus=2), [Node(4), Node(1)], "may be placed so that"),
        # GPUs hold the workers away from the head, whose CPUs stay free.
        (Need("x", 2, 1, 1, 4), [Node(4), Node(2, 1), Node(2, 1)], ""),
        (Need("x", 3, 1, 1, 1), [Node(4), Node(2, 1), Node(2, 1)], "3 GPUs are needed, the Ray cluster has 2"),
        (Need("x", 2, 3, 1), [Node(8), Node(2, 1), Node(2, 1)], "2 times 3 CPUs and 1 GPUs are needed"),
        # A head without CPUs, and no machine yet.
        (Need("x", 1, 1), [Node(0)], "1 CPUs are needed, the Ray cluster has 0"),
        (Need("x", 1, 1), [], "1 CPUs are needed, the Ray cluster has 0"),
        (Need("x", 3, 0.1, reader_cpus=0.7), [Node(1)], ""),
    ],
)
def test_what_is_missing_is_said(need: Need, nodes: Sequence[Node], message: str) -> None:
    lacking = need.lacks(nodes)
    assert message in lacking
    assert bool(lacking) == bool(message)


SIZES = st.integers(0, 4).map(float)


@given(
    st.lists(st.builds(Node, SIZES, st.integers(0, 2)), max_size=3),
    st.integers(1, 4),
    st.sampled_from([0.5, 1, 1.5, 2]),
    st.integers(0, 1),
    st.sampled_from([0.5, 1, 2]),
)
def test_nothing_is_let_in_that_some_placement_stops(
    nodes: list[Node], processes: int, cpus: float, gpus: int, reader: float
) -> None:
    """Against every way in which Ray could place the processes."""
    accepted = not Need("x", processes, cpus, gpus, reader).lacks(nodes)
    left = [max(rest) for rest in _placements(nodes, processes, cpus, gpus)]
    assert accepted == (bool(left) and min(left) >= reader)


def _placements(nodes: list[Node], processes: int, cpus: float, gpus: int) -> Iterator[list[float]]:
    """The CPUs that are left on each node, for every placement."""
    for counts in itertools.product(range(processes + 1), repeat=len(nodes)):
        rest = [node.cpus - count * cpus for node, count in zip(nodes, counts, strict=True)]
        enough = all(node.gpus >= count * gpus for node, count in zip(nodes, counts, strict=True))
        if sum(counts) == processes and enough and all(left >= 0 for left in rest):
            yield rest


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_one_line(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, value)
    monkeypatch.setattr(room, "nodes_now", list)
    with pytest.raises(InputError, match=f"^{WAIT} = {value}: allowed are seconds >= 0$"):
        require_room(Need("x", 1, 1))
