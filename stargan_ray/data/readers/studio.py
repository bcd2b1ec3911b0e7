"""Reader of the studio set."""

from __future__ import annotations

from stargan_ray.data import studio
from stargan_ray.data.readers.drawn import drawn_source
from stargan_ray.data.units import SHARD_ROWS, Source


def read_studio(config: studio.StudioConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """The studio set as a source of seven domains.

    Args:
        config: Which set.
        shard_rows: Rows of one unit.
    """
    return drawn_source("studio", config, studio.generate, studio.count(config), studio.DOMAINS, shard_rows)
