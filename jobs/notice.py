"""Drain this node of Ray when AWS says that it will take the spot machine away, two minutes ahead.

    python jobs/notice.py       beside `ray start`, in the background; it ends with the node

cluster/gpu.yaml starts it on every worker. Trainings then stop after the same step on all workers, with a checkpoint,
and go on elsewhere. Where nobody gives notices it says so and ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
from stargan_ray.runtime.notice import watch


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Which node, and what counts.

    Attributes:
        address: of the node, where several run on this machine.
        every_s: seconds between two questions; AWS advises 5.
        rebalance: drain on a mere recommendation to rebalance too, which comes earlier and often for nothing.
    """

    address: str = ""
    every_s: float = 5.0
    rebalance: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.every_s <= 60:
            raise InputError(f"--every-s {self.every_s:g}: allowed are values above 0 and up to 60")


def main() -> None:
    """Watch until the node is drained or gone."""
    given = cli.parse(Notice, __doc__)
    watch(given.address, given.every_s, given.rebalance)


if __name__ == "__main__":
    cli.job(main)
