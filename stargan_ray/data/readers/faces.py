"""Reader of the generated faces."""

from __future__ import annotations

from stargan_ray.data import faces
from stargan_ray.data.readers.drawn import drawn_source
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.units import SHARD_ROWS, Source


def read_faces(config: faces.FacesConfig, shard_rows: int = SHARD_ROWS) -> Source:
    """Generated faces as a source.

    Args:
        config: Which set.
        shard_rows: Rows of one unit.
    """
    return drawn_source("faces", config, faces.generate, faces.count(config), EXPRESSIONS, shard_rows)
