"""The one exception that a job prints as a single line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """What a person gave cannot be used: the message names the field, file or row and what is allowed.

    Jobs print it as one line and exit with status 2; no traceback is shown. Programming errors stay
    ordinary exceptions (``assert``, ``TypeError``) and keep their traceback. It is no ValueError, so that no
    library between a config and the job (tyro, pyarrow) takes it for one of its own and wraps it.
    """


class DivergedError(InputError):
    """A training's numbers became infinite: what it was asked to do cannot be done, and trying again would not help."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> InputError:
    """An :class:`InputError` for a name that is not in a known set, with the nearest one suggested."""
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {given!r}: {hint}allowed: {', '.join(names)}")
