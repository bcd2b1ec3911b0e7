"""What a generated face does: action units (FACS), the eight expressions, a person's own way with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26)
Actions = dict[int, tuple[float, float]]
"""Action unit -> strength in the left and right half of the *picture*, 0 (absent) .. 1 (full), up to 1.4."""

_STREAM_STYLE = 102
_LEFT, _RIGHT = 0, 1

# EMFACS combinations, two ways each; a person's variant blends them. Order as in schema.EXPRESSIONS.
_WAYS: tuple[tuple[dict[int, float], dict[int, float]], ...] = (
    ({}, {}),
    ({6: 0.75, 12: 0.9}, {6: 1.0, 12: 1.0, 25: 0.9, 26: 0.3}),
    ({1: 1.0, 4: 0.6, 15: 1.0}, {1: 0.9, 4: 0.5, 15: 0.8, 17: 0.8}),
    ({1: 1.0, 2: 1.0, 5: 0.8, 25: 0.5, 26: 0.55}, {1: 0.9, 2: 1.0, 5: 1.0, 25: 0.6, 26: 1.0}),
    (
        {1: 1.0, 2: 0.4, 4: 0.7, 5: 1.0, 7: 0.3, 20: 1.0, 25: 0.8},
        {1: 1.0, 2: 0.6, 4: 0.6, 5: 1.0, 7: 0.2, 20: 0.8, 25: 0.8, 26: 0.4},
    ),
    (
        {4: 0.3, 7: 0.4, 9: 1.0, 10: 0.7, 15: 0.3, 17: 0.6},
        {4: 0.2, 6: 0.3, 7: 0.4, 9: 0.8, 10: 1.0, 15: 0.5, 25: 0.6},
    ),
    (
        {4: 1.0, 5: 0.6, 7: 0.7, 17: 0.5, 23: 1.0},
        {4: 1.0, 5: 0.5, 7: 0.8, 10: 0.4, 23: 0.6, 25: 0.8},
    ),
    ({12: 0.75, 14: 1.0}, {12: 0.6, 14: 1.0}),
)
CONTEMPT = 7


@dataclass(frozen=True)
class Style:
    """One person's way of showing emotions: what makes the same label look different on two people.

    Tuples run along :data:`ACTION_UNITS`, ``variants`` along the eight expressions.
    """

    gains: tuple[float, ...] = (1.0,) * 16  # how strongly this person uses each action unit, about 0.7 .. 1.3
    leans: tuple[float, ...] = (0.0,) * 16  # -1 only the left half of the picture .. 1 only the right half
    rest: tuple[float, ...] = (0.0,) * 16  # what the resting face shows already, 0 .. 0.2
    variants: tuple[float, ...] = (0.5,) * 8  # 0 the first way .. 1 the second way; contempt: < 0.5 left side
    wobble: float = 0.08  # how much one picture differs from the next, as a share of each action unit


def style(seed_of_identities: int, number: int) -> Style:
    """The expression style of one person, a function of the two numbers alone, as for their traits."""
    rng = np.random.default_rng([seed_of_identities, _STREAM_STYLE, number])
    count = len(ACTION_UNITS)
    rest = np.where(rng.random(count) < 0.2, rng.uniform(0.0, 0.2, count), 0.0)
    # A mouth resting open or a jaw resting dropped would be an expression of its own.
    rest[[ACTION_UNITS.index(unit) for unit in (9, 10, 20, 25, 26)]] = 0.0
    return Style(
        gains=tuple(rng.uniform(0.75, 1.25, count).tolist()),
        leans=tuple(np.clip(rng.normal(0, 0.10, count), -0.3, 0.3).tolist()),
        rest=tuple(rest.tolist()),
        variants=tuple(rng.beta(0.6, 0.6, 8).tolist()),
        wobble=float(rng.uniform(0.04, 0.12)),
    )


def actions(expression: int, intensity: float, style: Style, rng: np.random.Generator) -> Actions:
    """Action units of one picture.

    Args:
        expression: index into ``schema.EXPRESSIONS``.
        intensity: 0 (the resting face) .. 1 (full).
        style: the person's way; ``Style()`` is the textbook.
        rng: source of the picture's own variation.

    Returns:
        All sixteen units; strengths of the two halves differ by the style's lean, and for contempt, which is
        unilateral (AU 12 + 14), only one half moves.
    """
    draws = rng.normal(0.0, style.wobble, len(ACTION_UNITS) + 1).tolist()
    variant = min(1.0, max(0.0, style.variants[expression] + 2.0 * draws[-1]))
    first, second = _WAYS[expression]
    found: Actions = {}
    for place, unit in enumerate(ACTION_UNITS):
        level = (1.0 - variant) * first.get(unit, 0.0) + variant * second.get(unit, 0.0)
        level = level * intensity * style.gains[place] * (1.0 + draws[place])
        lean = style.leans[place]
        halves = [level * (1.0 - lean), level * (1.0 + lean)]
        if expression == CONTEMPT:
            still = _RIGHT if style.variants[CONTEMPT] < 0.5 else _LEFT
            halves[still] = 0.0
        left, right = (min(1.4, half + style.rest[place]) for half in halves)
        found[unit] = (left, right)
    return found


def single(unit: int, strength: float = 1.0) -> Actions:
    """A face that moves one action unit only, for study and tests."""
    return {other: ((strength, strength) if other == unit else (0.0, 0.0)) for other in ACTION_UNITS}
