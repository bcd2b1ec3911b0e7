"""Pages for people: one look, every image within the page, nothing loaded from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any


def page(template: str, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """The HTML of a template.

    Args:
        template: name of a ``.j2`` file in this folder; ``page.css.j2`` is the style that all of them include.
        filters: functions that the template calls by these names, besides jinja's own.
        values: what the template shows. Text is escaped, and a name that is not given is an error.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_text), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    return environment.get_template(template).render(values)


def data_uri(mime: str, data: bytes) -> str:
    """Bytes as an address that a page can show without loading anything."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
