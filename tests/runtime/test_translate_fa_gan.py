"""A saved FA-GAN-style model translates files by label, by reference and part of the way, without latent codes.

pytest tests/runtime/test_translate_fa_gan.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import DOMAINS, meta_for, recipe_for

from stargan_ray.methods.fa_gan import FAGANStyle
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.runtime.request import Request
from stargan_ray.runtime.translate_files import translate_files
from stargan_ray.training.checkpoint import save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker

METHOD = FAGANStyle(first=4, largest=8, bottleneck=8, depth=1, identity_dim=5, coarse_dim=3, fine_dim=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("model")
    recipe = recipe_for(METHOD, size=16)
    save_folder(fresh_state(recipe, len(DOMAINS), LocalWorker(), {}), folder, meta_for(recipe))
    return load_model(folder)


def test_by_label_by_reference_and_part_of_the_way(model: LoadedModel, tmp_path: Path) -> None:
    def picture(seed: int, size: tuple[int, int]) -> Path:
        path = tmp_path / f"{seed}.png"
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
        return path

    face, reference = picture(1, (40, 30)), picture(2, (64, 64))

    def translated(request: Request, name: str) -> bytes:
        outcome = translate_files(model, str(face), request, tmp_path / name)
        assert not outcome.skipped
        assert outcome.written[0]["target"] == "happiness"
        return (tmp_path / name / outcome.written[0]["output"]).read_bytes()

    plain = Request("happiness", seed=3)
    by_label = translated(plain, "label")
    assert translated(replace(plain, seed=4), "seed") == by_label  # nothing is drawn
    others = {
        "reference": replace(plain, reference=str(reference)),
        "half": replace(plain, intensity=0.5, source_label="sadness"),
        "guessed": replace(plain, intensity=0.25),  # the image's own domain is found by reconstruction
    }
    made = [by_label, *(translated(request, name) for name, request in others.items())]
    assert len(set(made)) == len(made)
