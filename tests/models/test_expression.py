"""The expression classifier: the published size, any image size, gradients to the image, other backbones.

pytest tests/models/test_expression.py
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stargan_ray.errors import InputError
from stargan_ray.models.backbones import View, fit
from stargan_ray.models.expression import ExpressionClassifier


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_network_has_its_published_number_of_parameters() -> None:
    assert parameters(ExpressionClassifier(7)) == 20_038_983


def test_published_network_has_sixteen_convolutions_with_batch_norm() -> None:
    layers = list(ExpressionClassifier(7, width=4).modules())
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == 16
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == 16
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == 5


def test_vgg16_has_the_convolutions_of_torchvisions() -> None:
    from torchvision.models import vgg16_bn

    ours = ExpressionClassifier(7, backbone="vgg16_bn")
    assert parameters(ours.trunk) == parameters(vgg16_bn().features) == 14_723_136
    assert parameters(ours.head) == 512 * 7 + 7


def test_vgg16_answers_at_a_small_width() -> None:
    network = ExpressionClassifier(7, backbone="vgg16_bn", width=2, input_size=32).eval()
    assert network(torch.zeros(2, 3, 40, 40)).shape == (2, 7)
    assert network.head.in_features == 16


@pytest.mark.parametrize("input_size", [32, 44, 48, 64])
@pytest.mark.parametrize("size", [32, 96])
def test_images_of_any_size_become_logits(input_size: int, size: int) -> None:
    network = ExpressionClassifier(8, width=2, input_size=input_size).eval()
    assert network(torch.rand(3, 3, size, size) * 2 - 1).shape == (3, 8)


@pytest.mark.parametrize("backbone", ["test_resnet", "mobilenetv3_small_050", "test_convnext"])
def test_another_family_answers_through_the_same_class(backbone: str) -> None:
    network = ExpressionClassifier(8, backbone=backbone, input_size=32).eval()
    assert network(torch.zeros(2, 3, 40, 40)).shape == (2, 8)


def test_first_activations_keep_their_scale() -> None:
    # He init: without batch norm's help, unit variance in means variance of order one out of every layer
    torch.manual_seed(0)
    convolution = next(m for m in ExpressionClassifier(7).modules() if isinstance(m, nn.Conv2d))
    out = torch.relu(convolution(torch.randn(4, 3, 44, 44)))
    assert 0.7 < out.square().mean() < 1.3


def test_frozen_network_never_moves_and_the_image_gets_a_gradient() -> None:
    network = ExpressionClassifier(8, width=4, input_size=32).eval().requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.rand(2, 3, 48, 48, requires_grad=True)
    network(image).square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_resizing_keeps_range_and_constant_images_and_leaves_a_fitting_image_alone() -> None:
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    assert fit(image, 44).abs().max() <= 1
    assert torch.equal(fit(image, 64), image)
    torch.testing.assert_close(fit(torch.full((1, 3, 64, 64), 0.3), 44), torch.full((1, 3, 44, 44), 0.3))
    assert fit(image.bfloat16(), 32).dtype == torch.bfloat16


def test_a_standardised_view_does_not_change_with_the_light() -> None:
    view = View(32, standardize=True)
    image = torch.rand(2, 3, 32, 32) * 0.8
    seen = view(image)
    assert seen.mean((1, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(view(image * 1.5 - 0.4), seen, rtol=0.1, atol=0.1)
    assert torch.equal(view(torch.full((1, 3, 32, 32), 0.5)), torch.zeros(1, 3, 32, 32))


def test_a_view_of_the_centre_is_blind_to_the_border_and_a_grey_one_to_the_hue() -> None:
    image = torch.rand(1, 3, 64, 64)
    frame = torch.ones_like(image, dtype=torch.bool)
    frame[:, :, 8:56, 8:56] = False
    centre = View(32, centre=0.75)
    assert torch.equal(centre(image), centre(image.masked_fill(frame, -1.0)))
    seen = View(64, grey=True)(image)
    assert torch.equal(seen[:, 0], seen[:, 1])
    assert torch.equal(seen[:, 0], seen[:, 2])


def test_a_view_of_windows_takes_a_window_as_it_is_and_the_central_one_of_anything_else() -> None:
    view = View(44, cut=44 / 48)
    whole = torch.rand(1, 3, 48, 48)
    assert torch.equal(view(whole), whole[:, :, 2:46, 2:46])  # no resampling: bits are kept
    assert torch.equal(view(whole[:, :, :44, 4:]), whole[:, :, :44, 4:])
    # the same face at another size fills the view alike, so that a judge may meet the images of any translator
    ramp = torch.linspace(-1, 1, 48).expand(1, 3, 48, 48)
    for size in (64, 128, 256):
        larger = fit(ramp, size)
        assert (view(larger) - view(ramp)).abs().max() < 0.06, size
    narrow = View(44, centre=0.75, cut=44 / 48)
    assert torch.equal(narrow(whole), narrow(whole[:, :, 2:46, 2:46]))


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    # a one-pixel chequerboard is grey from afar; without antialiasing it would alias to black or white
    board = (torch.arange(64)[:, None] + torch.arange(64)[None]) % 2 * 2.0 - 1
    assert fit(board.expand(1, 3, 64, 64), 32).abs().max() < 0.2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", 1),
        ("width", 0),
        ("dropout", 1.0),
        ("input_size", 31),
        ("centre", 0.1),
        ("cut", 0.1),
        ("backbone", "resnet-eighteen"),
    ],
)
def test_unusable_values_are_refused_by_name(field: str, value: object) -> None:
    arguments = {"classes": 8, field: value}
    with pytest.raises(InputError, match=rf"{field}.*(allowed|at least)"):
        ExpressionClassifier(**arguments)  # type: ignore[arg-type]
