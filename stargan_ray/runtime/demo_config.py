"""What the demo is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stargan_ray.errors import InputError

if TYPE_CHECKING:
    from stargan_ray.config import Recipe
    from stargan_ray.data.faces import FacesConfig

_SIZE = 32  # pixels


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the demo is made of; the defaults fit two cores, 8 GiB and a quarter of an hour.

    Attributes:
        out: folder of everything it makes.
        seed: of the faces and of every training.
        label_noise: share of wrong labels among the faces that the translator learns from.
        people: that the translator learns from and is judged on.
        helpers_people: that each pair of supporting networks and of judges learns from.
        translator: recipe of the translator; ``stargan-v2-id-tiny-long`` is the one for an hour.
        speed: factor on the training steps; below 1 for a quick look (figures get worse).
        parallel: processes that draw faces.
    """

    out: Path = Path("runs/demo")
    seed: int = 0
    label_noise: float = 0.3
    people: int = 300
    helpers_people: int = 250
    translator: str = "stargan-v2-id-tiny"
    speed: float = 1.0
    parallel: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be judged."""
        if self.people < 40 or self.helpers_people < 10:
            raise InputError("--people, --helpers-people: allowed are >= 40 and >= 10")
        if self.speed <= 0 or self.parallel < 1:
            raise InputError("--speed, --parallel: allowed are > 0 and >= 1")
        from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
        from stargan_ray.recipes import recipe_named

        recipe = recipe_named(self.translator)
        if not isinstance(recipe.method, StarGANv2Identity) or recipe.data.size != _SIZE:
            raise InputError(f"--translator {self.translator}: allowed are recipes of stargan-v2-id at {_SIZE} pixels")

    def faces(self, population: int, people: int, noise: float, splits: tuple[float, float, float]) -> FacesConfig:
        """A population of its own: two seeds of faces share nobody."""
        from stargan_ray.data.faces import FacesConfig

        seed = 100 * self.seed + population
        return FacesConfig(people=people, size=_SIZE, seed=seed, label_noise=noise, splits=splits)

    def recipe(self, name: str) -> Recipe:
        """A tiny recipe with the demo's seed and speed."""
        from stargan_ray.recipes import recipe_named

        recipe = recipe_named(name)
        steps = max(2, round(recipe.train.steps * self.speed))
        every = max(1, min(recipe.train.checkpoint_every, steps))
        train = replace(
            recipe.train, seed=self.seed, steps=steps, checkpoint_every=every, validate_every=every, sample_every=every
        )
        return replace(recipe, train=train)
