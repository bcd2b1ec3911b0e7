"""Tiny untrained models, made by the real methods and saved by the real checkpoint code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stargan_ray.config import AnyMethod, DataConfig, Recipe, TrainConfig, to_json
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.runtime.models import load_model
from stargan_ray.training.checkpoint import Checkpoints, save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker

DOMAINS = ["neutral", "happiness", "sadness"]


@dataclass(frozen=True)
class TinyModels:
    """Where they are: checkpoints of the helpers, and a run of the translator with two checkpoints."""

    identity: Path
    expression: Path
    run: Path
    best: Path


def recipe_for(method: AnyMethod, size: int) -> Recipe:
    return Recipe(method.name, "a test's", method, DataConfig(size=size), TrainConfig(best="val/score"))


def meta_for(recipe: Recipe, **more: Any) -> dict[str, Any]:
    told = {"domains": DOMAINS, "data_hash": "d" * 64, "commit": "c0ffee", "version": "0.1.0"}
    return {"recipe": to_json(recipe), "metrics": {}, **told, **more}


def build(root: Path) -> TinyModels:
    """Save them all below a folder."""
    worker = LocalWorker()
    identity = recipe_for(IdentityMethod(width=0.05, middle_blocks=0, stem_stride=1, hidden=8, embedding=8), size=32)
    save_folder(fresh_state(identity, 3, worker, {}), root / "identity", meta_for(identity))
    expression = recipe_for(ExpressionMethod(width=2), size=32)
    save_folder(fresh_state(expression, 3, worker, {}), root / "expression", meta_for(expression))

    embedder = load_model(root / "identity")
    recipe = recipe_for(
        StarGANv2Identity(
            first=8, largest=16, bottleneck=8, depth=1, style_dim=8, latent_dim=4, mapping_hidden=16, identity_dim=8
        ),
        size=16,
    )
    helpers = {"identity": {"uri": str(root / "identity"), "content_hash": embedder.content_hash}}
    checkpoints = Checkpoints(str(root / "run" / "checkpoints"), best="val/score")
    saved = []
    for step, score in ((1, 0.9), (2, 0.1)):
        state = fresh_state(replace(recipe, train=replace(recipe.train, seed=step)), 3, worker, {})
        for network in state.averaged.values():  # the averages differ from the weights, as after training
            for parameter in network.parameters():
                parameter.mul_(1.5)
        state.step = step
        metrics = {"val/score": score, "speed/images_per_second": 9.0}
        saved.append(checkpoints.save(state, meta_for(recipe, metrics=metrics, helpers=helpers)))
    return TinyModels(root / "identity", root / "expression", root / "run", Path(saved[0]))


def build_judge(folder: Path) -> Path:
    """Save an untrained judge of identities."""
    recipe = recipe_for(IdentityJudgeMethod(backbone="test_resnet", hidden=8, embedding=8, people=6), size=32)
    save_folder(fresh_state(recipe, 3, LocalWorker(), {}), folder, meta_for(recipe))
    return folder


def build_supporting(folder: Path) -> None:
    """Save untrained networks that know the eight expressions: ``identity``, ``expression``, ``identity-judge``."""
    methods: dict[str, AnyMethod] = {
        "identity": IdentityMethod(width=0.05, middle_blocks=0, stem_stride=1, hidden=8, embedding=8),
        "expression": ExpressionMethod(width=2),
        "identity-judge": IdentityJudgeMethod(backbone="test_resnet", hidden=8, embedding=8, people=6),
    }
    for name, method in methods.items():
        recipe = recipe_for(method, size=32)
        meta = {**meta_for(recipe), "domains": list(EXPRESSIONS)}
        save_folder(fresh_state(recipe, len(EXPRESSIONS), LocalWorker(), {}), folder / name, meta)
