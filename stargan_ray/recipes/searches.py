"""Named searches: what ``jobs/tune.py`` varies about a recipe, and which points are always among the trials.

The paper set λ_id from 0.1 to 4 and does not say why, and gives no margin. Each search holds its best against that
point, against the recipe as it is, and, where λ_id is searched, against no identity loss at all.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from stargan_ray.config import Recipe, flatten, override
from stargan_ray.errors import InputError, unknown
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.recipes import recipe_named
from stargan_ray.recipes.space import Choice, Dimension, Range, field_of
from stargan_ray.schedules import UniformSteps

Fields = Mapping[str, Any]
Space = Mapping[str, Dimension]

EMBEDDER = "embedder."  # before the fields of the embedder that a trial trains first
OF_TRANSLATOR = ("target_expression_accuracy", "tar")
OF_EMBEDDER = ("verification", "across_expressions")
_START, _END = "method.lambda_id.start", "method.lambda_id.end"
_FROM, _TO = "method.lambda_id.ramp_start", "method.lambda_id.ramp_end"


@dataclass(frozen=True)
class Search:
    """What is varied.

    Attributes:
        name: of the search.
        recipe: of the network that is judged.
        space: dotted path of a field -> its values; ``embedder.`` comes first where it is one of the embedder's.
        anchors: name -> fields that are tried whatever the searcher thinks.
        embedder: trained first in each trial and given to ``recipe`` as its identity network; None = one is given.
    """

    name: str
    recipe: Recipe
    space: Space
    anchors: Mapping[str, Fields] = field(default_factory=dict)
    embedder: Recipe | None = None

    def __post_init__(self) -> None:
        """Refuse fields that there are not and ends that no run can mean, before anything is trained."""
        if not self.space:
            raise InputError(f"search {self.name}: at least one range is needed")
        for path in self.space:
            whole = self.whole(path)
            if whole != path:
                raise InputError(f"search {self.name}: {path!r} must be given as {whole!r}")
        for end in (0, -1):
            self.trained({path: dimension.ends[end] for path, dimension in self.space.items()})
        for path, dimension in self.space.items():
            for value in dimension.ends:
                self.trained({path: value})
        for fields in self.anchors.values():
            self.trained(fields)

    @property
    def objectives(self) -> tuple[str, str]:
        """The two figures that are both to be high, shares in [0, 1]."""
        return OF_EMBEDDER if isinstance(self.recipe.method, IdentityMethod) else OF_TRANSLATOR

    def whole(self, path: str) -> str:
        """The whole path of a field, see ``space.field_of``."""
        if path.startswith(EMBEDDER):
            if self.embedder is None:
                raise InputError(f"field {path!r}: the search {self.name} trains no embedder (joint does)")
            return EMBEDDER + field_of(path.removeprefix(EMBEDDER), self.embedder)
        return field_of(path, self.recipe)

    def extended(self, space: Space, without: Collection[str] = ()) -> Search:
        """The same search with other ranges beside or instead of its own, and without some; paths may be short.

        Raises:
            InputError: there is no such field, or its values are not allowed.
        """
        merged = {**self.space, **{self.whole(path): dimension for path, dimension in space.items()}}
        left_out = {self.whole(path) for path in without}
        return replace(self, space={path: found for path, found in merged.items() if path not in left_out})

    def trained(self, fields: Fields) -> tuple[Recipe, ...]:
        """The recipes of a trial in the order of their training; the last one is judged.

        Raises:
            InputError: a field is not there or its value is not allowed.
        """
        own = {path: value for path, value in fields.items() if not path.startswith(EMBEDDER)}
        own = self.turned(own)
        if self.embedder is None:
            return (override(self.recipe, own),)
        inner = {p.removeprefix(EMBEDDER): value for p, value in fields.items() if p.startswith(EMBEDDER)}
        embedder = override(self.embedder, inner)
        method = embedder.method
        assert isinstance(method, IdentityMethod)
        return embedder, override(self.recipe, {"method.identity_dim": method.embedding, **own})

    def turned(self, fields: Fields) -> dict[str, Any]:
        """The fields; a ramp that would end before it starts is turned round: either end may be anywhere in the run."""
        if _FROM not in fields and _TO not in fields:
            return dict(fields)
        schedule = getattr(self.recipe.method, "lambda_id", None)
        ends = fields.get(_FROM, getattr(schedule, "ramp_start", 0)), fields.get(_TO, getattr(schedule, "ramp_end", 0))
        return {**fields, _FROM: min(ends), _TO: max(ends)}

    def values_at(self, fields: Fields) -> dict[str, Any]:
        """Path -> value of every searched field at a point, also of those that it leaves as the recipe has them."""
        recipes = self.trained(fields)
        flat = flatten(recipes[-1])
        if self.embedder is not None:
            flat |= {EMBEDDER + path: value for path, value in flatten(recipes[0]).items()}
        return {path: flat[path] for path in self.space}


def search_named(name: str, recipe: str = "", embedder: str = "", fixed: Fields = MappingProxyType({})) -> Search:
    """The search that a name stands for: ``lambda-id``, ``margin``, ``joint`` or ``balance``.

    Args:
        name: of the search.
        recipe: of the network that is judged; empty = the tiny one.
        embedder: of the one that ``joint`` trains first; empty = identity-tiny.
        fixed: path -> value of fields that are not as the recipe has them, and are not searched.

    Raises:
        InputError: there is no such search, it does not fit the recipe, or a field is not there.
    """
    if name not in SEARCHES:
        raise unknown("search", name, SEARCHES)
    build, default, _ = SEARCHES[name]
    inner = {p.removeprefix(EMBEDDER): value for p, value in fixed.items() if p.startswith(EMBEDDER)}
    outer = {p: value for p, value in fixed.items() if not p.startswith(EMBEDDER)}
    found = build(
        _changed(recipe_named(recipe or default), outer), _changed(recipe_named(embedder or "identity-tiny"), inner)
    )
    if inner and found.embedder is None:
        raise InputError(f"field {EMBEDDER}{next(iter(inner))}: the search {name} trains no embedder (joint does)")
    return found.extended({}, fixed)


def _changed(recipe: Recipe, fields: Fields) -> Recipe:
    return override(recipe, {field_of(path, recipe): value for path, value in fields.items()})


def _lambda_id(recipe: Recipe, _embedder: Recipe) -> Search:
    return Search("lambda-id", recipe, _schedule(recipe), _anchors(recipe))


def _schedule(recipe: Recipe) -> dict[str, Dimension]:
    """Start, end, both ends of the ramp and its bend."""
    steps = recipe.train.steps
    return {
        _START: Range(0.01, 4.0, log=True),
        _END: Range(0.1, 8.0, log=True),
        _FROM: Range(0, steps, step=1),
        _TO: Range(0, steps, step=1),
        "method.lambda_id.power": Range(0.25, 4.0, log=True),
    }


def _anchors(recipe: Recipe) -> dict[str, Fields]:
    """The paper's 0.1 until a quarter of the run, then to 4 in uniform steps; no identity loss; the recipe."""
    if not isinstance(recipe.method, StarGANv2Identity):
        raise InputError(f"recipe {recipe.name}: this search is for recipes of stargan-v2-id, which have a lambda_id")
    steps, own = recipe.train.steps, recipe.method.lambda_id
    if not isinstance(own, UniformSteps):
        raise InputError(f"recipe {recipe.name}: its lambda_id goes in pieces; allowed are uniform steps")
    paper = {_START: 0.1, _END: 4.0, _FROM: steps // 4, _TO: steps, "method.lambda_id.power": 1.0}
    return {
        "paper": {**paper, "method.lambda_id.step_size": max(1, steps // 100)},
        "no identity loss": {_START: 0.0, _END: 0.0},
        "recipe": {_START: own.start, _END: own.end, _FROM: own.ramp_start, _TO: own.ramp_end},
    }


def _margin(recipe: Recipe, _embedder: Recipe) -> Search:
    if not isinstance(recipe.method, IdentityMethod):
        raise InputError(f"recipe {recipe.name}: the search margin is for recipes of identity embedders")
    return Search("margin", recipe, _triplets(""), _margins(recipe, ""))


def _triplets(prefix: str) -> dict[str, Dimension]:
    return {
        f"{prefix}method.margin": Range(0.05, 1.5, log=True),
        f"{prefix}method.mining": Choice(typing.get_args(typing.get_type_hints(IdentityMethod)["mining"])),
        f"{prefix}method.embedding": Choice((32, 64, 128, 256)),
    }


def _margins(recipe: Recipe, prefix: str) -> dict[str, Fields]:
    """Margin 1 and random negatives are the recipe that the paper's 84.375 % comes from."""
    method = recipe.method
    assert isinstance(method, IdentityMethod)
    own = {"margin": method.margin, "mining": method.mining, "embedding": method.embedding}
    return {
        "paper": {f"{prefix}method.margin": 1.0, f"{prefix}method.mining": "random"},
        "recipe": {f"{prefix}method.{name}": value for name, value in own.items()},
    }


def _joint(recipe: Recipe, embedder: Recipe) -> Search:
    anchors, margins = _anchors(recipe), _margins(embedder, EMBEDDER)
    if not isinstance(embedder.method, IdentityMethod) or embedder.data.size != recipe.data.size:
        raise InputError(f"--embedder {embedder.name}: allowed is an identity recipe of {recipe.data.size} pixels")
    both = {name: {**margins.get(name, margins["recipe"]), **fields} for name, fields in anchors.items()}
    return Search("joint", recipe, {**_triplets(EMBEDDER), **_schedule(recipe)}, both, embedder)


def _balance(recipe: Recipe, _embedder: Recipe) -> Search:
    space: dict[str, Dimension] = {
        "method.lambda_ds.start": Range(0.0, 2.0),
        "method.lambda_cyc": Range(0.1, 10.0, log=True),
        "method.lambda_sty": Range(0.1, 10.0, log=True),
        _END: Range(0.1, 8.0, log=True),
    }
    return Search("balance", recipe, space, _anchors(recipe))


SEARCHES: dict[str, tuple[Callable[[Recipe, Recipe], Search], str, str]] = {
    "lambda-id": (_lambda_id, "stargan-v2-id-tiny", "when and how strongly the person is asked for"),
    "margin": (_margin, "identity-tiny", "triplet margin, mining and width of the embedding"),
    "joint": (
        _joint,
        "stargan-v2-id-tiny",
        "an embedder by its margin, then λ_id of the translator that learns from it",
    ),
    "balance": (_balance, "stargan-v2-id-tiny", "diversity, cycle, style and identity against each other"),
}
