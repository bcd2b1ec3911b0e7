"""What flags offer where nothing is said. No library is imported here: the help of a job does not wait for PyTorch."""

from __future__ import annotations

from typing import Literal

ALL = "all"  # every expression of a translator
BLOCK = 2048  # rows that are scored and stored together: what a kill can cost each process
Crops = Literal["one", "flip", "ten"]  # the views of an image whose probabilities are averaged
