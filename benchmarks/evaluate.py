"""Judging a translator beside the bare loop of generator and judges over images in memory.

    python benchmarks/evaluate.py            # a minute on two cores: as many translations as jobs/evaluate.py asks for
    python benchmarks/evaluate.py 6400       # four times as many

The bare loop translates the same requests, in the same batches, under the same guides and intensities, and calls the
same networks on what comes out. The whole is ``evaluate_translator``: it reads and decodes the people, loads the
networks, checks who knows whom, stores what the judges saw block by block, makes intervals and figures, and writes the
report. Untrained networks of the tiny recipes cost what trained ones cost.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from measure import alternate, report, throughput

from stargan_ray.config import to_json
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.evaluation.evidence import look_at_faces, look_at_translations
from stargan_ray.evaluation.translations import LatentGuide, ReferenceGuide, translate
from stargan_ray.methods.base import Translator
from stargan_ray.methods.identity_judge import IdentityJudgeMethod
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import examination
from stargan_ray.runtime import judges as judge_models
from stargan_ray.runtime.evaluate_translator import evaluate_translator
from stargan_ray.runtime.examination import REFERENCE, Docket, Examination, examination_of
from stargan_ray.runtime.judgement import SEED
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.training.checkpoint import save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker

ROUNDS = 5
RECIPES = {
    "translator": "stargan-v2-tiny",
    "expression": "expression-judge-tiny",
    "judge": "identity-judge-tiny",
    "training": "identity-tiny",
}


def save_untrained(name: str, folder: Path) -> None:
    """A network of a recipe as a trained one would be saved."""
    recipe = recipe_named(RECIPES[name])
    if isinstance(recipe.method, IdentityJudgeMethod):
        recipe = replace(recipe, method=replace(recipe.method, people=100))
    state = fresh_state(recipe, len(EXPRESSIONS), LocalWorker(), {})
    told = {"domains": list(EXPRESSIONS), "data_hash": "", "commit": "", "version": "", "metrics": {}, "helpers": {}}
    save_folder(state, folder / name, {"recipe": to_json(recipe), **told})


def bare(examination: Examination, docket: Docket, model: LoadedModel, judges: JudgeModels) -> Callable[[], None]:
    """The loop over what is in memory."""
    court, networks = docket.court(), judges.open()
    method = model.method
    assert isinstance(method, Translator)
    kinds = {(part.guide, part.intensity) for part in examination.parts}

    def loop() -> None:
        look_at_faces(court.probes, networks)
        look_at_faces(court.gallery, networks)
        for guide, intensity in kinds:
            requests = court.requests if intensity == 1 else court.chosen(court.swept)
            by = ReferenceGuide(court.probes) if guide == REFERENCE else LatentGuide(method.latent_dim)
            images = translate(method, model.networks, court.probes, requests, by, seed=SEED, intensity=intensity)
            for _ in look_at_translations(images, court.probes, requests, networks):
                pass

    return loop


def whole(docket: Docket, out: str, model: LoadedModel, judges: JudgeModels) -> None:
    """The evaluation as a process of its own would do it: nothing that an earlier round left is used."""
    examination._court.cache_clear()
    judge_models._loaded.cache_clear()
    evaluate_translator(docket, out, model, judges)


def main() -> None:
    """Both in turn, and the ratio."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        faces = FacesConfig(people=110, images_per_person=16, size=32, splits=(0.05, 0.0, 0.95))
        write_dataset(str(folder / "faces"), read_faces(faces))
        for name in RECIPES:
            save_untrained(name, folder)
        dataset = open_dataset(str(folder / "faces"))
        asked_for = int(sys.argv[1]) if len(sys.argv) > 1 else 1_600
        docket = Docket(dataset.uri, dataset.manifest.content_hash, 32, translations=asked_for)
        judges = JudgeModels.of(*(str(folder / name) for name in ("expression", "judge", "training")))
        model = load_model(folder / "translator")
        asked = examination_of(model, docket.court(), docket, judges, str(folder / "seen"))
        seconds = alternate(
            ROUNDS,
            bare=bare(asked, docket, model, judges),
            whole=lambda: whole(docket, str(folder / "out"), model, judges),
        )
        translations = sum(part.stop - part.start for part in asked.parts)
        ratio = throughput(seconds, "whole", "bare")
        ratio_cpu = throughput(seconds, "whole_cpu", "bare_cpu")
        facts = {"translations": translations, "throughput": ratio, "throughput_cpu": ratio_cpu}
        name = "evaluate" if asked_for == 1_600 else f"evaluate-{asked_for}"
        report(name, " ".join(["python benchmarks/evaluate.py", *sys.argv[1:]]), seconds, **facts)


if __name__ == "__main__":
    main()
