"""A fault of a configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Fault:
    """Something that must not stay so.

    Attributes:
        file: where it is written.
        field: dotted path in it, after the object's kind and name where a file holds several.
        what: is wrong, and what is allowed.
    """

    file: str
    field: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.what}"
