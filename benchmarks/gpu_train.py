"""Train a recipe on a GPU for a given time, without Ray and MLflow, and judge it where its data has a test split.

    python benchmarks/gpu_train.py expression --data data/fer2013 --out runs/fer --seconds 240
    python benchmarks/gpu_train.py stargan-v2-id-64 --data data/faces --out runs/id --seconds 200 \
        --helper identity=models/identity --set data.shape.batch=16 --set train.precision=bf16

The first steps tell how fast this machine is; the run then gets as many as fit the time, at most the recipe's (or
those of --steps), and everything of the recipe that counts steps shrinks or grows alike. Written are <out>/run.json
<out>/evaluation.json; the checkpoints lie under <out>/run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from measure import commit, hardware  # isort: skip
from stargan_ray.config import Recipe, flatten, override, to_json
from stargan_ray.data.shards import open_dataset
from stargan_ray.methods.base import Translator
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.evaluate import evaluate_classifier
from stargan_ray.runtime.evaluate_embedder import evaluate_embedder
from stargan_ray.runtime.evaluate_translator import ROWS, evaluate_translator
from stargan_ray.runtime.examination import Docket
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.scoring import classifier_scorer
from stargan_ray.runtime.session import run_worker, thread_source
from stargan_ray.training.loop import Outcome
from stargan_ray.training.worker import LocalWorker

_COUNTED = ("total", "warmup", "decay_from", "decay_every", "over", "until", "ramp_start", "ramp_end", "step_size")
_PROBE = 150  # steps, of which the first third is left out


@dataclass
class Lines:
    """A recorder that keeps what it is told."""

    began: float = field(default_factory=time.perf_counter)
    seconds: list[tuple[int, float]] = field(default_factory=list)
    found: list[dict[str, float]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Keep, with the time."""
        now = time.perf_counter() - self.began
        self.seconds.append((step, now))
        self.found.append({"step": step, "seconds": round(now, 2), **values})

    def measured(self, rank: int, values: Mapping[str, float]) -> None:
        """Forget."""

    def image(self, step: int, name: str, png: bytes) -> None:  # noqa: ARG002 - the last one is enough
        """Keep the last."""
        self.pictures[name] = png

    def secure(self) -> None:
        """Forget."""

    def note(self, text: str) -> None:
        """Print."""
        print(text, flush=True)

    def stop_requested(self) -> bool:
        """Never."""
        return False


def stretched(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with so many steps, its schedules in proportion."""
    share = steps / recipe.train.steps
    ends = {
        path: max(1, round(value * share))
        for path, value in flatten(recipe.method).items()
        if path.split(".")[-1] in _COUNTED and isinstance(value, int) and value
    }
    return override(recipe, {f"method.{path}": value for path, value in ends.items()} | {"train.steps": steps})


def parsed(pairs: list[str]) -> dict[str, Any]:
    """field=value, the value as JSON where it is some."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def run_of(recipe: Recipe, given: argparse.Namespace, name: str) -> Run:
    """The run under a name."""
    helpers = {helper: str(where) for helper, where in parsed(given.helper).items()}
    return Run(recipe, given.data, given.out, name, helpers, init=given.init)


def trained(run: Run) -> tuple[Outcome, Lines]:
    """Train it in this process."""
    lines = Lines()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return run_worker(run, LocalWorker(device), thread_source, lines), lines


def probed(recipe: Recipe, given: argparse.Namespace) -> float:
    """Seconds a step without validation, checkpoints and the wait for data, long only until all is decoded."""
    quiet = replace(
        recipe.train,
        steps=_PROBE,
        report_every=_PROBE // 3,
        validate_every=0,
        sample_every=0,
        checkpoint_every=_PROBE,
        best="",
    )
    _, lines = trained(run_of(replace(recipe, train=quiet), given, "probe"))
    (first, began), (last, ended) = lines.seconds[0], lines.seconds[-1]
    waits = [each["speed/data_wait_share"] for each in lines.found if "speed/data_wait_share" in each]
    return (ended - began) / (last - first) * (1 - waits[-1])  # the last record can be a validation's


def judged(run: Run, given: argparse.Namespace) -> dict[str, Any]:
    """What jobs/evaluate.py would find, in short."""
    model = load_model(run.uri)
    if isinstance(run.recipe.method, Translator):
        return translations_judged(run, given) if given.judge else {}
    if model.kind == "expression":
        crops = "ten" if run.recipe.data.augment.crop_pixels else "flip"
        report = evaluate_classifier(given.data, given.out, classifier_scorer(model, crops))
        kept = ("rows", "accuracy", "macro_f1", "log_loss")
        return {split: {k: found[k] for k in kept} for split, found in report["splits"].items()}
    return {"splits": evaluate_embedder(given.data, given.out, model)["splits"]}


def translations_judged(run: Run, given: argparse.Namespace) -> dict[str, Any]:
    """The rows of the evaluation without their tables by expression."""
    named = {name: str(where) for name, where in parsed(given.judge).items()}
    judges = JudgeModels.of(named["expression"], named["identity"], str(run.helpers.get("identity", "")))
    dataset, model = open_dataset(given.data), load_model(run.uri)
    docket = Docket.of(dataset, model.size, "test")
    report = evaluate_translator(docket, given.out, model, judges)
    return {row: {k: v for k, v in report[row].items() if isinstance(v, float)} for row in ROWS}


def main() -> None:
    """Probe, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=0.0, help="0 = the recipe's own steps")
    parser.add_argument("--benchmark", action="store_true", help="let cuDNN choose its algorithms by trial")
    parser.add_argument("--steps", type=int, default=0, help="stretch the recipe to so many first; 0 = its own")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--helper", action="append", default=[])
    parser.add_argument("--init", default="", help="model or run to start from")
    parser.add_argument("--judge", action="append", default=[], help="expression=…, identity=…: judge a translator")
    given = parser.parse_args()
    torch.backends.cudnn.benchmark = given.benchmark
    recipe = override(recipe_named(given.recipe), parsed(given.set))
    recipe = stretched(recipe, given.steps) if given.steps else recipe
    if given.seconds:
        began = time.perf_counter()
        each = probed(recipe, given)
        left = given.seconds - (time.perf_counter() - began)
        recipe = stretched(recipe, min(recipe.train.steps, max(_PROBE, int(left / each))))
        print(f"{given.out}: {each * 1e3:.2f} ms a step, {recipe.train.steps} steps", flush=True)
    began = time.perf_counter()
    run = run_of(recipe, given, "run")
    outcome, lines = trained(run)
    record = {
        "recipe": to_json(recipe),
        "step": outcome.step,
        "seconds": round(time.perf_counter() - began, 1),
        "commit": commit(),
        "hardware": hardware() | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "records": lines.found,
    }
    Path(given.out, "run.json").write_text(json.dumps(record))
    for name, png in lines.pictures.items():
        Path(given.out, f"{name}.png").write_bytes(png)
    print(given.out, json.dumps({"seconds": record["seconds"], "step": outcome.step, **judged(run, given)}), flush=True)


if __name__ == "__main__":
    main()
