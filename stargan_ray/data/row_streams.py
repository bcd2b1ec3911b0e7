"""Endless shuffled streams of rows, and the random numbers of a plan: functions of their keys, with no state."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stargan_ray.data.plan import Ints

# Salts that keep the random numbers of one seed apart.
ORDER, SOURCES, TARGETS, REFERENCES, PEOPLE, IMAGES, WEIGHTS = range(1, 8)

Weights = npt.NDArray[np.float64]


def rng(*key: int) -> np.random.Generator:
    """The generator of a key: the same numbers for it, whatever was drawn before."""
    return np.random.default_rng(key)


@dataclass(frozen=True)
class Streams:
    """Endless streams over several pools of rows; each passes its whole pool before a row repeats.

    The order of a pass is a two-level shuffle: row groups are permuted, then rows among ``span`` neighbouring
    groups. Readers of large buckets thus fetch a row group once or twice a pass; small sets are fully shuffled.

    Args:
        pools: positions in the index, one array a pool.
        groups: row group of every row of the index.
        seed: of the run.
        weights: for each pool the weight of its rows, in (0, 1]: the share of the passes that a row is in. A pass is
            then as long as the weights sum to. None = every row is in every pass.
        span: see above.
    """

    pools: tuple[Ints, ...]
    groups: Ints
    seed: int
    weights: tuple[Weights, ...] | None = None
    span: int = 64
    _orders: dict[tuple[int, int], Ints] = field(default_factory=dict, compare=False, repr=False)

    @functools.cached_property
    def lengths(self) -> tuple[int, ...]:
        """Rows in a pass of each pool."""
        if self.weights is None:
            return tuple(map(len, self.pools))
        return tuple(max(1, int(each.sum())) for each in self.weights)

    def _order(self, pool: int, turn: int) -> Ints:
        """The pool's rows in the order of one pass; the last few are remembered."""
        if (pool, turn) not in self._orders:
            while len(self._orders) >= 4 * len(self.pools):
                del self._orders[next(iter(self._orders))]
            drawn = rng(self.seed, ORDER, pool, turn)
            rows = self.pools[pool][self._drawn(pool, turn)]
            _, group = np.unique(self.groups[rows], return_inverse=True)
            place = drawn.permutation(int(group.max()) + 1)[group] // self.span
            self._orders[pool, turn] = rows[np.lexsort((drawn.random(len(rows)), place))]
        return self._orders[pool, turn]

    def _drawn(self, pool: int, turn: int) -> Ints:
        """The places in the pool of the rows that are in a pass: systematic sampling along a random order.

        The running sum of the weights passes ``lengths[pool]`` evenly spaced marks. No weight is longer than the
        space between two, so a row is drawn at most once, and in a share of the passes that is its weight (but for
        the rounding of the pass to whole rows).
        """
        size, length = len(self.pools[pool]), self.lengths[pool]
        if self.weights is None or length == size:
            return np.arange(size)
        drawn = rng(self.seed, WEIGHTS, pool, turn)
        order = drawn.permutation(size)
        reached = np.cumsum(self.weights[pool][order])
        marks = (np.arange(length) + drawn.random()) * (reached[-1] / length)
        taken: Ints = np.sort(order[np.searchsorted(reached[:-1], marks, side="right")])
        return taken

    def row(self, pool: int, position: int) -> int:
        """The row at a position of a pool's stream."""
        turn, place = divmod(position, self.lengths[pool])
        return int(self._order(pool, turn)[place])
