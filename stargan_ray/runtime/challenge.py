"""The champion's alias moves to a challenger that is better on the same requests before the same judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stargan_ray.errors import InputError
from stargan_ray.evaluation.challenge import Duel, duels, objections
from stargan_ray.runtime.evaluated import Evaluation, read_evaluation
from stargan_ray.runtime.lookup import Holder, find_holder, find_version, hash_of
from stargan_ray.runtime.mlflow_store import tracking_uri
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.registry import NAMES, promote
from stargan_ray.runtime.terms import Terms


def challenge(
    where: str, terms: Terms, *, name: str = "", alias: str = "champion", uri: str = ""
) -> tuple[str, tuple[Duel, ...]]:
    """Give an alias to a model if it beats the one that holds it; its figures go to the card and the tags.

    Args:
        where: the challenger, as ``load_model`` takes it.
        terms: what it has to show.
        name: of the registered model; empty = the name of its kind.
        alias: that is fought for.
        uri: of MLflow; empty = ``tracking_uri()``.

    Returns:
        ``models:/<name>/<version>``, and the figures that were compared, those of ``metrics`` first.

    Raises:
        InputError: the evaluations cannot be compared or are of other models, or the champion stays, with the figures
            that say so; nothing has moved then.
    """
    uri = uri or tracking_uri()
    ours = read_evaluation(terms.evaluation)
    model = _identify(where, name, uri)
    if ours.model_hash != model.content_hash:
        raise InputError(
            f"--evaluation {ours.uri} is of the model {ours.model_hash[:12]}, and {where} is {model.content_hash[:12]}"
        )
    holder = find_holder(model.name, alias, uri)
    compared = _compare(ours, holder, terms, f"models:/{model.name}@{alias}")
    # The resolved place: neither an alias nor a run's best checkpoint may become another one meanwhile.
    return promote(model.where, name=model.name, alias=alias, evaluation=ours, uri=uri), compared


@dataclass(frozen=True)
class _Challenger:
    """A model before it is promoted: where it is, resolved; what it is, or will be, registered as; its weights."""

    where: str
    name: str
    content_hash: str


def _identify(where: str, name: str, uri: str) -> _Challenger:
    if not where.startswith("models:/"):
        model = load_model(where)
        return _Challenger(model.where, name or NAMES[model.kind], model.content_hash)
    found, version = find_version(where, uri)
    if name not in ("", found):
        raise InputError(f"{where} is registered as {found}: --name {name} is for a run or a folder")
    return _Challenger(f"models:/{found}/{version}", found, hash_of(found, version, uri))


def _compare(ours: Evaluation, holder: Holder | None, terms: Terms, title: str) -> tuple[Duel, ...]:
    """The challenger against who holds the title; refused where it does not win."""
    if holder is None:
        if terms.against:
            raise InputError(f"no model holds {title}: leave --against and --metrics out for the first one")
        return ()
    if not terms.against:
        raise InputError(f"version {holder.version} holds {title}: give its evaluation (--against) and --metrics")
    theirs = read_evaluation(terms.against)
    if theirs.model_hash != holder.content_hash:
        raise InputError(
            f"--against {theirs.uri} is of the model {theirs.model_hash[:12]}, "
            f"and version {holder.version}, which holds {title}, is {holder.content_hash[:12] or 'of another program'}"
        )
    require_same_terms(ours, theirs)
    better = _duels(ours, theirs, terms.metrics)
    kept = _duels(ours, theirs, terms.no_worse)
    if reasons := objections(better, kept):
        raise InputError(f"version {holder.version} stays {title}: the challenger is {'; '.join(reasons)}")
    return better + kept


def _duels(ours: Evaluation, theirs: Evaluation, metrics: Sequence[str]) -> tuple[Duel, ...]:
    return duels(ours.values, theirs.values, ours.persons, metrics)


def require_same_terms(ours: Evaluation, theirs: Evaluation) -> None:
    """Refuse evaluations whose figures cannot be set against each other.

    Raises:
        InputError: They are on other data, by other judges, or of other requests.
    """
    told = f"{ours.uri} and {theirs.uri} cannot be compared"
    if ours.data_hash != theirs.data_hash:
        raise InputError(f"{told}: they are on other data ({ours.data_hash[:12]} and {theirs.data_hash[:12]})")
    for kind, judge in ours.judges.items():
        if judge != theirs.judges[kind]:
            raise InputError(f"{told}: other judges of {kind} ({judge} and {theirs.judges[kind]})")
    if not ours.requests.equals(theirs.requests):
        raise InputError(
            f"{told}: other requests ({ours.requests.num_rows} and {theirs.requests.num_rows} translations, "
            "whose people and targets must be the same in the same order)"
        )
