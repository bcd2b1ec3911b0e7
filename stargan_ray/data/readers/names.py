"""The spellings of expressions that published data sets use, mapped to the project's own names."""

from __future__ import annotations

from collections.abc import Iterable

from stargan_ray.data.schema import EXPRESSIONS

_SPELLINGS = {
    "neutral": ("neutrality", "natural"),
    "happiness": ("happy", "joy"),
    "sadness": ("sad",),
    "surprise": ("surprised",),
    "fear": ("afraid", "fearful"),
    "disgust": ("disgusted",),
    "anger": ("angry",),
    "contempt": ("contemptuous",),
}
_EXPRESSION = {spelling: name for name, others in _SPELLINGS.items() for spelling in (name, *others)}
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def expression_of(name: str) -> str | None:
    """The project's name of an expression in any spelling, or None."""
    return _EXPRESSION.get(name.strip().lower())


def domains_of(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The domains that a source's own names stand for.

    Args:
        names: As the source spells them.

    Returns:
        The domains: expressions in the project's order if every name is one in some spelling, else the names
        in alphabetical order; and for each given name its index into them.
    """
    given = sorted(set(names))
    canonical = {name: expression_of(name) for name in given}
    if not all(canonical.values()):
        return tuple(given), {name: index for index, name in enumerate(given)}
    domains = tuple(name for name in EXPRESSIONS if name in canonical.values())
    return domains, {name: domains.index(found) for name, found in canonical.items() if found is not None}
