"""Endless shuffled streams of rows, and the random numbers of a plan: functions of their keys, with no state."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stargan_ray.data.plan import Ints

# Salts that keep the random numbers of one seed apart.
ORDER, SOURCES, TARGETS, REFERENCES, PEOPLE, IMAGES = range(1, 7)


def rng(*key: int) -> np.random.Generator:
    """The generator of a key: the same numbers for it, whatever was drawn before."""
    return np.random.default_rng(key)


@dataclass(frozen=True)
class Streams:
    """Endless streams over several pools of rows; each passes its whole pool before a row repeats.

    The order of a pass is a two-level shuffle: row groups are permuted, then rows among ``span`` neighbouring
    groups. Readers of large buckets thus fetch a row group once or twice a pass; small sets are fully shuffled.
    """

    pools: tuple[Ints, ...]
    groups: Ints  # row group of every row of the index
    seed: int
    span: int = 64
    _orders: dict[tuple[int, int], Ints] = field(default_factory=dict, compare=False, repr=False)

    def _order(self, pool: int, turn: int) -> Ints:
        """The pool's rows in the order of one pass; the last few are remembered."""
        if (pool, turn) not in self._orders:
            while len(self._orders) >= 4 * len(self.pools):
                del self._orders[next(iter(self._orders))]
            drawn = rng(self.seed, ORDER, pool, turn)
            rows = self.pools[pool]
            _, group = np.unique(self.groups[rows], return_inverse=True)
            place = drawn.permutation(int(group.max()) + 1)[group] // self.span
            self._orders[pool, turn] = rows[np.lexsort((drawn.random(len(rows)), place))]
        return self._orders[pool, turn]

    def row(self, pool: int, position: int) -> int:
        """The row at a position of a pool's stream."""
        turn, place = divmod(position, len(self.pools[pool]))
        return int(self._order(pool, turn)[place])
