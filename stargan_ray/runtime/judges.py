"""Who judges and who trains: a judge never trains a translator, and what trained one never judges it.

A generator learns to please whatever its loss asks, so a judge that had trained it would find what it wants to see.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

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


def open_judges(expression: str, identity: str, translator: LoadedModel | None = None) -> Judges:
    """The judges of a translator, by models or ``dlib`` for identities; without one, those of the rows beside it.

    Raises:
        InputError: a model cannot be loaded, is of another kind, or has the weights of what the translator learnt from.
    """
    seen = _network(expression, ("expression",), translator)
    return Judges(seen, open_identity_judge(identity, translator), getattr(seen, "features", None))


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


def open_identity_judge(where: str, translator: LoadedModel | None = None) -> nn.Module:
    """Images (b, 3, H, W) in [-1, 1] -> unit vectors (b, d), by a model or ``dlib``; errors as ``open_judges``."""
    return _network(where, (JUDGE, "identity"), translator)


def _network(where: str, kinds: tuple[str, ...], translator: LoadedModel | None) -> nn.Module:
    judge = load_model(where)
    if judge.kind not in kinds:
        raise InputError(f"{where} is a model of kind {judge.kind}: allowed as this judge is {' or '.join(kinds)}")
    for name, helper in (translator.meta["helpers"] if translator else {}).items():
        if judge.content_hash == helper.get("content_hash"):
            assert translator is not None
            raise InputError(
                f"{where} cannot judge {translator.where}: it is the {name} network that trained it; give another one"
            )
    (network,) = judge.networks.values()
    return network
