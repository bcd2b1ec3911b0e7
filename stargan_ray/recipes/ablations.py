"""Named lists of variants of one recipe, each a few fields away from it: what ``jobs/compare.py --ablation`` trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from stargan_ray.config import Recipe, override
from stargan_ray.errors import InputError, unknown
from stargan_ray.schedules import UniformSteps

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """A recipe under a name of its own.

    Attributes:
        name: of the row in the table.
        fields: dotted path -> value, see ``config.override``.
    """

    name: str
    fields: Fields

    def of(self, base: Recipe) -> Recipe:
        """The variant of a recipe; its name is ``<recipe>/<variant>``, or the recipe's own where nothing differs.

        So a comparison finds the run that an earlier one of the same name has trained.
        """
        changed = override(base, self.fields)
        return base if changed == base else replace(changed, name=f"{base.name}/{self.name}")


_PLACES: dict[str, Fields] = {place: {"method.inject": place} for place in ("stem", "channels", "style", "none")}
_CRITICS: dict[str, Fields] = {
    "critic": {"method.conditional_critic": True},
    "blind": {"method.conditional_critic": False},
}


def _schedules(base: Recipe) -> dict[str, Fields]:
    """λ_id in uniform steps as the recipe has it, as a plain ramp, constant at its end, and none."""
    schedule = getattr(base.method, "lambda_id", None)
    if not isinstance(schedule, UniformSteps):
        raise InputError(f"ablation of {base.name}: it is for recipes of stargan-v2-id, which have a lambda_id")
    return {
        "steps": {},
        "ramp": {"method.lambda_id.step_size": 1},
        "constant": {"method.lambda_id.start": schedule.end},
        "no-loss": {"method.lambda_id.start": 0.0, "method.lambda_id.end": 0.0},
    }


def _one_by_one(base: Recipe) -> list[Variant]:
    """The recipe, and each choice about the identity changed alone."""
    choices = [
        *((f"inject {name}", fields) for name, fields in _PLACES.items()),
        ("blind critic", _CRITICS["blind"]),
        *((f"lambda_id {name}", fields) for name, fields in _schedules(base).items() if fields),
    ]
    own = getattr(base.method, "inject", "")
    return [Variant("as it is", {})] + [Variant(name, fields) for name, fields in choices if name != f"inject {own}"]


def _crossed(base: Recipe) -> list[Variant]:
    """Place × critic × schedule, every combination."""
    return [
        Variant(
            " ".join(name for name, _ in chosen),
            {path: value for _, fields in chosen for path, value in fields.items()},
        )
        for chosen in product(_PLACES.items(), _CRITICS.items(), _schedules(base).items())
    ]


def _balance(base: Recipe) -> list[Variant]:
    """How much identity: λ_id at its end, everything else as the recipe has it."""
    _schedules(base)
    return [Variant(f"lambda_id to {end:g}", {"method.lambda_id.end": end}) for end in (0.1, 0.5, 1.0, 2.0, 4.0)]


def _domains(base: Recipe) -> list[Variant]:
    """Weights that users of StarGAN v2 found to matter with seven or eight expressions, where styles carry identity."""
    missing = [name for name in ("lambda_sty", "lambda_cyc", "lambda_ds") if not hasattr(base.method, name)]
    if missing:
        raise InputError(f"ablation of {base.name}: {base.method.name} has no {missing[0]}; it is for stargan-v2")
    weights: dict[str, tuple[float, float, float]] = {
        "published": (1.0, 1.0, 1.0),
        "no diversity": (1.0, 1.0, 0.0),
        "all at 3": (3.0, 3.0, 3.0),
        "cycle at 3": (1.0, 3.0, 1.0),
    }
    return [
        Variant(name, {"method.lambda_sty": sty, "method.lambda_cyc": cyc, "method.lambda_ds.start": ds})
        for name, (sty, cyc, ds) in weights.items()
    ]


def _savings(base: Recipe) -> list[Variant]:
    """What makes an iteration cheaper and changes its numbers, each alone, beside the published iteration in fp32."""
    if not hasattr(base.method, "merged"):
        raise InputError(f"ablation of {base.name}: it is for recipes of stargan-v2 and stargan-v2-id")
    plain: Fields = {
        "method.r1_every": 1,
        "method.reference_every": 1,
        "method.merged": False,
        "train.precision": "fp32",
    }
    changes: dict[str, Fields] = {
        "published updates": {},
        "bf16": {"train.precision": "bf16"},
        "lazy R1": {"method.r1_every": 16},
        "merged updates": {"method.merged": True},
    }
    return [Variant(name, {**plain, **fields}) for name, fields in changes.items()]


_ABLATIONS = {
    "identity": _one_by_one,
    "identity-crossed": _crossed,
    "lambda-id": _balance,
    "domains": _domains,
    "savings": _savings,
}


def ablation_named(name: str, base: Recipe) -> list[Recipe]:
    """The variants of a recipe that a name stands for: ``identity``, ``lambda-id``, ``savings`` and others.

    Raises:
        InputError: there is no such list, or the recipe lacks what it varies.
    """
    if name not in _ABLATIONS:
        raise unknown("ablation", name, _ABLATIONS)
    return [variant.of(base) for variant in _ABLATIONS[name](base)]
