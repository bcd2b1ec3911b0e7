"""What only a GPU shows: channels last, fused optimisers and kernels, resume, bad numbers. Skipped where there is none.

pytest tests/training/test_gpu.py
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import METHOD, RECIPE, TRANSLATORS
from torch import Tensor

from stargan_ray.methods.base import fuse
from stargan_ray.models.blocks import AdaINBlock, ResidualBlock
from stargan_ray.training.checkpoint import load_folder, save_folder
from stargan_ray.training.loop import fresh_state, placed
from stargan_ray.training.step import NonFiniteError, State, check_marks, run_step
from stargan_ray.training.worker import LocalWorker

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
BATCH, SIZE = 4, RECIPE.data.size
PLAIN = replace(RECIPE, method=TRANSLATORS["stargan-v2"])


def state() -> State:
    return fresh_state(PLAIN, 8, LocalWorker("cuda"), {})


def part_of(step: int) -> tuple[dict[str, Tensor], object]:
    made = torch.Generator("cuda").manual_seed(step)
    images = ("source", "reference", "reference2")
    batch = {n: torch.rand(BATCH, 3, SIZE, SIZE, generator=made, device="cuda") * 2 - 1 for n in images}
    for name in ("source_label", "target_label"):
        batch[name] = torch.randint(8, (BATCH,), generator=made, device="cuda")
    return batch, lambda _, width: torch.randn(BATCH, width, generator=made, device="cuda")


def iterate(state: State, *, bf16: bool = False) -> dict[str, Tensor]:
    return run_step(state, LocalWorker("cuda"), [part_of(state.step)], ema=0.9, bf16=bf16)  # type: ignore[list-item]


def weights(state: State) -> Tensor:
    return torch.cat([p.detach().double().flatten() for net in state.networks.values() for p in net.parameters()])


def test_images_are_laid_out_with_channels_last() -> None:
    weight = state().networks["discriminator"].stem.weight  # type: ignore[union-attr]
    assert weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr, operator]


def test_the_gpu_computes_what_the_processor_does() -> None:
    torch.backends.cudnn.allow_tf32 = False
    try:
        on_gpu = state()
        here = fresh_state(PLAIN, 8, LocalWorker("cpu"), {})
        for name, network in on_gpu.networks.items():
            here.networks[name].load_state_dict(network.state_dict())
            if name in here.averaged:
                here.averaged[name].load_state_dict(network.state_dict())
        batch, normal = part_of(0)
        noise = {name: normal(name, METHOD.latent_dim).cpu() for name in ("latent", "latent2")}  # type: ignore[operator]
        ours = run_step(on_gpu, LocalWorker("cuda"), [(batch, lambda n, _: noise[n].cuda())], ema=0.9)
        theirs = run_step(
            here, LocalWorker("cpu"), [({n: v.cpu() for n, v in batch.items()}, lambda n, _: noise[n])], ema=0.9
        )
    finally:
        torch.backends.cudnn.allow_tf32 = True
    for name, value in theirs.items():
        assert ours[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-5), name


def test_a_resumed_run_goes_on_as_it_would_have(tmp_path: Path) -> None:
    whole = state()
    for _ in range(2):
        iterate(whole)
    save_folder(whole, tmp_path, {"recipe": {}})
    resumed = state()
    load_folder(resumed, tmp_path)
    for one in (whole, resumed):
        iterate(one)
        check_marks(one)
    # kernels of the same numbers may add them in another order
    assert (weights(whole) - weights(resumed)).norm() / weights(whole).norm() < 1e-6


def test_after_a_bad_number_nothing_is_updated_and_the_next_report_stops() -> None:
    one = state()
    iterate(one)
    check_marks(one)
    stem = one.networks["discriminator"].stem.weight  # type: ignore[union-attr]
    with torch.no_grad():
        stem[0] = torch.nan  # type: ignore[index]
    before = weights(one)
    for _ in range(2):
        iterate(one)
    assert torch.equal(before.nan_to_num(), weights(one).nan_to_num())
    with pytest.raises(NonFiniteError):
        check_marks(one)


def test_bf16_stays_close_to_fp32() -> None:
    wide, narrow = state(), state()
    for _ in range(3):
        ours, theirs = iterate(narrow, bf16=True), iterate(wide)
    check_marks(narrow)
    for name, value in theirs.items():
        assert ours[name].item() == pytest.approx(value.item(), rel=0.05, abs=0.02), name


@pytest.mark.parametrize("narrow", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    "block", [ResidualBlock(32, 64, normalize=True, downsample=True), AdaINBlock(64, 32, 8, upsample=True)]
)
def test_the_fused_kernel_is_as_exact_as_the_plain_one(block: torch.nn.Module, narrow: bool) -> None:
    """Forwards and backwards, against the plain block in fp64."""
    plain = placed(copy.deepcopy(block), torch.device("cuda"))
    n_in = 32 if isinstance(block, ResidualBlock) else 64
    image = torch.randn(3, n_in, 16, 16, device="cuda").to(memory_format=torch.channels_last)
    style = () if isinstance(block, ResidualBlock) else (torch.randn(3, 8, device="cuda"),)
    weight = torch.randn_like(plain(image, *style))

    def found(network: torch.nn.Module, dtype: torch.dtype, bf16: bool) -> list[Tensor]:
        x = image.clone().to(dtype).requires_grad_()
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            y = network(x, *(each.to(dtype) for each in style))
        (y.to(dtype) * weight).sum().backward()
        gradients = [p.grad for p in network.parameters()]
        return [each.double().flatten() for each in (y, x.grad, torch.cat([g.flatten() for g in gradients]))]

    exact = found(copy.deepcopy(plain).double(), torch.float64, False)
    errors = [
        [float((mine - right).norm() / right.norm()) for mine, right in zip(each, exact, strict=True)]
        for each in (found(copy.deepcopy(plain), torch.float32, narrow), found(fuse(plain), torch.float32, narrow))
    ]
    for of_plain, of_fused in zip(*errors, strict=True):
        assert of_fused < 1.5 * of_plain + 1e-6
