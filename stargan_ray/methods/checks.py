"""What the hyperparameters of several methods must be; errors name the field as a flag does."""

from __future__ import annotations

import math

from stargan_ray.errors import InputError


def require_finite(method: object, *fields: str) -> None:
    """Weights and rates: finite and not negative."""
    for field in fields:
        if not 0 <= getattr(method, field) < math.inf:
            raise InputError(f"method.{field} = {getattr(method, field)}: allowed are finite values >= 0")


def require_least(method: object, least: int, *fields: str) -> None:
    """Counts."""
    for field in fields:
        if getattr(method, field) < least:
            raise InputError(f"method.{field} = {getattr(method, field)}: allowed are values >= {least}")
