"""Parameters, GFLOP and memory of every translator's recipe as a Markdown table: counted, not timed; no GPU is needed.

python benchmarks/costs.py
"""

from __future__ import annotations

from torch import nn

from stargan_ray.config import Recipe
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.methods.base import Translator
from stargan_ray.models.expression import ExpressionClassifier
from stargan_ray.models.features import maps_of_classifier
from stargan_ray.recipes import RECIPES, recipe_named
from stargan_ray.training.costs import Costs, costs

# What stands in for the frozen helpers: the small ones where the translator is small.
_HELPERS = {"identity": ("identity-tiny", "identity"), "features": ("expression-tiny", "expression")}


def helper(name: str, recipe: Recipe) -> nn.Module:
    """A helper's network, untrained."""
    small, full = _HELPERS[name]
    chosen = recipe_named(small if "tiny" in recipe.name else full)
    network = next(iter(chosen.method.networks(chosen.data.size, len(EXPRESSIONS)).values()))
    return maps_of_classifier(network) if isinstance(network, ExpressionClassifier) else network


def line(recipe: Recipe, found: Costs) -> str:
    """A row of the table."""
    batch = recipe.data.shape.batch
    numbers = [
        f"{sum(found.parameters.values()) / 1e6:.2f}",
        f"{found.parameters['generator'] / 1e6:.2f}",
        f"{found.gflop:,.1f}",
        f"{found.activations / 2**20:,.0f}",
        f"{(found.activations * batch + found.state) / 2**30:.2f}",
    ]
    return f"| `{recipe.name}` | {recipe.data.size} | {batch} | " + " | ".join(numbers) + " |"


def main() -> None:
    """Print the table."""
    print("| recipe | px | batch | parameters, M | of them G | GFLOP an image | MiB an image | GiB a batch |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for recipe in RECIPES.values():
        if isinstance(recipe.method, Translator):
            helpers = {name: helper(name, recipe) for name in recipe.method.helpers}
            print(line(recipe, costs(recipe, len(EXPRESSIONS), helpers)))


if __name__ == "__main__":
    main()
