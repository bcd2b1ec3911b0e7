"""Evaluate a classifier, an identity embedder or a translator on the splits of a data set, with intervals.

    python jobs/evaluate.py --model runs/filter --data data/fer2013 --out runs/filter-evaluation
    python jobs/evaluate.py --model models:/face-expression@champion --data s3://bucket/fer --crops ten --out out
    python jobs/evaluate.py --model runs/embedder --data data/lfw --pairs lfw/pairs.txt --out runs/embedder-evaluation
    python jobs/evaluate.py --model models:/expression-translator@champion --data data/faces --out runs/evaluation \
        --expression-judge models:/face-expression-judge@champion \
        --identity-judge models:/face-identity-judge@champion --training models:/face-identity@champion

A classifier: images of val and test that are in train too are counted, and each split is judged without them as well.
An embedder or a translator: people and images that it was trained on are refused, and so are those that trained a
judge. The figures go to the MLflow run that trained the model as well.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rich

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
from stargan_ray.runtime.defaults import BLOCK, Crops

if TYPE_CHECKING:
    from stargan_ray.data.shards import Dataset
    from stargan_ray.runtime.examination import Docket
    from stargan_ray.runtime.models import LoadedModel

_OF_PROTOCOL = ("inception", "alexnet", "sources", "outputs")
_OF_TRANSLATORS = (
    *("expression_judge", "identity_judge", "training", "people", "translations", "protocol"),
    *_OF_PROTOCOL,
)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What is evaluated on what.

    Attributes:
        model: a classifier, an embedder or a translator: model folder, checkpoint, run or models:/name@alias; or dlib,
            the public judge of identities from the extra judge.
        data: URI of an ingested data set.
        out: folder for evaluation.html and evaluation.json; a path or s3://bucket/prefix.
        splits: those to judge: train, val, test; none = all but train.
        crops: classifier only: views of an image that are averaged: one, the image and its mirror image (flip, the
            default), or ten crops.
        pairs: embedder only: LFW's pairs.txt or pairsDevTest.txt, judged besides; a path or a URI.
        recipe_threshold: embedder only: the squared L2 distance up to which the paper's figure calls two faces one
            person's; 1.3, the copied recipe's, unless given.
        parallel: processes that score; more than one are actors of Ray.
        block: rows that are scored and stored together; the same command goes on after a kill.
        expression_judge: translator only: classifier that judges; it must not have trained anything here.
        identity_judge: translator only: embedder that judges, or dlib; as above.
        training: translator only: the embedder that trained it, shown beside the judge.
        people: translator only: of the split, at most; 100 unless given, or 1,600 images where it names nobody.
        translations: translator only: how many are judged.
        protocol: translator only: StarGAN v2's too: ten translations of each source by latent codes and by references,
            distances and diversity for each ordered pair of expressions.
        inception: translator only: weights of FID's Inception, a path or URI, for FID and KID in the protocol; without
            them the expression judge's features take their place and name.
        alexnet: translator only: AlexNet's weights, for LPIPS; likewise.
        sources: translator only: of each expression in the protocol, at most.
        outputs: translator only: translations of each source by each guide in the protocol.
        record: send the figures to MLflow.
    """

    model: str
    data: str
    out: str
    splits: tuple[str, ...] = ()
    crops: Crops | None = None
    pairs: str | None = None
    recipe_threshold: float | None = None
    parallel: int = 1
    block: int = BLOCK
    expression_judge: str | None = None
    identity_judge: str | None = None
    training: str | None = None
    people: int | None = None
    translations: int | None = None
    protocol: bool = False
    inception: str | None = None
    alexnet: str | None = None
    sources: int | None = None
    outputs: int | None = None
    record: bool = True

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise InputError(f"--parallel {self.parallel}: allowed are values >= 1")
        if (self.people or 2) < 2 or (self.translations or 1) < 1:
            raise InputError("--people, --translations: allowed are >= 2 and >= 1")
        if self.recipe_threshold is not None and not 0 < self.recipe_threshold < 4:
            raise InputError(f"--recipe-threshold {self.recipe_threshold}: allowed is 0 < threshold < 4")

    def refuse(self, kind: str, *names: str) -> None:
        """An error for options that say nothing to this kind of model."""
        for name in names:
            if getattr(self, name) not in (None, False):
                raise InputError(f"--{name.replace('_', '-')} is not for a model of kind {kind}: leave it out")


def main() -> None:
    """Parse, score, print the figures and where the page is."""
    job = cli.parse(Evaluate, __doc__)
    from stargan_ray.data import storage
    from stargan_ray.runtime.evaluation_record import record_evaluation
    from stargan_ray.runtime.models import load_model

    model = load_model(job.model)
    if model.kind == "expression":
        report = _classifier(job, model)
    elif model.kind == "translator":
        report = _translator(job, model)
    else:
        report = _embedder(job, model)
    page = storage.join(storage.absolute(job.out), "evaluation.html")
    if job.record:
        try:
            run = record_evaluation(model, report, storage.read_bytes(page).decode())
            print(f"MLflow run: {run}")
        except InputError as error:  # the report is there: a store that is away must not lose it
            print(f"not recorded: {error}", file=sys.stderr)
    print(f"page: {job.out}/evaluation.html")


def _classifier(job: Evaluate, model: LoadedModel) -> dict[str, Any]:
    job.refuse(model.kind, "pairs", "recipe_threshold", *_OF_TRANSLATORS)
    from stargan_ray.runtime.evaluate import evaluate_classifier, table
    from stargan_ray.runtime.progress import counting
    from stargan_ray.runtime.scoring import classifier_scorer

    with counting("score") as on_scored:
        report = evaluate_classifier(
            job.data,
            job.out,
            classifier_scorer(model, job.crops or "flip"),
            splits=job.splits,
            parallel=job.parallel,
            block=job.block,
            on_scored=on_scored,
        )
    rich.print(table(report))
    for name, split in report["splits"].items():
        if split.get("also_in_train"):
            print(f"{name}: {split['also_in_train']} of {split['rows']} images are in train too")
    _left_out(report)
    if report["temperature"] is not None:
        print(f"temperature of the least log loss on val: {report['temperature']:.3f}")
    return report


def _translator(job: Evaluate, model: LoadedModel) -> dict[str, Any]:
    job.refuse(model.kind, "crops", "pairs", "recipe_threshold")
    if not job.expression_judge or not job.identity_judge:
        raise InputError("--expression-judge and --identity-judge are needed to judge a translator")
    if len(job.splits) > 1:
        raise InputError(f"--splits {' '.join(job.splits)}: a translator is judged on one")
    from rich.console import Console

    from stargan_ray.data.shards import open_dataset
    from stargan_ray.evaluation.comparison import NOBODY_NAMED
    from stargan_ray.runtime import evaluate_translator
    from stargan_ray.runtime.examination import Docket
    from stargan_ray.runtime.judges import JudgeModels
    from stargan_ray.runtime.progress import counting, display

    judges = JudgeModels.of(job.expression_judge, job.identity_judge, job.training or "")
    dataset = open_dataset(job.data)
    docket = Docket.of(dataset, model.size, (job.splits or ("test",))[0], job.people, job.translations)
    if not job.protocol and (given := [name for name in _OF_PROTOCOL if getattr(job, name) is not None]):
        raise InputError(f"--{given[0]} is for the protocol: add --protocol")
    evaluate_translator.admitted(docket, model, judges)
    more = _protocol(job, model, dataset, docket) if job.protocol else {}
    with (
        display(Console(stderr=True)) as shown,
        counting("judge real faces", shown) as on_seen,
        counting("judge", shown) as on_judged,
    ):
        report = evaluate_translator.evaluate_translator(
            docket, job.out, model, judges, parallel=job.parallel, more=more, on_seen=on_seen, on_judged=on_judged
        )
    rich.print(evaluate_translator.table(report))
    if not report["data"]["named"]:
        print(NOBODY_NAMED)
    for who, found in report["strangers"].items():
        for line in found["unchecked"]:
            print(f"{who}, not checked: {line}")
    return report


def _protocol(job: Evaluate, model: LoadedModel, dataset: Dataset, docket: Docket) -> dict[str, Any]:
    from stargan_ray.data import storage
    from stargan_ray.runtime.feature_networks import open_feature_networks
    from stargan_ray.runtime.models import load_model
    from stargan_ray.runtime.progress import Told, counting
    from stargan_ray.runtime.protocol import OUTPUTS, SOURCES, run_protocol

    judge = load_model(str(job.expression_judge))
    networks = open_feature_networks(inception=job.inception or "", alexnet=job.alexnet or "", judge=judge)
    with counting("protocol") as on_done:
        found = run_protocol(
            model,
            dataset,
            storage.join(storage.absolute(job.out), "protocol"),
            networks,
            split=docket.split,
            people=docket.people,
            sources=job.sources or SOURCES,
            outputs=job.outputs or OUTPUTS,
            parallel=job.parallel,
            on_done=Told(on_done),
        )
    return {"protocol": found}


def _embedder(job: Evaluate, model: LoadedModel) -> dict[str, Any]:
    job.refuse(model.kind, "crops", *_OF_TRANSLATORS)
    from stargan_ray.evaluation.triplet_batches import RECIPE_THRESHOLD
    from stargan_ray.runtime import evaluate_embedder
    from stargan_ray.runtime.progress import counting

    with counting("embed") as on_scored:
        report = evaluate_embedder.evaluate_embedder(
            job.data,
            job.out,
            model,
            splits=job.splits,
            pairs=job.pairs or "",
            recipe_threshold=RECIPE_THRESHOLD if job.recipe_threshold is None else job.recipe_threshold,
            parallel=job.parallel,
            block=job.block,
            on_scored=on_scored,
        )
    rich.print(evaluate_embedder.table(report))
    if found := report["pairs"]:
        accuracy = (
            "one fold" if found["accuracy"] is None else f"{found['accuracy']:.2%} ± {found['standard_error']:.2%}"
        )
        print(f"pairs: {found['pairs']} of {found['given']} of {found['file']}: {accuracy}")
    if report["threshold"] is not None:
        print(f"own threshold: {report['threshold']['threshold']:.3f}, from {report['threshold']['from']}")
    for line in report["people"]["checked"]:
        print(f"checked: {line}")
    for line in report["people"]["unchecked"]:
        print(f"not checked: {line}")
    for split, why in report["not_judged"].items():
        print(f"{split} is not judged: {why}")
    _left_out(report)
    return report


def _left_out(report: dict[str, Any]) -> None:
    for reason, count in report["left_out"].items():
        print(f"left out: {count} {reason}")


if __name__ == "__main__":
    cli.job(main)
