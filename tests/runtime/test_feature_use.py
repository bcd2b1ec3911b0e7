"""The frozen features of a contextual loss: from the filter or ImageNet's weights, in training and nowhere else.

pytest tests/runtime/test_feature_use.py
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted import noise
from safetensors.torch import save_file
from tiny_models import TinyModels, meta_for, recipe_for
from torch import Tensor, nn

from stargan_ray.config import DataConfig, Recipe, TrainConfig
from stargan_ray.data import storage
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.laun import LAUN
from stargan_ray.models.expression import vgg19_layers
from stargan_ray.runtime import launch
from stargan_ray.runtime.card import card
from stargan_ray.runtime.feature_use import helper_network, open_helper
from stargan_ray.runtime.judges import open_judges
from stargan_ray.runtime.models import export_model, load_model
from stargan_ray.runtime.request import Request
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.translate import closest_label, read_image
from stargan_ray.runtime.translate_files import translate_files
from stargan_ray.training.checkpoint import save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker

METHOD = LAUN(first=4, depth=3, first_critic=4, largest=8, layers=3, n_critic=1, cx_layer="conv3_2", cx_side=4)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data") / "faces"
    config = FacesConfig(people=6, images_per_person=8, size=32, splits=(0.7, 0.3, 0.0))
    write_dataset(str(folder), read_faces(config))
    return str(folder)


@pytest.fixture(scope="module")
def imagenet() -> dict[str, Tensor]:
    """Weights of the real size and random values, halved in precision to be quick."""
    torch.manual_seed(2)
    layers = vgg19_layers(64, batch_norm=False).state_dict()
    return {f"features.{name}": value.half().float() for name, value in layers.items()} | {
        "classifier.6.bias": torch.zeros(1000)
    }


def run_of(faces: str, root: Path, features: str, name: str = "laun", method: LAUN = METHOD) -> Run:
    data = DataConfig(size=32, shape=Shape(4, 2, 8))
    train = TrainConfig(steps=2, threads=1, report_every=1, sample_every=2, validate_every=0)
    recipe = Recipe("tiny", "a test's", method, data, train)
    return Run(recipe, faces, str(root / "runs"), name, {"features": features} if features else {})


def refused(where: str) -> str:
    with pytest.raises(InputError) as caught:
        open_helper("features", where)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def maps(where: str, image: Tensor, layer: str) -> Tensor:
    with torch.no_grad():
        out: Tensor = helper_network("features", open_helper("features", where))(image, layer)
    return out


def test_a_model_trained_with_the_filters_features_neither_holds_nor_needs_it(
    faces: str, tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where records go
    shutil.copytree(tiny.expression, tmp_path / "filter")
    run = run_of(faces, tmp_path, str(tmp_path / "filter"))
    assert "g/cx" in launch.fit_here(run).metrics
    known = load_model(tiny.expression)
    shutil.rmtree(tmp_path / "filter")
    model = load_model(export_model(run.uri, tmp_path / "model"))
    names = sorted(str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*"))
    assert names == ["generator.safetensors", "meta.json"]
    assert set(model.networks) == {"generator"}
    assert model.meta["helpers"] == {
        "features": {"uri": str(tmp_path / "filter"), "content_hash": known.content_hash, "pretrained": "none"}
    }
    assert model.meta == load_model(export_model(tmp_path / "model", tmp_path / "again")).meta
    assert f"from {tmp_path / 'filter'}, weights `{known.content_hash[:12]}`" in card(model.meta)
    # what trained it does not judge it
    with pytest.raises(InputError, match=r"cannot judge .*: it is the features network that trained it"):
        open_judges(str(tiny.expression), str(tiny.identity), model)

    noise(5, size=(40, 40)).save("face.png")
    own = closest_label(model, read_image(Path("face.png").read_bytes(), 32))
    target = model.domains[own - 1]
    outs = {}
    for name, request in {
        "label": Request(target=target),
        "reference": Request(target=target, reference="face.png"),
        "half": Request(target=target, intensity=0.5),
    }.items():
        assert len(translate_files(model, "face.png", request, tmp_path / name).written) == 1
        (outs[name],) = ((tmp_path / name / path.name).read_bytes() for path in (tmp_path / name).glob("*.png"))
    assert outs["label"] == outs["reference"] != outs["half"]


def test_a_run_goes_on_with_its_features_and_without_is_refused(
    faces: str, tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_of(faces, tmp_path, str(tiny.expression))
    launch.fit_here(run)
    longer = replace(run, recipe=replace(run.recipe, train=replace(run.recipe.train, steps=3)))
    with pytest.raises(InputError, match="laun needs a model for 'features': give --features"):
        launch.fit_here(replace(longer, helpers={}))
    assert launch.fit_here(longer).step == 3
    plain = run_of(faces, tmp_path, "", "plain", replace(METHOD, lambda_cx=0.0))
    assert "g/cx" not in launch.fit_here(plain).metrics


def test_maps_of_the_filter_are_those_inside_it(tiny: TinyModels) -> None:
    model = load_model(tiny.expression)
    (classifier,) = model.networks.values()
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    seen: list[Tensor] = []
    stack: nn.Sequential = classifier.trunk[0]  # type: ignore[index,assignment]
    relus = [layer for layer in stack if isinstance(layer, nn.ReLU)]
    handles = [layer.register_forward_hook(lambda _, __, out: seen.append(out.clone())) for layer in relus]
    with torch.no_grad():
        classifier(image)
    for handle in handles:
        handle.remove()
    for place, layer in ((0, "conv1_1"), (5, "conv3_2"), (9, "conv4_2"), (15, "conv5_4")):
        assert torch.equal(maps(str(tiny.expression), image, layer), seen[place])
    assert maps(str(tiny.expression), image, "conv4_2").shape == (2, 16, 4, 4)


@pytest.mark.parametrize("kind", ["pth in a bucket", "safetensors"])
def test_imagenets_weights_from_a_file(kind: str, s3: str, imagenet: dict[str, Tensor], tmp_path: Path) -> None:
    where = str(tmp_path / "vgg19.safetensors")
    if kind == "safetensors":
        save_file(imagenet, where)
    else:
        torch.save({name: value.half() for name, value in imagenet.items()}, tmp_path / "vgg19.pth")
        where = f"{s3}/weights/vgg19.pth"
        storage.write_bytes(where, (tmp_path / "vgg19.pth").read_bytes())
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((image + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]
    layers = vgg19_layers(64, batch_norm=False)
    layers.load_state_dict({n.removeprefix("features."): v for n, v in imagenet.items() if n.startswith("features.")})
    with torch.no_grad():
        for layer in layers[:23]:  # two blocks of two, one of four, two of the next, each with ReLU; three poolings
            x = layer(x)
    torch.testing.assert_close(maps(where, image, "conv4_2"), x)
    assert x.shape == (1, 512, 8, 8)
    model = open_helper("features", where)
    assert model.meta["pretrained"] == model.where == where


def test_timms_names_are_taken() -> None:
    import timm

    from stargan_ray.models.features import maps_of_imagenet, normalized

    image = torch.rand(1, 3, 32, 32) * 2 - 1
    network = timm.create_model("vgg19_bn").eval()
    with torch.no_grad():
        expected = network.features[:3](normalized(image))  # type: ignore[index,operator]
        actual = maps_of_imagenet(network.state_dict()).eval()(image, "conv1_1")
    assert torch.equal(actual, expected)


def test_what_cannot_give_features_is_refused_in_one_line(
    tiny: TinyModels, imagenet: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is a model of kind identity: an expression classifier is needed" in refused(str(tiny.identity))
    other = recipe_for(ExpressionMethod(backbone="test_resnet", input_size=32), 32)
    save_folder(fresh_state(other, 3, LocalWorker(), {}), tmp_path / "resnet", meta_for(other))
    assert "has the backbone test_resnet: VGG19 is needed" in refused(str(tmp_path / "resnet"))
    assert "vgg.pth" in refused(str(tmp_path / "vgg.pth"))
    for name in ("noise.pth", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"no weights at all")
        assert "cannot be read" in refused(str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pth")
    assert "no state dict" in refused(str(tmp_path / "list.pth"))
    save_file({n: v for n, v in imagenet.items() if n != "features.2.weight"}, tmp_path / "less.safetensors")
    assert "features.2.weight is missing or of another shape" in refused(str(tmp_path / "less.safetensors"))

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr("timm.create_model", unreachable)
    assert refused("imagenet") == (
        "--features imagenet: ImageNet's weights are out of reach (no route to host): give their file or URI"
    )
