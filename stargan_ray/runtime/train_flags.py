"""The flags of jobs/train.py: a run, and the fields of its recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import tyro

from stargan_ray.config import AnyMethod, DataConfig, Recipe, ScaleConfig, TrainConfig
from stargan_ray.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Train:
    """A run.

    Attributes:
        data_uri: URI of an ingested or refined data set.
        storage: URI under which the run's folder lies.
        name: of the run; the same name and storage continue it.
        identity: embedder of the methods that keep the identity: a run, a folder, a URI or models:/NAME@ALIAS; a
            judge of identities is refused.
        features: VGG19 whose maps the contextual loss compares: an expression classifier of that kind, as above; a file
            or URI of ImageNet's weights (.safetensors, .pth); or imagenet, which downloads them.
        judge: classifier that helps to choose a translator's best checkpoint; as above.
        init: run or model whose weights a new run starts from, where they fit.
        embeddings: read f(source) of a translator that keeps the identity from beside the data, where jobs/embed.py
            has put it, instead of computing it in each step; for augmentation that at most mirrors.
        crossfit: train a network for each of so many folds of the data, one after another, as NAME-fold-0 and so on;
            each leaves its fold out, so that jobs/refine.py can let it judge the fold's labels. 0 = one network of all.
        local: train in this process, without Ray.
        dry_run: print the configuration and stop.
        method, data, train, scale: the configuration.
    """

    data_uri: Annotated[str, tyro.conf.arg(name="data")]
    storage: str = "runs"
    name: str
    identity: str = ""
    features: str = ""
    judge: str = ""
    init: str = ""
    embeddings: bool = False
    crossfit: int = 0
    local: bool = False
    dry_run: bool = False
    method: AnyMethod
    data: DataConfig
    train: TrainConfig
    scale: ScaleConfig

    def __post_init__(self) -> None:
        if self.crossfit < 0 or self.crossfit == 1:
            raise InputError(f"--crossfit {self.crossfit}: allowed are 0 (none) and values >= 2")

    def recipe(self, base: Recipe) -> Recipe:
        """The recipe with its overridden fields."""
        return replace(base, method=self.method, data=self.data, train=self.train, scale=self.scale)
