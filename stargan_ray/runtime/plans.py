"""From a recipe and a data set to the plan of its batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from stargan_ray.config import Recipe
from stargan_ray.data.folds import seen_rows
from stargan_ray.data.plan import Plan
from stargan_ray.data.plan_domains import DomainPlan
from stargan_ray.data.plan_identities import IdentityPlan
from stargan_ray.data.plan_rows import RowPlan
from stargan_ray.data.schema import ROW_GROUP
from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Translator
from stargan_ray.methods.identity_judge import IdentityJudgeMethod


def make_plan(recipe: Recipe, dataset: Dataset) -> Plan:
    """The plan that a method's batches come from, over the training rows of a data set."""
    index, manifest = dataset.index, dataset.manifest
    column = "identity" if recipe.method.plan == "identities" else "expression"
    usable = pc.and_(pc.equal(index["split"], "train"), pc.is_valid(index[column]))
    usable = pc.and_(usable, seen_rows(index, recipe.data.folds, recipe.data.fold))
    rows = np.flatnonzero(usable.to_numpy(zero_copy_only=False)).astype(np.int64)
    if not len(rows):
        raise InputError(f"{dataset.uri}: no training row has an {column}; {recipe.method.name} needs them")
    labels = pc.fill_null(index["expression"], -1).to_numpy()[rows].astype(np.int64)
    groups = index["shard"].to_numpy().astype(np.int64) << 32 | index["row"].to_numpy() // ROW_GROUP
    shape, seed = recipe.data.shape, recipe.train.seed
    if recipe.method.plan == "identities":
        names = pc.dictionary_encode(index["identity"].combine_chunks()).indices
        people = pc.fill_null(names, -1).to_numpy()[rows].astype(np.int64)
        data = recipe.data
        return IdentityPlan(rows, labels, people, groups, shape, seed, data.images_per_person, data.singles)
    given = pc.fill_null(index["weight"], 1.0).to_numpy()[rows].astype(np.float64)
    weights = None if (given == 1).all() else given
    pairs = isinstance(recipe.method, Translator)
    if not recipe.data.balance:
        if pairs:
            raise InputError(f"data.balance = False: {recipe.method.name} needs every domain as source and as target")
        return RowPlan(rows, labels, groups, shape, seed, weights)
    return DomainPlan(rows, labels, manifest.domains, groups, shape, seed, pairs, weights)


def for_plan(recipe: Recipe, plan: Plan) -> Recipe:
    """The recipe with what only the data can say: how many people a judge learns to tell apart.

    Raises:
        InputError: the recipe says another number.
    """
    method = recipe.method
    if not isinstance(method, IdentityJudgeMethod):
        return recipe
    assert isinstance(plan, IdentityPlan)
    if method.people not in (0, plan.classes):
        raise InputError(
            f"method.people = {method.people}: the batches are of {plan.classes} people of the data; "
            f"allowed are 0 and {plan.classes}"
        )
    return replace(recipe, method=replace(method, people=plan.classes))
