"""Who judges and who trains: a judge never trains a translator, and what trained one never judges it.

A generator learns to please whatever its loss asks, so a judge that had trained it would find what it wants to see.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from stargan_ray.errors import InputError
from stargan_ray.evaluation.judging import Judges
from stargan_ray.methods.base import Method
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.runtime.dlib_identity import DLIB
from stargan_ray.runtime.feature_use import open_helper
from stargan_ray.runtime.lookup import registered_hashes
from stargan_ray.runtime.models import LoadedModel, load_model

JUDGE = IdentityJudgeMethod.name
REGISTERED = "face-identity-judge"
_WHY = "a judge that trains is no judge; train an embedder of its own, for example with the recipe identity"
_log = logging.getLogger(__name__)


def refuse_name(helper: str, where: str) -> None:
    """Refuse what says already by its name that it is a judge, before it is fetched."""
    if where == DLIB or where.startswith((f"models:/{REGISTERED}@", f"models:/{REGISTERED}/")):
        raise InputError(f"--{helper} {where} is a judge of identities: {_WHY}")


def require_helper(helper: str, model: LoadedModel) -> LoadedModel:
    """A model that may train others, whatever it is called."""
    if model.kind == JUDGE:
        raise InputError(f"--{helper} {model.where} is of kind {JUDGE}: {_WHY}")
    return model


def refuse_registered(models: Mapping[str, LoadedModel], uri: str = "") -> None:
    """Refuse helpers with the weights of a registered judge under another name or kind.

    A registry that does not answer is not waited for: training never depends on it.

    Args:
        models: helper's name -> its model.
        uri: of MLflow; empty = ``tracking_uri()``.
    """
    if not models:
        return
    try:
        judges = registered_hashes(REGISTERED, uri)
    except InputError as error:
        _log.warning("the helpers are not compared with the registered judges: %s", error)
        return
    for helper, model in models.items():
        if version := judges.get(model.content_hash):
            raise InputError(f"--{helper} {model.where} has the weights of models:/{REGISTERED}/{version}: {_WHY}")


def refuse_start(method: Method, meta: Mapping[str, Any], where: str) -> None:
    """Refuse weights of a judge as the start of anything else, and weights of anything else as that of a judge.

    Args:
        method: the one that is to be trained.
        meta: meta.json of what it is to start from.
        where: the same, for the message.
    """
    started = meta.get("recipe", {}).get("method", {}).get("name", "")
    if (started == JUDGE) is not isinstance(method, IdentityJudgeMethod):
        raise InputError(f"--init {where} is of the method {started}: a judge shares no weights with anything else")


@dataclass(frozen=True)
class JudgeModels:
    """Who judges, by place and weights; it travels to other processes.

    Attributes:
        expression, identity: models, or ``dlib`` for identities.
        training: the embedder whose loss trained translators, shown beside the judges; empty = none.
        content_hashes: of the three, where they are there.
    """

    expression: str
    identity: str
    training: str = ""
    content_hashes: tuple[str, ...] = ()

    @staticmethod
    def of(expression: str, identity: str, training: str = "") -> JudgeModels:
        """Resolve the places: an alias that moves meanwhile must not change the judge.

        Raises:
            InputError: a model cannot be loaded, is of another kind, or the training embedder is the judge.
        """
        models = [load_model(where) for where in (expression, identity, training) if where]
        kinds = (("expression",), (JUDGE, "identity"), ("identity",))
        for model, allowed in zip(models, kinds, strict=False):
            if model.kind not in allowed:
                raise InputError(
                    f"{model.where} is a model of kind {model.kind}: allowed as this judge is {' or '.join(allowed)}"
                )
        if training and models[1].content_hash == models[2].content_hash:
            raise InputError(f"{identity} cannot judge identities: it is the embedder that trains translators")
        hashes = tuple(model.content_hash for model in models)
        return JudgeModels(models[0].where, models[1].where, models[2].where if training else "", hashes)

    def hashes(self) -> tuple[str, ...]:
        """What tells these judges from others, wherever they lie."""
        return self.content_hashes

    def named(self) -> dict[str, str]:
        """What a report says of them: place and weights."""
        seats = {"expression": self.expression, "identity": self.identity, "training": self.training}
        present = {seat: where for seat, where in seats.items() if where}
        return {
            seat: f"{where} {content[:12]}"
            for (seat, where), content in zip(present.items(), self.content_hashes, strict=True)
        }

    def refuse_trainers_of(self, translator: LoadedModel) -> None:
        """Refuse a translator that one of the two judges helped to train.

        Raises:
            InputError: which.
        """
        judging = dict(zip((self.expression, self.identity), self.content_hashes, strict=False))
        for name, helper in translator.meta["helpers"].items():
            for where, content in judging.items():
                if content == helper.get("content_hash"):
                    raise _refused(where, translator, name)

    def open(self, device: torch.device | str = "cpu") -> Judges:
        """Their networks."""
        expression, identity, *training = (_only(model) for model in self.models(device))
        return replace(_judges(expression, identity), training=training[0] if training else None)

    def models(self, device: torch.device | str = "cpu") -> tuple[LoadedModel, ...]:
        """The expression judge, the identity judge, and the training embedder if there is one.

        Those asked for last in this process are still there: several parts of an evaluation want the same.
        """
        return _loaded(self, str(device))


def open_judges(
    expression: str, identity: str, translator: LoadedModel | None = None, device: torch.device | str = "cpu"
) -> Judges:
    """The judges of a translator, by models or ``dlib`` for identities; without one, those of the rows beside it.

    Raises:
        InputError: a model cannot be loaded, is of another kind, or has the weights of what the translator learnt from.
    """
    seen = _network(expression, ("expression",), translator, device)
    return _judges(seen, open_identity_judge(identity, translator, device))


def _judges(expression: nn.Module, identity: nn.Module) -> Judges:
    return Judges(expression, identity, getattr(expression, "features", None), getattr(expression, "head", None))


@lru_cache(maxsize=1)
def _loaded(judges: JudgeModels, device: str) -> tuple[LoadedModel, ...]:
    seats = (judges.expression, judges.identity, judges.training)
    return tuple(load_model(where, device) for where in seats if where)


def refuse_trainers(judges: Mapping[str, str], trainers: Mapping[str, str]) -> None:
    """Refuse judges with the weights of a network that trains, or chooses the checkpoints of, what they judge.

    Args:
        judges: what it judges -> model or ``dlib``.
        trainers: what it does in training -> model; empty ones are passed over.

    Raises:
        InputError: one is the other, under whatever name.
    """
    hashes = {open_helper(name, where).content_hash: name for name, where in trainers.items() if where}
    for what, where in judges.items():
        if where != DLIB and (name := hashes.get(load_model(where).content_hash)):
            raise InputError(f"{where} cannot judge the {what}: it is the {name} network of the training")


def open_identity_judge(
    where: str, translator: LoadedModel | None = None, device: torch.device | str = "cpu"
) -> nn.Module:
    """Images (b, 3, H, W) in [-1, 1] -> unit vectors (b, d), by a model or ``dlib``; errors as ``open_judges``."""
    return _network(where, (JUDGE, "identity"), translator, device)


def _network(
    where: str, kinds: tuple[str, ...], translator: LoadedModel | None, device: torch.device | str
) -> nn.Module:
    judge = load_model(where, device)
    if judge.kind not in kinds:
        raise InputError(f"{where} is a model of kind {judge.kind}: allowed as this judge is {' or '.join(kinds)}")
    for name, helper in (translator.meta["helpers"] if translator else {}).items():
        if judge.content_hash == helper.get("content_hash"):
            assert translator is not None
            raise _refused(where, translator, name)
    return _only(judge)


def _only(model: LoadedModel) -> nn.Module:
    (network,) = model.networks.values()
    return network


def _refused(judge: str, translator: LoadedModel, name: str) -> InputError:
    return InputError(
        f"{judge} cannot judge {translator.where}: it is the {name} network that trained it; give another one"
    )
