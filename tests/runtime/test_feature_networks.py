"""FID and LPIPS are those of torchmetrics with the same weights; other networks never take their names.

pytest tests/runtime/test_feature_networks.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import build
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as extractor
from torchmetrics.functional.image import lpips
from torchmetrics.image import fid

from stargan_ray.errors import InputError
from stargan_ray.evaluation.feature_networks import Inception, to_bytes
from stargan_ray.evaluation.frechet import frechet_distance
from stargan_ray.runtime.feature_networks import open_feature_networks
from stargan_ray.runtime.feature_use import read_state_dict
from stargan_ray.runtime.models import load_model


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in a file of the published form; the library's own constructor would download some."""
    file = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(extractor.FeatureExtractorInceptionV3, "load_state_dict", lambda self, _: None)
        torch.save(extractor.FeatureExtractorInceptionV3("random", ["64"]).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models import alexnet

    file = tmp_path_factory.mktemp("alexnet") / "alexnet.pth"
    torch.manual_seed(1)
    torch.save(alexnet(weights=None).state_dict(), file)
    return file


def images(seed: int, count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_fid_is_that_of_torchmetrics(inception: Path) -> None:
    ours = Inception(read_state_dict(str(inception)), "64")
    real, made = images(0, 70), images(1, 70) * 0.5  # more than features: roots of rounded zeros would differ
    theirs = fid.FrechetInceptionDistance(
        feature=64,
        feature_extractor_weights_path=str(inception),
        antialias=False,  # the published graph resizes without it
    )
    theirs.update(to_bytes(real), real=True)
    theirs.update(to_bytes(made), real=False)
    assert frechet_distance(ours(real), ours(made)) == pytest.approx(float(theirs.compute()), rel=1e-4)


def test_lpips_is_that_of_torchmetrics(alexnet: Path, inception: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = open_feature_networks(inception=str(inception), alexnet=str(alexnet))
    assert dict(networks.names) == {"frechet": "FID", "kernel": "KID", "diversity": "LPIPS"}
    from torchvision.models import alexnet as build_alexnet

    def trunk(*_: object) -> nn.Module:
        network = build_alexnet(weights=None)
        network.load_state_dict(torch.load(alexnet, weights_only=True))
        return network.features

    monkeypatch.setattr(lpips, "_get_tv_model_features", trunk)
    theirs = lpips.learned_perceptual_image_patch_similarity(images(2, 4), images(3, 4), "alex", reduction="none")
    torch.testing.assert_close(networks.distance(images(2, 4), images(3, 4)), theirs)
    assert theirs.min() > 0


def test_a_judge_takes_the_place_and_never_the_name(tmp_path: Path) -> None:
    judge = load_model(build(tmp_path).expression)
    networks = open_feature_networks(judge=judge)
    assert networks.names["frechet"] == f"Fréchet distance on {judge.where}"
    assert not {"FID", "KID", "LPIPS"} & set(networks.names.values())
    same, other = images(0, 3), images(1, 3)
    assert networks.features(same).shape[0] == 3
    assert networks.distance(same, same).tolist() == [0, 0, 0]
    assert networks.distance(same, other).min() > 0


def test_missing_and_wrong_weights_say_what_to_give(alexnet: Path, inception: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"FID and KID are left out without --inception: give weights-inception"):
        open_feature_networks(alexnet=str(alexnet))
    with pytest.raises(InputError, match=r"--inception .*not the weights of FID's Inception.*left out"):
        open_feature_networks(inception=str(alexnet), alexnet=str(alexnet))
    with pytest.raises(InputError, match=r"--alexnet .*not the weights of AlexNet.*LPIPS is left out"):
        open_feature_networks(inception=str(inception), alexnet=str(inception))
    with pytest.raises(InputError, match=r"--alexnet .*gone\.pth.*does not exist"):
        open_feature_networks(inception=str(inception), alexnet=str(tmp_path / "gone.pth"))
