"""What a model says of itself: the meta.json of its folder, and the card that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stargan_ray.config import Recipe
from stargan_ray.evaluation.calibration import calibration_of
from stargan_ray.methods.base import Translator
from stargan_ray.training.checkpoint import FORMAT

if TYPE_CHECKING:  # every model that is loaded comes this way, and few are evaluated
    from stargan_ray.runtime.evaluated import Evaluation

LICENCE = "Apache-2.0"
_SECTION = "\n## Evaluation\n"
_OF_THE_RUN = ("speed/", "memory/", "rate/", "schedule/")  # metrics of how it was trained, not of what it can do
INTENDED_USE = {
    "translator": "changing the expression of faces, for research and for the augmentation of data sets, "
    "with images whose people agreed to it",
    "expression": "scoring the expression that a face shows, to filter noisy labels and judge translations",
    "identity": "measuring whether two images show the same person, to train and to judge translations",
    "identity-judge": "judging whether translations still show the same person; refused as a training loss",
}
LIMITS = {
    "translator": "people, poses and light unlike the training data come out worse; the output is a "
    "synthetic image and must not be passed off as a photograph",
    "expression": "an expression is not an emotion: no ground for decisions about people; images unlike the "
    "training data are scored with false confidence",
    "identity": "not tested for fairness between groups of people: no ground for access control, "
    "surveillance or any other decision about people",
}
LIMITS["identity-judge"] = LIMITS["identity"]
_INPUT = {
    "translator": "`image` (PNG, JPEG, WebP or BMP bytes of any size and mode), `target` (a domain), and "
    "optionally `reference` (image bytes), `intensity` (0 to 1), `seed`",
    "expression": "`image` (PNG, JPEG, WebP or BMP bytes of any size and mode)",
    "identity": "`image` (PNG, JPEG, WebP or BMP bytes of any size and mode)",
    "identity-judge": "`image` (PNG, JPEG, WebP or BMP bytes of any size and mode)",
}
_OUTPUT = {
    "translator": "`image` (PNG bytes, {size} × {size} pixels)",
    "expression": "one probability for each domain",
    "identity": "`embedding` (a vector of unit length)",
    "identity-judge": "`embedding` (a vector of unit length)",
}


def describe(raw: dict[str, Any], recipe: Recipe, helpers: dict[str, dict[str, str]]) -> dict[str, Any]:
    """What a model folder says of itself, from a checkpoint's meta.json or a model folder's."""
    kind = "translator" if isinstance(recipe.method, Translator) else recipe.method.name
    own = raw.get("pretrained", getattr(recipe.method, "pretrained", "none"))  # a model folder's meta has text there
    used = [
        *(own.values() if isinstance(own, dict) else [own]),
        *(h.get("pretrained", "none") for h in helpers.values()),
    ]
    used = [weights for weights in used if weights != "none"]
    return {
        "format": FORMAT,
        "kind": kind,
        "method": recipe.method.name,
        "run": raw.get("run", ""),
        "step": raw.get("step", 0),
        "domains": list(raw["domains"]),
        "size": recipe.data.size,
        "data_uri": raw.get("data_uri", ""),
        "data_hash": raw.get("data_hash", ""),
        "init": raw.get("init", {}),
        "commit": raw.get("commit", ""),
        "version": raw.get("version", ""),
        "metrics": {n: v for n, v in raw.get("metrics", {}).items() if not n.startswith(_OF_THE_RUN)},
        "licence": raw.get("licence", LICENCE),
        "intended_use": INTENDED_USE[kind],
        "limits": LIMITS[kind],
        "pretrained": ", ".join(used) or "none",
        "helpers": helpers,
        "recipe": raw["recipe"],
    }


def card(meta: Mapping[str, Any]) -> str:
    """The card of a model folder as Markdown.

    Args:
        meta: its meta.json, ``metrics`` included.
    """
    kind = meta["kind"]
    pretrained = meta["pretrained"]
    facts = {
        "Method": f"{meta['method']}, recipe `{meta['recipe']['name']}`, step {meta['step']}",
        "Run": f"`{meta['run'] or 'not recorded'}`",
        "Domains": ", ".join(meta["domains"]),
        "Image size": f"{meta['size']} × {meta['size']} pixels",
        "Training data": f"content hash `{meta['data_hash'] or 'not recorded'}`",
        "Pretrained weights": "none used" if pretrained == "none" else f"yes, `{pretrained}`",
        "Commit": f"`{meta['commit'] or 'not recorded'}`, version {meta['version'] or 'not recorded'}",
        "Licence": meta["licence"],
        "Intended use": meta["intended_use"],
        "Limits": meta["limits"],
        "Input": _INPUT[kind],
        "Output": _OUTPUT[kind].format(size=meta["size"]),
    }
    if (read := calibration_of(meta)) is not None:
        facts["Same person"] = (
            f"squared L2 distance d below {read.threshold:.4g}; P(same) = 1 / (1 + exp(−({read.intercept:.4g} "
            f"{read.slope:+.4g} · d))) where half of the pairs are of one person"
        )
    for name, helper in meta["helpers"].items():
        facts[f"Helper `{name}`"] = f"from {helper['uri']}, weights `{helper['content_hash'][:12]}`"
    lines = [f"# {meta['method']} ({kind})", "", *(f"- **{name}**: {value}" for name, value in facts.items())]
    if meta["metrics"]:
        lines += ["", "| metric | value |", "|---|---|"]
        lines += [f"| {name} | {value:.6g} |" for name, value in sorted(meta["metrics"].items())]
    return "\n".join(lines) + "\n"


def with_evaluation(text: str, evaluation: Evaluation) -> str:
    """A card with its section on an evaluation, in place of an older one."""
    judges = ", ".join(f"{kind} `{judge}`" for kind, judge in evaluation.judges.items())
    lines = [
        f"On data `{evaluation.data_hash}` by the judges {judges}; intervals are of 95 %, by person.",
        "",
        "| figure | value | interval | n | the judge on real images |",
        "|---|---|---|---|---|",
    ]
    for name, found in evaluation.figures().items():
        real = f"{evaluation.real[name]:.4g}" if name in evaluation.real else "–"
        lines.append(f"| {name} | {found.value:.4g} | {found.low:.4g} to {found.high:.4g} | {found.n} | {real} |")
    return text.partition(_SECTION)[0] + _SECTION + "\n" + "\n".join(lines) + "\n"


def evaluation_tags(evaluation: Evaluation) -> dict[str, str]:
    """The same for programs, as tags of a registered version."""
    tags = {"evaluation.data_hash": evaluation.data_hash}
    tags |= {f"evaluation.judge.{kind}": judge for kind, judge in evaluation.judges.items()}
    for name, found in evaluation.figures().items():
        tags[f"evaluation.{name}"] = f"{found.value:.6g}"
        tags[f"evaluation.{name}.interval"] = f"{found.low:.6g} to {found.high:.6g}"
        tags[f"evaluation.{name}.n"] = str(found.n)
    return tags
