"""The identity embedder: timm's Xception exactly, unit embeddings, a helper that never moves.

pytest tests/models/test_identity.py
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from stargan_ray.errors import InputError
from stargan_ray.models.identity import IdentityNetwork, SiameseXception, Xception, timm_identity

SMALL = {"width": 0.125, "middle_blocks": 1, "hidden": 32, "embedding": 16, "input_size": 32}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def legacy() -> nn.Module:
    """timm's Xception with random weights and running statistics that are not the initial ones."""
    torch.manual_seed(0)
    network = timm.create_model("legacy_xception")
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture
def small() -> IdentityNetwork:
    torch.manual_seed(0)
    return SiameseXception(**SMALL)


def test_trunk_is_timms_network_weight_for_weight(legacy: nn.Module) -> None:
    trunk = Xception().eval()
    trunk.load_state_dict({n: v for n, v in legacy.state_dict().items() if not n.startswith("fc.")})
    image = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(trunk(image), legacy.forward_features(image).mean((2, 3)), rtol=0, atol=0)


def test_published_trunk_has_its_published_number_of_parameters() -> None:
    trunk = Xception()
    assert trunk.num_features == 2048
    assert parameters(trunk) + 2048 * 1000 + 1000 == 22_855_952  # with the ImageNet head: 22.86 M


@pytest.mark.parametrize("size", [32, 48, 160])
@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
def test_embeddings_have_unit_length(size: int, stem_stride: int, relu: bool) -> None:
    torch.manual_seed(0)
    network = SiameseXception(**SMALL, stem_stride=stem_stride, relu_before_norm=relu).eval()
    vectors = network(torch.rand(4, 3, size, size) * 2 - 1)
    assert vectors.shape == (4, 16)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    assert bool((vectors >= 0).all()) is relu


def test_another_family_answers_through_the_same_interface() -> None:
    judge = timm_identity("test_resnet", hidden=32, embedding=16, input_size=32).eval()
    assert isinstance(judge, IdentityNetwork)
    torch.testing.assert_close(judge(torch.rand(3, 3, 40, 40)).norm(dim=1), torch.ones(3))


def test_frozen_helper_never_moves_and_the_image_gets_a_gradient(small: IdentityNetwork) -> None:
    small.eval().requires_grad_(False)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    image = torch.rand(3, 3, 64, 64, requires_grad=True)
    small(image)[:, 0].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(torch.equal(before[name], value) for name, value in small.state_dict().items())


def test_an_embedding_does_not_depend_on_its_neighbours_in_the_batch(small: IdentityNetwork) -> None:
    small.eval()
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(small(images)[2:3], small(images[2:3]), rtol=1e-4, atol=1e-5)


def test_weights_of_a_file_are_taken_over_and_the_log_says_so(
    legacy: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "xception weights.pth"
    torch.save(legacy.state_dict(), path)
    with caplog.at_level(logging.INFO):
        network = SiameseXception(pretrained=path.as_uri(), middle_blocks=2)
    assert torch.equal(
        network.trunk.get_submodule("block5.rep.1.pointwise").weight,
        legacy.get_submodule("block5.rep.1.pointwise").weight,
    )
    assert "starts from the weights" in caplog.text


def test_unreachable_download_leaves_random_weights_and_warns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> nn.Module:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", refuse)
    SiameseXception(**SMALL, pretrained="timm")
    assert "random weights" in caplog.text


def test_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match=r"pretrained.*missing or of another shape"):
        SiameseXception(pretrained=str(path), middle_blocks=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 0.0),
        ("middle_blocks", 9),
        ("stem_stride", 3),
        ("hidden", 0),
        ("embedding", 1),
        ("input_size", 16),
        ("pretrained", "/no/such/file"),
    ],
)
def test_unusable_values_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{field}.*allowed"):
        SiameseXception(**(SMALL | {field: value}))  # type: ignore[arg-type]


def test_the_first_parts_keep_their_weights_and_statistics_and_the_rest_learns() -> None:
    torch.manual_seed(0)
    network = SiameseXception(**(SMALL | {"middle_blocks": 1}), trained_from="block4")
    network.requires_grad_(False).requires_grad_(True).eval().train()  # as the loop switches it
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(2):
        network(torch.rand(8, 3, 32, 32)).square()[:, 0].sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    first = ("trunk.conv1", "trunk.bn1", "trunk.conv2", "trunk.bn2", "trunk.block1.", "trunk.block2", "trunk.block3")
    assert not [name for name in moved if name.startswith(first)]
    rest = [name for name in before if not name.startswith(first)]
    assert {"trunk.block4", "trunk.block12", "trunk.bn4", "head.0"} <= {".".join(n.split(".")[:2]) for n in moved}
    assert len(moved) > 0.9 * len(rest)


def test_gradients_reach_the_image_through_frozen_parts() -> None:
    network = SiameseXception(**(SMALL | {"middle_blocks": 1}), trained_from="block4").eval()
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    network(image)[:, 0].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_the_part_that_training_begins_at_must_exist() -> None:
    with pytest.raises(InputError, match=r"unknown method.trained_from 'block99'.*block12"):
        SiameseXception(**SMALL, trained_from="block99")


def test_an_embedder_of_the_centre_is_blind_to_the_border() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 64)
    other = torch.ones_like(image)
    other[:, :, 16:48, 16:48] = image[:, :, 16:48, 16:48]
    centre, whole = (SiameseXception(**SMALL, centre=share).eval() for share in (0.5, 1.0))
    assert torch.equal(centre(image), centre(other))
    assert not torch.allclose(whole(image), whole(other), atol=1e-3)


def test_an_image_and_its_mirror_image_are_one_once_trained() -> None:
    torch.manual_seed(0)
    both, image = SiameseXception(**SMALL, mirror=True), torch.randn(4, 3, 32, 32)
    one = SiameseXception(**SMALL)
    one.load_state_dict(both.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(both(image), one(image))  # while it is trained: batch norm's own statistics
        both.train(False)
        one.train(False)
        expected = torch.nn.functional.normalize(one(image) + one(image.flip(3)), dim=1)
        torch.testing.assert_close(both(image), expected)
        torch.testing.assert_close(both(image), both(image.flip(3)))
