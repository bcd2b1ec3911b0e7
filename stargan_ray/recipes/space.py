"""What a search may choose: ranges and lists of values for fields of a recipe, in Python or as text.

>>> parse_dimension("loguniform(0.5, 8)")
Range(low=0.5, high=8.0, log=True, step=0)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stargan_ray.config import Recipe, flatten
from stargan_ray.errors import InputError, unknown

_ALLOWED = "uniform(LOW,HIGH), loguniform(LOW,HIGH), int(LOW,HIGH), int(LOW,HIGH,STEP), choice(A,B,…)"


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Attributes:
        low, high: the ends.
        log: whether each factor is as likely as any other, instead of each distance.
        step: distance between whole numbers; 0 = any number.
    """

    low: float
    high: float
    log: bool = False
    step: int = 0

    def __post_init__(self) -> None:
        """Refuse empty ranges, and logarithms of nothing."""
        if not -math.inf < self.low < self.high < math.inf:
            raise InputError(f"range {self.low:g} to {self.high:g}: the low end must be below the high one")
        if self.log and self.low <= 0:
            raise InputError(f"range {self.low:g} to {self.high:g}: a logarithmic one starts above 0")
        if self.step < 0 or (self.step and (self.low != int(self.low) or self.high != int(self.high))):
            raise InputError(f"range {self.low:g} to {self.high:g}: ends and step of whole numbers are whole")

    @property
    def ends(self) -> tuple[Any, ...]:
        """Its extreme values."""
        return (int(self.low), int(self.high)) if self.step else (self.low, self.high)

    def __contains__(self, value: Any) -> bool:
        """Whether it may be chosen."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (not self.step or (value - self.low) % self.step == 0)


@dataclass(frozen=True)
class Choice:
    """Some values.

    Attributes:
        values: at least two.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Refuse what is no choice."""
        if len(set(self.values)) < 2 or len(set(self.values)) < len(self.values):
            raise InputError(f"choice{self.values}: at least two different values are needed")

    @property
    def ends(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values

    def __contains__(self, value: Any) -> bool:
        """Whether it may be chosen."""
        return value in self.values


Dimension = Range | Choice


def parse_dimension(text: str) -> Dimension:
    """A dimension as people type it.

    Raises:
        InputError: it is none, with what is allowed.
    """
    found = re.fullmatch(r"\s*([a-z]+)\s*\((.*)\)\s*", text, re.DOTALL)
    kind, inside = (found[1], [part.strip() for part in found[2].split(",")]) if found else ("", [])
    if kind == "choice" and all(inside):
        return Choice(tuple(parse_value(part) for part in inside))
    try:
        numbers = [float(part) for part in inside]
    except ValueError:
        numbers = []
    if kind in ("uniform", "loguniform") and len(numbers) == 2:
        return Range(numbers[0], numbers[1], log=kind == "loguniform")
    if kind == "int" and len(numbers) in (2, 3) and all(n == int(n) for n in numbers):
        return Range(numbers[0], numbers[1], step=int(numbers[2]) if len(numbers) == 3 else 1)
    raise InputError(f"{text!r} is no range: allowed are {_ALLOWED}")


def parse_value(text: str) -> Any:
    """A number, ``true``, ``false``, or the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def field_of(path: str, recipe: Recipe) -> str:
    """The whole dotted path of a field; what comes first may be left away where only one can be meant.

    Raises:
        InputError: there is no such field, or there are several.
    """
    paths = list(flatten(recipe))
    if path in paths:
        return path
    ending = [known for known in paths if known.endswith(f".{path}")]
    if len(ending) > 1 and f"method.{path}" in ending:
        return f"method.{path}"
    if len(ending) > 1:
        raise InputError(f"field {path!r} can mean {', '.join(ending)}: give the whole of it")
    if not ending:
        raise unknown("field", path, [known for known in paths if known not in ("name", "about")])
    return ending[0]


def point_text(fields: Mapping[str, Any], shown: int = 4) -> str:
    """Fields and values in few characters, for tables."""
    short = {path.removeprefix("method."): value for path, value in fields.items()}
    told = [f"{path}={value:.3g}" if isinstance(value, float) else f"{path}={value}" for path, value in short.items()]
    return " ".join(told[:shown]) + (" …" if len(told) > shown else "")
