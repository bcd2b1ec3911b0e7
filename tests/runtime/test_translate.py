"""Translating files: the same seed gives the same picture in any company; what is unusable is counted and named.

Run: pytest tests/runtime/test_translate.py   (a loopback S3 server, the job as a subprocess; half a minute)
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import run_job
from PIL import Image
from tiny_models import DOMAINS, TinyModels

from stargan_ray.data import storage
from stargan_ray.data.face_detection import face_chip
from stargan_ray.data.faces import FacesConfig, generate
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Target, Translator
from stargan_ray.runtime.ingest import ingest
from stargan_ray.runtime.models import LoadedModel, export_model, load_model
from stargan_ray.runtime.request import Request
from stargan_ray.runtime.translate import closest_label, draw_latent, read_image, to_png, translate_image
from stargan_ray.runtime.translate_files import Outcome, translate_files

HAPPY = Request("happiness", seed=3)


@pytest.fixture(scope="module")
def model(tiny: TinyModels) -> LoadedModel:
    return load_model(tiny.run)


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Five images of other modes and sizes, a damaged one, an empty one, a text in disguise, and a note."""
    root = tmp_path / "faces"
    (root / "more").mkdir(parents=True)
    picture(1).save(root / "one.jpg")
    picture(1).save(root / "one.png")  # the same name but for the suffix
    picture(2, "L", (16, 64)).save(root / "grey.png")
    picture(3, "CMYK").save(root / "print.jpg")
    picture(4, "RGBA", (200, 90)).save(root / "more" / "see through.png")
    whole = (root / "one.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.png").touch()
    (root / "text.jpg").write_text("not a picture")
    (root / "notes.txt").write_text("who is who")
    return root


def outputs(outcome: Outcome, out: Path) -> dict[str, bytes]:
    return {line["input"]: (out / line["output"]).read_bytes() for line in outcome.written}


def test_a_folder_with_corrupt_files(model: LoadedModel, faces: Path, tmp_path: Path) -> None:
    outcome = translate_files(model, str(faces), HAPPY, tmp_path / "out")
    assert {line["input"] for line in outcome.written} == {
        "one.jpg", "one.png", "grey.png", "print.jpg", "more/see through.png",
    }  # fmt: skip
    skipped = {line["input"]: line["reason"] for line in outcome.skipped}
    assert skipped == {"cut.jpg": "unreadable", "empty.png": "empty", "text.jpg": "not an image"}
    for data in outputs(outcome, tmp_path / "out").values():
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (16, 16))
    names = [line["output"] for line in outcome.written]
    assert len(set(names)) == 5
    assert {"grey-happiness.png", "more/see_through-happiness.png"} <= set(names)

    lineage = json.loads((tmp_path / "out" / "translations.json").read_text())
    assert lineage["model"] == model.where
    assert lineage["request"] == {
        "target": "happiness",
        "reference": "",
        "intensity": 1.0,
        "source_label": "",
        "seed": 3,
        "toward": "",
        "toward_reference": "",
        "share": 0.5,
        "chip": False,
    }
    assert lineage["translations"] == outcome.written
    assert lineage["skipped"] == outcome.skipped
    assert outcome.written[0] == {
        "input": "grey.png",
        "output": "grey-happiness.png",
        "target": "happiness",
        "seed": 3,
        "intensity": 1.0,
        "model": model.where,
    }


def test_a_picture_does_not_depend_on_its_company(model: LoadedModel, faces: Path, tmp_path: Path) -> None:
    together = outputs(translate_files(model, str(faces), HAPPY, tmp_path / "a"), tmp_path / "a")
    again = outputs(translate_files(model, str(faces), HAPPY, tmp_path / "b"), tmp_path / "b")
    assert again == together
    alone = translate_files(model, str(faces / "grey.png"), HAPPY, tmp_path / "c")
    assert outputs(alone, tmp_path / "c") == {"grey.png": together["grey.png"]}
    every = translate_files(model, str(faces), replace(HAPPY, target="all"), tmp_path / "d")
    assert (tmp_path / "d" / "grey-happiness.png").read_bytes() == together["grey.png"]
    assert len(every.written) == 5 * len(DOMAINS)
    other = outputs(translate_files(model, str(faces), replace(HAPPY, seed=4), tmp_path / "e"), tmp_path / "e")
    assert all(other[key] != together[key] for key in together)


def test_latents_are_normal_and_belong_to_seed_and_key(model: LoadedModel) -> None:
    drawn = torch.cat([draw_latent(model, seed, str(key)) for seed in range(20) for key in range(50)])
    assert abs(float(drawn.mean())) < 0.05
    assert abs(float(drawn.std()) - 1) < 0.05
    assert len(torch.unique(drawn, dim=0)) == 1000
    assert torch.equal(draw_latent(model, 3, "7"), drawn[3 * 50 + 7][None])


def test_every_expression_with_a_grid(model: LoadedModel, faces: Path, tmp_path: Path) -> None:
    outcome = translate_files(model, str(faces), Request("all"), tmp_path)
    assert [line["target"] for line in outcome.written[:3]] == DOMAINS
    grid = Image.open(tmp_path / "grid.png")
    assert grid.width > grid.height / 2


def test_intensity_0_is_the_reconstruction_and_1_the_target(model: LoadedModel) -> None:
    image = read_image((lambda b: (picture(5).save(b, "PNG"), b.getvalue())[1])(io.BytesIO()), model.size)
    method, own = model.method, 2
    label = torch.tensor([own])
    itself = method.translate(model.networks, image, label, Target(label, reference=image)).clamp(-1, 1)
    latent = draw_latent(model, 0)
    at = {
        intensity: translate_image(model, image, 1, latent=latent, intensity=intensity, source_label=own)
        for intensity in (0.0, 0.5, 1.0)
    }
    assert torch.allclose(at[0.0], itself, atol=1e-5)
    assert torch.equal(at[1.0], translate_image(model, image, 1, latent=latent))
    assert not torch.allclose(at[0.5], at[1.0], atol=1e-4)
    errors = [
        float((method.translate(model.networks, image, y, Target(y, reference=image)) - image).abs().mean())
        for y in torch.arange(3)[:, None]
    ]
    assert closest_label(model, image) == int(np.argmin(errors))


def test_who_says_what_the_source_shows(model: LoadedModel, faces: Path, tmp_path: Path) -> None:
    half = replace(HAPPY, intensity=0.5)
    guessed = translate_files(model, str(faces / "one.png"), half, tmp_path / "a").written[0]
    assert guessed["source_label_by"] == "reconstruction"
    told = translate_files(model, str(faces / "one.png"), replace(half, source_label="sadness"), tmp_path / "b")
    assert (told.written[0]["source_label"], told.written[0]["source_label_by"]) == ("sadness", "request")


def test_a_reference_gives_the_style(model: LoadedModel, faces: Path, tmp_path: Path) -> None:
    request = Request("happiness", reference=str(faces / "print.jpg"))
    first = outputs(translate_files(model, str(faces), request, tmp_path / "a"), tmp_path / "a")
    other = replace(request, seed=9)
    assert outputs(translate_files(model, str(faces), other, tmp_path / "b"), tmp_path / "b") == first
    drawn = outputs(translate_files(model, str(faces), Request("happiness"), tmp_path / "c"), tmp_path / "c")
    assert all(drawn[key] != first[key] for key in first)


def test_the_face_of_a_photo_is_translated_in_place_of_all_of_it(model: LoadedModel, tmp_path: Path) -> None:
    ((row, _),) = generate(FacesConfig(people=1, images_per_person=1, size=160), 0, 1)
    photo = Image.new("RGB", (500, 400), (90, 120, 90))
    photo.paste(Image.open(io.BytesIO(row.image)), (300, 200))
    (photos := tmp_path / "photos").mkdir()
    photo.save(photos / "party.png")
    picture(1).save(photos / "wall.png")
    asked = replace(HAPPY, chip=True)
    found = translate_files(model, str(photos), asked, tmp_path / "a")
    assert found.skipped == [{"input": "wall.png", "reason": "no face found"}]
    chip = face_chip((photos / "party.png").read_bytes(), model.size)
    assert chip is not None
    (tmp_path / "party.png").write_bytes(chip)  # of the same name, by which a style is drawn
    by_hand = translate_files(model, str(tmp_path / "party.png"), HAPPY, tmp_path / "b")
    made = outputs(found, tmp_path / "a")["party.png"]
    assert made == outputs(by_hand, tmp_path / "b")["party.png"]
    whole = translate_files(model, str(photos / "party.png"), HAPPY, tmp_path / "c")
    assert made != outputs(whole, tmp_path / "c")["party.png"]
    with pytest.raises(InputError, match=r"^reference .*wall.png: no face found$"):
        translate_files(model, str(photos), replace(asked, reference=str(photos / "wall.png")), tmp_path / "d")


def test_two_targets_are_interpolated(model: LoadedModel, faces: Path, tmp_path: Path) -> None:
    """At the ends it is one of them; between two references the styles are mixed, not the pictures."""

    def made(name: str, request: Request) -> dict[str, bytes]:
        return outputs(translate_files(model, str(faces / "grey.png"), request, tmp_path / name), tmp_path / name)

    to = replace(HAPPY, toward="sadness")
    assert made("a", replace(to, share=0.0)) == made("b", HAPPY)
    assert made("c", replace(to, share=1.0)) == made("d", replace(HAPPY, target="sadness"))
    half = made("e", to)
    assert half not in (made("b", HAPPY), made("d", replace(HAPPY, target="sadness")))
    lineage = json.loads((tmp_path / "e" / "translations.json").read_text())["translations"][0]
    assert lineage["output"] == "grey-happiness-sadness-0.5.png"
    assert (lineage["toward"], lineage["share"]) == ("sadness", 0.5)

    one, two = str(faces / "one.jpg"), str(faces / "print.jpg")
    between = Request("happiness", reference=one, toward_reference=two, share=0.25)
    assert made("f", replace(between, share=1.0)) == made("g", Request("happiness", reference=two))
    method = model.method
    assert isinstance(method, Translator)
    image = read_image((faces / "grey.png").read_bytes(), model.size)
    label = torch.tensor([model.domains.index("happiness")])
    styles = [
        method.code(model.networks, Target(label, reference=read_image(Path(p).read_bytes(), model.size)))
        for p in (one, two)
    ]
    mixed = method.render(model.networks, image, torch.lerp(*styles, 0.25))
    assert made("h", between)["grey.png"] == to_png(mixed[0])


def test_a_data_set_and_a_bucket(model: LoadedModel, tmp_path: Path, s3: str) -> None:
    for number, domain in enumerate(DOMAINS):
        folder = tmp_path / "photos" / "train" / domain
        folder.mkdir(parents=True)
        picture(number).save(folder / "face.png")
    ingest(read_folder(FolderConfig(str(tmp_path / "photos"))), f"{s3}/set", parallel=1, overwrite=False)
    outcome = translate_files(model, f"{s3}/set", replace(HAPPY, intensity=0.5), tmp_path / "a")
    said = {line["input"]: (line["source_label"], line["source_label_by"]) for line in outcome.written}
    assert said == {f"train/{name}/face.png": (name, "data set") for name in DOMAINS}
    storage.put_folder(tmp_path / "photos", f"{s3}/photos")
    plain = translate_files(model, f"{s3}/photos", HAPPY, tmp_path / "b")
    assert [line["input"] for line in plain.written] == sorted(said)


def test_errors_name_what_is_allowed(model: LoadedModel, tiny: TinyModels, faces: Path, tmp_path: Path) -> None:
    def refusal(source: Path, request: Request, used: LoadedModel = model, out: str = "out") -> str:
        with pytest.raises(InputError) as caught:
            translate_files(used, str(source), request, tmp_path / out)
        return str(caught.value)

    assert "did you mean 'happiness'? allowed: all," in refusal(faces, Request("hapiness"))
    assert "did you mean 'sadness'?" in refusal(faces, replace(HAPPY, source_label="sad ness"))
    assert "allowed is 0 to 1" in refusal(faces, replace(HAPPY, intensity=1.5))
    assert "share = -1: allowed is 0 to 1" in refusal(faces, replace(HAPPY, toward="sadness", share=-1))
    assert "unknown second target 'sad'" in refusal(faces, replace(HAPPY, toward="sad"))
    assert "does not exist" in refusal(tmp_path / "nowhere", HAPPY)
    assert "reference" in refusal(faces, replace(HAPPY, reference=str(faces / "text.jpg")))
    assert "1 not an image" in refusal(faces / "text.jpg", HAPPY)
    (tmp_path / "bare").mkdir()
    assert "it holds none" in refusal(tmp_path / "bare", HAPPY)
    assert "kind identity" in refusal(faces, HAPPY, load_model(tiny.identity))
    assert "cannot write" in refusal(faces, HAPPY, out="faces/notes.txt")


def test_the_job(tiny: TinyModels, faces: Path, tmp_path: Path) -> None:
    folder = export_model(tiny.run, tmp_path / "model")
    flags = ["--model", str(folder), "--input", str(faces), "--out", str(tmp_path / "out")]
    done = run_job("translate", *flags, "--target", "happiness", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "skipped: text.jpg (not an image)" in done.stdout
    assert "5 pictures, 3 files skipped" in done.stdout
    expected = translate_files(load_model(folder), str(faces), HAPPY, tmp_path / "expected")
    for line in expected.written:
        assert (tmp_path / "out" / line["output"]).read_bytes() == (tmp_path / "expected" / line["output"]).read_bytes()

    wrong = run_job("translate", *flags, "--target", "hapiness")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean 'happiness'?" in wrong.stderr
