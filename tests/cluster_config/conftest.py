"""The checks of cluster/ as modules, as `python cluster/check.py` finds them beside it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "cluster"))
